"""What all figures share: ink, sizes, panels, axes and the colours of hyperparameter values."""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
# (what pandas and matplotlib declare is wider than what they return)

import textwrap
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from vaejax.analysis.tables import counts, is_number, label, ordered, runs_text

WIDTH = 9.0  # inches, of every figure but an image grid that needs less
INK, QUIET, FAINT = "#22262b", "#6b7280", "#d9dce1"


def colours(values: Iterable[Hashable]) -> dict[Hashable, str]:
    """One colour per hyperparameter value, perceptually ordered and dark enough for white paper."""
    distinct, scale = ordered(values), matplotlib.colormaps["viridis"]
    places = np.linspace(0.0, 0.82, len(distinct)) if len(distinct) > 1 else [0.3]
    return {value: to_hex(scale(place)) for value, place in zip(distinct, places, strict=True)}


def new_panels(count: int, height: float = 2.5) -> tuple[Figure, list[Axes]]:
    """A figure of the standard width with `count` panels, two or three to a row."""
    cols = 3 if count == 3 or count > 4 else max(1, min(count, 2))
    rows = max(1, -(-count // cols))
    figure = Figure(figsize=(WIDTH, rows * height), layout=ConstrainedLayoutEngine(hspace=0.08, wspace=0.06))
    return figure, [figure.add_subplot(rows, cols, index + 1) for index in range(count)]


def dress(ax: Axes, heading: str, xlabel: str) -> None:
    """Heading, label, ink and grid of a panel."""
    ax.set_title(heading, loc="left", fontsize=9, weight="bold", color=INK)
    ax.set_xlabel(xlabel, fontsize=9, color=INK)
    ax.tick_params(labelsize=8.5, labelcolor=INK, color=QUIET, length=3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(QUIET)
    ax.grid(axis="y", color=FAINT, linewidth=0.6)
    ax.set_axisbelow(True)
    for axis in (ax.xaxis, ax.yaxis):
        if isinstance(axis.get_major_formatter(), ScalarFormatter):
            axis.set_major_formatter(ScalarFormatter(useOffset=False))
    ax.yaxis.set_major_locator(MaxNLocator(5))


def mark_empty(ax: Axes) -> None:
    """Says in the panel that there is nothing to show."""
    ax.set_yticks([])
    ax.text(0.5, 0.5, "no finite value", transform=ax.transAxes, ha="center", va="center", fontsize=9, color=QUIET)


def places_of(values: Sequence[Any]) -> tuple[Mapping[Any, float], str]:
    """Where each value lies on the axis, and the axis's scale: log, linear, or even spacing."""
    if any(not is_number(value) or value <= 0 for value in values):
        return {value: index for index, value in enumerate(values)}, "even"
    return {value: float(value) for value in values}, "log" if values[-1] >= 8 * values[0] else "linear"


def limits(at: Sequence[float], scale: str) -> tuple[float, float]:
    """The axis's ends: room for every value, also for one whose runs all diverged."""
    if scale == "log":
        edge = (at[-1] / at[0]) ** 0.06
        return at[0] / edge, at[-1] * edge
    edge = max(0.06 * (at[-1] - at[0]), 0.4 if scale == "even" or len(at) == 1 else 0.0)
    return at[0] - edge, at[-1] + edge


def with_note(figure: Figure, frame: pd.DataFrame, by: str) -> Figure:
    """Adds a line that says which runs diverged, if any did."""
    lost = {value: counts(frame, by, value) for value in ordered(frame[by])}
    notes = [f"{runs_text(*count)} at {label(by, value)}" for value, count in lost.items() if count[0]]
    if notes:
        figure.supxlabel(textwrap.fill("Not in the means: " + "; ".join(notes), 120), x=0.01, ha="left", fontsize=9,
                         color="#a03b1f")  # fmt: skip
    return figure
