"""Decoding many small PNG files at once.

A general decoder spends most of its time on opening a file of a few hundred bytes: 60,000 MNIST digits take Pillow
several seconds. Here each file costs one call of zlib, and undoing the row filters is array arithmetic over all images
(Portable Network Graphics specification, third edition, section 9).
"""

import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2  # the colour types read here

Pixels = UInt8[np.ndarray, "n W C"]  # the same row of n images


def decode(files: Sequence[bytes], shape: tuple[int, int, int]) -> UInt8[np.ndarray, "n H W C"] | None:
    """The images, or None unless each is an intact PNG of this shape: 8 bits, grey or RGB, not interlaced."""
    height, width, channels = shape
    if channels not in (1, 3):
        return None
    header = struct.pack(">II5B", width, height, 8, GREY if channels == 1 else RGB, 0, 0, 0)
    try:
        rows = b"".join(zlib.decompress(compressed(file, header)) for file in files)
    except (ValueError, struct.error, zlib.error):
        return None
    if len(rows) != len(files) * height * (1 + width * channels):
        return None
    table = np.frombuffer(rows, np.uint8).reshape(len(files), height, 1 + width * channels)
    kinds = table[:, :, 0]
    return None if kinds.max() >= len(UNDO) else unfiltered(kinds, table[:, :, 1:].reshape(len(files), *shape))


def compressed(file: bytes, header: bytes) -> bytes:
    """The image data of a PNG file with this header.

    Raises:
      ValueError, struct.error: another header, or a file that ends too early.
    """
    if not file.startswith(SIGNATURE) or file[16:29] != header:
        raise ValueError("not a PNG file with this header")
    found, start = [], len(SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", file, start)
        if kind == b"IDAT":
            found.append(file[start + 8 : start + 8 + length])
        elif kind == b"IEND":
            return b"".join(found)
        start += length + 12  # length, kind and checksum take four bytes each


def unfiltered(kinds: UInt8[np.ndarray, "n H"], images: UInt8[np.ndarray, "n H W C"]) -> UInt8[np.ndarray, "n H W C"]:
    """The images, from their filtered rows and each row's kind of filter."""
    images = images.copy()
    above = np.zeros_like(images[:, 0])
    for y in range(images.shape[1]):
        for kind, undo in enumerate(UNDO):
            chosen = np.flatnonzero(kinds[:, y] == kind) if kind else ()
            if len(chosen):
                images[chosen, y] = undo(images[chosen, y], above[chosen])
        above = images[:, y]
    return images


def none(row: Pixels, above: Pixels) -> Pixels:
    """The row is stored as it is."""
    return row


def sub(row: Pixels, above: Pixels) -> Pixels:
    """Stored: the difference from the pixel to the left, modulo 256."""
    return np.cumsum(row, axis=1, dtype=np.uint8)


def up(row: Pixels, above: Pixels) -> Pixels:
    """Stored: the difference from the pixel above, modulo 256."""
    return row + above


def average(row: Pixels, above: Pixels) -> Pixels:
    """Stored: the difference from the mean, rounded down, of the pixels to the left and above."""
    return from_left(row, above, lambda left, above, corner: (left + above) // 2)


def paeth(row: Pixels, above: Pixels) -> Pixels:
    """Stored: the difference from whichever of left, above and corner is nearest to left + above - corner."""

    def nearest(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
        to_left, to_above, to_corner = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
        second = np.where(to_above <= to_corner, above, corner)
        return np.where((to_left <= to_above) & (to_left <= to_corner), left, second)

    return from_left(row, above, nearest)


def from_left(row: Pixels, above: Pixels, predict: Callable[..., np.ndarray]) -> Pixels:
    """The row, pixel by pixel, from what `predict(left, above, corner)` says of n x C values in int16."""
    stored, over = (np.ascontiguousarray(part.swapaxes(0, 1), np.int16) for part in (row, above))
    left = corner = np.zeros_like(stored[0])
    for x, here in enumerate(over):
        left = stored[x] = (stored[x] + predict(left, here, corner)) & 255
        corner = here
    return stored.swapaxes(0, 1).astype(np.uint8)


UNDO = (none, sub, up, average, paeth)  # by the number that a PNG row starts with
