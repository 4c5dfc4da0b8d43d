"""Which sources have names: their records, and the functions that make them.

A line per source, in the order in which they are listed: a new one is its file and a line here.
"""
# ruff: noqa: F401
# pyright: reportUnsupportedDunderAll=false

from collections.abc import Callable
from typing import Any

from vaejax.data.record import Named

# isort: off
from vaejax.data.sprites import SPRITES, sprites
from vaejax.data.nuisance import COLOR_SPRITES, NOISY_SPRITES, color_sprites, noisy_sprites
from vaejax.data.shapes3d import SHAPES3D, shapes3d
from vaejax.data.rectangles import RECTANGLES, rectangles
from vaejax.data.digits import DIGITS, digits
from vaejax.data.measured import BREAST_CANCER, DIABETES, IRIS, WINE, breast_cancer, diabetes, iris, wine
from vaejax.data.dsprites import DSPRITES, dsprites
from vaejax.data.stream_npz import NPZ, npz
from vaejax.data.static_mnist import STATIC_MNIST, static_mnist
from vaejax.data.csv import CSV, csv
from vaejax.data.parquet import PARQUET, parquet
from vaejax.data.image_folder import IMAGES, image_folder
# isort: on

RECORDS: dict[str, Named] = {record.name: record for record in list(globals().values()) if isinstance(record, Named)}
SOURCES: dict[str, Callable[..., Any]] = {record.prefix: record.make for record in RECORDS.values()}
RENDERED: dict[str, Callable[..., Any]] = {name: record.make for name, record in RECORDS.items() if record.rendered}

__all__ = ["RECORDS", "RENDERED", "SOURCES", *(record.make.__name__ for record in RECORDS.values())]


def known(name: str) -> Named | None:
    """The record of a source of this name, if it isn't that of a data set of tensorflow-datasets."""
    head, colon, _ = name.partition(":")
    return next((record for record in RECORDS.values() if record.prefix == head + colon), None)
