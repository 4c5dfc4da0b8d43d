"""Tables: columns of different kinds, with names, missing values, a label, and a split; from a pandas DataFrame.

What each column is follows from what stands in it (see `vaejax.data.columns`) unless `kinds` says otherwise. Missing
values are the mask. Real columns are standardised by the rows that are trained on: (value - mean) / scale. Every source
knows its columns (`source.columns`), and so does the run that was trained on it: `as_frame` makes a table again of what
a model gives. Rows are counted from 0.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from vaejax.data.arrays import check_split, check_text, placed
from vaejax.data.columns import Values, values
from vaejax.data.paths import shown
from vaejax.data.source import Arrays, Column
from vaejax.data.vectors import checked_vectors
from vaejax.errors import InputError, choose, shortened
from vaejax.method import KINDS, Kind

if TYPE_CHECKING:
    import pandas as pd

OPTIONS = {  # of a name for `vaejax.data.load`, as they are written
    "label": "+label:COLUMN",
    "kinds": "+kinds:COLUMN=KIND,COLUMN=KIND",
    "without": "+without:COLUMN,COLUMN",
    "split_by": "+split_by:COLUMN",
    "test": "+test:0.2",
}
TEST = "0.1"  # of all rows
FEW, OWN = 20, 0.9  # rows; the share of them with a value of their own, of a column that only names rows
log = logging.getLogger("vaejax")


def table(
    frame: "pd.DataFrame",
    split: str = "train",
    label: str | None = None,
    kinds: Mapping[str, Kind] | str | None = None,
    without: Sequence[str] | str = (),
    split_by: str | None = None,
    test: float | str | None = None,
    name: str = "table",
) -> Arrays:
    """A source of the rows of a DataFrame.

    Args:
      split: `train` or `test`. Both have the kinds and levels of all rows, and the means and scales of `train`.
      label: the column that is the label of a row, a whole number or a text; it is no part of the example then.
      kinds: column -> `real`, `count`, `category` or `unit`, where that doesn't follow from the values; or the same as
        text, `age=count,sex=category`.
      without: columns to leave out; or their names with commas.
      split_by: a column that says `train` or `test` in every row; it is no part of the example then.
      test: the share of rows in the test split, evenly spaced, from the first; every 10th row if not given.
      name: what messages call the table.

    Raises:
      InputError: what can't be used; the line names the row and the column.
    """
    import pandas as pd

    check_text("name", name)
    check_split(name, split)
    what = shown(name)
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{what}: a table is a pandas DataFrame, not {shortened(frame)}")
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    for column in frame.columns[frame.columns.duplicated()]:
        raise InputError(f"{what} has two columns {_quoted(column)}; rename one, or leave one out")
    if len(frame) < 2:
        raise InputError(f"{what} has {len(frame)} rows; give at least two, one to train on and one to test on")
    out = _names(without, "without")
    given = _kinds(given=kinds)
    for column in (*out, *given, *(one for one in (label, split_by) if one is not None)):
        choose(dict.fromkeys(frame.columns), column, f"column of {what}")
    testing = _testing(what, frame, split_by, test)
    special = {label, split_by, *out}
    for column in special & set(given):
        raise InputError(
            f"{what}: column {_quoted(column)} is no part of the example, so it takes no kind; leave it out"
        )
    classes, labels = _labels(what, frame, label)
    names = [column for column in frame.columns if column not in special]
    if not names:
        raise InputError(f"{what} has no columns left; leave fewer out")
    found = [values(f"{what}: column {_quoted(column)}", frame[column], given.get(column)) for column in names]
    columns = tuple(_column(what, *pair, ~testing) for pair in zip(names, found, strict=True))
    x = np.stack([(each.x - column.mean) / column.scale for each, column in zip(found, columns, strict=True)], axis=1)
    levels = [None if column.levels is None else max(2, len(column.levels)) for column in columns]
    data, space = checked_vectors(what, x, [column.kind for column in columns], levels, names=names)
    rows = np.flatnonzero(testing == (split == "test"))
    data = {key: value if key == "scale" else value[rows] for key, value in data.items()}
    if labels is not None:
        data["label"] = labels[rows]
    source = placed(name, data, space)._replace(columns=columns, classes=classes)
    log.info("%s", described(source))
    return source


def described(source: Arrays) -> str:
    """What a table was taken for, in a line."""
    found = [
        f"{kind} {', '.join(names[:8])}{f', ... ({len(names)})' * (len(names) > 8)}"
        for kind in KINDS
        if (names := [shown(column.name, 30) for column in source.columns if column.kind == kind])
    ]
    label = f"; label of {len(source.classes)} classes" if source.classes else ""
    mask = source.data.get("mask") if isinstance(source.data, dict) else None
    names = [shown(name, 30) for name in alone(source)]
    unlike = f"; nearly every row has its own {' and '.join(names)}: leave out what only names a row" if names else ""
    missing = "" if mask is None else f"; {int(mask.size - mask.sum()):,} values missing"
    return f"{shown(source.name)}: {'; '.join(found)}{label}{missing}; {source.size:,} rows{unlike}"


def alone(source: Arrays) -> list[str]:
    """The columns of counts or categories in which nearly every row has a value of its own, as numbers of rows have."""
    if not isinstance(source.data, dict) or source.size < FEW:
        return []
    x, kinds = np.asarray(source.data["x"]), [column.kind for column in source.columns]
    distinct = [len(np.unique(x[:, number])) for number in range(len(kinds))]
    found = zip(source.columns, kinds, distinct, strict=True)
    return [column.name for column, kind, many in found if kind in ("count", "category") and many > OWN * source.size]


def as_frame(
    x: Float[np.ndarray, "N D"], columns: Iterable[Column], mask: Bool[np.ndarray, "N D"] | None = None
) -> "pd.DataFrame":
    """The table that these examples are, or a model's samples or means: in units of the columns, with level names.

    Args:
      x: examples of a source with these columns; a category is the nearest level.
      columns: `source.columns`, or `run.columns`.
      mask: False where nothing is there, which is then missing in the table.

    Raises:
      InputError: x has another number of columns.
    """
    import pandas as pd

    columns, x = tuple(columns), np.asarray(x, np.float64)
    if x.ndim != 2 or x.shape[1] != len(columns):
        raise InputError(f"examples of {len(columns)} columns have the shape [N, {len(columns)}], not {x.shape}")
    found = {}
    for number, column in enumerate(columns):
        numbers = x[:, number] * column.scale + column.mean
        if column.levels is None:
            made: Any = pd.Series(numbers)
        else:
            codes = np.clip(np.rint(np.nan_to_num(numbers)), 0, len(column.levels) - 1).astype(int)
            names = pd.Index(column.levels)
            made = pd.Series(pd.Categorical(names[codes], categories=names))
        found[column.name] = made if mask is None else made.where(np.asarray(mask)[:, number])
    return pd.DataFrame(found)


def _column(what: str, name: str, found: Values, training: Bool[np.ndarray, " N"]) -> Column:
    """A column as the source knows it; a real one with the mean and the standard deviation of its training rows.

    Raises:
      InputError: it has no value, or only one, in those.
    """
    x = found.x[training & ~np.isnan(found.x)]
    if not x.size:
        raise InputError(f"{what}: column {_quoted(name)} has no value at all in the training rows; leave it out")
    if x.min() == x.max():
        one = found.levels[int(x[0])] if found.levels else f"{x[0]:.6g}"
        raise InputError(
            f"{what}: column {_quoted(name)} is {shown(one, 40)} in every training row; leave it out (without)"
        )
    if found.kind != "real":
        return Column(name, found.kind, levels=found.levels)
    mean, scale = float(x.mean()), float(x.std())
    if not (np.isfinite(mean) and np.isfinite(scale) and scale > 0):
        raise InputError(f"{what}: column {_quoted(name)} is too large or too small to be standardised; rescale it")
    return Column(name, found.kind, mean, scale)


def _labels(
    what: str, frame: "pd.DataFrame", label: str | None
) -> tuple[tuple[str, ...], Int[np.ndarray, " N"] | None]:
    """The names of the classes, and the class of each row, -1 where it has none.

    Raises:
      InputError: the labels are numbers with fractions, or all one, or missing.
    """
    if label is None:
        return (), None
    title = f"{what}: label column {_quoted(label)}"
    plain = values(title, frame[label]) if frame[label].dtype.kind == "f" else None
    if plain is not None and plain.kind == "real" and (plain.x != np.floor(plain.x))[~np.isnan(plain.x)].any():
        row = int(np.flatnonzero((plain.x != np.floor(plain.x)) & ~np.isnan(plain.x))[0])
        raise InputError(f"{title} has {plain.x[row]:.6g} in row {row}; a label is a text or a whole number")
    found = values(title, frame[label], "category")
    assert found.levels is not None
    if len(found.levels) < 2:
        raise InputError(f"{title} has {len(found.levels)} classes; a label has at least two")
    return found.levels, np.where(np.isnan(found.x), -1, found.x).astype(np.int32)


def _testing(what: str, frame: "pd.DataFrame", split_by: str | None, test: Any) -> Bool[np.ndarray, " N"]:
    """Which rows are the test split.

    Raises:
      InputError: a share that is none, a column that says something else, or a split without rows.
    """
    if split_by is not None:
        if test is not None:
            raise InputError(f"{what}: split_by says which rows are for the test; leave test out")
        said = frame[split_by].astype(object).to_numpy()
        wrong = [row for row, text in enumerate(said) if not (isinstance(text, str) and text in ("train", "test"))]
        if wrong:
            raise InputError(
                f"{what}: column {_quoted(split_by)} has {shown(said[wrong[0]], 40)} in row {wrong[0]}; "
                "a column of splits says train or test in every row"
            )
        testing = said == "test"
    else:
        try:
            share = Fraction(str(TEST if test is None else test))
        except (ValueError, ZeroDivisionError) as error:
            raise InputError(
                f"{what}: test has to be a share of the rows, such as 0.2, not {shortened(test)}"
            ) from error
        if not 0 < share < 1 or isinstance(test, bool):
            raise InputError(f"{what}: test has to be a share of the rows above 0 and below 1, not {shortened(test)}")
        ends = [-(-row * share.numerator // share.denominator) for row in range(len(frame) + 1)]
        testing = np.diff(ends) > 0
    if testing.all() or not testing.any():
        raise InputError(f"{what}: all {len(frame)} rows would be in one split; each needs at least one")
    return testing


def _names(given: Any, option: str) -> list[str]:
    """Names of columns, from a list, or from a text with commas.

    Raises:
      InputError: something else.
    """
    several = given.split(",") if isinstance(given, str) else given
    if not isinstance(several, Sequence) or not all(isinstance(name, str) for name in several):
        raise InputError(f"{option} takes names of columns, such as ['id', 'name'], not {shortened(given)}")
    return list(several)


def _kinds(given: Any) -> dict[str, Kind]:
    """The kinds of some columns.

    Raises:
      InputError: something else.
    """
    if isinstance(given, str):
        pairs = [item.rpartition("=") for item in given.split(",")]
        if not all(name and kind for name, _, kind in pairs) or len({name for name, _, _ in pairs}) < len(pairs):
            raise InputError(f"kinds {shortened(given)} can't be read; write {OPTIONS['kinds']}, each column once")
        given = {name: kind for name, _, kind in pairs}
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise InputError(f"kinds takes a kind for some columns, such as {{'age': 'count'}}, not {shortened(given)}")
    for column, kind in given.items():
        choose(dict.fromkeys(KINDS), kind, f"kind of column {shortened(column)}")
    return dict(given)


def _quoted(name: Any) -> str:
    return repr(shown(name, 60))
