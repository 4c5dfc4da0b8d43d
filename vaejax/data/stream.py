"""Images that stay on the disk: windows of them in random order, read by threads in the background (with grain).

A window's images are read at random access, so every epoch is a true permutation of all of them, and nothing that is
skipped is read. The order of an epoch is NumPy's permutation, which takes eight bytes an image of the host's memory;
grain's own takes none, and on MNIST as long as reading the records.
"""

import math
import sys
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache, partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from vaejax.data.arrays import array_of, at, checked, placed, sample
from vaejax.data.paths import shown
from vaejax.data.source import Arrays, Data, Streamed
from vaejax.errors import LARGEST, InputError, check_memory, check_sizes, shortened
from vaejax.method import Space

SEED = 0  # of the orders of all epochs
BLOCK = 2**24  # pixels read and decoded together, in at most MOST images
MOST = 2048  # images read together, so that reading ends soon after it is told to
THREADS = 2  # one waits for the disk while the other decodes; Pillow holds Python's lock, so more would be no faster


class Reader(NamedTuple):
    """Images on the disk.

    Fields:
      name, shape, size: as in `Arrays`.
      block: how many images to read together.
      read: `(index: Int[n]) -> Data` of n images, checked, in the host's memory; several threads may call it.
    """

    name: str
    shape: tuple[int, int, int]
    size: int
    block: int
    read: Callable[[Int[np.ndarray, " n"]], Data]


def streamed(reader: Reader, window: int, mark: str = "") -> Streamed:
    """A source of these images, `window` at a time; `mark` as in `Streamed`.

    Raises:
      InputError: a window of no images, or of all of them, or of what is no whole number.
    """
    name, size = shown(reader.name), reader.size
    check_sizes(-LARGEST, window=window)  # the type alone
    window = int(window)
    if window < 1:
        raise InputError(f"{name}: a window holds at least one image, not {window}")
    if window >= size:
        raise InputError(f"{name}: a window of {window} would hold all {size} images; leave window out")
    endless = partial(windows, reader, window)
    return Streamed(reader.name, Space(reader.shape), size, window, endless, at, sample, partial(take, reader), mark)


def windows(reader: Reader, window: int, start: int) -> Generator[Data, None, None]:
    """Windows start, start + 1, ...; see `Streamed`. They are read in pieces, as many ahead as make a window.

    Raises:
      InputError: images can't be read.
    """
    import grain

    count = -(-window // reader.block)
    length = -(-window // count)
    shuffled = lru_cache(maxsize=2)(partial(permutation, reader.size))

    def piece(number: int) -> Data:
        begin = number // count * window
        first = begin + number % count * length
        return reader.read(images_at(np.arange(first, min(first + length, begin + window)), reader.size, shuffled))

    options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=max(count, THREADS))
    pieces = iter(grain.MapDataset.range(start * count, sys.maxsize).map(piece).to_iter_dataset(options))
    try:
        while True:
            yield joined(islice(pieces, count), window)
    finally:
        pieces.close()


def permutation(size: int, epoch: int) -> Int[np.ndarray, " size"]:
    """The order of all images in this epoch."""
    return np.random.default_rng((SEED, epoch)).permutation(size)


def images_at(
    positions: Int[np.ndarray, " n"], size: int, shuffled: Callable[[int], Int[np.ndarray, " size"]]
) -> Int[np.ndarray, " n"]:
    """The images at these ascending positions of the epochs one after another, each in the order `shuffled(epoch)`."""
    epochs, places = np.divmod(positions, size)
    return np.concatenate([shuffled(epoch)[places[epochs == epoch]] for epoch in range(epochs[0], epochs[-1] + 1)])


def take(reader: Reader, index: Int[np.ndarray, " n"]) -> Arrays:
    """These images as a source in memory.

    Raises:
      InputError: images can't be read; no images, a number that none has, or what is no number of one.
    """
    index = array_of(index, f"{shown(reader.name)}: numbers of images")
    numbers = index.ndim == 1 and index.size and index.dtype.kind in "iu"
    if not numbers or index.min() < 0 or index.max() >= reader.size:
        raise InputError(
            f"{shown(reader.name)} has images 0 to {reader.size - 1}; give a list of at least one of these numbers, "
            f"not {shortened(index.tolist())}"
        )
    check_memory(f"{len(index):,} images of {shown(reader.name)}", len(index) * math.prod(reader.shape))
    parts = (index[start : start + reader.block] for start in range(0, len(index), reader.block))
    return placed(reader.name, joined(map(reader.read, parts), len(index)))


def joined(pieces: Iterable[Data], size: int) -> Data:
    """These pieces as one; they have so many images together."""
    whole: Data = {}
    start = 0
    for piece in pieces:
        end = start + len(piece["x"])
        for key, value in piece.items():
            if key == "scale":
                whole[key] = value
                continue
            if key not in whole:
                whole[key] = np.empty((size, *value.shape[1:]), value.dtype)
            whole[key][start:end] = value
        start = end
    return whole


def one_by_one(name: str, index: Int[np.ndarray, " n"], white: float, given: dict[str, np.ndarray]) -> Data:
    """What `checked` makes of what is given (x, label, factors) for the images of these numbers.

    Raises:
      InputError: as in `checked`, with the number of the first image that is not as it should be.
    """
    try:
        return checked(name, **given, white=white)
    except InputError:
        for k, number in enumerate(index):
            one = {key: values[k : k + 1] for key, values in given.items()}
            checked(f"{shown(name)}, image {number}", **one, white=white)
        raise


def block_of(shape: tuple[int | None, int | None, int], most: int | None = None) -> int:
    """How many images of this shape to read together; few where their size isn't known."""
    height, width, channels = shape
    pixels = (height or 512) * (width or 512) * channels
    return max(1, min(MOST if most is None else most, BLOCK // pixels))
