"""Vectors and tables in arrays: real numbers, counts and categories, and which of them are there.

| kind | elements |
|---|---|
| `real` | any finite numbers |
| `unit` | numbers from 0 to 1, or truth values |
| `count` | whole numbers from 0 |
| `category` | whole numbers from 0, below `levels` |

Where no kind is given it follows from the type: bool is `unit`, whole numbers from 0 are `count`, others and floats are
`real`; the logger "vaejax" says which (INFO). A NaN is a missing value.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num

from vaejax.data.paths import shown
from vaejax.errors import InputError, is_masked, shortened
from vaejax.method import KINDS, Kind, Space

Kinds = Kind | tuple[Kind, ...] | list[Kind] | None
Levels = int | tuple[int | None, ...] | list[int | None] | None
LARGEST_COUNT = 2**24  # beyond it float32 has not every whole number
MOST_LEVELS = 4096
COARSE = 32  # steps of float32, at least, over which a column has to vary
log = logging.getLogger("vaejax")


def checked_vectors(
    name: str,
    x: Num[np.ndarray, "N D"],
    kind: Kinds = None,
    levels: Levels = None,
    mask: Any = None,
    names: Sequence[str] | None = None,
    first: int | None = None,
) -> tuple[dict[str, np.ndarray], Space]:
    """What `vaejax.data.arrays.at` takes, still in the host's memory, and the space of these vectors.

    Args:
      name: what the user calls the source; messages start with it.
      x: [N, D] numbers; NaN where a value is missing.
      kind: of all elements, or one for each column; see above.
      levels: how many categories there are: of all columns, or of each; the largest value and 1 if not given.
      mask: bool [N, D], False where a value is missing, beside the NaNs.
      names: what messages call the columns; their numbers if not given.
      first: how many rows are for training, where those behind them are counted from 0 again, as the test's.

    Raises:
      InputError: anything else; the line names the first row and column that is wrong.
    """
    what = f"{shown(name)}: vectors"
    if x.dtype.kind not in "buif":
        raise InputError(f"{what} have dtype {x.dtype}; give numbers, categories as 0, 1, 2, ...")
    if x.ndim != 2 or 0 in x.shape:
        raise InputError(f"{what} have shape {x.shape}; give [N, D] with at least one row and one column")
    there = _there(what, x, mask, names)
    kinds = _kinds(what, x, kind)
    stored = np.where(there, x, 0) if not there.all() else x
    for column, of in enumerate(kinds):
        _check_column(what, stored[:, column], there[:, column], of, _called(column, names), first)
    counts = _levels(what, stored, kinds, levels)
    one = len(set(kinds)) == 1 and len(set(counts)) == 1
    space = Space((x.shape[1],), kinds[0] if one else kinds, counts[0] if one else counts, int(not there.all()))
    whole = all(of in ("count", "category") for of in kinds)
    data = {"x": narrow(stored) if whole else stored.astype(np.float32), "scale": np.float32(1)}
    if not there.all():
        data["mask"] = there
    return data, space


def _there(what: str, x: np.ndarray, mask: Any, names: Sequence[str] | None) -> Bool[np.ndarray, "N D"]:
    """Which elements are there.

    Raises:
      InputError: a mask of another shape or type, or a column without any value.
    """
    there = ~np.isnan(x) if x.dtype.kind == "f" else np.ones(x.shape, bool)
    if mask is not None:
        given = np.asarray(mask)
        if is_masked(mask):
            raise InputError(f"{what}: their mask has masked values itself; fill them with True or False")
        if given.dtype != bool or given.shape != x.shape:
            raise InputError(
                f"{what} have shape {x.shape}; their mask has to be bool of that, not {given.dtype}{given.shape}"
            )
        there = there & given
    empty = np.flatnonzero(~there.any(axis=0))
    if empty.size:
        raise InputError(f"{what} have no value at all in column {_called(empty[0], names)}; leave that column out")
    return there


def _kinds(what: str, x: np.ndarray, kind: Any) -> tuple[Kind, ...]:
    """The kind of each column.

    Raises:
      InputError: an unknown kind, or another number of them.
    """
    columns = x.shape[1]
    if kind is None:
        found: Kind = "unit" if x.dtype.kind == "b" else "count" if x.dtype.kind in "ui" and x.min() >= 0 else "real"
        log.info("%s have dtype %s, so they are taken for the kind %r", what, x.dtype, found)
        return (found,) * columns
    several = (kind,) * columns if isinstance(kind, str) else kind
    if not isinstance(several, (tuple, list)) or len(several) != columns:
        raise InputError(
            f"{what} have {columns} columns; kind has to be one of {', '.join(KINDS)}, or one for each column"
        )
    for one in several:
        if one not in KINDS:
            raise InputError(f"{what}: unknown kind {shortened(one)}; choose one of: {', '.join(KINDS)}")
    return tuple(several)


def _called(column: int, names: Sequence[str] | None) -> str:
    return str(column) if names is None else repr(shown(names[column], 60))


def _check_column(what: str, x: np.ndarray, there: np.ndarray, kind: Kind, column: str, first: int | None) -> None:
    """Every value that is there is one of its kind.

    Raises:
      InputError: one isn't.
    """
    wrong = ~np.isfinite(x)
    advice = "remove or replace it; NaN is a missing value"
    if kind == "unit":
        wrong, advice = wrong | (x < 0) | (x > 1), "unit values are from 0 to 1: rescale, or say another kind"
    elif kind != "real":
        wrong = wrong | (x < 0) | (x != np.floor(x)) | (x > LARGEST_COUNT)
        advice = f"a {kind} is a whole number from 0 to {LARGEST_COUNT:,}: say another kind, or change it"
    rows = np.flatnonzero(wrong & there)
    if rows.size:
        row = rows[0] if first is None or rows[0] < first else f"{rows[0] - first} of the test"
        raise InputError(f"{what} have {x[rows[0]]:.6g} in row {row}, column {column}; {advice}")
    if kind == "real":
        _check_float32(what, x[there].astype(np.float64), column)


def _check_float32(what: str, x: Float[np.ndarray, " n"], column: str) -> None:
    """Float32, in which models compute, tells the values of a column apart.

    Raises:
      InputError: it doesn't: they are too large, or vary too little around what they all have in common.
    """
    far, spread = np.abs(x).max(initial=0.0), np.ptp(x) if x.size else 0.0
    if far > np.finfo(np.float32).max:
        raise InputError(f"{what} have {far:.6g} in column {column}, which float32 can't hold; give it in another unit")
    if 0 < spread < COARSE * np.spacing(np.float32(far)):
        raise InputError(
            f"{what} vary by {spread:.3g} around {far:.6g} in column {column}, which float32 can't tell apart; "
            "subtract their mean first"
        )


def _levels(what: str, x: np.ndarray, kinds: tuple[Kind, ...], levels: Any) -> tuple[int | None, ...]:
    """How many categories each column has; None of other kinds.

    Raises:
      InputError: no whole number, another number of them, or too few for the values that there are.
    """
    several = levels if isinstance(levels, (tuple, list)) else (levels,) * len(kinds)
    if len(several) != len(kinds):
        raise InputError(f"{what} have {len(kinds)} columns, but there are {len(several)} levels; give one for each")
    found: list[int | None] = []
    for column, (kind, given) in enumerate(zip(kinds, several, strict=True)):
        if kind != "category":
            if given is not None:
                raise InputError(f"{what}: column {column} is {kind}, and only categories have levels; leave them out")
            found.append(None)
            continue
        needed = max(2, int(x[:, column].max()) + 1)
        count = needed if given is None else given
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or not needed <= count <= MOST_LEVELS:
            raise InputError(
                f"{what}: column {column} has categories up to {needed - 1}, so its levels have to be a whole number "
                f"from {needed} to {MOST_LEVELS}, not {shortened(count)}"
            )
        found.append(int(count))
    return tuple(found)


def narrow(x: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 in as few bytes as they need."""
    most = x.max(initial=0)
    return x.astype(np.uint8 if most < 2**8 else np.uint16 if most < 2**16 else np.int32)
