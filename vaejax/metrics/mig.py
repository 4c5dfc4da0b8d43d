"""Mutual information gap (Chen et al. 2018, "Isolating Sources of Disentanglement in VAEs", equation 6).

    MIG = 1/K sum_k (I(z_j1; v_k) - I(z_j2; v_k)) / H(v_k),    j1, j2 the two codes most informative of factor v_k

Codes are discretised in 20 equal-width bins between the smallest and the largest value of each dimension, as in
Locatello et al. 2019; the paper estimated I(z; v) from samples of q(z | x). Information is in nats; MIG has no unit.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.metrics.checks import check, relative
from vaejax.metrics.information import code_information, entropy
from vaejax.metrics.record import Metric


def mig(z: Float[np.ndarray, "N D"], factors: Int[np.ndarray, "N K"]) -> dict[str, float]:
    """The mutual information gap of codes `z` about the ground-truth `factors`, in [0, 1].

    What it can't see: a factor spread over several codes counts as not found, however cleanly it is encoded, and a code
    that carries several factors costs nothing. A constant code has no information; with a single code the second
    best has none either; a factor that never varies is left out.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, or no factor that varies.
    """
    z, factors = check("mig", z, factors)
    return {"mig": float(mutual_information_gap(relative(z)[1], factors, int(factors.max()) + 1))}


@partial(jax.jit, static_argnames="size")
def mutual_information_gap(z: Float[Array, "N D"], factors: Int[Array, "N K"], size: int) -> Float[Array, ""]:
    """`mig` for use under jit and vmap: factor values are below `size`. NaN codes give NaN."""
    information = code_information(z, factors, size)
    best, second = jax.lax.top_k(jnp.pad(information.T, ((0, 0), (0, 1))), 2)[0].T
    gap = jnp.mean((best - second) / entropy(factors, size))
    return jnp.where(jnp.isfinite(z).all(), gap, jnp.nan)


MIG = Metric("mig", mutual_information_gap, ("moved", "factors", "size"), "MIG", "higher", (0, 1), arrays=mig)
