"""One file per method, the table from a method's name to its constructor, and `build` from names alone."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from vaejax.distributions.spaces import family_of
from vaejax.errors import InputError, choose
from vaejax.method import Method, Space, as_space
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
ONLY_IMAGES = {"vq_vae": "vae", "fsq_vae": "vae", "hierarchical_vae": "vae"}  # and what serves vectors
ONLY_NUMBERS = (  # whose layers or conditions see x as it is
    "stacked_autoencoder", "stacked_classifier", "conditional_vae", "denoising_autoencoder", "denoising_vae",
    "contractive_autoencoder",
)  # fmt: skip
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
    shape: Space | Shape,
    network: str | None = None,
    latents: int = 10,
    width: Width = None,
    likelihood: str | None = None,
    **structure: Any,
) -> Method:
    """The method of this name for such examples. Equal arguments give the same object, so nothing recompiles.

    It can be pickled, and is the same object again where it is unpickled.

    Args:
      shape: what one example is, `source.space`; of a bare shape, (H, W, C) is an image and (D,) a vector of numbers.
      network: one of `vaejax.networks.NETWORKS`; the method's own, or `conv` for images and `mlp_relu` for vectors, if
        not given.
      likelihood: one of `vaejax.distributions.LIKELIHOODS` that the space can have; its default if not given: that of
        `vaejax.distributions.spaces`.
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
    space, latents, width = _sizes(shape, latents, width)
    likelihood, _ = family_of(space, likelihood)
    default = "conv" if len(space.shape) == 3 else "mlp_relu"
    network = NETWORK_OF.get(method, default) if network is None else network
    choose(NETWORKS, network, "network")
    if method not in ALONE.get(network, (method,)):
        raise InputError(
            f"the network {network!r} is for the method {' or '.join(ALONE[network])} alone; for {method} choose "
            f"{NETWORK_OF.get(method, 'conv')!r} or another one"
        )
    check_served(method, space, structure)
    return _built(method, space, latents, width, network, likelihood, **structure)


def _sizes(shape: Any, latents: Any, width: Any) -> tuple[Space, int, Width]:
    """The space of these examples, and the other two as plain Python has them.

    Raises:
      InputError: one of them is no whole number, below 1, or no shape.
    """
    of, latents, width = sizes_of_network(shape.shape if isinstance(shape, Space) else shape, latents, width)
    space = shape._replace(shape=of) if isinstance(shape, Space) else as_space(of)
    plain = (tuple(field) if isinstance(field, list) else field for field in (space.kind, space.levels))
    return space._replace(**dict(zip(("kind", "levels"), plain, strict=True))), latents, width


def check_served(method: str, space: Space, structure: Mapping[str, Any]) -> None:
    """Nothing, where the method can serve such examples.

    Raises:
      InputError: it can't; the line says what can.
    """
    vector = len(space.shape) != 3
    if vector and method in ONLY_IMAGES:
        raise InputError(f"{method} is for images; for vectors choose {ONLY_IMAGES[method]}")
    if space.kind not in ("unit", "real") and method in ONLY_NUMBERS:
        raise InputError(f"{method} is for values that are read as they are, not counts or categories; choose vae")
    if space.kind != "unit" and method == "vamp_vae" and structure.get("prior", "vamp") == "vamp":
        raise InputError("vamp_vae's pseudo-inputs are from 0 to 1; give prior='mixture' for other kinds of data")
    if vector and method == "conditional_vae" and str(structure.get("condition", "")).startswith("quadrant"):
        raise InputError("a vector has no quadrants; give condition='label' or 'factors'")


@lru_cache(maxsize=KEPT)
def _built(
    method: str, space: Space, latents: int, width: Width, network: str, likelihood: str, **structure: Any
) -> Method:
    networks = build_network(network, space.shape, latents, width, space)
    made = METHODS[method](*networks, family_of(space, likelihood)[1], **structure)
    return made.made_by(build, method, space, network, latents, width, likelihood, **structure)


def structure_of(method: str) -> tuple[str, ...]:
    """The options of this method's constructor beside its networks and its likelihood.

    Raises:
      InputError: an unknown method.
    """
    return tuple(options_of(choose(METHODS, method, "method")))
