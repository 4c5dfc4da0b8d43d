"""Examples side by side, drawn as what they are: images as pixels, vectors as lines over their columns."""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# (what matplotlib declares is wider than what it returns)

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from vaejax.errors import InputError
from vaejax.plots.images import image_grid
from vaejax.plots.style import FAINT, INK, QUIET, WIDTH

HEIGHT = 0.55  # inches of a row of lines


def examples(
    rows: Float[np.ndarray, "rows cols *event"],
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
) -> Figure:
    """A grid of examples: `image_grid` of images [H, W, C], a line for each vector [D]; all lines have one scale.

    Raises:
      InputError: examples that are neither, none at all, or another number of labels.
    """
    rows = np.asarray(rows, np.float32)
    if rows.ndim == 5:
        return image_grid(rows, row_labels, column_labels)
    if rows.ndim != 3 or 0 in rows.shape:
        raise InputError(f"examples are drawn from [rows, cols, H, W, C] or [rows, cols, D], not {list(rows.shape)}")
    for labels, count, what in ((row_labels, len(rows), "row"), (column_labels, rows.shape[1], "column")):
        if labels is not None and len(labels) != count:
            raise InputError(f"{len(labels)} {what} labels for {count} {what}s of examples")
    figure = Figure(figsize=(WIDTH, 0.3 + HEIGHT * len(rows)), layout="constrained")
    axes = figure.subplots(*rows.shape[:2], squeeze=False, sharex=True, sharey=True)
    for row, line in enumerate(axes):
        for column, ax in enumerate(line):
            ax.axhline(0, color=FAINT, linewidth=0.6)
            ax.plot(rows[row, column], color=INK, linewidth=0.8)
            ax.spines[["top", "right", "left", "bottom"]].set_visible(False)
            ax.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
            if row == 0 and column_labels:
                ax.set_title(column_labels[column], fontsize=8, color=QUIET)
        if row_labels:
            line[0].set_ylabel(row_labels[row], rotation=0, ha="right", va="center", fontsize=8, color=INK)
    return figure
