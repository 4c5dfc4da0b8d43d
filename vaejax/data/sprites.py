"""dSprites as a function: every one of its 737,280 images is drawn when asked for, from no file.

The data set is that of Matthey, Higgins, Hassabis and Lerchner, "dSprites: Disentanglement testing Sprites dataset"
(2017), https://github.com/google-deepmind/dsprites-dataset: one white sprite on black, 64x64, with five independent
factors. Its authors published the images and not the program that drew them. What follows was measured on genuine
images, and 99.98 % of them are equal to it in every pixel; `experiments/benchmarks/fit_sprites.py` measures it again.

Geometry. A sprite is a closed polygon of V corners (u, v) in a frame of its own; with t = 2 pi k / V, k = 0..V-1:

    square   V = 4     (u, v) = (+-1, +-1)
    ellipse  V = 100   (u, v) = (1.33 cos t, sin t / 1.33)
    heart    V = 150   (u, v) = (sin(t)^3, -(13 cos t - 5 cos 2t - 2 cos 3t - cos 4t) / 14.5 - 0.15)

On the image, in pixels, X to the right and Y down from the upper left corner, with scale s = 0.5, 0.6, ..., 1,
orientation a = 2 pi i / 39 for i = 0..39 (so the first and the last coincide) and position p = 0..31 in each axis:

    X = 16 + 32 p_x / 31 + 9.6 s (u cos a + v sin a)
    Y = 16 + 32 p_y / 31 + 9.6 s (v cos a - u sin a)

Pixels. As on a graphics processor, the corners are rounded to multiples of 1/256, and a pixel is white when its
centre lies inside the polygon. A centre that lies on the outline is inside at a left or a lower edge, and outside at
a right or an upper one.

Departures. In one or two images of 10,000 one pixel differs: there a corner lies in the middle between two multiples of
1/256 up to rounding errors, and those of the original program decide.
Sizes below 64 are no part of dSprites. They show the same geometry (in units of a 64th of the side, with the corners
rounded as at 64) at the centres of coarser pixels, so they are binary too, and factors less than a pixel apart can
give the same image. At 32 the shapes are plain to see; at 16 a sprite covers 2 to 26 pixels, and only large
hearts can be told from ellipses by eye; at 8 a small sprite can fall between the centres and leave the image black.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32

from vaejax.data.bound import bound
from vaejax.data.polygon import fill
from vaejax.data.record import Named
from vaejax.data.rendered import check_side, rendered
from vaejax.data.source import Factors

NAMES = ("shape", "scale", "orientation", "x", "y")
SIZES = (3, 6, 40, 32, 32)
SHAPES = ("square", "ellipse", "heart")

# Found on genuine images, by `python -m experiments.benchmarks.fit_sprites`: each shape's outline best separates the
# centres of white pixels from those of black ones, pooled over all images in the sprite's own frame (which gives
# 9.600, 1.3300, 14.500 and 0.1500); the numbers of corners and the subpixel are the best of all that were tried.
RADIUS = 9.6  # pixels of a 64x64 image; half the side of a square of scale 1
ASPECT = 1.33  # the ellipse is a circle stretched by it and squeezed by it
ELLIPSE_CORNERS = 100
HEART_HEIGHT = 14.5  # divides the ordinates of the curve (16 sin(t)^3, 13 cos t - ...)
HEART_SHIFT = 0.15  # upwards, after that division
HEART_CORNERS = 150
SUBPIXEL = 256  # corners lie on multiples of 1/256 pixel

SIDE = 64
SIDES = (64, 32, 16, 8)
FRACTION_BITS = 16  # corners are computed in integers, 65,536ths of a subpixel: the same on every backend
PIXEL = SUBPIXEL << FRACTION_BITS


def sprites(size: int = SIDE) -> Factors:
    """dSprites, drawn on demand. Equal sizes give the same object, so nothing recompiles.

    Args:
      size: height and width of the images: 64 as published, or 32, 16 or 8.

    Returns:
      A source whose images are Float[n, size, size, 1], 0 or 1, and whose data is ().

    Raises:
      InputError: `size` is none of these.
    """
    return _sprites(check_side("sprites", size, SIDES))


@cache
def _sprites(size: int) -> Factors:
    return rendered("sprites", (size, size, 1), SIZES, NAMES, bound(_sized, size), made=(sprites, (size,)))


def _sized(size: int, factors: Int[Array, "n 5"]) -> Float[Array, "n size size 1"]:
    return render(factors, size)


@partial(jax.jit, static_argnames="size")
def render(factors: Int[Array, "n 5"], size: int = SIDE) -> Float[Array, "n size size 1"]:
    """The images of these factors: white (1) where the centre of a pixel is inside the sprite, else black (0).

    A sprite lies inside a window of half the image's side around its centre; only that window is drawn.
    """
    pixel = PIXEL * SIDE // size
    centre = jnp.asarray(_centres())[factors[:, 3:]]
    first = jnp.round(centre / pixel).astype(int) - size // 4
    rows = fill(_corners(factors, centre) * (size / SIDE) - first[:, None], size // 2)
    return _spread(rows, first, size)[..., None]


def square(radius: float = RADIUS) -> Float[np.ndarray, "4 2"]:
    """The corners (u, v) of the square of scale 1, in pixels, clockwise on the screen."""
    return radius * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def ellipse(
    radius: float = RADIUS, aspect: float = ASPECT, corners: int = ELLIPSE_CORNERS
) -> Float[np.ndarray, "corners 2"]:
    """The corners of the ellipse of scale 1."""
    t = 2 * np.pi * np.arange(corners) / corners
    return radius * np.stack([aspect * np.cos(t), np.sin(t) / aspect], axis=1)


def heart(
    radius: float = RADIUS, height: float = HEART_HEIGHT, shift: float = HEART_SHIFT, corners: int = HEART_CORNERS
) -> Float[np.ndarray, "corners 2"]:
    """The corners of the heart of scale 1."""
    t = 2 * np.pi * np.arange(corners) / corners
    ordinate = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return radius * np.stack([np.sin(t) ** 3, -ordinate / height - shift], axis=1)


def _outlines() -> Int[np.ndarray, "3 40 V 2"]:
    """The corners of each shape in each orientation, in fixed point, at scale 0.1.

    A shape with fewer corners than the heart repeats its first: an edge without length changes nothing.
    """
    angle = 2 * np.pi * np.arange(SIZES[2]) / (SIZES[2] - 1)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.stack([np.stack([cos, -sin]), np.stack([sin, cos])])  # [(u, v), (X, Y), 40]
    shapes = [
        np.concatenate([outline, np.repeat(outline[:1], HEART_CORNERS - len(outline), axis=0)])
        for outline in (square(), ellipse(), heart())
    ]
    return _fixed(np.einsum("svi,ijo->sovj", np.stack(shapes), rotation) / 10)


def _centres() -> Int[np.ndarray, " 32"]:
    """Where the sprite's centre is for each position, in fixed point, in either axis."""
    return _fixed(SIDE / 4 + SIDE / 2 * np.arange(SIZES[3]) / (SIZES[3] - 1))


