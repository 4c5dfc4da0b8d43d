"""Images in arrays: checked once on the host, kept on the device in as few bytes as they need, sampled there."""

import logging
import numbers
from collections.abc import Iterable
from math import inf
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from vaejax.data.paths import one_line, shown
from vaejax.data.source import Arrays, Data, draw
from vaejax.data.vectors import Kinds, Levels, checked_vectors
from vaejax.errors import InputError, is_masked, shortened
from vaejax.method import Batch, Space

SPLITS = ("train", "test")
DEEPEST = 2**16 - 1  # the largest full pixel in whole numbers
ROUNDING = 1e-6  # of a full pixel: as far as float32 arithmetic may leave [0, 1]
log = logging.getLogger("vaejax")


def at(data: Data, index: Int[Array, " n"]) -> Batch:
    """The examples of these indices as float32, images in [0, 1], with factors, labels and mask where there are any.

    `data` is `{"x": [N, *event], "scale": float32, "factors": int32 [N, K], "label": int32 [N], "mask": bool [N, D]}`,
    the last three only where known; `scale` is the stored value of a full pixel (255 for bytes), and 1 of vectors.
    """
    x = data["x"][index].astype(jnp.float32) / data["scale"]
    return Batch(x, *(data[key][index] if key in data else None for key in ("factors", "label", "mask")))


def sample(data: Data, key: Key[Array, ""], n: int) -> Batch:
    """n examples drawn uniformly with replacement; `data` as in `at`."""
    return at(data, draw(key, n, data["x"].shape[0]))


def arrays(
    name: str,
    x: Any,
    label: Any = None,
    factors: Any = None,
    white: float | None = None,
    kind: Kinds = None,
    levels: Levels = None,
    mask: Any = None,
) -> Arrays:
    """A source of the images or vectors x, after checking them.

    Vectors are x [N, D]; their `kind`, `levels` and `mask` are those of `vaejax.data.vectors.checked_vectors`. The
    others, and the errors, are those of `checked`. Where training and test images are two sources, give both the
    same `white`, since it is guessed for each alone.

    Raises:
      InputError: as `checked` or `checked_vectors`; a `white` of vectors, or a kind, levels or mask of images.
    """
    x = array_of(x, f"{shown(name)}: images") if isinstance(name, str) else x
    if np.ndim(x) == 2:
        if white is not None:
            raise InputError(f"{shown(name)}: only images have a full pixel; leave white out, or give x [N, H, W]")
        data, space = checked_vectors(name, x, kind, levels, mask)
        return placed(name, data | targets(name, len(x), label, factors), space)
    for what, value in (("kind", kind), ("levels", levels), ("mask", mask)):
        if value is not None:
            raise InputError(f"{shown(name)}: only vectors x [N, D] take a {what}; leave it out, or reshape")
    return placed(name, checked(name, x, label, factors, white))


def checked(name: str, x: Any, label: Any = None, factors: Any = None, white: float | None = None) -> Data:
    """What `at` takes, still in the host's memory.

    Args:
      name: what the user calls the source; messages start with it.
      x: [N, H, W] or [N, H, W, C] with 1 or 3 channels: bool, whole numbers 0..255, or floats in [0, 1].
      label: N integers from 0, or -1 for an image without a label; or None.
      factors: [N, K] integers from 0, or None.
      white: the value of a full pixel, where it is known (see `pixels`).

    Raises:
      InputError: anything else.
    """
    check_text("name", name)
    if white is not None and (isinstance(white, bool) or not isinstance(white, numbers.Real) or not 0 < white < inf):
        raise InputError(f"{shown(name)}: white has to be a number above 0, not {shortened(white)}")
    stored, scale = pixels(x, f"{shown(name)}: images", white)
    return {"x": stored, "scale": np.float32(scale)} | targets(name, len(stored), label, factors)


def targets(name: str, count: int, label: Any, factors: Any) -> Data:
    """The factors and labels of so many examples, as far as they are given."""
    data = {}
    if factors is not None:
        data["factors"] = integers(factors, count, f"{shown(name)}: factors", rank=2)
    if label is not None:
        data["label"] = integers(label, count, f"{shown(name)}: labels", rank=1)
    return data


