"""Examples side by side, drawn as what their space says they are: images, lines of vectors, rows of a table."""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# (what matplotlib declares is wider than what it returns)

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from vaejax.data import as_frame
from vaejax.data.source import Column
from vaejax.errors import InputError
from vaejax.method import Space, as_space
from vaejax.plots.images import image_grid
from vaejax.plots.style import FAINT, INK, QUIET, WIDTH

HEIGHT = 0.55  # inches of a row of lines
ROW = 0.24  # inches of a row of a table
SHOWN = 12  # columns of a table, at most


def examples(
    space: Space | tuple[int, ...],
    x: Float[np.ndarray, "rows cols *event"] | Float[np.ndarray, " cols *event"],
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    *,
    columns: Sequence[Column] = (),
    mask: Bool[np.ndarray, "rows cols D"] | Bool[np.ndarray, "cols D"] | None = None,
) -> Figure:
    """A grid of examples: images as pixels, vectors as lines of one scale, and what has a kind for each column as text.

    Args:
      space: what one example is, as `source.space`.
      x: rows of examples, or one row of them.
      row_labels, column_labels: beside every row, and above every column.
      columns: of a table, `source.columns` or `run.columns`: it is shown in their units, with their names.
      mask: which elements of a vector there are; others are left out. Images have no mask.

    Raises:
      InputError: examples of another shape than the space's, none at all, or labels, columns or a mask that don't fit.
    """
    space, x = as_space(space), np.asarray(x, np.float32)
    if x.shape == (*x.shape[:1], *space.shape) and x.ndim == len(space.shape) + 1:
        x, mask = x[None], None if mask is None else np.asarray(mask)[None]
    if x.shape[2:] != tuple(space.shape) or 0 in x.shape:
        shape = ", ".join(map(str, space.shape))
        raise InputError(f"examples of this space are [rows, cols, {shape}] or [cols, {shape}], not {list(x.shape)}")
    for labels, count, what in ((row_labels, len(x), "row"), (column_labels, x.shape[1], "column")):
        if labels is not None and len(labels) != count:
            raise InputError(f"{len(labels)} {what} labels for {count} {what}s of examples")
    if len(space.shape) == 3:
        return image_grid(x, row_labels, column_labels)
    if len(space.shape) != 1:
        raise InputError(f"examples of shape {tuple(space.shape)} can't be drawn yet: images and vectors can")
    if mask is not None:
        there = np.asarray(mask, bool)
        if there.shape != x.shape:
            raise InputError(f"the mask of examples {list(x.shape)} has the same shape, not {list(there.shape)}")
        x = np.where(there, x, np.nan)
    if columns or isinstance(space.kind, tuple):
        kinds = space.kind if isinstance(space.kind, tuple) else (space.kind,) * x.shape[2]
        return _rows(x, row_labels, column_labels, tuple(columns) or _unnamed(kinds))
    return _lines(x, row_labels, column_labels)


def _unnamed(kinds: Sequence[str]) -> tuple[Column, ...]:
    """Columns that are called by their number and kind."""
    return tuple(Column(f"{number} ({kind})", kind) for number, kind in enumerate(kinds))


def _lines(x: np.ndarray, row_labels: Sequence[str] | None, column_labels: Sequence[str] | None) -> Figure:
    figure = Figure(figsize=(WIDTH, 0.3 + HEIGHT * len(x)), layout="constrained")
    axes = figure.subplots(*x.shape[:2], squeeze=False, sharex=True, sharey=True)
    for row, line in enumerate(axes):
        for column, ax in enumerate(line):
            ax.axhline(0, color=FAINT, linewidth=0.6)
            ax.plot(x[row, column], color=INK, linewidth=0.8)
            ax.spines[["top", "right", "left", "bottom"]].set_visible(False)
            ax.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
            if row == 0 and column_labels:
                ax.set_title(column_labels[column], fontsize=8, color=QUIET)
        if row_labels:
            line[0].set_ylabel(row_labels[row], rotation=0, ha="right", va="center", fontsize=8, color=INK)
    return figure


def _rows(
    x: np.ndarray, row_labels: Sequence[str] | None, column_labels: Sequence[str] | None, columns: tuple[Column, ...]
) -> Figure:
    """A line of text for each example, those of one number below each other."""
    if len(columns) != x.shape[2]:
        raise InputError(f"{len(columns)} columns for examples of {x.shape[2]}; give one for each")
    across = x.swapaxes(0, 1).reshape(-1, x.shape[2])  # example by example, its rows below each other
    frame = as_frame(np.nan_to_num(across), columns, np.isfinite(across)).iloc[:, :SHOWN]
    numbers = column_labels or [str(number + 1) for number in range(x.shape[1])]
    names = [f"{number}  {label}".strip() for number in numbers for label in (row_labels or [""] * len(x))]
    figure = Figure(figsize=(WIDTH, 0.35 + ROW * len(frame)))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(len(frame) + 1.2, 0))
    left = 0.01 + 0.008 * max(map(len, names))
    places = left + (np.arange(frame.shape[1]) + 1) * (0.99 - left) / frame.shape[1]
    style = {"va": "center", "fontsize": 8}
    for place, name in zip(places, frame, strict=True):
        ax.text(place, 0.6, str(name)[:16], ha="right", color=QUIET, **style)
        for row, value in enumerate(frame[name]):
            ax.text(place, row + 1.6, _cell(value), ha="right", color=INK, **style)
    for row, name in enumerate(names):
        ax.text(0.01, row + 1.6, name, ha="left", color=INK, **style)
        if row % len(x) == 0:
            ax.axhline(row + 1.1, color=FAINT, linewidth=0.8)
    return figure


def _cell(value: object) -> str:
    if value is None or value is pd.NA or value != value:
        return "–"
    return f"{value:.4g}".replace("-", "−") if isinstance(value, float) else str(value)[:16]
