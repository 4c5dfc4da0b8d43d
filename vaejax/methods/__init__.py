"""One file per method, the table from a method's name to its constructor, and `build` from names alone."""

import inspect
from collections.abc import Callable
from functools import cache

from vaejax.distributions import LIKELIHOODS
from vaejax.errors import InputError, choose
from vaejax.method import Method
from vaejax.methods.annealed_beta import annealed_beta
from vaejax.methods.annealed_capacity import annealed_capacity
from vaejax.methods.autoencoder import autoencoder
from vaejax.methods.beta_tcvae import beta_tcvae
from vaejax.methods.beta_vae import beta_vae
from vaejax.methods.dip_vae_i import dip_vae_i
from vaejax.methods.dip_vae_ii import dip_vae_ii
from vaejax.methods.factor_vae import factor_vae
from vaejax.methods.sparse_autoencoder import sparse_autoencoder
from vaejax.methods.vae import vae
from vaejax.networks import network as build_network

METHODS: dict[str, Callable[..., Method]] = {
    "vae": vae,
    "beta_vae": beta_vae,
    "annealed_beta": annealed_beta,
    "annealed_capacity": annealed_capacity,
    "factor_vae": factor_vae,
    "beta_tcvae": beta_tcvae,
    "dip_vae_i": dip_vae_i,
    "dip_vae_ii": dip_vae_ii,
    "autoencoder": autoencoder,
    "sparse_autoencoder": sparse_autoencoder,
}

__all__ = [
    "METHODS", "annealed_beta", "annealed_capacity", "autoencoder", "beta_tcvae", "beta_vae", "build", "dip_vae_i",
    "dip_vae_ii", "factor_vae", "sparse_autoencoder", "structure_of", "vae",
]  # fmt: skip


@cache
def build(
    method: str,
    shape: tuple[int, int, int],
    network: str = "conv",
    latents: int = 10,
    width: int | None = None,
    likelihood: str = "bernoulli",
    **structure: str | int | None,
) -> Method:
    """The method of this name for images of this shape. Equal arguments give the same object, so nothing recompiles.

    Args:
      **structure: what else the method's constructor takes: `discriminator_width` and `discriminator_depth` for
        `factor_vae`; `estimator` and `size` (images in the data set) for `beta_tcvae`.

    Raises:
      InputError: an unknown method, network or likelihood, a network that can't take the shape, or an option that the
        method doesn't take.
    """
    make = choose(METHODS, method, "method")
    family = choose(LIKELIHOODS, likelihood, "likelihood")
    options = structure_of(method)
    for name in structure:
        if name not in options:
            takes = f"its options are: {', '.join(options)}" if options else "it has no options of its own"
            raise InputError(f"the method {method!r} takes no {name!r}; {takes}")
    return make(*build_network(network, shape, latents, width), family, **structure)


def structure_of(method: str) -> tuple[str, ...]:
    """The options of this method's constructor beside its networks and its likelihood.

    Raises:
      InputError: an unknown method.
    """
    return tuple(inspect.signature(choose(METHODS, method, "method")).parameters)[3:]
