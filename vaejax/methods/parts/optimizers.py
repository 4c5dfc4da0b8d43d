"""Changes of optimizers that optax doesn't have."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def skip_above(
    limit: Float[Array, ""] | float, optimizer: optax.GradientTransformation
) -> optax.GradientTransformation:
    """The optimizer, but for steps whose gradient has a global norm above the limit: they change nothing.

    Neither the parameters nor the optimizer's own state (Child 2021, "Very Deep VAEs", section 4.3). A limit of 0 turns
    it off; it may be traced.
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        changed, new = optimizer.update(updates, state, params)
        keep = (limit <= 0) | (optax.tree.norm(updates) <= limit)
        changed = jax.tree.map(lambda leaf: jnp.where(keep, leaf, jnp.zeros_like(leaf)), changed)
        return changed, jax.tree.map(lambda a, b: jnp.where(keep, a, b), new, state)

    return optax.GradientTransformation(optimizer.init, update)
