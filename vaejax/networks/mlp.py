"""Fully connected encoders and decoders: the asymmetric pair of Higgins et al. 2017, or mirror images of any layers.

Higgins et al.: encoder 2 x 1200 ReLU, decoder 3 x 1200 tanh. The decoders of the mirrored ones repeat the encoder's
layers in reverse, as those of Burda et al. 2016 (200-200 tanh) and Hinton & Salakhutdinov 2006 (1000-500-250).
"""

import math

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from vaejax.method import Space
from vaejax.networks.features import features

GLOROT = nn.initializers.glorot_uniform()
ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh, "sigmoid": nn.sigmoid}


class MLPEncoder(nn.Module):
    """x [B, *shape] -> the `parameters` arrays [B, latents] of a posterior."""

    latents: int
    layers: tuple[int, ...] = (1200, 1200)
    activation: str = "relu"
    space: Space | None = None  # of x, where its numbers are not read as they are

    @nn.compact
    def __call__(self, x: Float[Array, " B *shape"], parameters: int) -> tuple[Float[Array, "B latents"], ...]:
        h = features(x, self.space)
        for width in self.layers:
            h = ACTIVATIONS[self.activation](nn.Dense(width, kernel_init=GLOROT)(h))
        return tuple(jnp.split(nn.Dense(self.latents * parameters, kernel_init=GLOROT)(h), parameters, axis=-1))


class MLPDecoder(nn.Module):
    """z [B, latents] -> the `parameters` arrays [B, *shape] of a likelihood."""

    shape: tuple[int, ...]
    layers: tuple[int, ...] = (1200, 1200, 1200)
    activation: str = "tanh"

    @nn.compact
    def __call__(self, z: Float[Array, "B latents"], parameters: int) -> tuple[Float[Array, " B *shape"], ...]:
        h = z
        for width in self.layers:
            h = ACTIVATIONS[self.activation](nn.Dense(width, kernel_init=GLOROT)(h))
        h = nn.Dense(math.prod(self.shape) * parameters, kernel_init=GLOROT)(h)
        return tuple(part.reshape(-1, *self.shape) for part in jnp.split(h, parameters, axis=-1))
