"""Images that stay on the disk: windows of them in random order, read by threads in the background (with grain).

A window's images are read at random access, so every epoch is a true permutation of all of them, and nothing that is
skipped is read. The order of an epoch is NumPy's permutation, which takes eight bytes an image of the host's memory;
grain's own takes none, and on MNIST as long as reading the records.
"""

import math
import struct
import sys
import zipfile
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Int

from vaejax.data.arrays import array_of, at, check_split, checked, guessed_white, integers, placed, sample, shaped
from vaejax.data.npz import (
    HELD_OUT,
    KEYS,
    chosen,
    corrupt,
    images_of,
    member,
    members,
    own_test,
    pickled,
    same_shape,
    title,
)
from vaejax.data.paths import one_line, reason, shown
from vaejax.data.source import Arrays, Data, Streamed
from vaejax.data.tfds import block_of, blocks, column, elsewhere, images, mark, opened, parsed, size_of, targets
from vaejax.errors import LARGEST, InputError, check_memory, check_sizes, shortened
from vaejax.method import Space

SEED = 0  # of the orders of all epochs
MOST = 2048  # images read together, so that reading ends soon after it is told to
LOCAL = struct.Struct("<26xHH")  # what stands before an array in a zip file, up to the lengths of two more fields
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


# --- tensorflow-datasets ---------------------------------------------------------------------------------------------


def stream_tfds(name: str, split: str, data_dir: str | None, window: int) -> Streamed:
    """The images of `vaejax.data.tfds`, with their labels and factors.

    All images are looked at before the first window where they are binary, and all labels where none is there. A file
    that is open can be read to the end, also where it has been deleted.

    Raises:
      InputError: as in `tfds`, except for memory, and as in `streamed`.
    """
    found = opened(name, split, data_dir)
    records, columns = found.records, list(found.columns)
    block = min(MOST, block_of(found.shape))
    shape = size_of(name, parsed(name, records, [0]), found.shape)
    if "label" in columns and all(column(name, part, "label").max() < 0 for _, part in blocks(name, records, block)):
        columns.remove("label")
    parts = (images(name, part, shape, range(start, start + len(part))) for start, part in blocks(name, records, block))
    white = guessed_white(name, chain(parts, elsewhere(found)))
    read = partial(read_records, name, records, shape, tuple(columns), white)
    return streamed(Reader(name, shape, len(records), block, read), window, f"{mark(found)}, white {white:g}")


def read_records(
    name: str,
    records: Any,
    shape: tuple[int, int, int],
    columns: tuple[str, ...],
    white: float,
    index: Int[np.ndarray, " n"],
) -> Data:
    """`read` of a `Reader`: the examples of a data set with these numbers.

    Raises:
      InputError: they can't be read, or aren't as they should be.
    """
    numbers = index.tolist()
    features = parsed(name, records, numbers)
    label, factors = targets({key: column(name, features, key) for key in columns})
    given = {"x": images(name, features, shape, numbers), "label": label, "factors": factors}
    return one_by_one(name, index, white, {key: values for key, values in given.items() if values is not None})


# --- npz -------------------------------------------------------------------------------------------------------------


class Stored(NamedTuple):
    """An array that an npz file holds uncompressed.

    Fields:
      file: the npz file.
      offset: where in the file the array's first byte is.
      shape, dtype: as NumPy has them.
      stamp: the file's size and time of change, by which a change while it is read is noticed.
    """

    file: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    stamp: tuple[int, int]


def stream_npz(path: str, split: str, window: int) -> Streamed:
    """The images of `vaejax.data.npz`, with their labels and factors, of a file that `numpy.savez` has written.

    Floats stay float32, also where they are k/255. Values are checked as they are read. The file's checksum is not,
    since it takes all of the file.

    Raises:
      InputError: as in `npz` except for values of images, and as in `streamed`; a compressed file.
    """
    name = f"npz:{path}"
    check_split(name, split)
    file, keys = members(path, KEYS, needed=("x",))
    found = {key: located(file, keys[key]) for key in ("x", "x_test") if key in keys}
    shapes = {key: shape_of(stored, images_of(name, key)) for key, stored in found.items()}
    own = own_test(name, keys)
    if own:
        same_shape(name, shapes["x"], shapes["x_test"])
    suffix = "_test" if own and split == "test" else ""
    stored, (size, height, width, channels) = found[f"x{suffix}"], shapes[f"x{suffix}"]
    numbers = np.arange(size) if own else chosen(name, size, split)
    known = {}
    for key, what, rank in (("label", "labels", 1), ("factors", "factors", 2)):
        if key + suffix in keys:
            title_of = shown(title(name, f"x{suffix}"))
            known[key] = integers(member(file, keys[key + suffix]), size, f"{title_of}: {what}", rank)[numbers]
    block = min(MOST, block_of((height, width, channels)))
    white = white_of(name, stored, list(found.values()), block)
    read = partial(read_rows, title(name, f"x{suffix}"), stored, numbers, white, known)
    sums = [f"{key} {keys[key + suffix].CRC:08x}" for key in ("x", *known)]
    mark = ", ".join([*sums, *([] if own else [f"every {HELD_OUT}th, {split}"]), f"white {white:g}"])
    return streamed(Reader(name, (height, width, channels), len(numbers), block, read), window, mark)


