"""Per-example mathematics, in nats: sums over pixels and latents here, the mean over the batch in the methods."""

import jax
from jaxtyping import Array, Float

from vaejax.distributions import Gaussian
from vaejax.method import Distribution


def _flat(array: Float[Array, "B ..."]) -> Float[Array, "B D"]:
    return array.reshape(array.shape[0], -1)


def reconstruction(likelihood: Distribution, x: Float[Array, "B H W C"]) -> Float[Array, " B"]:
    """-log p(x | z) in nats per example: the reconstruction term (distortion).

    Flat before any arithmetic: a trailing axis of 1 channel costs XLA:CPU 10 ms instead of 0.3 ms at 64x64.
    """
    return -jax.tree.map(_flat, likelihood).log_prob(_flat(x)).sum(axis=-1)


def kl_per_latent(posterior: Gaussian) -> Float[Array, "B latents"]:
    """KL(q(z_j | x) || N(0, 1)) in nats per example and latent: its sum is the rate."""
    return posterior.kl()


def squared_error(likelihood: Distribution, x: Float[Array, "B H W C"]) -> Float[Array, " B"]:
    """|| x - E[x | z] ||^2 per example, summed over pixels."""
    return ((_flat(x) - _flat(likelihood.mean)) ** 2).sum(axis=-1)
