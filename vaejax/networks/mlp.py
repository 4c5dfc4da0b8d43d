"""Fully connected encoder and decoder (Higgins et al. 2017: encoder 2 x 1200 ReLU, decoder 3 x 1200 tanh)."""

import math

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

GLOROT = nn.initializers.glorot_uniform()


class MLPEncoder(nn.Module):
    """x [B, H, W, C] -> the `parameters` arrays [B, latents] of a posterior."""

    latents: int
    width: int = 1200
    depth: int = 2

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], parameters: int) -> tuple[Float[Array, "B latents"], ...]:
        h = x.reshape(x.shape[0], -1)
        for _ in range(self.depth):
            h = nn.relu(nn.Dense(self.width, kernel_init=GLOROT)(h))
        return tuple(jnp.split(nn.Dense(self.latents * parameters, kernel_init=GLOROT)(h), parameters, axis=-1))


class MLPDecoder(nn.Module):
    """z [B, latents] -> the `parameters` arrays [B, *shape] of a likelihood."""

    shape: tuple[int, int, int]
    width: int = 1200
    depth: int = 3

    @nn.compact
    def __call__(self, z: Float[Array, "B latents"], parameters: int) -> tuple[Float[Array, "B H W C"], ...]:
        h = z
        for _ in range(self.depth):
            h = nn.tanh(nn.Dense(self.width, kernel_init=GLOROT)(h))
        h = nn.Dense(math.prod(self.shape) * parameters, kernel_init=GLOROT)(h)
        return tuple(part.reshape(-1, *self.shape) for part in jnp.split(h, parameters, axis=-1))
