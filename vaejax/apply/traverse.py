"""Latent traversals: one code is moved, the others stay (Higgins et al. 2017, figure 1)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from vaejax.method import Method, Params


def traverse(
    method: Method, params: Params, z: Float[Array, " latents"], values: Float[Array, " T"]
) -> Float[Array, "latents T H W C"]:
    """Row j: the expected images as code j takes the `values` and the other codes stay as in `z`."""
    latents, steps = z.size, values.size
    moved = jnp.where(jnp.eye(latents, dtype=bool)[:, None, :], values[None, :, None], z)  # [latents, T, latents]
    images = method.decode(params, moved.reshape(-1, latents)).mean
    return images.reshape(latents, steps, *images.shape[1:])