def placed(name: str, data: Data, space: Space | None = None) -> Arrays:
    """A source of this checked data, which moves to the device; of images if no space is given."""
    size, *event = data["x"].shape
    return Arrays(name, space or Space(tuple(event)), size, jax.tree.map(jnp.asarray, data), at, sample)


def pixels(x: Any, what: str, white: float | None = None) -> tuple[np.ndarray, float]:
    """Images as the device shall hold them.

    Args:
      x: as in `checked`.
      what: what messages call them.
      white: the value of a full pixel, where it is known; floats then stay float32. Of a bool it is True always, of
        floats 1 if not given, and of whole numbers it is guessed (see `guessed_white`).

    Returns:
      uint8 or float32 [N, H, W, C], and the value that divides it to [0, 1].

    Raises:
      InputError: not numbers, another shape, no images, NaN or infinity, values out of range.
    """
    x = shaped(array_of(x, what), what)
    if x.dtype.kind == "b":
        return x.astype(np.uint8), 1.0
    return byte_pixels(x, what, white) if x.dtype.kind in "ui" else float_pixels(x, what, white)


def array_of(values: Any, what: str) -> np.ndarray:
    """The values as NumPy's array.

    Raises:
      InputError: they are none, such as lists of different lengths.
    """
    if is_masked(values):
        raise InputError(f"{what} are a masked array, whose masked values would be taken; fill them, or give a mask")
    try:
        return np.asarray(values)
    except Exception as error:  # what is given may have a conversion of its own, which raises what it likes
        raise InputError(f"{what} are no array ({one_line(error)}); give an array of numbers") from error


def guessed_white(name: str, parts: Iterable[np.ndarray]) -> float:
    """The full pixel of images in whole numbers: 1 where none of these parts has a value above 1, else 255.

    All images of one data set shall be among the parts, so that training and test have one scale. They are read until
    a value above 1 is found.
    """
    white = 255.0 if any(part.max() > 1 for part in parts) else 1.0
    found = "some above 1" if white > 1 else "none above 1"
    log.info("%s: pixels are whole numbers, %s, so %g is taken to be a full (white) pixel", shown(name), found, white)
    return white


def shaped(x: np.ndarray, what: str) -> np.ndarray:
    """x as [N, H, W, C].

    Raises:
      InputError: not real numbers, another rank, an axis of length 0, channels other than 1 or 3.
    """
    if x.dtype.kind not in "buif":
        raise InputError(f"{what} have dtype {x.dtype}; give bool, uint8 0..255 or floats in [0, 1]")
    if x.ndim not in (3, 4):
        raise InputError(f"{what} have shape {x.shape}; reshape to [N, height, width] or [N, height, width, channels]")
    x = x[..., None] if x.ndim == 3 else x
    if 0 in x.shape:
        raise InputError(f"{what} have shape {x.shape}: there are none; give at least one image")
    if x.shape[-1] not in (1, 3):
        first = "; the channels seem to come first: move axis 1 to the end" if x.shape[1] in (1, 3) else ""
        raise InputError(f"{what} have {x.shape[-1]} channels in shape {x.shape}; give 1 or 3{first}")
    return x


def byte_pixels(x: np.ndarray, what: str, white: float | None) -> tuple[np.ndarray, float]:
    """Whole numbers as uint8, or uint16 where the full pixel is above 255, and their full pixel; see `pixels`.

    Raises:
      InputError: a value below 0 or above the full pixel.
    """
    low, high = int(x.min()), int(x.max())
    if low < 0 or (high > 255 and not 255 < (white or 0) <= DEEPEST):
        raise InputError(
            f"{what} are whole numbers from {low} to {high}, first beyond in {_first((x < 0) | (x > 255))}; rescale to "
            "0..255 or to floats in [0, 1]"
        )
    full = float(white or guessed_white(what, [x]))
    if high > full:
        raise InputError(f"{what} run up to {high}, beyond the full pixel {full:g}, first in {_first(x > full)}")
    return x.astype(np.uint8 if full <= 255 else np.uint16), full


