"""Interventional robustness score (Suter et al. 2019, "Robustly Disentangled Causal Mechanisms", section 4).

    IRS = sum_j w_j max_k (1 - E_v[Q99(|z_j - E[z_j | v_k = v]| given v_k = v)] / w_j) / sum_j w_j,
    w_j = max |z_j - E[z_j]|

Codes that stay put while one factor is held and all others vary are robust. As in Locatello et al. 2019, the largest
deviation given a factor's value is the 0.99 quantile (the paper: the maximum), the mean is over the values of a factor
with equal weights, and a factor of more than 20 values is put into 20 equal-width bins of them.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.metrics.checks import check, relative, weight_of
from vaejax.metrics.information import BINS, discretise
from vaejax.metrics.record import Metric

QUANTILE = 0.99
STEPS = 2**26  # a deviation is sorted as an integer, in these parts of the largest, after the number of its bin


def irs(z: Float[np.ndarray, "N D"], factors: Int[np.ndarray, "N K"]) -> dict[str, float]:
    """How little every code moves while its best factor is held, weighted by how far it moves at all, in [0, 1].

    What it can't see: whether a code tells anything. Outliers make a code look robust, since they stretch the
    largest deviation and not the quantile; noise scores about 0.3. It is no lower if several codes carry one factor.
    The scale of a code is its weight. Constant codes are left out; if all are constant, the score is 0. A factor
    that never varies is left out.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, or no factor that varies.
    """
    z, factors = check("irs", z, factors)
    unit, z = relative(z)
    return {"irs": float(robustness(z, factors, weight_of(unit)))}


@jax.jit
def robustness(
    z: Float[Array, "N D"], factors: Int[Array, "N K"], unit: Float[Array, " D"] | float = 1.0
) -> Float[Array, ""]:
    """`irs` for use under jit and vmap; values of a factor are numbered 0, 1, ..., codes are in this unit.

    NaN codes give NaN.
    """
    constant = z.max(axis=0) == z.min(axis=0)
    centred = jnp.where(constant[None], 0.0, z - z.mean(axis=0, keepdims=True))
    largest = jnp.abs(centred).max(axis=0)
    relative = centred / jnp.where(largest > 0, largest, 1.0)[None]
    deviation = jax.lax.map(partial(_deviation, relative), discretise(factors).T)  # [K, D]
    largest = largest * unit
    score = (largest * (1 - deviation).max(axis=0)).sum() / jnp.where(largest.sum() > 0, largest.sum(), 1.0)
    return jnp.where(jnp.isfinite(z).all(), score, jnp.nan)


def _deviation(z: Float[Array, "N D"], value: Int[Array, " N"]) -> Float[Array, " D"]:
    """The mean over the values v of one factor of the 0.99 quantile of |z - E[z | v]|, interpolated as by NumPy.

    All values of all codes are sorted at once, by value and then by deviation (at most 2), packed into one integer: XLA
    sorts integers seven times as fast as pairs on a CPU.
    """
    of_value = jax.nn.one_hot(value, BINS)
    count = of_value.sum(axis=0)
    means = (of_value.T @ z) / jnp.maximum(count, 1)[:, None]
    steps = jnp.round(jnp.abs(z - means[value]) * (STEPS / 2)).astype(jnp.int32)
    ordered = jnp.sort((value * STEPS)[None] + jnp.minimum(steps, STEPS - 1).T, axis=1)
    place = QUANTILE * jnp.maximum(count - 1, 0)
    first, below = jnp.cumsum(count) - count, jnp.floor(place)

    def at(place: Float[Array, " bins"]) -> Float[Array, "bins D"]:
        index = jnp.minimum(first + place, len(z) - 1).astype(jnp.int32)
        return (ordered[:, index] % STEPS).T / (STEPS / 2)

    weight = (place - below)[:, None]
    quantile = (1 - weight) * at(below) + weight * at(jnp.minimum(below + 1, jnp.maximum(count - 1, 0)))
    return (quantile * (count > 0)[:, None]).sum(axis=0) / (count > 0).sum()


IRS = Metric("irs", robustness, ("moved", "factors", "weight"), "IRS", "higher", (0, 1), arrays=irs)
