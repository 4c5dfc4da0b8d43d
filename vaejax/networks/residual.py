"""The residual encoder and decoder of van den Oord et al. 2017, whose codes keep a grid of places.

Encoder: two 4x4 convolutions of stride 2, one 3x3, two residual blocks (ReLU, 3x3, ReLU, 1x1), ReLU, and 1x1 to the
codes; so an image [H, W] has codes [H/4, W/4]. Decoder: 3x3, two residual blocks, ReLU, and two transposed 4x4
convolutions of stride 2. The paper's blocks have 256 hidden units throughout. Here, as in the sizes the authors
published for CIFAR-10, `width` is 128, the layers at half resolution have width / 2 channels, the inner ones of a block
width / 4.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from vaejax.networks.convolution import conv, conv_same, conv_transpose
from vaejax.networks.mlp import GLOROT

OPERATORS = {"half": conv, "same": conv_same, "double": conv_transpose}
BLOCKS = 2


class Convolution(nn.Module):
    """x [B, H, W, I] -> [B, H', W', features]: `half` and `double` the sides, or keep them the `same`, with a bias."""

    features: int
    kernel: int
    change: str = "same"
    initial: nn.initializers.Initializer = GLOROT

    @nn.compact
    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B H2 W2 O"]:
        kernel = self.param("kernel", self.initial, (self.kernel, self.kernel, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return OPERATORS[self.change](x, kernel) + bias[None, None, None]


class Residual(nn.Module):
    """h + 1x1(relu(3x3(relu(h)))), with `inner` channels between the two."""

    inner: int

    @nn.compact
    def __call__(self, h: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        inside = nn.relu(Convolution(self.inner, 3)(nn.relu(h)))
        return h + nn.Dense(h.shape[-1], kernel_init=GLOROT)(inside)


def _blocks(width: int, h: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    for _ in range(BLOCKS):
        h = Residual(max(1, width // 4))(h)
    return nn.relu(h)


class ResidualEncoder(nn.Module):
    """x [B, H, W, C] -> the `parameters` arrays [B, H/4, W/4, latents] of a posterior."""

    latents: int
    width: int = 128

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], parameters: int) -> tuple[Float[Array, "B h w latents"], ...]:
        h = nn.relu(Convolution(max(1, self.width // 2), 4, "half")(x))
        h = nn.relu(Convolution(self.width, 4, "half")(h))
        h = _blocks(self.width, Convolution(self.width, 3)(h))
        return tuple(jnp.split(nn.Dense(self.latents * parameters, kernel_init=GLOROT)(h), parameters, axis=-1))


class ResidualDecoder(nn.Module):
    """z [B, H/4, W/4, latents] -> the `parameters` arrays [B, H, W, C] of a likelihood."""

    channels: int
    width: int = 128

    @nn.compact
    def __call__(self, z: Float[Array, "B h w latents"], parameters: int) -> tuple[Float[Array, "B H W C"], ...]:
        h = _blocks(self.width, Convolution(self.width, 3)(z))
        h = nn.relu(Convolution(max(1, self.width // 2), 4, "double")(h))
        h = Convolution(self.channels * parameters, 4, "double")(h)
        return tuple(jnp.split(h, parameters, axis=-1))
