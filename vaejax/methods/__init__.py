"""One file per method, the table from a method's name to its constructor, and `build` from names alone."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from vaejax.distributions.spaces import family_of
from vaejax.errors import InputError, choose
from vaejax.method import Method, Space, as_space
from vaejax.methods.parts.constructor import Wanted, fitting, kind_for, options_of, wanted_of
from vaejax.networks import NETWORKS, OF_ANY, Width, sizes_of_network
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
    wanted = _wanted(method).network
    if wanted is None or (len(space.shape) != 3 and wanted not in OF_ANY):
        wanted = "conv" if len(space.shape) == 3 else "mlp_relu"
    network = wanted if network is None else network
    choose(NETWORKS, network, "network")
    alone = [name for name in METHODS if _wanted(name)[:2] == (network, True)]
    if alone and method not in alone:
        raise InputError(
            f"the network {network!r} is for the method {' or '.join(alone)} alone; for {method} choose {wanted!r} or "
            "another one"
        )
    _check_served(method, space)
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


def _check_served(method: str, space: Space) -> None:
    """Nothing, where the method can serve such examples.

    Raises:
      InputError: it can't.
    """
    wanted = _wanted(method)
    kinds: set[str] = set((space.kind,) if isinstance(space.kind, str) else space.kind)
    other = next((name for name in METHODS if _serves(_wanted(name), space, kinds)), "another")
    if not wanted.vectors and len(space.shape) != 3:
        raise InputError(f"the method {method!r} is for images; for vectors choose {other!r}")
    if space.ragged and not wanted.missing:
        raise InputError(f"the method {method!r} is for data without missing values; choose {other!r}, or fill them in")
    if not kinds <= set(wanted.kinds):
        words = " or ".join(wanted.kinds)
        raise InputError(f"the method {method!r} is for data of kind {words}, not {space.kind}; choose {other!r}")


def _serves(wanted: Wanted, space: Space, kinds: set[str]) -> bool:
    served = wanted.vectors or len(space.shape) == 3
    return served and kinds <= set(wanted.kinds) and (wanted.missing or not space.ragged)


@lru_cache(maxsize=KEPT)
def _built(
    method: str, space: Space, latents: int, width: Width, network: str, likelihood: str, **structure: Any
) -> Method:
    networks = build_network(network, space.shape, latents, width, space)
    made = METHODS[method](*networks, family_of(space, likelihood)[1], **structure, **kind_for(METHODS[method], space))
    return made.made_by(build, method, space, network, latents, width, likelihood, **structure)


def _wanted(method: str) -> Wanted:
    return wanted_of(METHODS[method]) or Wanted()


def structure_of(method: str) -> tuple[str, ...]:
    """The options of this method's constructor beside its networks and its likelihood.

    Raises:
      InputError: an unknown method.
    """
    return tuple(options_of(choose(METHODS, method, "method")))
