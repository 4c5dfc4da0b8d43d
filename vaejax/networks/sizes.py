"""Whole numbers and shapes as users write them (lists, NumPy's) in plain Python, or one line for what is none."""

import numbers
from typing import Any

import numpy as np

from vaejax.errors import LARGEST, InputError, check_sizes, plain, shortened

DEEPEST = 1000  # layers of a network
Shape = tuple[int, ...]  # (height, width, channels) of an image, (D,) of a vector


def whole_number(name: str, value: Any, least: int = -LARGEST) -> int:
    """The value as an `int`.

    Raises:
      InputError: it is none, or below `least`.
    """
    value = plain(value)
    if value is None:
        raise InputError(f"{name} has to be a whole number, not None")
    check_sizes(least, **{name: value})
    return int(value)


def whole_numbers(name: str, values: Any, least: int = -LARGEST) -> tuple[int, ...]:
    """Several, or a single one, as a tuple of `int`.

    Raises:
      InputError: one is none, or below `least`.
    """
    if isinstance(values, (list, tuple, range)) or (isinstance(values, np.ndarray) and values.ndim == 1):
        return tuple(whole_number(name, value, least) for value in values)
    if not isinstance(values, (numbers.Number, np.ndarray)):
        raise InputError(f"{name} has to be whole numbers, as in {name}=(16, 8), not {shortened(values)}")
    return (whole_number(name, values, least),)


def check_depth(name: str, depth: int) -> None:
    """Nothing, for a number of layers that can be traced in a reasonable time.

    Raises:
      InputError: there are less than 1, or too many.
    """
    if not 1 <= depth <= DEEPEST:
        raise InputError(f"{name} has to be 1 to {DEEPEST:,} layers, not {depth:,}")


def example_shape(shape: Any) -> Shape:
    """(height, width, channels) of an image, or (D,) of a vector.

    Raises:
      InputError: these are not three whole numbers, or one, that are at least 1.
    """
    how = "a shape is (height, width, channels), such as (28, 28, 1), or (D,) of a vector"
    rank = np.ndim(np.asarray(shape, object)) if isinstance(shape, (list, tuple, np.ndarray)) else 0
    if rank != 1 or len(shape) not in (1, 3):
        raise InputError(f"{how}, not {shortened(shape)}")
    try:
        return whole_numbers("a side", shape, least=1)
    except InputError as error:
        raise InputError(f"{how}: {error}") from None
