"""A fully connected classifier of codes (Kim & Mnih 2018, appendix A: 6 layers of 1000, leaky ReLU of slope 0.2)."""

from flax import linen as nn
from jaxtyping import Array, Float

from vaejax.networks.mlp import GLOROT


class Discriminator(nn.Module):
    """z [B, latents] -> logits [B, 2] of two classes."""

    width: int = 1000
    depth: int = 6

    @nn.compact
    def __call__(self, z: Float[Array, "B latents"]) -> Float[Array, "B 2"]:
        h = z
        for _ in range(self.depth):
            h = nn.leaky_relu(nn.Dense(self.width, kernel_init=GLOROT)(h), 0.2)
        return nn.Dense(2, kernel_init=GLOROT)(h)
