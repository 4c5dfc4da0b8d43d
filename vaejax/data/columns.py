"""One column of a table: what kind it is of, its values as numbers, and the names of its levels.

| what stands in it | kind |
|---|---|
| truth values; whole numbers that are 0 or 1 | `unit` |
| other whole numbers from 0 | `count` |
| any other numbers | `real` |
| texts | `category`, whose levels are in the order of the alphabet, or of a pandas `Categorical` in its own |

Numbers with a fraction of 0 are whole where values are missing, because pandas makes floats of whole numbers with gaps.
"""

import numbers
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from vaejax.data.paths import shown
from vaejax.data.vectors import LARGEST_COUNT, MOST_LEVELS
from vaejax.errors import InputError, shortened
from vaejax.method import Kind

if TYPE_CHECKING:
    import pandas as pd

MANY = 256  # different texts: rather names than categories, unless the kind is given


class Values(NamedTuple):
    """A column's numbers, NaN where a value is missing; its kind; and the names of its levels, if it has any."""

    x: Float[np.ndarray, " N"]
    kind: Kind
    levels: tuple[str, ...] | None


def values(what: str, column: "pd.Series", kind: Kind | None = None) -> Values:
    """What stands in a column.

    Args:
      what: what messages call it: "table.csv: column 'age'".
      kind: what it is to be; it follows from the values if not given.

    Raises:
      InputError: values that are neither numbers nor texts nor truth values, or of several of these; infinity; too many
        levels; or texts where numbers are asked for.
    """
    x = _numbers(what, column)
    if x is None:
        return _texts(what, column, kind)
    there = x[~np.isnan(x)]
    if not np.isfinite(there).all():
        row = int(np.flatnonzero(np.isinf(x))[0])
        raise InputError(f"{what} has {x[row]:g} in row {row}; remove or replace it; an empty value is a missing one")
    kind = _kind(column, x, there) if kind is None else kind
    if kind != "category":
        return Values(x, kind, None)
    found = np.unique(there)
    _check_levels(what, found.size, MOST_LEVELS)
    names = tuple(f"{value:.0f}" if value == np.floor(value) else repr(float(value)) for value in found)
    if _truth(column):
        names = tuple(str(bool(value)) for value in found)
    return Values(np.where(np.isnan(x), np.nan, np.searchsorted(found, x)), kind, names)


def _numbers(what: str, column: "pd.Series") -> Float[np.ndarray, " N"] | None:
    """The numbers of a column, NaN where there is none; None if it is of texts.

    Raises:
      InputError: something else stands in it.
    """
    import pandas as pd
    from pandas.api import types

    if isinstance(column.dtype, pd.CategoricalDtype):
        return None
    missing = column.isna().to_numpy(bool)
    if types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype):
        return column.to_numpy(np.float64, na_value=np.nan)
    if not (types.is_object_dtype(column.dtype) or types.is_string_dtype(column.dtype)):
        raise InputError(f"{what} is of {column.dtype}; make numbers or texts of it, or leave it out (without)")
    plain = column.to_numpy(object)
    kinds = np.array([_sort(value) for value in plain])
    for row in np.flatnonzero(~missing & (kinds == "other"))[:1]:
        raise InputError(f"{what} has {shortened(plain[row])} in row {row}; give numbers or texts, or leave it out")
    found = sorted(set(kinds[~missing]))
    if len(found) > 1:
        row = int(np.flatnonzero(~missing & (kinds != kinds[~missing][0]))[0])
        raise InputError(
            f"{what} has {found[0]}s and {found[1]}s, such as {shortened(plain[row])} in row {row}; make them one"
        )
    if found == ["text"]:
        return None
    return np.array([np.nan if gone else float(value) for value, gone in zip(plain, missing, strict=True)])


def _sort(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "truth value"
    return "text" if isinstance(value, str) else "number" if isinstance(value, numbers.Real) else "other"


def _truth(column: "pd.Series") -> bool:
    from pandas.api import types

    if types.is_object_dtype(column.dtype):
        return any(isinstance(value, bool | np.bool_) for value in column)
    return types.is_bool_dtype(column.dtype)


def _kind(column: "pd.Series", x: np.ndarray, there: np.ndarray) -> Kind:
    """The kind of a column of numbers."""
    from pandas.api import types

    if not there.size:
        return "real"
    gaps = there.size < x.size and bool((there == np.floor(there)).all())
    whole = _truth(column) or types.is_integer_dtype(column.dtype) or gaps
    if not whole or there.min() < 0 or there.max() > LARGEST_COUNT:
        return "real"
    return "unit" if there.max() <= 1 else "count"


def _texts(what: str, column: "pd.Series", kind: Kind | None) -> Values:
    """A column of texts.

    Raises:
      InputError: there are too many, most of them are numbers, or they shall be something else than categories.
    """
    import pandas as pd

    sorts = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else sorted(set(column.dropna()))
    names = tuple(map(str, sorts))
    row = int(np.argmax(column.notna()))
    if kind not in (None, "category"):
        raise InputError(
            f"{what} has {_quoted(column.iloc[row])} in row {row}, which is no number; it can only be a category"
        )
    odd = [name for name in names if not _number(name)]
    if kind is None and odd and 2 * len(odd) <= len(names) and len(names) > 2:
        row = int(np.argmax(column.astype(object).map(str).to_numpy() == odd[0]))
        raise InputError(
            f"{what} has {_quoted(odd[0])} in row {row} among numbers; leave that value empty if it is missing, "
            "or say that these are categories (kinds)"
        )
    _check_levels(what, len(names), MANY if kind is None else MOST_LEVELS)
    codes = pd.Categorical(column, categories=sorts).codes
    return Values(np.where(codes < 0, np.nan, codes), "category", names)


def _check_levels(what: str, count: int, most: int) -> None:
    """Nothing, for so many levels at most.

    Raises:
      InputError: there are more.
    """
    if count > most:
        more = ", or say that it is a category (kinds)" if most < MOST_LEVELS else ""
        raise InputError(f"{what} has {count} different values, more than {most} categories; leave it out{more}")


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _quoted(value: Any) -> str:
    return repr(shown(value, 40))
