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
from functools import cache

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vaejax.data.source import Data, Factors, draw, factors_of, index_of
from vaejax.data.sprites import SIDE, sprites
from vaejax.method import Batch

SEED = 0
DARKEST = 0.5  # of a colour's red, green and blue

Paint = Callable[[Key[Array, " n"], Float[Array, "n H W 1"]], Float[Array, "n H W 3"]]


def color_sprites(size: int = SIDE) -> Factors:
    """`sprites` in random colours: Float[n, size, size, 3] in [0, 1], black background.

    Raises:
      InputError: as `sprites`.
    """
    return _painted("color_sprites", _colored, size)


def noisy_sprites(size: int = SIDE) -> Factors:
    """`sprites` before a noisy background: Float[n, size, size, 3] in [0, 1].

    Raises:
      InputError: as `sprites`.
    """
    return _painted("noisy_sprites", _noisy, size)


@cache
def _painted(name: str, paint: Paint, size: int) -> Factors:
    """The sprites after `paint`, which is given a key for each of them."""
    base = sprites(size)

    @jax.jit
    def render(factors: Int[Array, "n 5"]) -> Float[Array, "n size size 3"]:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(SEED), index_of(factors, base.sizes))
        return paint(keys, base.render(factors))

    def at(data: Data, index: Int[Array, " n"]) -> Batch:
        factors = factors_of(index, base.sizes)
        return Batch(render(factors), factors=factors)

    def sample(data: Data, key: Key[Array, ""], n: int) -> Batch:
        return at(data, draw(key, n, base.size))

    return base._replace(name=name, shape=(*base.shape[:2], 3), at=at, sample=sample, render=render)


def _colored(keys: Key[Array, " n"], x: Float[Array, "n H W 1"]) -> Float[Array, "n H W 3"]:
    """Each image in one colour."""
    colour = jax.vmap(lambda key: jax.random.uniform(key, (3,), minval=DARKEST))(keys)
    return x * jax.lax.optimization_barrier(colour)[:, None, None]


def _noisy(keys: Key[Array, " n"], x: Float[Array, "n H W 1"]) -> Float[Array, "n H W 3"]:
    """Each image with noise where it is black."""
    bits = jax.vmap(lambda key: jax.random.bits(key, (*x.shape[1:3], 3), jnp.uint8))(keys)
    return jnp.maximum(x, jax.lax.optimization_barrier(bits).astype(jnp.float32) / 255)
