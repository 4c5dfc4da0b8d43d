"""One file per method, the table from a method's name to its constructor, and `build` from names alone."""

from collections.abc import Callable
from functools import cache

from vaejax.distributions import LIKELIHOODS
from vaejax.errors import choose
from vaejax.method import Method
from vaejax.methods.autoencoder import autoencoder
from vaejax.methods.beta_vae import beta_vae
from vaejax.methods.vae import vae
from vaejax.networks import network as build_network

METHODS: dict[str, Callable[..., Method]] = {
    "autoencoder": autoencoder,
    "vae": vae,
    "beta_vae": beta_vae,
}

__all__ = ["METHODS", "autoencoder", "beta_vae", "build", "vae"]


@cache
def build(
    method: str,
    shape: tuple[int, int, int],
    network: str = "conv",
    latents: int = 10,
    width: int | None = None,
    likelihood: str = "bernoulli",
) -> Method:
    """The method of this name for images of this shape. Equal arguments give the same object, so nothing recompiles.

    Raises:
      InputError: an unknown method, network or likelihood, or a network that can't take the shape.
    """
    make = choose(METHODS, method, "method")
    family = choose(LIKELIHOODS, likelihood, "likelihood")
    return make(*build_network(network, shape, latents, width), family)
