"""Rows of a table as a latent moves: every column in its own units."""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# (what matplotlib declares is wider than what it returns)

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from vaejax.data.source import Column
from vaejax.errors import InputError
from vaejax.plots.style import FAINT, INK, QUIET, WIDTH

SHOWN = 10  # columns, at most: those that move most
HEIGHT = 0.6  # inches of a latent


def column_traversals(
    rows: Float[np.ndarray, "latents T D"],
    labels: Sequence[str],
    values: Float[np.ndarray, " T"] | Float[np.ndarray, "latents T"],
    columns: Sequence[Column],
) -> Figure:
    """A panel for each latent and column: its expected value as the latent's code takes the values.

    Real columns are in their own units, categories the number of their level; a column has one scale for all latents.

    Raises:
      InputError: shapes, labels and columns that don't fit.
    """
    rows, values = np.asarray(rows, np.float64), np.asarray(values)
    if rows.ndim != 3 or 0 in rows.shape or rows.shape[::2] != (len(labels), len(columns)):
        raise InputError(
            f"traversals of a table are [{len(labels)} latents, T, {len(columns)} columns], not {list(rows.shape)}"
        )
    if values.shape[-1:] != rows.shape[1:2]:
        raise InputError(f"a traversal of {rows.shape[1]} steps takes as many values, not {list(values.shape)}")
    values = np.broadcast_to(values, rows.shape[:2])
    moves = np.ptp(rows, axis=1).max(axis=0)
    shown = np.sort(np.argsort(-np.nan_to_num(moves), kind="stable")[:SHOWN])
    figure = Figure(figsize=(WIDTH, 0.5 + HEIGHT * len(labels)), layout="constrained")
    panels = figure.subplots(len(labels), len(shown), squeeze=False, sharex="row", sharey="col")
    for place, number in enumerate(shown):
        column = columns[number]
        for row, label in enumerate(labels):
            ax = panels[row, place]
            ax.plot(values[row], rows[row, :, number] * column.scale + column.mean, color=INK, linewidth=1.2)
            ax.spines[["top", "right"]].set_visible(False)
            ax.spines[["left", "bottom"]].set_color(FAINT)
            ax.tick_params(labelsize=6.5, labelcolor=QUIET, color=FAINT, length=2, labelbottom=row == len(labels) - 1)
            ax.locator_params(nbins=3)
            if row == 0:
                ax.set_title(column.name[:13], fontsize=8, color=INK)
            if place == 0:
                ax.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8, color=INK)
    return figure
