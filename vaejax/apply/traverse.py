"""Latent traversals: one code is moved, the others stay (Higgins et al. 2017, figure 1)."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from vaejax.errors import LARGEST, InputError, check_memory
from vaejax.method import Method, Params
from vaejax.metrics.checks import as_numbers, check_codes, check_counts, check_finite, check_indices, check_number
from vaejax.training.params import check_decoder

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
      which: the numbers of the codes to move, at least one; all if not given.

    Raises:
      InputError: there is no such code; another number of rows than of codes; parameters that are not those of one run.
    """
    z, values = (_real(name, array) for name, array in (("z", z), ("values", values)))
    if z.ndim != 1 or not z.size:
        raise InputError(f"a traversal starts at one code [latents], not {z.shape}; take a row, as in codes[0]")
    if values.ndim not in (1, 2) or not values.size or (values.ndim == 2 and len(values) != z.size):
        raise InputError(f"values have to be [T], or [{z.size}, T] with a row for every code, not {values.shape}")
    if which is not None:
        which = jnp.asarray(check_indices("which", which, z.size, "latents"))
    check_decoder(method, params, z.size)
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
      InputError: less than 2 steps, or a limit that is no positive number.
    """
    _check(steps)
    check_number(limit=limit)
    if limit == 0:
        raise InputError("limit has to be above 0: with 0 nothing moves")
    return np.linspace(-limit, limit, steps, dtype=np.float32)


def data_values(codes: Float[np.ndarray, "N latents"], steps: int) -> Float[np.ndarray, "latents T"]:
    """`steps` values for each latent, from the 1st to the 99th percentile of its codes.

    Raises:
      InputError: less than 2 steps, or codes that are no finite numbers [N, latents].
    """
    _check(steps)
    low, high = np.percentile(check_codes("data_values", codes), PERCENTILES, axis=0)
    values = np.linspace(low, high, steps, axis=1, dtype=np.float32)
    stuck = np.flatnonzero((high > low) & (np.diff(values, axis=1) == 0).any(axis=1))
    if stuck.size:
        raise InputError(
            f"code {stuck[0]} goes from {low[stuck[0]]:.9g} to {high[stuck[0]]:.9g}, between which float32, in which "
            f"models compute, has fewer than {steps} values"
        )
    return values


def _check(steps: int) -> None:
    check_counts(-LARGEST, steps=steps)
    if steps < 2:
        raise InputError(f"a traversal takes at least 2 steps, not {steps}")
    check_memory(f"{steps:,} steps", 16.0 * steps)


def _real(name: str, values: Any) -> Any:
    """As an array that `jnp` can take; traced ones as they are, and the rest finite.

    Raises:
      InputError: no numbers, or some that are not finite.
    """
    if isinstance(values, Tracer):
        return values
    found = as_numbers(name, values, "numbers")
    check_finite(name, found, "numbers")
    return jnp.asarray(found, jnp.float32)
