"""How a fully connected encoder reads an example: what is missing as 0, counts as logarithms, categories one-hot."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from vaejax.method import Space


def seen(x: Float[Array, "B ..."], mask: Bool[Array, "B ..."] | None) -> Float[Array, "B ..."]:
    """The example with 0 where nothing is there, whatever stands in its place."""
    if mask is None:
        return x
    return jnp.where(mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)), x, 0.0)


def features(x: Float[Array, "B ..."], space: Space | None) -> Float[Array, "B F"]:
    """The numbers of an example, flat: log(1 + x) of counts (Lopez et al. 2018), one-hot categories, and the rest.

    Columns of one kind stay together, in their order; a condition that follows the example stays as it is.
    """
    flat = x.reshape(x.shape[0], -1)
    if space is None or space.kind in ("unit", "real"):
        return flat
    flat, condition = jnp.split(flat, [math.prod(space.shape)], axis=1)
    kinds = (space.kind,) * flat.shape[1] if isinstance(space.kind, str) else space.kind
    levels = space.levels if isinstance(space.levels, tuple) else (space.levels,) * flat.shape[1]
    parts = []
    for kind in dict.fromkeys(kinds):
        columns = np.array([column for column, of in enumerate(kinds) if of == kind])
        if kind == "category":
            parts += [jax.nn.one_hot(flat[:, column].astype(jnp.int32), levels[column] or 2) for column in columns]
        else:
            parts.append(jnp.log1p(flat[:, columns]) if kind == "count" else flat[:, columns])
    return jnp.concatenate([*parts, condition], axis=1)
