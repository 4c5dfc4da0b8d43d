"""White rectangles in the middle of a black image, with the factors <width, height, size, angle>.

A source for one question: which of these does a latent mix? The half sides, in units of a 64th of the image's side, are

    21 * size * width    and    21 * size * height        width, height = 0.4 .. 1, size = 0.5 .. 1, linear

and the rectangle is turned clockwise by the angle, 16 values from 0 up to but without 90 degrees: with 90 degrees
width and height change places, so this is the range in which an image tells the angle.

What an image tells of the other three is size * width and size * height: two lengths for three factors. A large size
with a small width and height gives the same image as a small size with a large width and height, where both products
agree. So no representation can hold all four apart, and that is the point: what are they mixed into?

Pixels are drawn as in `sprites`: the corners are rounded to a 256th of a pixel (at 64), and a pixel is white when its
centre is inside, so factors less than a pixel apart can give the same image. Ours; from no paper.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.data.bound import bound
from vaejax.data.polygon import fill
from vaejax.data.record import Named
from vaejax.data.rendered import check_side, rendered
from vaejax.data.source import Factors

NAMES = ("width", "height", "size", "angle")
SIZES = (8, 8, 6, 16)
RADIUS = 21.0  # the largest half side, in pixels at 64
SMALLEST_SIDE, SMALLEST_SIZE = 0.4, 0.5
SUBPIXEL = 256
SIDE = 64
SIDES = (64, 32, 16)
WORD = 32  # pixels


def rectangles(size: int = SIDE) -> Factors:
    """Rectangles, drawn on demand. Equal sizes give the same object, so nothing recompiles.

    Args:
      size: height and width of the images: 64, 32 or 16.

    Returns:
      A source whose images are Float[n, size, size, 1], 0 or 1, and whose data is ().

    Raises:
      InputError: `size` is none of these.
    """
    return _rectangles(check_side("rectangles", size, SIDES))


@cache
def _rectangles(size: int) -> Factors:
    return rendered("rectangles", (size, size, 1), SIZES, NAMES, bound(_sized, size), made=(rectangles, (size,)))


def _sized(size: int, factors: Int[Array, "n 4"]) -> Float[Array, "n size size 1"]:
    return render(factors, size)


@partial(jax.jit, static_argnames="size")
def render(factors: Int[Array, "n 4"], size: int = SIDE) -> Float[Array, "n size size 1"]:
    """The images of these factors: white (1) where the centre of a pixel is inside the rectangle, else black (0)."""
    corners = _corners(factors) * (size / SIDE)
    words = jnp.stack([fill(corners - jnp.array([left, 0.0]), size) for left in range(0, size, WORD)], axis=-1)
    bits = (words[..., None] >> jnp.arange(min(size, WORD), dtype=jnp.uint32)) & 1
    return bits.reshape(len(factors), size, size, 1).astype(float)


def _corners(factors: Int[Array, "n 4"]) -> Float[Array, "n 4 2"]:
    """The corners (X, Y) on the image, in pixels at size 64, rounded to subpixels."""
    sides = SMALLEST_SIDE + (1 - SMALLEST_SIDE) / (SIZES[0] - 1) * factors[:, :2]
    half = RADIUS * (SMALLEST_SIZE + (1 - SMALLEST_SIZE) / (SIZES[2] - 1) * factors[:, 2:3]) * sides
    u, v = (
        half[:, None, 0] * jnp.array([[-1.0, 1.0, 1.0, -1.0]]),
        half[:, None, 1] * jnp.array([[-1.0, -1.0, 1.0, 1.0]]),
    )
    angle = np.pi / 2 * np.arange(SIZES[3]) / SIZES[3]
    cos, sin = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)]), jnp.float32)[:, factors[:, 3], None]
    exact = SIDE / 2 + jnp.stack([u * cos - v * sin, u * sin + v * cos], axis=-1)
    return jnp.round(exact * SUBPIXEL) / SUBPIXEL


RECTANGLES = Named("rectangles", rectangles, rendered=True)
