"""Convolutional encoder and decoder for any image size from 8 to 128 (Burgess et al. 2018 at 64 x 64).

At 64 x 64: 4 x 4 convolutions of stride 2 with 32, 32, 64, 64 channels, dense 256, ReLU; the decoder is its mirror
image. Other sizes have as many layers as it takes to come down to 4 x 4 or less: the last two have `2 * width`
channels, those before `width`. A side that is odd on the way (28 -> 14 -> 7 -> 4) gets one row of zeros below or to
the right, and the decoder cuts it off again. `small_kernels` is the variant of Locatello et al. 2019: the deeper half
of the encoder has 2 x 2 kernels.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from vaejax.networks.convolution import conv, conv_transpose
from vaejax.networks.mlp import GLOROT


def halvings(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """The sides before every layer and after the last: (28, 28) -> ((28, 28), (14, 14), (7, 7), (4, 4))."""
    rest = () if max(height, width) <= 4 else halvings(-(-height // 2), -(-width // 2))
    return ((height, width), *rest)


def channels(layers: int, width: int) -> tuple[int, ...]:
    """The encoder's channels after every layer."""
    return (width,) * (layers - 2) + (2 * width,) * min(layers, 2)


class _Conv(nn.Module):
    features: int
    kernel: int = 4
    transpose: bool = False

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", GLOROT, (self.kernel, self.kernel, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return (conv_transpose if self.transpose else conv)(x, kernel) + bias[None, None, None]


class ConvEncoder(nn.Module):
    """x [B, H, W, C] -> the `parameters` arrays [B, latents] of a posterior."""

    latents: int
    width: int = 32
    small_kernels: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], parameters: int) -> tuple[Float[Array, "B latents"], ...]:
        layers = len(halvings(*x.shape[1:3])) - 1
        h = x
        for layer, features in enumerate(channels(layers, self.width)):
            small = self.small_kernels and layer >= layers - layers // 2
            h = jnp.pad(h, ((0, 0), (0, h.shape[1] % 2), (0, h.shape[2] % 2), (0, 0)))
            h = nn.relu(_Conv(features, 2 if small else 4)(h))
        h = nn.relu(nn.Dense(8 * self.width, kernel_init=GLOROT)(h.reshape(h.shape[0], -1)))
        return tuple(jnp.split(nn.Dense(self.latents * parameters, kernel_init=GLOROT)(h), parameters, axis=-1))


class ConvDecoder(nn.Module):
    """z [B, latents] -> the `parameters` arrays [B, *shape] of a likelihood."""

    shape: tuple[int, ...]
    width: int = 32

    @nn.compact
    def __call__(self, z: Float[Array, "B latents"], parameters: int) -> tuple[Float[Array, "B H W C"], ...]:
        height, width, image_channels = self.shape
        *outputs, (rows, columns) = halvings(height, width)
        *features, first = channels(len(outputs), self.width)
        h = nn.relu(nn.Dense(8 * self.width, kernel_init=GLOROT)(z))
        h = nn.Dense(rows * columns * first, kernel_init=GLOROT)(h).reshape(-1, rows, columns, first)
        for out, (rows, columns) in zip([*features[::-1], image_channels * parameters], outputs[::-1], strict=True):
            h = _Conv(out, transpose=True)(nn.relu(h))[:, :rows, :columns]
        return tuple(jnp.split(h, parameters, axis=-1))
