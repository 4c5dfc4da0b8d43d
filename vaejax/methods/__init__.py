"""One file per method, the table from a method's name to its constructor, and `build` from names alone."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from vaejax.distributions.basic import LIKELIHOODS
from vaejax.errors import InputError, choose
from vaejax.method import Method
from vaejax.methods.parts.constructor import Wanted, fitting, options_of, wanted_of
from vaejax.networks import NETWORKS, Width, sizes_of_network
from vaejax.networks import network as build_network
from vaejax.networks.sizes import Shape

# A line per method, in the order in which they are listed: a new one is its file and a line here. METHODS and what
# `vaejax` exports follow from it.
# ruff: noqa: F401
# pyright: reportUnsupportedDunderAll=false
# isort: off
from vaejax.methods.vae import vae
from vaejax.methods.iwae import iwae
from vaejax.methods.beta_vae import beta_vae
from vaejax.methods.annealed_beta import annealed_beta
from vaejax.methods.annealed_capacity import annealed_capacity
from vaejax.methods.factor_vae import factor_vae
from vaejax.methods.beta_tcvae import beta_tcvae
from vaejax.methods.dip_vae_i import dip_vae_i
from vaejax.methods.dip_vae_ii import dip_vae_ii
from vaejax.methods.autoencoder import autoencoder
from vaejax.methods.sparse_autoencoder import sparse_autoencoder
from vaejax.methods.kl_sparse_autoencoder import kl_sparse_autoencoder
from vaejax.methods.k_sparse_autoencoder import k_sparse_autoencoder
from vaejax.methods.contractive_autoencoder import contractive_autoencoder
from vaejax.methods.denoising_autoencoder import denoising_autoencoder
from vaejax.methods.denoising_vae import denoising_vae
from vaejax.methods.stacked_autoencoder import stacked_autoencoder
from vaejax.methods.stacked_classifier import stacked_classifier
from vaejax.methods.conditional_vae import conditional_vae
from vaejax.methods.vamp_vae import vamp_vae
from vaejax.methods.wae_mmd import wae_mmd
from vaejax.methods.info_vae import info_vae
from vaejax.methods.adversarial_autoencoder import adversarial_autoencoder
from vaejax.methods.vq_vae import vq_vae
from vaejax.methods.fsq_vae import fsq_vae
from vaejax.methods.hierarchical_vae import hierarchical_vae
# isort: on

METHODS: dict[str, Callable[..., Method]] = {  # the constructors among these names
    name: made for name, made in list(globals().items()) if wanted_of(made) is not None
}
KEPT = 128  # methods, so that the same names give the same object; each holds what was compiled for it

__all__ = ["METHODS", "build", "structure_of", *METHODS]


def build(
    method: str,
    shape: Shape,
    network: str | None = None,
    latents: int = 10,
    width: Width = None,
    likelihood: str = "bernoulli",
    **structure: Any,
) -> Method:
    """The method of this name for images of this shape. Equal arguments give the same object, so nothing recompiles.

    It can be pickled, and is the same object again where it is unpickled.

    Args:
      network: one of `vaejax.networks.NETWORKS`; the method's own, or `conv`, if not given.
      **structure: what else the method's constructor takes, such as `discriminator_width` for `factor_vae` or
        `corruption` for `denoising_autoencoder`; see there.

    Raises:
      InputError: an unknown method, network or likelihood, a network that the method or the shape can't have, or an
        option that the method doesn't take or that is of another type.
    """
    options = options_of(choose(METHODS, method, "method"))
    for name in structure:
        if name not in options:
            takes = f"its options are: {', '.join(options)}" if options else "it has no options of its own"
            raise InputError(f"the method {method!r} takes no {name!r}; {takes}")
    structure = {name: fitting(name, value, options[name]) for name, value in sorted(structure.items())}
    choose(LIKELIHOODS, likelihood, "likelihood")
    wanted = _wanted(method).network or "conv"
    network = wanted if network is None else network
    choose(NETWORKS, network, "network")
    alone = [name for name in METHODS if _wanted(name) == Wanted(network, alone=True)]
    if alone and method not in alone:
        raise InputError(
            f"the network {network!r} is for the method {' or '.join(alone)} alone; for {method} choose {wanted!r} or "
            "another one"
        )
    return _built(method, *sizes_of_network(shape, latents, width), network, likelihood, **structure)


@lru_cache(maxsize=KEPT)
def _built(
    method: str, shape: Shape, latents: int, width: Width, network: str, likelihood: str, **structure: Any
) -> Method:
    networks = build_network(network, shape, latents, width)
    made = METHODS[method](*networks, LIKELIHOODS[likelihood], **structure)
    return made.made_by(build, method, shape, network, latents, width, likelihood, **structure)


def _wanted(method: str) -> Wanted:
    return wanted_of(METHODS[method]) or Wanted()


def structure_of(method: str) -> tuple[str, ...]:
    """The options of this method's constructor beside its networks and its likelihood.

    Raises:
      InputError: an unknown method.
    """
    return tuple(options_of(choose(METHODS, method, "method")))
