"""Sprites with something random that is no factor: a colour, or noise behind them.

Color-dSprites and Noisy-dSprites of Locatello et al. 2019, "Challenging Common Assumptions in the Unsupervised Learning
of Disentangled Representations", section 5: the sprite in a random colour, whose red, green and blue are uniform in
[0.5, 1]; or the white sprite on a background whose every pixel is uniform in [0, 1], for red, green and blue apart.

Departures. The paper draws colour and noise anew whenever an image is shown. Here they are a function of the factors: a
random key, with the number of the combination folded in. So `at`, `sample` and `render` agree, and a source is a fixed
data set of 737,280 images, like the others; within it colour and noise are independent of the factors. The noise has
256 levels, as the pixels of images in files do (0, 1/255, ..., 1), because four of them come from one random word.
"""

from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vaejax.data.bound import bound
from vaejax.data.record import Named
from vaejax.data.rendered import check_side, rendered
from vaejax.data.source import Factors, index_of
from vaejax.data.sprites import NAMES, SIDE, SIDES, SIZES, render

SEED = 0
DARKEST = 0.5  # of a colour's red, green and blue

Paint = Callable[[Key[Array, " n"], Float[Array, "n H W 1"]], Float[Array, "n H W 3"]]


def color_sprites(size: int = SIDE) -> Factors:
    """`sprites` in random colours: Float[n, size, size, 3] in [0, 1], black background.

    Raises:
      InputError: as `sprites`.
    """
    return _color_sprites(check_side("color_sprites", size, SIDES))


@cache
def _color_sprites(size: int) -> Factors:
    return _painted("color_sprites", _colored, size, color_sprites)


def noisy_sprites(size: int = SIDE) -> Factors:
    """`sprites` before a noisy background: Float[n, size, size, 3] in [0, 1].

    Raises:
      InputError: as `sprites`.
    """
    return _noisy_sprites(check_side("noisy_sprites", size, SIDES))


@cache
def _noisy_sprites(size: int) -> Factors:
    return _painted("noisy_sprites", _noisy, size, noisy_sprites)


def _painted(name: str, paint: Paint, size: int, constructor: Callable[[int], Factors]) -> Factors:
    """The sprites after `paint`, which is given a key for each of them."""
    painted = bound(_rendered, paint, size)
    return rendered(name, (size, size, 3), SIZES, NAMES, painted, made=(constructor, (size,)))


def _rendered(paint: Paint, size: int, factors: Int[Array, "n 5"]) -> Float[Array, "n size size 3"]:
    return _jitted(paint, size, factors)


@partial(jax.jit, static_argnames=("paint", "size"))
def _jitted(paint: Paint, size: int, factors: Int[Array, "n 5"]) -> Float[Array, "n size size 3"]:
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(SEED), index_of(factors, SIZES))
    return paint(keys, render(factors, size))


def _colored(keys: Key[Array, " n"], x: Float[Array, "n H W 1"]) -> Float[Array, "n H W 3"]:
    """Each image in one colour."""
    colour = jax.vmap(lambda key: jax.random.uniform(key, (3,), minval=DARKEST))(keys)
    return x * jax.lax.optimization_barrier(colour)[:, None, None]


def _noisy(keys: Key[Array, " n"], x: Float[Array, "n H W 1"]) -> Float[Array, "n H W 3"]:
    """Each image with noise where it is black."""
    bits = jax.vmap(lambda key: jax.random.bits(key, (*x.shape[1:3], 3), jnp.uint8))(keys)
    return jnp.maximum(x, jax.lax.optimization_barrier(bits).astype(jnp.float32) / 255)


COLOR_SPRITES = Named("color_sprites", color_sprites, rendered=True)
NOISY_SPRITES = Named("noisy_sprites", noisy_sprites, rendered=True)
