"""Sources that draw their images when asked for: pure functions of the factors, all combinations equally likely."""

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Array, Int, Key

from vaejax.data.bound import bound
from vaejax.data.source import Data, Factors, Made, draw, factors_of
from vaejax.errors import InputError, shortened
from vaejax.method import Batch, Space

Render = Callable[..., Any]


def rendered(
    name: str,
    shape: tuple[int, int, int],
    sizes: tuple[int, ...],
    names: tuple[str, ...],
    render: Render,
    made: Made,
) -> Factors:
    """A source without data, whose images `render` makes of factors Int[n, K]; the arguments are as in `Factors`."""
    at, count = bound(at_combination, render, sizes), int(np.prod(sizes))
    sample, factors = bound(sample_combination, at, count), bound(uniform_factors, sizes)
    return Factors(name, Space(shape), count, (), at, sample, sizes, names, render, factors, made=made)


def at_combination(render: Render, sizes: tuple[int, ...], data: Data, index: Int[Array, " n"]) -> Batch:
    """`at` of a source that renders: the images of these combinations."""
    factors = factors_of(index, sizes)
    return Batch(render(factors), factors=factors)


def sample_combination(at: Callable[..., Batch], count: int, data: Data, key: Key[Array, ""], n: int) -> Batch:
    """`sample` of a source of `count` images by their number: n images drawn uniformly with replacement."""
    return at(data, draw(key, n, count))


def uniform_factors(sizes: tuple[int, ...], key: Key[Array, ""], n: int) -> Int[Array, "n K"]:
    """n combinations drawn uniformly with replacement: the factors of `sample_combination` with this key."""
    return factors_of(draw(key, n, int(np.prod(sizes))), sizes)


def check_side(name: str, size: Any, sides: tuple[int, ...]) -> int:
    """The size of a rendered source's images as Python's integer.

    Raises:
      InputError: it is none of these.
    """
    if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size not in sides:
        *others, last = map(str, sides)
        raise InputError(f"{name} have size {', '.join(others)} or {last}, not {shortened(size)}")
    return int(size)
