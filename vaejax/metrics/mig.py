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

from vaejax.errors import InputError

BINS = 20


def mig(z: Float[np.ndarray, "N D"], factors: Int[np.ndarray, "N K"]) -> dict[str, float]:
    """The mutual information gap of codes `z` about the ground-truth `factors`, in [0, 1].

    What it can't see: a factor spread over several codes counts as not found, however cleanly it is encoded, and a code
    that carries several factors costs nothing. A constant code has no information; with a single code the second
    best has none either; a factor that never varies is left out.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, or no factor that varies.
    """
    z, factors = np.asarray(z), np.asarray(factors)
    if z.ndim != 2 or factors.ndim != 2 or len(z) != len(factors) or len(z) == 0:
        raise InputError(f"mig takes codes [N, D] and factors [N, K] with one N, not {z.shape} and {factors.shape}")
    if not np.isfinite(z).all():
        raise InputError("mig takes finite codes, but some are NaN or infinite; did the run diverge?")
    varying = (factors != factors[:1]).any(axis=0)
    if not varying.any():
        raise InputError("mig needs at least one factor that varies")
    factors = np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T[varying]], axis=1)
    return {"mig": float(mutual_information_gap(z, factors, int(factors.max()) + 1))}


@partial(jax.jit, static_argnames="size")
def mutual_information_gap(z: Float[Array, "N D"], factors: Int[Array, "N K"], size: int) -> Float[Array, ""]:
    """`mig` for use under jit and vmap: factor values are below `size`. NaN codes give NaN."""
    information = mutual_information(discretise(z), factors, BINS, size)
    best, second = jax.lax.top_k(jnp.pad(information.T, ((0, 0), (0, 1))), 2)[0].T
    gap = jnp.mean((best - second) / entropy(factors, size))
    return jnp.where(jnp.isfinite(z).all(), gap, jnp.nan)


def discretise(z: Float[Array, "N D"]) -> Int[Array, "N D"]:
    """The equal-width bin of every code, 0 .. 19, between the smallest and the largest value of its dimension."""
    edges = jnp.linspace(z.min(axis=0), z.max(axis=0), BINS + 1)[1:-1]  # [19, D]
    return (z[:, None, :] >= edges).sum(axis=1)


def mutual_information(a: Int[Array, "N D"], b: Int[Array, "N K"], bins: int, size: int) -> Float[Array, "D K"]:
    """I(a_d; b_k) in nats for every pair of columns: all joint histograms are one matrix product of one-hot codes."""
    one_hot = jax.nn.one_hot(a, bins).reshape(len(a), -1).T @ jax.nn.one_hot(b, size).reshape(len(b), -1)
    joint = one_hot.reshape(a.shape[1], bins, b.shape[1], size) / len(a)
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=3, keepdims=True)
    ratio = jnp.where(joint > 0, joint / jnp.where(independent > 0, independent, 1.0), 1.0)
    return (joint * jnp.log(ratio)).sum(axis=(1, 3))


def entropy(factors: Int[Array, "N K"], size: int) -> Float[Array, " K"]:
    """H(v_k) in nats of every column."""
    return jax.scipy.special.entr(jax.nn.one_hot(factors, size).mean(axis=0)).sum(axis=-1)
