"""Images of an npz file that stay on the disk, and what `load` calls npz files."""

import math
import struct
import zipfile
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Int

from vaejax.data.arrays import check_split, guessed_white, integers, shaped
from vaejax.data.npz import (
    HELD_OUT,
    KEYS,
    chosen,
    corrupt,
    full_pixel,
    images_of,
    is_sparse,
    member,
    members,
    npz,
    own_test,
    pickled,
    same_shape,
    title,
)
from vaejax.data.paths import one_line, reason, shown
from vaejax.data.record import Named
from vaejax.data.source import Data, Streamed
from vaejax.data.stream import Reader, block_of, one_by_one, streamed
from vaejax.errors import InputError

LOCAL = struct.Struct("<26xHH")  # what stands before an array in a zip file, up to the lengths of two more fields


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


def stream_npz(path: str, split: str, window: int, name: str | None = None) -> Streamed:
    """The images of `vaejax.data.npz`, with their labels and factors, of a file that `numpy.savez` has written.

    Floats stay float32, also where they are k/255. Values are checked as they are read. The file's checksum is not,
    since it takes all of the file.

    Raises:
      InputError: as in `npz` except for values of images, and as in `streamed`; a compressed file.
    """
    name = name or f"npz:{path}"
    check_split(name, split)
    if is_sparse(path):
        raise InputError(f"{shown(name)} takes no window, because it stays sparse on the device; leave it out")
    file, keys = members(path, KEYS, needed=("x",))
    found = {key: located(file, keys[key]) for key in ("x", "x_test") if key in keys}
    if len(found["x"].shape) == 2:
        raise InputError(f"{shown(name)} takes no window, because it holds vectors; leave it out")
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
    block = block_of((height, width, channels))
    given = full_pixel(name, member(file, keys["white"])) if "white" in keys else None
    white = (
        given
        if given is not None and stored.dtype.kind in "ui"
        else white_of(name, stored, list(found.values()), block)
    )
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


NPZ = Named("npz:PATH", npz, stream=stream_npz)
