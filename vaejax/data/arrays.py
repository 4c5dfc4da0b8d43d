"""Images in arrays: checked once on the host, kept on the device in as few bytes as they need, sampled there."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from vaejax.data.source import Arrays, Data, draw
from vaejax.errors import InputError
from vaejax.method import Batch

SPLITS = ("train", "test")


def at(data: Data, index: Int[Array, " n"]) -> Batch:
    """The images of these indices, as float32 in [0, 1], with their factors and labels where there are any.

    `data` is `{"x": [N, H, W, C], "scale": float32, "factors": int32 [N, K], "label": int32 [N]}`, the last two only
    where known; `scale` is the stored value of a full pixel (255 for bytes).
    """
    x = data["x"][index].astype(jnp.float32) / data["scale"]
    return Batch(x, *(data[key][index] if key in data else None for key in ("factors", "label")))


def sample(data: Data, key: Key[Array, ""], n: int) -> Batch:
    """n images drawn uniformly with replacement; `data` as in `at`."""
    return at(data, draw(key, n, data["x"].shape[0]))


def arrays(name: str, x: Any, label: Any = None, factors: Any = None, white: float | None = None) -> Arrays:
    """A source of the images x, after checking them; the arguments and errors are those of `checked`."""
    return placed(name, checked(name, x, label, factors, white))


def checked(name: str, x: Any, label: Any = None, factors: Any = None, white: float | None = None) -> Data:
    """What `at` takes, still in the host's memory.

    Args:
      name: what the user calls the source; messages start with it.
      x: [N, H, W] or [N, H, W, C] with 1 or 3 channels: bool, whole numbers 0..255, or floats in [0, 1].
      label: N integers from 0, or None.
      factors: [N, K] integers from 0, or None.
      white: the value of a full pixel, where it is known (see `pixels`).

    Raises:
      InputError: anything else.
    """
    stored, scale = pixels(x, f"{name}: images", white)
    data = {"x": stored, "scale": np.float32(scale)}
    if factors is not None:
        data["factors"] = integers(factors, len(stored), f"{name}: factors", rank=2)
    if label is not None:
        data["label"] = integers(label, len(stored), f"{name}: labels", rank=1)
    return data


def placed(name: str, data: Data) -> Arrays:
    """A source of this checked data, which moves to the device."""
    size, height, width, channels = data["x"].shape
    return Arrays(name, (height, width, channels), size, jax.tree.map(jnp.asarray, data), at, sample)


def pixels(x: Any, what: str, white: float | None = None) -> tuple[np.ndarray, float]:
    """Images as they are kept, and the stored value of a full pixel.

    Whole numbers and bools are kept as bytes. Their full pixel is 255, or 1 where no value is above 1 (binary images
    saved as bytes). Floats that are k/255 are kept as the bytes k; `at` gives them back within one rounding, because
    XLA multiplies by 1/255. Other floats stay float32.

    Args:
      x: [N, H, W] or [N, H, W, C], as in `arrays`.
      what: how a message calls them.
      white: the full pixel, where it is known; floats, whose full pixel is 1, then stay float32.

    Returns:
      uint8 or float32 [N, H, W, C], and the value that divides it to [0, 1].

    Raises:
      InputError: not numbers, another shape, no images, NaN or infinity, values out of range.
    """
    x = shaped(np.asarray(x), what)
    return byte_pixels(x, what, white) if x.dtype.kind in "bui" else float_pixels(x, what, white)


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
    """Whole numbers 0..255 as uint8, and their full pixel; see `pixels`.

    Raises:
      InputError: a value below 0 or above the full pixel.
    """
    low, high = int(x.min()), int(x.max())
    if low < 0 or high > 255:
        raise InputError(f"{what} are whole numbers from {low} to {high}; rescale to 0..255 or to floats in [0, 1]")
    full = white or (1.0 if high <= 1 else 255.0)
    if high > full:
        raise InputError(f"{what} run up to {high}, beyond the full pixel {full:g}")
    return x.astype(np.uint8), full


def float_pixels(x: np.ndarray, what: str, white: float | None) -> tuple[np.ndarray, float]:
    """Floats in [0, 1] as uint8 and 255 where that loses nothing and no full pixel is given, else as float32 and 1.

    Raises:
      InputError: NaN, infinity, a value out of [0, 1].
    """
    if not np.isfinite(x).all():
        bad = np.argwhere(~np.isfinite(x))
        where = tuple(bad[0].tolist())
        raise InputError(f"{what} have {len(bad)} NaN or infinite values, the first at {where}; remove or replace them")
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        advice = "divide by 255" if low >= 0 and high <= 255 else "rescale"
        raise InputError(f"{what} run from {low:g} to {high:g}; {advice} to bring them into [0, 1]")
    x = x.astype(np.float32)
    if white is not None:
        return x, 1.0
    bytes_ = np.rint(x * np.float32(255)).astype(np.uint8)
    return (bytes_, 255.0) if np.array_equal(bytes_.astype(np.float32) / np.float32(255), x) else (x, 1.0)


def integers(values: Any, n: int, what: str, rank: int) -> np.ndarray:
    """int32 of this rank (1 or 2), one row for each of n images.

    Raises:
      InputError: not integers, another shape, negative, beyond int32.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "ui":
        raise InputError(f"{what} have dtype {values.dtype}; give integers from 0")
    if values.ndim != rank or 0 in values.shape:
        raise InputError(f"{what} have shape {values.shape}; give {'[N]' if rank == 1 else '[N, K]'}")
    if len(values) != n:
        raise InputError(f"{what} are {len(values)} for {n} images; give one for each image")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > np.iinfo(np.int32).max:
        raise InputError(f"{what} run from {low} to {high}; give integers from 0 to {np.iinfo(np.int32).max}")
    return values.astype(np.int32)


def check_split(name: str, split: str) -> None:
    """Nothing, for a split that every source of this package has.

    Raises:
      InputError: neither train nor test.
    """
    if split not in SPLITS:
        raise InputError(f"{name}: unknown split {split!r}; choose one of: {', '.join(SPLITS)}")
