"""Numbers that change during training, as traced functions of the step: a new length or end compiles nothing."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Number = Float[Array, ""] | float


def anneal(step: Int[Array, ""] | int, start: Number, end: Number, length: Number) -> Float[Array, ""]:
    """From `start` at step 0 linearly to `end` at step `length`, and `end` from there on.

    With length 0 it is `end` from the first step on.
    """
    now = jnp.asarray(step, jnp.float32)
    fraction = jnp.where(now < length, now / jnp.where(jnp.asarray(length) > 0, length, 1.0), 1.0)
    return jnp.where(fraction < 1, start + fraction * (jnp.asarray(end) - start), end)


def stage(step: Int[Array, ""] | int, length: Number, count: int) -> Int[Array, ""]:
    """The number of the stage that a step is in: 0 to `count` - 1, each `length` steps long, and `count` after them.

    With length 0 it is `count` from the first step on.
    """
    ends = jnp.asarray(length, jnp.float32) * jnp.arange(1, count + 1)
    return (jnp.asarray(step, jnp.float32) >= ends).sum()
