"""Maximum mean discrepancy of codes from a prior (Gretton et al. 2012, "A Kernel Two-Sample Test", equation 3).

    MMD^2 = mean_{i != j} k(z_i, z_j) + mean_{i != j} k(z'_i, z'_j) - 2 mean_ij k(z_i, z'_j)

without bias, for codes z of images and draws z' of the prior, with the kernel of Tolstikhin et al. 2018 (section 4):
k(z, z') = sum_s s C / (s C + |z - z'|^2), C = 2 D for D latents, s = 0.1, 0.2, 0.5, 1, 2, 5, 10. So k is at most 7, and
its middle scale is the expected squared distance of two draws of N(0, I).
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vaejax.errors import InputError
from vaejax.metrics.checks import check_codes
from vaejax.metrics.record import Metric, Value
from vaejax.objectives import multiquadratic

ROWS = 500  # of the matrix of pairs, at a time
FARTHEST = 1e18  # from the middle: codes that lie beyond are drawn in, since squares would leave float32


def mmd(z: Float[np.ndarray, "N D"], prior_samples: Float[np.ndarray, "M D"]) -> dict[str, float]:
    """`mmd`, the unbiased estimate of MMD^2, and `scale`, the kernel's C.

    Around 0 for samples of one distribution, as often below as above. It has no unit: compare it between models of as
    many latents. Codes of images should be draws of their posteriors, for the mean codes of a VAE spread less.

    What it can't see: differences much finer than the kernel's smallest scale, |z - z'|^2 = 0.2 D.

    Raises:
      InputError: shapes that don't fit, fewer than 2 of either, codes that are not finite.
    """
    z, prior_samples = check_codes("mmd", z), check_codes("mmd", prior_samples)
    if z.shape[1] != prior_samples.shape[1]:
        raise InputError(
            f"mmd compares codes of as many latents, not {z.shape[1]} with the prior's {prior_samples.shape[1]}"
        )
    if min(len(z), len(prior_samples)) < 2:
        raise InputError(f"mmd takes at least 2 codes and 2 of the prior, not {len(z)} and {len(prior_samples)}")
    value = _mean(z, z, same=True) + _mean(prior_samples, prior_samples, same=True)
    value -= 2 * _mean(z, prior_samples, same=False)
    return {"mmd": value, "scale": 2.0 * z.shape[1]}


def _mean(a: Float[np.ndarray, "N D"], b: Float[np.ndarray, "M D"], same: bool) -> float:
    """The mean of the kernel over all pairs, or all pairs of different ones; sums of rows are added in float64.

    Codes are taken from the middle of `b`, so that float32 has the digits of their differences.
    """
    centre = np.median(b.astype(np.float64), axis=0)
    near = [codes - centre for codes in (a, b)]
    farthest = max(float(np.abs(codes).max()) for codes in near)
    near = [(codes * min(1.0, FARTHEST / max(farthest, 1.0))).astype(np.float32) for codes in near]
    totals = np.asarray(_row_sums(*near, same), np.float64)
    return float(totals.sum() / (len(a) * (len(b) - same)))


@partial(jax.jit, static_argnames="same")
def _row_sums(a: Float[Array, "N D"], b: Float[Array, "M D"], same: bool) -> Float[Array, " N"]:
    def row(item: tuple[Array, Array]) -> Float[Array, ""]:
        number, code = item
        kernel = multiquadratic(((code[None] - b) ** 2).sum(axis=1), 2.0 * b.shape[1])
        return (kernel * (jnp.arange(len(b)) != number)).sum() if same else kernel.sum()

    return jax.lax.map(row, (jnp.arange(len(a)), a), batch_size=ROWS)


MMD = Metric(
    "mmd", None, (), "MMD", "lower", more=(Value("scale", "Scale of the kernel", None, (0, math.inf)),), arrays=mmd
)
