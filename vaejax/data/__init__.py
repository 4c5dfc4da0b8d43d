"""Sources of images: `load(name)` for any of them; see `SOURCES` for what there is.

Nothing here imports TensorFlow, and tensorflow-datasets and scikit-learn only when a source of theirs is loaded.
"""

from collections.abc import Callable
from typing import Any

from vaejax.data.arrays import SPLITS, arrays, check_split
from vaejax.data.digits import digits
from vaejax.data.dsprites import dsprites
from vaejax.data.npz import npz
from vaejax.data.source import Arrays, Data, Factors, Source
from vaejax.data.sprites import sprites
from vaejax.data.tfds import tfds
from vaejax.errors import InputError
from vaejax.method import Batch

RENDERED: dict[str, Callable[..., Factors]] = {"sprites": sprites}  # (size) -> source; no files, no splits
BUNDLED: dict[str, Callable[[str], Source]] = {"digits": digits}  # (split) -> source
FILES: dict[str, Callable[[str, str], Source]] = {"dsprites:": dsprites, "npz:": npz}  # (path, split) -> source
SOURCES: dict[str, Callable[..., Any]] = {**RENDERED, **BUNDLED, **FILES}  # any other name is tensorflow-datasets'

__all__ = [
    "SOURCES", "SPLITS", "Arrays", "Batch", "Data", "Factors", "Source",
    "arrays", "digits", "dsprites", "load", "npz", "sprites", "tfds",
]  # fmt: skip


def load(name: str, split: str = "train", data_dir: str | None = None, size: int | None = None) -> Arrays | Factors:
    """A source by its name.

    Args:
      name: `sprites` (rendered), `digits` (scikit-learn's), `dsprites:PATH.npz` (see `vaejax.data.dsprites`),
        `npz:PATH` (your own images; see `vaejax.data.npz` for the format), or a data set of tensorflow-datasets by its
        own name (`mnist`, `cifar10`, `smallnorb`, ...; see `vaejax.data.tfds`).
      split: `train` or `test`; tensorflow-datasets' own names for theirs. The whole population of `sprites` and
        `dsprites:` is in both.
      data_dir: where tensorflow-datasets' data sets are prepared; None is its own default. Others don't need it.
      size: height and width of rendered images in pixels; None is the source's own.

    Raises:
      InputError: an unknown name or split, a size where nothing is rendered, a file or data set that can't be used.
    """
    if name in RENDERED:
        check_split(name, split)
        return RENDERED[name]() if size is None else RENDERED[name](size)
    if size is not None:
        raise InputError(f"{name}: only rendered sources take a size ({', '.join(RENDERED)}); leave it out")
    if name in BUNDLED:
        return BUNDLED[name](split)
    prefix, colon, path = name.partition(":")
    if prefix + colon in FILES:
        return FILES[prefix + colon](path, split)
    return tfds(name, split, data_dir)
