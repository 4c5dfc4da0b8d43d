"""Mutual information of binned codes and factors, as the metrics of Locatello et al. 2019 estimate it, in nats."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BINS = 20


def discretise(z: Float[Array, "N D"] | Int[Array, "N D"]) -> Int[Array, "N D"]:
    """The equal-width bin of every code, 0 .. 19, between the smallest and the largest value of its dimension.

    The edges are those of `numpy.histogram`. All of a constant dimension lies in one bin.
    """
    low, high = z.min(axis=0), z.max(axis=0)
    edges = low + jnp.arange(1, BINS)[:, None] * ((high - low) / BINS)[None]  # [19, D]
    return (z[:, None, :] >= edges[None]).sum(axis=1)


def mutual_information(a: Int[Array, "N D"], b: Int[Array, "N K"], bins: int, size: int) -> Float[Array, "D K"]:
    """I(a_d; b_k) in nats for every pair of columns: all joint histograms are one matrix product of one-hot codes.

    It is worked out on counts, which float32 holds exactly, so that a column of one value gets exactly 0.
    """
    count = len(a)
    one_hot = jax.nn.one_hot(a, bins).reshape(count, -1).T @ jax.nn.one_hot(b, size).reshape(count, -1)
    joint = one_hot.reshape(a.shape[1], bins, b.shape[1], size)
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=3, keepdims=True)
    ratio = jnp.where(joint > 0, joint * count / jnp.where(independent > 0, independent, 1.0), 1.0)
    return jnp.maximum((joint * jnp.log(ratio)).sum(axis=(1, 3)) / count, 0.0)


def entropy(factors: Int[Array, "N K"], size: int) -> Float[Array, " K"]:
    """H(v_k) in nats of every column."""
    return jax.scipy.special.entr(jax.nn.one_hot(factors, size).mean(axis=0)).sum(axis=-1)


def code_information(z: Float[Array, "N D"], factors: Int[Array, "N K"], size: int) -> Float[Array, "D K"]:
    """I(z_j; v_k) in nats of every binned code and every factor, whose values are below `size`."""
    return mutual_information(discretise(z), factors, BINS, size)