def float_pixels(x: np.ndarray, what: str, white: float | None) -> tuple[np.ndarray, float]:
    """Floats from 0 to the full pixel, which is 1 if not given.

    What is out of this by no more than `ROUNDING` of a full pixel is clipped.

    Returns:
      uint8 and 255 where that loses nothing and no full pixel is given, else float32 and the full pixel.

    Raises:
      InputError: NaN, infinity, a value out of range.
    """
    if not np.isfinite(x).all():
        bad = ~np.isfinite(x)
        raise InputError(
            f"{what} have {bad.sum()} NaN or infinite values, the first in {_first(bad)}; remove or replace them"
        )
    low, high, full = float(x.min()), float(x.max()), float(white or 1.0)
    if low < -ROUNDING * full or high > (1 + ROUNDING) * full:
        advice = divisor(low, high) if full == 1 else "rescale"
        where = _first((x < -ROUNDING * full) | (x > (1 + ROUNDING) * full))
        raise InputError(
            f"{what} run from {low:.9g} to {high:.9g}; {advice} to bring them into [0, {full:g}]; "
            f"first beyond in {where}"
        )
    x = x.astype(np.float32)
    np.clip(x, 0, np.float32(full), out=x)
    if white is not None:
        return x, full
    bytes_ = np.rint(x * np.float32(255)).astype(np.uint8)
    return (bytes_, 255.0) if np.array_equal(bytes_.astype(np.float32) / np.float32(255), x) else (x, 1.0)


def _first(wrong: np.ndarray) -> str:
    """Where in images [N, H, W, C] the first of these pixels is."""
    image, row, column, _ = np.argwhere(wrong)[0].tolist()
    return f"image {image}, row {row}, column {column}"


def divisor(low: float, high: float) -> str:
    """How to bring floats of this range into [0, 1], as far as it shows; one dark image of bytes doesn't show it."""
    if low < -ROUNDING or high < 2 or high > 255 * (1 + ROUNDING):
        return "rescale"
    return "divide by 255" if high >= 128 else "divide by a full pixel's value (for bytes, 255)"


def integers(values: Any, n: int, what: str, rank: int) -> np.ndarray:
    """int32 of this rank, one row for each of n images: labels (1), where -1 is none, or factors (2).

    Raises:
      InputError: not integers, another shape, below -1 or below 0, beyond int32.
    """
    values = array_of(values, what)
    least, kinds = (-1, "integers from 0, or -1 for no label") if rank == 1 else (0, "integers from 0")
    if values.dtype.kind not in "ui":
        raise InputError(f"{what} have dtype {values.dtype}; give {kinds}")
    if values.ndim != rank or 0 in values.shape:
        raise InputError(f"{what} have shape {values.shape}; give {'[N]' if rank == 1 else '[N, K]'}")
    if len(values) != n:
        raise InputError(f"{what} are {len(values)} for {n} images; give one for each image")
    low, high = int(values.min()), int(values.max())
    if low < least or high > np.iinfo(np.int32).max:
        row, *column = np.argwhere((values < least) | (values > np.iinfo(np.int32).max))[0].tolist()
        where = f"row {row}{''.join(f', column {each}' for each in column)}"
        raise InputError(
            f"{what} run from {low} to {high}, first beyond in {where}; give {kinds}, and up to "
            f"{np.iinfo(np.int32).max}"
        )
    return values.astype(np.int32)


def check_text(what: str, text: Any) -> None:
    """Nothing, for a text.

    Raises:
      InputError: something else.
    """
    if not isinstance(text, str):
        raise InputError(f"{what} has to be a text, not {shortened(text)}")


def check_split(name: str, split: str) -> None:
    """Nothing, for a split that every source of this package has.

    Raises:
      InputError: neither train nor test.
    """
    check_text("split", split)
    if split not in SPLITS:
        raise InputError(f"{shown(name)}: unknown split {split[:60]!r}; choose one of: {', '.join(SPLITS)}")
