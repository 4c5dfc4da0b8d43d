"""Filling polygons, a row of pixels in one word: what dSprites and the rectangles are drawn with."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt32


def fill(corners: Float[Array, "n V 2"], rows: int) -> UInt32[Array, "n rows"]:
    """The inside of polygons on a grid of 32 pixels a row, one word for each row: bit i is the i-th pixel.

    Every edge that crosses the line through a row's centres inverts all pixels to the right of the crossing, so what
    is inverted an odd number of times is inside: the even-odd rule, for 32 pixels in one operation.

    Args:
      corners: (X, Y) in pixels, X to the right and Y down from the upper left corner; those outside the grid count.
      rows: how many there are.
    """
    x, y = corners[..., None, 0], corners[..., None, 1]
    x_next, y_next = jnp.roll(x, -1, axis=1), jnp.roll(y, -1, axis=1)
    slope = (x_next - x) / jnp.where(y_next == y, 1, y_next - y)
    row = jnp.arange(rows)[None, None, :] + 0.5
    crossed = (y < row) != (y_next < row)
    first = jnp.where(crossed, jnp.ceil(x + slope * (row - y) - 0.5), 0)  # the first centre that is not on the left
    inverted = jnp.where(crossed, jnp.uint32(2**32 - 1), 0) << jnp.clip(first, 0, 32).astype(jnp.uint32)
    return lax.reduce(inverted, np.uint32(0), lax.bitwise_xor, (1,))
