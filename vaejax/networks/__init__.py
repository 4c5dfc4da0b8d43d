"""Encoders and decoders as pure Linen modules, and the table from a network's name to its two halves."""

from collections.abc import Callable

from flax import linen as nn

from vaejax.errors import InputError, choose
from vaejax.networks.conv import ConvDecoder, ConvEncoder
from vaejax.networks.mlp import MLPDecoder, MLPEncoder

Shape = tuple[int, int, int]


def _mlp(shape: Shape, latents: int, width: int | None) -> tuple[nn.Module, nn.Module]:
    return MLPEncoder(latents, width or 1200), MLPDecoder(shape, width or 1200)


def _conv(shape: Shape, latents: int, width: int | None, small_kernels: bool = False) -> tuple[nn.Module, nn.Module]:
    height, wide, channels = shape
    if any(side % 4 or not 8 <= side <= 128 for side in (height, wide)) or channels not in (1, 3):
        raise InputError(
            f"a convolutional network takes images whose sides are multiples of 4 from 8 to 128, with 1 or 3 channels, "
            f"not {height}x{wide}x{channels}; use the network 'mlp', or pad or crop the images"
        )
    return ConvEncoder(latents, width or 32, small_kernels), ConvDecoder(shape, width or 32)


def _conv_k2(shape: Shape, latents: int, width: int | None) -> tuple[nn.Module, nn.Module]:
    return _conv(shape, latents, width, small_kernels=True)


NETWORKS: dict[str, Callable[[Shape, int, int | None], tuple[nn.Module, nn.Module]]] = {
    "mlp": _mlp,
    "conv": _conv,
    "conv_k2": _conv_k2,
}


def network(name: str, shape: Shape, latents: int, width: int | None = None) -> tuple[nn.Module, nn.Module]:
    """The encoder and the decoder for images [height, width, channels].

    `width` is the size of a hidden layer of the MLP (1200 if not given) or the number of channels of the first
    convolution (32 if not given).

    Raises:
      InputError: an unknown name, a shape that the network can't take, or a size below 1.
    """
    build = choose(NETWORKS, name, "network")
    if latents < 1 or (width is not None and width < 1):
        raise InputError(f"a network needs at least 1 latent and width 1, not {latents} latents and width {width}")
    return build(shape, latents, width)