def _fixed(pixels: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Pixels as integers, in 65,536ths of a subpixel."""
    return np.round(pixels * PIXEL).astype(np.int32)


def _corners(factors: Int[Array, "n 5"], centre: Int[Array, "n 2"]) -> Float[Array, "n V 2"]:
    """The corners (X, Y) on the image, in pixels at size 64, rounded to subpixels."""
    tenths = 5 + factors[:, 1]
    outline = jnp.asarray(_outlines())[factors[:, 0], factors[:, 2]]
    exact = centre[:, None] + tenths[:, None, None] * outline
    return ((exact + (1 << FRACTION_BITS - 1)) >> FRACTION_BITS) / SUBPIXEL


def _spread(rows: UInt32[Array, "n h"], first: Int[Array, "n 2"], size: int) -> Float[Array, "n size size"]:
    """Black images, each with its window, given as words, at column `first[:, 0]` and row `first[:, 1]`."""
    side = rows.shape[1]
    place = jnp.arange(size)[None, None, :] - first[..., None]  # in the window, of each column and row: [n, 2, size]
    within = (place >= 0) & (place < side)
    column, row = jnp.moveaxis(jnp.clip(place, 0, side - 1), 1, 0)
    words = jnp.where(within[:, 1], jnp.take_along_axis(rows, row, axis=1), 0)
    bits = words[:, :, None] >> column[:, None, :].astype(jnp.uint32)
    return (bits & within[:, 0, None, :]).astype(float)


SPRITES = Named("sprites", sprites, rendered=True)
