"""Ways to spoil what a denoising autoencoder sees: pure functions `(key, x, level) -> x`.

The level is traced, so a new one compiles nothing, and at level 0 each of them gives x back bit for bit. Every element
of x (a channel of a pixel, a unit of a layer) is drawn by itself, where Vincent et al. 2008 spoil the same number of
elements, level * D, in every image: here that number is so on average.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vaejax.errors import InputError

Level = Float[Array, ""] | float
Corruption = Callable[[Key[Array, ""], Float[Array, "..."], Level], Float[Array, "..."]]


def gaussian(key: Key[Array, ""], x: Float[Array, "..."], level: Level) -> Float[Array, "..."]:
    """Adds normal noise of standard deviation `level`; the sum may leave [0, 1]."""
    return x + level * jax.random.normal(key, x.shape, x.dtype)


def masking(key: Key[Array, ""], x: Float[Array, "..."], level: Level) -> Float[Array, "..."]:
    """Sets elements to 0, each with probability `level` (Vincent et al. 2008, section 2.3)."""
    return jnp.where(jax.random.bernoulli(key, level, x.shape), 0, x)


def salt_and_pepper(key: Key[Array, ""], x: Float[Array, "..."], level: Level) -> Float[Array, "..."]:
    """Sets elements to 0 or 1 by a fair coin, each with probability `level` (Vincent et al. 2010, section 3.3)."""
    drawn = jax.random.uniform(key, x.shape)
    return jnp.where(drawn < level, (drawn < level / 2).astype(x.dtype), x)


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian": gaussian,
    "masking": masking,
    "salt_and_pepper": salt_and_pepper,
}
OF_NUMBERS = ("gaussian", "salt_and_pepper")  # what they make is no count and no category


def check_corruption(corruption: str, kind: str) -> None:
    """Nothing, where data of this kind can be spoilt so; masked counts are 0, and masked categories the first.

    Raises:
      InputError: it can't.
    """
    if corruption in OF_NUMBERS and kind not in ("unit", "real"):
        raise InputError(f"the corruption {corruption!r} is for numbers, not for data of kind {kind}; choose 'masking'")


def dropout(key: Key[Array, ""], z: Float[Array, "..."], level: Level) -> Float[Array, "..."]:
    """Sets units to 0, each with probability `level`, and divides the others by 1 - level, which keeps the mean.

    Inverted dropout (Srivastava et al. 2014); for codes, where the functions in `CORRUPTIONS` are for images. At level
    1 nothing is left and there is nothing to divide.
    """
    kept = jnp.where(jnp.asarray(level) < 1, 1 - level, 1.0)
    return jnp.where(jax.random.bernoulli(key, level, z.shape), 0, z / kept)
