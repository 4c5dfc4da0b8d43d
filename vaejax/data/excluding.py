"""Removing combinations of factor values, to see what a model makes of combinations it never met.

For example hearts in the right half (shape 2 with x above 15): a model sees hearts, and it sees the right half, and is
tested on both together. Splits of this kind are those of Montero et al. 2021, "The role of disentanglement in
generalisation" (recombination).
"""

import numbers
from collections.abc import Collection, Mapping
from functools import reduce

import numpy as np

from vaejax.data.arrays import check_split
from vaejax.data.joint import column, full_grid, weighted
from vaejax.data.source import Factors
from vaejax.errors import InputError, shortened

Where = Mapping[str | int, Collection[int]]


def excluding(source: Factors, *where: Where, split: str = "train") -> Factors:
    """The source without some combinations (`train`), or these alone (`test`).

    `sample`, `sample_factors`, `at` and `size` know only those that are left, in the order they had; `render`
    draws any.

    Args:
      where: each maps names or numbers of factors to values, and removes the combinations in which all of these factors
        have one of their values; what any of them removes is removed.
      split: `train` for what is left, `test` for what was removed.

    Raises:
      InputError: the source has no full grid of factors; no `where`, or one without a factor, or a factor without a
        value; there is no such factor or value; nothing is left; another split.
    """
    source = full_grid(source)
    check_split(source.name, split)
    for one in where:
        if not isinstance(one, Mapping):
            raise InputError(f"{source.name}: say what to exclude as {{'shape': [2]}}, not as {shortened(one)}")
    tables = [{column(source, factor): values for factor, values in one.items()} for one in where]
    if [len(table) for table in tables] != [len(one) for one in where]:
        raise InputError(f"{source.name}: a factor is excluded twice in one go, by its name and by its number")
    if not tables or not all(tables):
        raise InputError(f"{source.name}: say what to exclude, for example {{{source.names[0]!r}: [0]}}")
    columns = tuple(sorted(set().union(*tables)))
    removed = np.zeros([source.sizes[k] for k in columns], bool)
    for table in tables:
        removed |= reduce(np.logical_and.outer, [_mask(source, k, table.get(k)) for k in columns])
    parts = ["".join(f"+excluding:{_text(source, table)}" for table in tables), " (test)" if split == "test" else ""]
    return weighted(source, source.name + "".join(parts), columns, (removed == (split == "test")).astype(float))


def _mask(source: Factors, k: int, values: Collection[int] | None) -> np.ndarray:
    """Which values of factor k are given; all where None is.

    Raises:
      InputError: none is, or one that the factor hasn't.
    """
    size, mask = source.sizes[k], np.zeros(source.sizes[k], bool)
    if values is None:
        return ~mask
    numbered = not isinstance(values, str | bytes | Mapping) and isinstance(values, Collection)
    wrong = [value for value in values if not _is_value(value, size)] if numbered else [values]
    if wrong or not len(values):
        what = shortened(wrong[0]) if wrong else "none"
        known = f"{source.names[k]} has the values 0 to {size - 1}"
        raise InputError(f"{source.name}: {known}; {what} can't be excluded; give a list of values")
    mask[list(values)] = True
    return mask


def _is_value(value: object, size: int) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value in range(size)


def _text(source: Factors, table: Mapping[int, Collection[int]]) -> str:
    """Values as `load` reads them: `shape=2,x=16-31`."""
    return ",".join(f"{source.names[k]}={'/'.join(_runs(values))}" for k, values in table.items())


def _runs(values: Collection[int]) -> list[str]:
    """Numbers as first and last of those that follow one another: 1, 3, 4, 5 -> 1, 3-5."""
    ordered = np.unique(np.asarray(list(values)))
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    return [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
