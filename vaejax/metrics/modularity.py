"""Modularity (Ridgeway & Mozer 2018, "Learning Deep Disentangled Embeddings With the F-Statistic Loss", section 2).

    modularity = 1/D sum_j (1 - sum_{k != k_j} m_jk^2 / (m_jk_j^2 (K - 1))),    m_jk = I(z_j; v_k), k_j = argmax_k m_jk

As in Locatello et al. 2019, codes are discretised in 20 equal-width bins, and a code without any information scores 0.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.metrics.checks import check, relative
from vaejax.metrics.information import code_information
from vaejax.metrics.record import Metric


def modularity(z: Float[np.ndarray, "N D"], factors: Int[np.ndarray, "N K"]) -> dict[str, float]:
    """How much every code tells of one factor alone, the mean over codes, in [0, 1].

    What it can't see: how much a code tells. A code of pure noise has a little information about every factor by
    chance, and scores about 0.5; a smooth mixture of all factors can score higher than aligned codes beside unused
    ones. Factors that no code carries cost nothing. A constant code scores 0; a factor that never varies is left
    out; with a single factor every code that tells anything is modular.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, or no factor that varies.
    """
    z, factors = check("modularity", z, factors)
    return {"modularity": float(modularity_of(relative(z)[1], factors, int(factors.max()) + 1))}


@partial(jax.jit, static_argnames="size")
def modularity_of(z: Float[Array, "N D"], factors: Int[Array, "N K"], size: int) -> Float[Array, ""]:
    """`modularity` for use under jit and vmap: factor values are below `size`. NaN codes give NaN."""
    information = code_information(z, factors, size)
    best = information.max(axis=1)
    relative = information / jnp.where(best > 0, best, 1.0)[:, None]  # before squaring, which could underflow
    others = ((relative**2).sum(axis=1) - 1) / max(factors.shape[1] - 1, 1)
    return jnp.where(jnp.isfinite(z).all(), jnp.where(best > 0, 1 - others, 0.0).mean(), jnp.nan)


MODULARITY = Metric(
    "modularity", modularity_of, ("moved", "factors", "size"), "Modularity", "higher", (0, 1), arrays=modularity
)
