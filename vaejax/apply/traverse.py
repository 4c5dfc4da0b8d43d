"""Latent traversals: one code is moved, the others stay (Higgins et al. 2017, figure 1)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.errors import InputError
from vaejax.method import Method, Params

LIMIT = 2.0  # standard deviations of the prior
PERCENTILES = (1, 99)  # of the data's codes


def traverse(
    method: Method,
    params: Params,
    z: Float[Array, " latents"],
    values: Float[Array, " T"] | Float[Array, "latents T"],
    which: Int[Array, " rows"] | None = None,
) -> Float[Array, "rows T H W C"]:
    """Row j: the expected images as code j takes the `values`, or its own row of them; the others stay as in `z`.

    Args:
      which: the numbers of the codes to move; all if not given.
    """
    latents, steps = z.size, values.shape[-1]
    rows = jnp.arange(latents) if which is None else which
    values = jnp.broadcast_to(values, (latents, steps))[rows]
    own = rows[:, None] == jnp.arange(latents)
    moved = jnp.where(own[:, None, :], values[..., None], z)  # [rows, T, latents]
    images = method.decode(params, moved.reshape(-1, latents)).mean
    return images.reshape(len(rows), steps, *images.shape[1:])


def prior_values(steps: int, limit: float = LIMIT) -> Float[np.ndarray, " T"]:
    """`steps` values from -limit to limit: standard deviations of the prior N(0, 1).

    Raises:
      InputError: less than 2 steps.
    """
    _check(steps)
    return np.linspace(-limit, limit, steps, dtype=np.float32)


def data_values(codes: Float[np.ndarray, "N latents"], steps: int) -> Float[np.ndarray, "latents T"]:
    """`steps` values for each latent, from the 1st to the 99th percentile of its codes.

    Raises:
      InputError: less than 2 steps.
    """
    _check(steps)
    low, high = np.percentile(np.asarray(codes), PERCENTILES, axis=0)
    return np.linspace(low, high, steps, axis=1, dtype=np.float32)


def _check(steps: int) -> None:
    if steps < 2:
        raise InputError(f"a traversal takes at least 2 steps, not {steps}")
