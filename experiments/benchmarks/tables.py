"""Tables of the benchmark: as aligned text, as JSON and as a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.benchmarks.timing import Quartiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Table(NamedTuple):
    """A table of results: a name and then numbers, Quartiles, texts or None in every row; which columns to draw."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    notes: list[str]
    drawn: tuple[str, ...]


def shown(value: Any) -> str:
    """A cell as text: three digits, quartiles in brackets."""
    if value is None:
        return "–"
    if isinstance(value, Quartiles):
        return f"{shown(value.median)} [{shown(value.low)}, {shown(value.high)}]"
    if isinstance(value, str | int):
        return f"{value:,}" if isinstance(value, int) else value
    for bound, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if abs(value) >= bound:
            return f"{value:,.{digits}f}"
    return f"{value:.2g}"


def text(table: Table) -> str:
    """The table in aligned columns, names on the left and numbers on the right, with its title and notes."""
    cells = [list(table.columns), *([shown(value) for value in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for name, *numbers in cells:
        padded = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *padded]))
    rule = "-" * max(map(len, lines))
    return "\n".join([table.title, rule, lines[0].rstrip(), rule, *lines[1:], *(f"* {note}" for note in table.notes)])


def record(table: Table) -> dict[str, Any]:
    """The table as JSON takes it: a dictionary for every row."""

    def plain(value: Any) -> Any:
        return value._asdict() if isinstance(value, Quartiles) else value

    names = [name or "contender" for name in table.columns]
    rows = [dict(zip(names, map(plain, row), strict=True)) for row in table.rows]
    return {"title": table.title, "rows": rows, "notes": table.notes}


def figure(tables: Sequence[Table]) -> "Figure":
    """A row of panels for every table: bars with quartiles for contenders, lines for what is counted."""
    from matplotlib.figure import Figure

    from vaejax.plots.style import WIDTH

    heights = [0.9 + 0.32 * len(table.rows) if isinstance(table.rows[0][0], str) else 2.6 for table in tables]
    whole = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    for part, table in zip(
        whole.subfigures(len(tables), height_ratios=heights, squeeze=False)[:, 0], tables, strict=True
    ):
        part.suptitle(table.title, x=0.01, ha="left", fontsize=9, weight="bold")
        panels = part.subplots(1, len(table.drawn), squeeze=False)[0]
        for ax, name in zip(panels, table.drawn, strict=True):
            draw(ax, table, name)
            ax.tick_params(labelleft=ax is panels[0] or not isinstance(table.rows[0][0], str))
    return whole


def draw(ax: "Axes", table: Table, name: str) -> None:
    """One column of the table."""
    from vaejax.plots.style import FAINT, INK, QUIET

    column = table.columns.index(name)
    values = [
        Quartiles(*[row[column]] * 3) if not isinstance(row[column], tuple) else row[column] for row in table.rows
    ]
    low, middle, high = map(np.array, zip(*values, strict=True))
    labels = [row[0] for row in table.rows]
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8, labelcolor=INK, color=QUIET, length=3)
    if isinstance(labels[0], str):
        ours = [FAINT if label.startswith(("PyTorch", "NumPy", "numpy")) else "#3b7ea1" for label in labels]
        ax.barh(labels, middle, xerr=[middle - low, high - middle], color=ours, ecolor=QUIET)
        ax.invert_yaxis()
        ax.set_xlabel(name, fontsize=8, color=INK)
        return
    ax.fill_between(labels, low, high, color=FAINT, linewidth=0)
    ax.plot(labels, middle, color=INK, linewidth=1.2, marker="o", markersize=4)
    ax.set_xscale("log", base=2)
    ax.set_xticks(labels, [str(label) for label in labels])
    ax.minorticks_off()
    ax.set_ylim(0, 1.1 * high.max())
    ax.set_xlabel(table.columns[0], fontsize=8, color=INK)
    ax.set_title(name, loc="left", fontsize=8, color=INK)