def read_rows(
    name: str,
    stored: Stored,
    numbers: Int[np.ndarray, " N"],
    white: float,
    known: dict[str, np.ndarray],
    index: Int[np.ndarray, " n"],
) -> Data:
    """`read` of a `Reader`: images of an npz file; `numbers` are their rows, and `known` their labels and factors.

    Raises:
      InputError: they can't be read, or aren't as they should be.
    """
    here = {key: values[index] for key, values in known.items()}
    return one_by_one(name, numbers[index], white, {"x": rows(stored, numbers[index]), **here})


def located(file: Path, info: zipfile.ZipInfo) -> Stored:
    """Where an npz file holds this array.

    Raises:
      InputError: it is compressed, transposed, corrupt, or holds pickled objects.
    """
    key = info.filename.removesuffix(".npy")
    try:
        with zipfile.ZipFile(file) as archive, open(file, "rb") as raw:
            with archive.open(info) as npy:
                shape, transposed, dtype = npy_header(npy)
                skip = npy.tell()
            if not dtype.hasobject and info.file_size - skip != math.prod(shape) * dtype.itemsize:
                raise ValueError("its header says another length")
            raw.seek(info.header_offset)
            offset = info.header_offset + LOCAL.size + sum(LOCAL.unpack(raw.read(LOCAL.size))) + skip
            now = stamp(file)
    except Exception as error:  # zipfile, zlib, numpy and tokenize each raise their own
        raise corrupt(file, key, one_line(error)) from error
    if dtype.hasobject:
        raise pickled(file, key)
    if info.compress_type != zipfile.ZIP_STORED:
        raise InputError(f"{shown(file)}: {key!r} is compressed, so it can't be streamed; save it with numpy.savez")
    if transposed and len(shape) > 1:
        raise InputError(f"{shown(file)}: {key!r} is in Fortran's order; save numpy.ascontiguousarray of it")
    return Stored(file, offset, shape, dtype, now)


def npy_header(npy: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and dtype of an array in a file at whose start this is; moves to its data."""
    version = np.lib.format.read_magic(npy)
    return (np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0)(npy)


def stamp(file: Path) -> tuple[int, int]:
    """The size of a file and the time of its last change."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def shape_of(stored: Stored, what: str) -> tuple[int, ...]:
    """The shape [N, H, W, C] of stored images; `what` and errors as in `shaped`."""
    return shaped(np.broadcast_to(np.empty((), stored.dtype), stored.shape), what).shape


def white_of(name: str, stored: Stored, every: list[Stored], block: int) -> float:
    """The value of a full pixel of one of these arrays, as `npz` has it; reads them only as far as is needed to know.

    Raises:
      InputError: the file can't be read.
    """
    if stored.dtype.kind in "bf":
        return 1.0
    spans = ((one, start) for one in every if one.dtype.kind in "ui" for start in range(0, one.shape[0], block))
    parts = (rows(one, np.arange(start, min(start + block, one.shape[0]))) for one, start in spans)
    return guessed_white(name, parts)


def rows(stored: Stored, index: Int[np.ndarray, " n"]) -> np.ndarray:
    """These rows of a stored array.

    They are read and not mapped into memory, because a mapped file that is cut short ends the whole process.

    Raises:
      InputError: the file is gone, or was changed since it was located.
    """
    length = math.prod(stored.shape[1:]) * stored.dtype.itemsize
    found = np.empty((len(index), length), np.uint8)
    whole = True
    try:
        with open(stored.file, "rb", buffering=0) as file:
            for k in np.argsort(index).tolist():
                file.seek(stored.offset + int(index[k]) * length)
                whole &= file.readinto(found[k].data) == length
        whole &= stamp(stored.file) == stored.stamp
    except OSError as error:
        raise InputError(
            f"{shown(stored.file)} can't be read any more ({reason(error)}); put it back, and go on"
        ) from error
    if not whole:
        raise InputError(f"{shown(stored.file)} has changed while it was read; start again, and leave it as it is")
    return found.view(stored.dtype).reshape(len(index), *stored.shape[1:])
