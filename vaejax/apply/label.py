"""Which ground-truth factor each latent carries, from codes and factors: normalised mutual information.

    share of code j about factor k = I(z_j; v_k) / H(v_k)

I and H in nats, codes discretised as for `vaejax.metrics.mig` (20 equal-width bins, Locatello et al. 2019). Twenty bins
hold at most log 20 nats, so a factor of 32 values is told by a perfect code to 0.86, one of 40 values to 0.81.
"""

from collections.abc import Iterable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.errors import InputError, shortened
from vaejax.metrics.checks import check_aligned, check_number, numbered, relative
from vaejax.metrics.information import code_information, discretise, entropy
from vaejax.metrics.measure import ACTIVE

LEAST = 0.05  # of a factor's entropy, beyond what chance gives: less is no factor


def information(codes: Float[np.ndarray, "N D"], factors: Int[np.ndarray, "N K"]) -> Float[np.ndarray, "D K"]:
    """The share of every factor's entropy that every code has, in [0, 1]; 0 for a factor that never varies.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, factors that are not integers.
    """
    codes, factors = check_aligned("information", codes, factors)
    values = numbered(factors)
    return np.asarray(_information(relative(codes)[1], values, int(values.max()) + 1))


@partial(jax.jit, static_argnames="size")
def _information(codes: Float[Array, "N D"], values: Int[Array, "N K"], size: int) -> Float[Array, "D K"]:
    total = entropy(values, size)
    nats = code_information(codes, values, size)
    return jnp.where(total > 0, nats / jnp.where(total > 0, total, 1.0), 0.0).clip(0.0, 1.0)


def label_latents(
    codes: Float[np.ndarray, "N D"],
    factors: Int[np.ndarray, "N K"],
    names: Sequence[str],
    *,
    active: float = ACTIVE,
    least: float = LEAST,
) -> list[str]:
    """Every latent with the factor that it carries most of, and its share: "z3 → x (0.81)"; "z5 –" if it carries none.

    A code carries none if its variance is not above `active`, or if what it tells of every factor is within `least` of
    what an independent code would seem to tell of it in so few samples.

    Args:
      names: of the K factors.
      active: the variance of a posterior mean above which a latent counts as used; 0 for codes of no known scale.

    Raises:
      InputError: as `information`, another number of names than of factors, or a threshold that is no number.
    """
    best, shares = carried(codes, factors, active=active, least=least)
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InputError(f"names has to be a list of what the factors are called, not {shortened(names)}")
    names = list(names)
    count = np.shape(factors)[1]
    if len(names) != count:
        raise InputError(f"{len(names)} names for {count} factors; give one for each")
    return [
        f"z{j} → {names[k]} ({share:.2f})" if k >= 0 else f"z{j} –"
        for j, (k, share) in enumerate(zip(best, shares, strict=True))
    ]


def carried(
    codes: Float[np.ndarray, "N D"],
    factors: Int[np.ndarray, "N K"],
    *,
    active: float = ACTIVE,
    least: float = LEAST,
) -> tuple[Int[np.ndarray, " D"], Float[np.ndarray, " D"]]:
    """The factor that every latent carries most of, -1 if it carries none, and its share; see `label_latents`.

    Raises:
      InputError: as `information`, or a threshold that is no number.
    """
    check_number(active=active, least=least)
    shares = information(codes, factors)
    codes, factors = check_aligned("carried", codes, factors)
    clear = np.where(codes.astype(np.float64).var(axis=0)[:, None] > active, shares - _by_chance(codes, factors), 0.0)
    best = clear.argmax(axis=1)
    rows = np.arange(len(best))
    return np.where(clear[rows, best] > least, best, -1), shares[rows, best]


def _by_chance(codes: Float[np.ndarray, "N D"], factors: Int[np.ndarray, "N K"]) -> Float[np.ndarray, "D K"]:
    """The share that is expected of independent codes: (bins - 1)(values - 1) / 2N nats (Miller 1955)."""
    values = numbered(factors)
    bins = np.array([len(np.unique(column)) for column in np.asarray(discretise(jnp.asarray(relative(codes)[1]))).T])
    total = np.asarray(entropy(jnp.asarray(values), int(values.max()) + 1))
    nats = (bins[:, None] - 1) * values.max(axis=0) / (2 * len(values))
    return nats / np.where(total > 0, total, 1.0)
