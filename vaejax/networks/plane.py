"""A vector as one more channel of an image: how encoders of images are shown what isn't one."""

import math

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


class Plane(nn.Module):
    """x [B, H, W, C], vector [B, V] -> [B, H, W, C + 1], whose last channel is a learned linear function of the vector.

    To a vector x [B, D] the other one is appended: [B, D + V].

    A constant plane for every entry would do as well, and cost a fully connected layer V times the weights of a grey
    image; whatever it makes of those, it can make of this one.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "B ..."], vector: Float[Array, "B V"]) -> Float[Array, "B ..."]:
        if x.ndim == 2:
            return jnp.concatenate([x, vector], axis=-1)
        plane = nn.Dense(math.prod(x.shape[1:3]), use_bias=False)(vector)
        return jnp.concatenate([x, plane.reshape(*x.shape[:3], 1)], axis=-1)
