"""Noise of a batch that devices share: each draws its rows of what one device would draw for all images.

A key made by `share` works in `jax.random` like the key that it was made of. Of whatever is drawn with it, or with keys
that were split from it, a device gets the rows of its own images, so that a split batch sees the noise of a whole one.
"""

from functools import lru_cache
from typing import Any

import jax
import jax.extend.random
import jax.numpy as jnp
from jaxtyping import Array, Int, Key


def share(key: Key[Array, ""], parts: int, rows: int, part: Int[Array, ""]) -> Key[Array, ""]:
    """The key of one of so many parts of a batch, of `rows` images each, whose number `part` may be traced.

    A draw whose leading axis is a multiple of `rows` (several samples of each image lie side by side) gives the part's
    rows of the whole batch's draw. Any other doesn't belong to images, and all parts get the same.
    """
    words = jax.random.key_data(key)
    of_part = jnp.append(words, part.astype(words.dtype))
    return jax.random.wrap_key_data(of_part, impl=_generator(str(jax.random.key_impl(key)), words.size, parts, rows))


@lru_cache(maxsize=64)  # one object for equal arguments, since keys of different generators don't mix
def _generator(base: str, words: int, parts: int, rows: int) -> Any:
    """The generator `base`, with the part's number after the words of a key."""

    def plain(key: Array) -> Key[Array, ""]:
        return jax.random.wrap_key_data(key[:-1], impl=base)

    def of_part(keys: Key[Array, "..."], key: Array) -> Array:
        data = jax.random.key_data(keys)
        return jnp.concatenate([data, jnp.broadcast_to(key[-1], (*data.shape[:-1], 1))], axis=-1)

    def split(key: Array, shape: tuple[int, ...]) -> Array:
        return of_part(jax.random.split(plain(key), shape), key)

    def fold_in(key: Array, number: Any) -> Array:
        return of_part(jax.random.fold_in(plain(key), number), key)

    def random_bits(key: Array, width: int, shape: tuple[int, ...]) -> Array:
        if not shape or shape[0] % rows:
            return jax.random.bits(plain(key), shape, f"uint{width}")
        whole = jax.random.bits(plain(key), (parts * shape[0], *shape[1:]), f"uint{width}")
        return jax.lax.dynamic_slice_in_dim(whole, key[-1].astype(jnp.int32) * shape[0], shape[0])

    def seed(number: Array) -> Array:
        return jnp.append(jax.random.key_data(jax.random.key(number, impl=base)), jnp.uint32(0))

    return jax.extend.random.define_prng_impl(
        key_shape=(words + 1,), seed=seed, split=split, random_bits=random_bits, fold_in=fold_in,
        name=f"{base}, a part of {parts} with {rows} rows", tag="part",
    )  # fmt: skip
