"""One file per method, the table from a method's name to its constructor, and `build` from names alone."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from vaejax.distributions.basic import LIKELIHOODS
from vaejax.errors import InputError, choose
from vaejax.method import Method
from vaejax.methods.adversarial_autoencoder import adversarial_autoencoder
from vaejax.methods.annealed_beta import annealed_beta
from vaejax.methods.annealed_capacity import annealed_capacity
from vaejax.methods.autoencoder import autoencoder
from vaejax.methods.beta_tcvae import beta_tcvae
from vaejax.methods.beta_vae import beta_vae
from vaejax.methods.conditional_vae import conditional_vae
from vaejax.methods.contractive_autoencoder import contractive_autoencoder
from vaejax.methods.denoising_autoencoder import denoising_autoencoder
from vaejax.methods.denoising_vae import denoising_vae
from vaejax.methods.dip_vae_i import dip_vae_i
from vaejax.methods.dip_vae_ii import dip_vae_ii
from vaejax.methods.factor_vae import factor_vae
from vaejax.methods.fsq_vae import fsq_vae
from vaejax.methods.hierarchical_vae import hierarchical_vae
from vaejax.methods.info_vae import info_vae
from vaejax.methods.iwae import iwae
from vaejax.methods.k_sparse_autoencoder import k_sparse_autoencoder
from vaejax.methods.kl_sparse_autoencoder import kl_sparse_autoencoder
from vaejax.methods.parts.constructor import fitting, options_of
from vaejax.methods.sparse_autoencoder import sparse_autoencoder
from vaejax.methods.stacked_autoencoder import stacked_autoencoder
from vaejax.methods.stacked_classifier import stacked_classifier
from vaejax.methods.vae import vae
from vaejax.methods.vamp_vae import vamp_vae
from vaejax.methods.vq_vae import vq_vae
from vaejax.methods.wae_mmd import wae_mmd
from vaejax.networks import NETWORKS, Width, sizes_of_network
from vaejax.networks import network as build_network
from vaejax.networks.sizes import Shape

METHODS: dict[str, Callable[..., Method]] = {
    "vae": vae,
    "iwae": iwae,
    "beta_vae": beta_vae,
    "annealed_beta": annealed_beta,
    "annealed_capacity": annealed_capacity,
    "factor_vae": factor_vae,
    "beta_tcvae": beta_tcvae,
    "dip_vae_i": dip_vae_i,
    "dip_vae_ii": dip_vae_ii,
    "autoencoder": autoencoder,
    "sparse_autoencoder": sparse_autoencoder,
    "kl_sparse_autoencoder": kl_sparse_autoencoder,
    "k_sparse_autoencoder": k_sparse_autoencoder,
    "contractive_autoencoder": contractive_autoencoder,
    "denoising_autoencoder": denoising_autoencoder,
    "denoising_vae": denoising_vae,
    "stacked_autoencoder": stacked_autoencoder,
    "stacked_classifier": stacked_classifier,
    "conditional_vae": conditional_vae,
    "vamp_vae": vamp_vae,
    "wae_mmd": wae_mmd,
    "info_vae": info_vae,
    "adversarial_autoencoder": adversarial_autoencoder,
    "vq_vae": vq_vae,
    "fsq_vae": fsq_vae,
    "hierarchical_vae": hierarchical_vae,
}
NETWORK_OF: dict[str, str] = {  # methods that need a network of their own
    "stacked_autoencoder": "mlp_sigmoid",
    "stacked_classifier": "mlp_sigmoid",
    "vq_vae": "residual",
    "fsq_vae": "residual",
    "hierarchical_vae": "hierarchical",
}
ALONE = {"residual": ("vq_vae", "fsq_vae"), "hierarchical": ("hierarchical_vae",)}  # networks for these methods only
KEPT = 128  # methods, so that the same names give the same object; each holds what was compiled for it

__all__ = [
    "METHODS", "adversarial_autoencoder", "annealed_beta", "annealed_capacity", "autoencoder", "beta_tcvae",
    "beta_vae", "build", "conditional_vae", "contractive_autoencoder", "denoising_autoencoder", "denoising_vae",
    "dip_vae_i", "dip_vae_ii", "factor_vae", "fsq_vae", "hierarchical_vae", "info_vae", "k_sparse_autoencoder",
    "kl_sparse_autoencoder", "sparse_autoencoder", "stacked_autoencoder", "stacked_classifier", "structure_of", "vae",
    "vamp_vae", "vq_vae", "wae_mmd",
]  # fmt: skip


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
    network = NETWORK_OF.get(method, "conv") if network is None else network
    choose(NETWORKS, network, "network")
    if method not in ALONE.get(network, (method,)):
        raise InputError(
            f"the network {network!r} is for the method {' or '.join(ALONE[network])} alone; for {method} choose "
            f"{NETWORK_OF.get(method, 'conv')!r} or another one"
        )
    return _built(method, *sizes_of_network(shape, latents, width), network, likelihood, **structure)


@lru_cache(maxsize=KEPT)
def _built(
    method: str, shape: Shape, latents: int, width: Width, network: str, likelihood: str, **structure: Any
) -> Method:
    networks = build_network(network, shape, latents, width)
    made = METHODS[method](*networks, LIKELIHOODS[likelihood], **structure)
    return made.made_by(build, method, shape, network, latents, width, likelihood, **structure)


def structure_of(method: str) -> tuple[str, ...]:
    """The options of this method's constructor beside its networks and its likelihood.

    Raises:
      InputError: an unknown method.
    """
    return tuple(options_of(choose(METHODS, method, "method")))
