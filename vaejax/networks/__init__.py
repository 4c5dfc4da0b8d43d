"""Encoders and decoders as pure Linen modules, and the table from a network's name to its two halves."""

from collections.abc import Callable
from typing import Any

import numpy as np
from flax import linen as nn

from vaejax.errors import InputError, choose
from vaejax.method import Space
from vaejax.networks.conv import ConvDecoder, ConvEncoder
from vaejax.networks.hierarchical import BottomUp, TopDown, fitting_levels
from vaejax.networks.mlp import MLPDecoder, MLPEncoder
from vaejax.networks.residual import ResidualDecoder, ResidualEncoder
from vaejax.networks.sizes import Shape, check_depth, example_shape, whole_number, whole_numbers

Width = int | tuple[int, ...] | None
Build = Callable[[Shape, int, Width], tuple[nn.Module, nn.Module]]


def _mlp(shape: Shape, latents: int, width: Width) -> tuple[nn.Module, nn.Module]:
    width = _one("mlp", width) or 1200
    return MLPEncoder(latents, (width,) * 2), MLPDecoder(shape, (width,) * 3)


def _mirrored(activation: str) -> Build:
    def make(shape: Shape, latents: int, width: Width) -> tuple[nn.Module, nn.Module]:
        layers = width if isinstance(width, tuple) else (width or 200,) * 2
        return MLPEncoder(latents, layers, activation), MLPDecoder(shape, layers[::-1], activation)

    return make


def _conv(shape: Shape, latents: int, width: Width, small_kernels: bool = False) -> tuple[nn.Module, nn.Module]:
    width = _one("conv", width)
    height, wide, channels = shape
    if any(side % 4 or not 8 <= side <= 128 for side in (height, wide)) or channels not in (1, 3):
        raise InputError(
            f"a convolutional network takes images whose sides are multiples of 4 from 8 to 128, with 1 or 3 channels, "
            f"not {height}x{wide}x{channels}; use the network 'mlp', or pad or crop the images"
        )
    return ConvEncoder(latents, width or 32, small_kernels), ConvDecoder(shape, width or 32)


def _conv_k2(shape: Shape, latents: int, width: Width) -> tuple[nn.Module, nn.Module]:
    return _conv(shape, latents, width, small_kernels=True)


def _residual(shape: Shape, latents: int, width: Width) -> tuple[nn.Module, nn.Module]:
    width = _one("residual", width) or 128
    height, wide, channels = shape
    if height % 4 or wide % 4:
        raise InputError(
            f"the network 'residual' takes images whose sides are multiples of 4, not {height}x{wide}; pad or crop them"
        )
    return ResidualEncoder(latents, width), ResidualDecoder(channels, width)


def _hierarchical(shape: Shape, latents: int, width: Width) -> tuple[nn.Module, nn.Module]:
    width = width or 64
    if isinstance(width, tuple) and len(width) != 2:
        raise InputError(f"the network 'hierarchical' takes a width, or it and that inside its blocks, not {width}")
    wide, inside = width if isinstance(width, tuple) else (width, max(1, width // 4))
    levels = fitting_levels(shape)
    return BottomUp(shape, wide, inside, levels), TopDown(shape, latents, wide, inside, levels)


def _one(network: str, width: Width) -> int | None:
    """The width of a network that has one width.

    Raises:
      InputError: several were given.
    """
    if isinstance(width, tuple):
        several = ", ".join(name for name in NETWORKS if name.startswith("mlp_"))
        raise InputError(f"the network {network!r} takes one width, not {width}; these take several: {several}")
    return width


NETWORKS: dict[str, Build] = {
    "mlp": _mlp,
    "mlp_relu": _mirrored("relu"),
    "mlp_tanh": _mirrored("tanh"),
    "mlp_sigmoid": _mirrored("sigmoid"),
    "conv": _conv,
    "conv_k2": _conv_k2,
    "residual": _residual,
    "hierarchical": _hierarchical,  # for hierarchical_vae alone
}


OF_ANY = tuple(name for name in NETWORKS if name.startswith("mlp"))  # which take examples of any shape


def sizes_of_network(shape: Any, latents: Any, width: Any) -> tuple[Shape, int, Width]:
    """These as plain Python has them: lists as tuples, NumPy's whole numbers as `int`.

    Raises:
      InputError: one of them is no whole number, below 1, or no shape.
    """
    shape, latents = example_shape(shape), whole_number("latents", latents)
    widths = whole_numbers("width", 1 if width is None else width)
    if latents < 1 or not widths or min(widths) < 1:
        raise InputError(f"a network needs at least 1 latent and width 1, not {latents} latents and width {width}")
    check_depth("width", len(widths))
    if width is None:
        return shape, latents, None
    return shape, latents, widths if np.ndim(width) else widths[0]


def network(
    name: str, shape: Shape, latents: int, width: Width = None, space: Space | None = None
) -> tuple[nn.Module, nn.Module]:
    """The encoder and the decoder for images [height, width, channels] or vectors [D].

    `width` is the size of a hidden layer of `mlp` (1200 if not given), the number of channels of the first
    convolution (32 if not given) or of most convolutions of `residual` (128) or `hierarchical` (64, or two numbers:
    also those inside its blocks), or the hidden layers of the encoder of `mlp_relu`, `mlp_tanh` and `mlp_sigmoid`,
    which their decoders repeat in reverse: several sizes, or one for two layers (200 if not given).

    A `space` of counts or categories tells a fully connected encoder how to read them (`vaejax.networks.features`).

    Raises:
      InputError: an unknown name, a shape that the network can't take, or a size below 1.
    """
    build = choose(NETWORKS, name, "network")
    sizes = sizes_of_network(shape, latents, width)
    if len(sizes[0]) != 3 and name not in OF_ANY:
        vectors, choices = f"vectors of {sizes[0][0]} numbers", ", ".join(OF_ANY)
        raise InputError(f"the network {name!r} takes images, not {vectors}; choose one of: {choices}")
    encoder, decoder = build(*sizes)
    if space is not None and name in OF_ANY and space.kind not in ("unit", "real"):
        encoder = encoder.clone(space=space)
    return encoder, decoder
