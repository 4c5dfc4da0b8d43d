"""The dSprites images from their official file, or from any part of it in the same format.

Matthey, Higgins, Hassabis and Lerchner, "dSprites: Disentanglement testing Sprites dataset", 2017. The pixels are 0 or
1, so they are kept eight to a byte: all 737,280 images take 377 MB on the device.

The file has `imgs` [N, 64, 64] of 0 and 1, and `latents_classes` [N, 6] (colour, which is always 0, shape, scale,
orientation, x, y) or [N, 5] without the colour. Its other arrays are not read.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from vaejax.data.arrays import arrays, check_split, integers, shaped
from vaejax.data.bound import Bound, bound
from vaejax.data.npz import read
from vaejax.data.record import Named
from vaejax.data.source import Arrays, Data, Factors, draw
from vaejax.errors import InputError
from vaejax.method import Batch, Space

NAMES = ("shape", "scale", "orientation", "x", "y")
SIDE = 64
KEYS = {"imgs": ("imgs",), "latents_classes": ("latents_classes",)}


def dsprites(path: str, split: str = "train") -> Factors | Arrays:
    """The images of a file in the dSprites format, with their five factors.

    A file that holds every combination of its own factor values once, in whatever order, is a `Factors` source: each
    factor's values are numbered 0, 1, ... in their order, and image i is the i-th combination. Any other part is an
    `Arrays` source whose batches carry the classes as the file has them. As in the published studies nothing is held
    out: train and test are both all the images.

    Raises:
      InputError: an unknown split, a file that can't be read, or arrays that don't fit the format.
    """
    name = f"dsprites:{path}"
    check_split(name, split)
    found = read(path, KEYS, needed=tuple(KEYS))
    images = binary(found["imgs"], f"{name}: 'imgs'")
    classes = integers(found["latents_classes"], len(images), f"{name}: 'latents_classes'", rank=2)
    if classes.shape[1] not in (5, 6):
        raise InputError(f"{name}: 'latents_classes' has {classes.shape[1]} columns; give colour (or not), {NAMES}")
    return grid(name, images, classes[:, -5:]) or arrays(name, images, factors=classes[:, -5:], white=1)


def binary(images: np.ndarray, what: str) -> Bool[np.ndarray, "N 64 64"]:
    """The images as bools.

    Raises:
      InputError: another shape, no images, values other than 0 and 1.
    """
    images = shaped(images, what)
    if images.shape[1:] != (SIDE, SIDE, 1):
        raise InputError(f"{what} have shape {images.shape}; dSprites are [N, 64, 64], use npz: for other images")
    for k, image in enumerate(images if images.dtype.kind == "f" or images.min() < 0 or images.max() > 1 else ()):
        odd = image[(image != 0) & (image != 1)]
        if odd.size:
            raise InputError(f"{what} have a pixel {odd[0]:g} in image {k}; dSprites are 0 and 1, use npz: for others")
    return images[..., 0].view(bool) if images.dtype.itemsize == 1 else images[..., 0].astype(bool)


def grid(name: str, images: Bool[np.ndarray, "N 64 64"], classes: Int[np.ndarray, "N 5"]) -> Factors | None:
    """The source of a full grid of factor values, or None when some combination is missing or repeated."""
    columns = [np.unique(column, return_inverse=True) for column in classes.T]
    sizes = tuple(len(values) for values, _ in columns)
    place = np.zeros(len(images), np.int64)
    for size, (_, number) in zip(sizes, columns, strict=True):
        place = place * size + number
    if np.prod(sizes) != len(images) or np.bincount(place).max() > 1:
        return None
    data = {
        "bits": jnp.asarray(np.packbits(images, axis=-1)[np.argsort(place)]),
        "sizes": jnp.asarray(sizes, jnp.int32),
        "strides": jnp.asarray([int(np.prod(sizes[k + 1 :])) for k in range(len(sizes))], jnp.int32),
    }
    shape = (SIDE, SIDE, 1)
    partial = jax.tree_util.Partial(render, data)  # a pytree: the images are no constant of a program that gets it
    return Factors(name, Space(shape), len(images), data, at, sample, sizes, NAMES, partial, factor_sampler(sizes))


def at(data: Data, index: Int[Array, " n"]) -> Batch:
    """The images of these combinations; `data` is {"bits": uint8 [N, 64, 8], "sizes": [5], "strides": [5]}."""
    factors = index[:, None] // data["strides"][None] % data["sizes"][None]
    return Batch(unpacked(data["bits"][index]), factors)


def sample(data: Data, key: Key[Array, ""], n: int) -> Batch:
    """n images drawn uniformly with replacement; `data` as in `at`."""
    return at(data, draw(key, n, data["bits"].shape[0]))


def render(data: Data, factors: Int[Array, "n 5"]) -> Float[Array, "n 64 64 1"]:
    """The images of these factor values; `data` as in `at`."""
    bits = jax.lax.optimization_barrier(data["bits"])  # where it is a constant, XLA shall not fold the gather
    return unpacked(bits[(factors * data["strides"][None]).sum(axis=-1)])


def unpacked(bits: UInt8[Array, "n 64 8"]) -> Float[Array, "n 64 64 1"]:
    """Images in {0, 1} from eight pixels a byte."""
    return jnp.unpackbits(bits, axis=-1)[..., None].astype(jnp.float32)


@cache
def factor_sampler(sizes: tuple[int, ...]) -> Bound:
    """`(key, n) -> Int[n, K]`, uniform and independent; one function for each tuple of sizes, so nothing retraces."""
    return bound(_independent, sizes)


def _independent(sizes: tuple[int, ...], key: Key[Array, ""], n: int) -> Int[Array, "n K"]:
    return jax.random.randint(key, (n, len(sizes)), 0, jnp.asarray(sizes)[None])


DSPRITES = Named("dsprites:PATH.npz", dsprites)
