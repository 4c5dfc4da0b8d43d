"""Codes from a finite set: nearest neighbours in a codebook, finite scalar quantisation, and what both report.

A grid of places [B, *grid] has one code each: an index below K, and the vector [D] that stands for it.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

MARGIN = 1e-3  # how far a bounded value stays away from the border of its outermost bin, as a fraction


class Codes(NamedTuple):
    """All mass at one code for every place: the posterior of a quantising autoencoder.

    Fields:
      mean: the vectors, [B, *grid, D].
      indices: which they are, [B, *grid].
    """

    mean: Float[Array, "B *grid D"]
    indices: Int[Array, "B *grid"]  # noqa: F821
    has_density = True  # of a finite set: a mass

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B *grid D"]:
        """The codes themselves."""
        del key
        return self.mean

    def log_prob(self, z: Float[Array, "B *grid D"]) -> Float[Array, "B *grid D"]:
        """0 at the codes, minus infinity elsewhere (a mass, not a density)."""
        return jnp.where(z == self.mean, 0.0, -jnp.inf)


class UniformCodes(NamedTuple):
    """Every code equally likely at every place, independently: the prior while a quantising autoencoder is trained.

    Fields:
      codebook: the vectors of all K codes, [K, D].
      mean: the expected vectors, [B, *grid, D].
    """

    codebook: Float[Array, "K D"]
    mean: Float[Array, "B *grid D"]
    has_density = True

    @classmethod
    def on(cls, codebook: Float[Array, "K D"], shape: tuple[int, ...]) -> "UniformCodes":
        """On codes [B, *grid, D] of this shape."""
        return cls(codebook, jnp.broadcast_to(codebook.mean(axis=0), shape))

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B *grid D"]:
        """A code for every place."""
        return self.codebook[jax.random.randint(key, self.mean.shape[:-1], 0, len(self.codebook))]

    def log_prob(self, z: Float[Array, "B *grid D"]) -> Float[Array, " B"]:
        """-log K for every place, in nats; z has to consist of codes."""
        return jnp.full(len(z), -math.prod(z.shape[1:-1]) * math.log(len(self.codebook)))


def nearest(z: Float[Array, "N D"], codebook: Float[Array, "K D"]) -> Int[Array, " N"]:
    """The index of the code with the least squared distance to each z."""
    return jnp.argmin((codebook**2).sum(axis=1)[None] - 2 * z @ codebook.T, axis=1)


def straight_through(z: Float[Array, "*shape"], codes: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The codes, with the gradient that z itself would have (Bengio et al. 2013)."""
    return jax.lax.stop_gradient(codes) + (z - jax.lax.stop_gradient(z))


def counted(indices: Int[Array, "*shape"], size: int) -> Float[Array, " K"]:
    """How often each of `size` codes is used."""
    return jnp.bincount(indices.ravel(), length=size).astype(jnp.float32)


def perplexity(counts: Float[Array, " K"]) -> Float[Array, ""]:
    """exp of the entropy of the codes that were used so often: K if all are used alike, 1 if one is."""
    share = counts / counts.sum()
    return jnp.exp(-jax.scipy.special.xlogy(share, share).sum())


def bounded(z: Float[Array, "... D"], levels: tuple[int, ...]) -> Float[Array, "... D"]:
    """Each z_d within the bins of its L levels, which are integers; 0 stays 0 (Mentzer et al. 2024, section 3.1).

    tanh(z + s) (L - 1) / 2 - o, with o = 1/2 for even L (whose bins are centred at -L/2, ..., L/2 - 1) and 0 for odd L.
    """
    sizes = np.asarray(levels)
    half = (sizes - 1) * (1 - MARGIN) / 2
    offset = np.where(sizes % 2 == 0, 0.5, 0.0)
    shift = np.arctanh(offset / half)
    half, offset, shift = (for_last(number.astype(np.float32), z) for number in (half, offset, shift))
    return jnp.tanh(z + shift) * half - offset


def finite_scalars(z: Float[Array, "... D"], levels: tuple[int, ...]) -> Float[Array, "... D"]:
    """The nearest bins of the bounded z, scaled to [-1, 1], with the gradient of the bounded z."""
    bound = bounded(z, levels)
    return straight_through(bound, jnp.round(bound)) / for_last(_halves(levels), z)


def scalar_indices(codes: Float[Array, "... D"], levels: tuple[int, ...]) -> Int[Array, "..."]:
    """The number of each code: a row of `scalar_codebook`."""
    halves = for_last(_halves(levels), codes)
    digits = jnp.round(codes * halves + halves).astype(jnp.int32)
    strides = np.cumprod((1, *levels[:0:-1]))[::-1].astype(np.int32)
    return (digits * for_last(strides, codes)).sum(axis=-1)


def scalar_codebook(levels: tuple[int, ...]) -> Float[np.ndarray, "K D"]:
    """All codes, the last dimension fastest."""
    digits = np.stack(np.unravel_index(np.arange(math.prod(levels)), levels), axis=-1)
    return ((digits - _halves(levels)) / _halves(levels)).astype(np.float32)


def for_last(numbers: Any, like: Array) -> Any:
    """Numbers [D], with as many axes as an array [..., D] to be combined with them."""
    return numbers.reshape(*(1,) * (like.ndim - 1), -1)


def _halves(levels: tuple[int, ...]) -> Float[np.ndarray, " D"]:
    return (np.asarray(levels) // 2).astype(np.float32)
