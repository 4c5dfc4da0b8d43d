"""Figures of sweeps: pure functions from tidy frames and arrays to `matplotlib.figure.Figure`.

A `table` has one row per (run, metric): `run`, hyperparameter columns, `seed`, `metric`, `value`; a `history` one row
per (run, step). Diverged runs are left out of every mean, and every figure says so (vaejax/report/tables.py).
Nothing here uses pyplot or rcParams.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
# (what pandas and matplotlib declare is wider than what they return)

import re
import textwrap
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from vaejax.errors import InputError, choose
from vaejax.report.tables import (
    check_columns,
    check_metrics,
    check_seeds,
    counts,
    diverged,
    finished,
    is_number,
    label,
    name,
    ordered,
    runs_text,
    short,
    summary,
    summary_table,
    title,
)

__all__ = [
    "colours",
    "curves",
    "image_grid",
    "kl_per_latent",
    "label",
    "learning_curves",
    "rate_distortion",
    "summary",
    "summary_table",
]

WIDTH = 9.0  # inches, of every figure but an image grid that needs less
GRID_DPI = 192  # of image grids: two device pixels per CSS pixel
INK, QUIET, FAINT = "#22262b", "#6b7280", "#d9dce1"


def colours(values: Iterable[Hashable]) -> dict[Hashable, str]:
    """One colour per hyperparameter value, perceptually ordered and dark enough for white paper."""
    distinct, scale = ordered(values), matplotlib.colormaps["viridis"]
    places = np.linspace(0.0, 0.82, len(distinct)) if len(distinct) > 1 else [0.3]
    return {value: to_hex(scale(place)) for value, place in zip(distinct, places, strict=True)}


def curves(table: pd.DataFrame, x: str = "beta", metrics: Sequence[str] | None = None) -> Figure:
    """Each metric against a hyperparameter: mean line, 95 % t-interval over seeds as a band, each run as a dot.

    The axis is log2 for positive values that span a factor of 8 or more, evenly spaced if a value isn't positive. What
    has no order (or a single value) gets error bars in place of the line and its band.
    """
    metrics = check_metrics(table, x, metrics)
    stats, runs, values = summary(table, x, metrics), finished(table), ordered(table[x])
    place, scale = _places(values)
    colour, at = colours(values), [place[value] for value in values]
    figure, panels = _panels(len(metrics))
    for ax, metric in zip(panels, metrics, strict=True):
        rows, dots = stats[stats["metric"] == metric], runs[runs["metric"] == metric]
        mean, half = rows["mean"].to_numpy(), rows["half_width"].to_numpy()
        if scale == "log":
            ax.set_xscale("log", base=2)
        if len(values) > 1 and all(map(is_number, values)):
            ax.fill_between(at, mean - half, mean + half, color=INK, alpha=0.10, linewidth=0)
            ax.plot(at, mean, color=INK, linewidth=1.4)
        else:
            ax.errorbar(at, mean, half, color=INK, fmt="_", markersize=16, elinewidth=7, ecolor=FAINT)
        ax.scatter([place[v] for v in dots[x]], dots["value"], s=17, c=[colour[v] for v in dots[x]], lw=0, zorder=3)
        _style(ax, title(metric), name(x))
        shown = values[:: -(-len(values) // 8)]
        ax.set_xticks([place[v] for v in shown], [short(v) for v in shown])
        ax.minorticks_off()
        ax.set_xlim(_limits(at, scale))
        if not len(dots):
            _empty(ax)
    return _with_note(figure, table, x)


def rate_distortion(table: pd.DataFrame, by: str = "beta") -> Figure:
    """KL against reconstruction (nats/image): each run as a dot, means connected, and lines of equal ELBO."""
    check_metrics(table, by, ("kl", "reconstruction"))
    values, colour = ordered(table[by]), colours(table[by])
    runs = finished(table).pivot(index=["run", by], columns="metric", values="value").reset_index()
    runs = runs.reindex(columns=[by, "kl", "reconstruction"]).dropna()
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    ax = figure.add_subplot()
    _style(ax, "", "Rate: KL(q(z|x) ‖ p(z)) (nats/image)")
    ax.set_ylabel("Distortion: −log p(x|z) (nats/image)", fontsize=9, color=INK)
    if not len(runs):
        _empty(ax)
        return _with_note(figure, table, by)
    means = runs.groupby(by, sort=False).mean().reindex([value for value in values if value in set(runs[by])])
    ax.plot(means["kl"], means["reconstruction"], color=QUIET, linewidth=1.2, zorder=2)
    ax.scatter(runs["kl"], runs["reconstruction"], s=20, c=[colour[v] for v in runs[by]], alpha=0.55, lw=0, zorder=3)
    for value, kl, distortion in means.itertuples():
        ax.plot(kl, distortion, "o", color=colour[value], markersize=7, markeredgecolor="white", zorder=4)
        ax.annotate(label(by, value), (kl, distortion), (7, 6), textcoords="offset points", fontsize=9, color=INK)
    ax.margins(x=0.12, y=0.12)
    _equal_elbo(ax)
    return _with_note(figure, table, by)


def kl_per_latent(table: pd.DataFrame, by: str = "beta") -> Figure:
    """KL of each latent (nats/image), sorted within each run from the largest down, then averaged over seeds."""
    check_metrics(table, by, ())
    latents = [metric for metric in table["metric"].unique() if re.fullmatch(r"kl_latent_\d+", metric)]
    if not latents:
        raise InputError("the table has no metric kl_latent_0, kl_latent_1, ...: there is no KL per latent to show")
    runs = finished(table)
    wide = runs.pivot(index=["run", by], columns="metric", values="value").reindex(columns=latents)
    ranked = pd.DataFrame(-np.sort(-wide.to_numpy(np.float64), axis=1), index=wide.index.get_level_values(by))
    values = ordered(table[by])
    means = ranked.groupby(level=0).mean().reindex(values).to_numpy()
    figure = Figure(figsize=(WIDTH, 1.2 + 0.34 * len(values)), layout="constrained")
    ax = figure.add_subplot()
    shades = LinearSegmentedColormap.from_list("nats", ["#ffffff", "#a9c6d8", "#3b7ea1", "#173f5f"])
    shades = shades.with_extremes(bad="#eceef0")
    top = np.nanmax(means, initial=0.0) or 1.0
    mesh = ax.pcolormesh(np.ma.masked_invalid(means), cmap=shades, vmin=0, vmax=top, edgecolor="white", linewidth=1.5)
    _style(ax, "KL of each latent, largest first (nats/image)", "latent, by rank within its run")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.invert_yaxis()
    ax.set_yticks(np.arange(len(values)) + 0.5, [label(by, value) for value in values])
    ticks = np.arange(0, len(latents), -(-len(latents) // 20))
    ax.set_xticks(ticks + 0.5, [str(tick + 1) for tick in ticks])
    for (row, column), kl in np.ndenumerate(means):
        if len(latents) <= 16:
            text = f"{kl:.2f}" if np.isfinite(kl) else "–"
            ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8,
                    color="white" if kl > 0.6 * top else INK)  # fmt: skip
    bar = figure.colorbar(mesh, ax=ax, pad=0.01, fraction=0.025, aspect=12)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, labelcolor=QUIET, length=0)
    return _with_note(figure, table, by)


def learning_curves(
    history: pd.DataFrame, by: str = "beta", metrics: Sequence[str] = ("loss", "reconstruction", "kl")
) -> Figure:
    """Metrics over training: mean over seeds, each run faint behind it; a diverged run is dashed as far as it went.

    The first twentieth of training may leave the frame at the top, so that the rest can be read.
    """
    check_columns(history, ("run", "step", "seed", by))
    for metric in metrics:
        choose({column: None for column in history.columns}, metric, "metric")
    check_seeds(history, by, "step")
    colour, bad = colours(history[by]), diverged(history)
    late = history["step"] >= history["step"].min() + 0.05 * (history["step"].max() - history["step"].min())
    figure, panels = _panels(len(metrics), height=2.9)
    for ax, metric in zip(panels, metrics, strict=True):
        for (value, run), rows in history.groupby([by, "run"]):
            dashed = {"linestyle": (0, (4, 2)), "alpha": 0.9} if run in bad else {"alpha": 0.3}
            ax.plot(rows["step"], rows[metric], color=colour[value], linewidth=0.8, **dashed)
        for value, shade in colour.items():
            mean = history[(history[by] == value) & ~history["run"].isin(bad)].groupby("step")[metric].mean()
            ax.plot(mean.index, mean, color=shade, linewidth=1.6, label=label(by, value))
        _style(ax, title(metric), "step")
        ax.margins(x=0)
        seen = np.isfinite(history[metric]) & ~history["run"].isin(bad)
        if (seen & late).any():
            low, high = history.loc[seen, metric].min(), history.loc[seen & late, metric].max()
            ax.set_ylim(low - 0.04 * (high - low) - 1e-9, high + 0.04 * (high - low) + 1e-9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=min(len(colour), 8),
                  frameon=False, fontsize=9, handlelength=1.4, labelcolor=INK)  # fmt: skip
    return _with_note(figure, history, by)


def image_grid(
    images: Float[np.ndarray, "rows cols H W C"],
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Images in [0, 1], grey or RGB, as one mosaic of whole-number-enlarged pixels; what isn't a number is mid-grey."""
    images = np.asarray(images, dtype=np.float32)
    if images.ndim != 5 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise InputError(f"images must have shape [rows, cols, H, W, 1 or 3], not {list(images.shape)}")
    rows, cols, _, width, _ = images.shape
    for labels, count, what in ((row_labels, rows, "row"), (column_labels, cols, "column")):
        if labels is not None and len(labels) != count:
            raise InputError(f"{len(labels)} {what} labels for {count} {what}s of images")
    point = GRID_DPI / 72
    left = round(point * (1.1 * max(map(_text_width, row_labels)) + 14)) if row_labels else 0
    top = round(point * (24 * bool(title) + (16 if column_labels else 0)))
    target = min(1.4 * GRID_DPI, (WIDTH * GRID_DPI - left) / cols - 4)
    mosaic = _mosaic(images, max(1, int(target // width)), gap=4)
    across = max(left + mosaic.shape[1], round(point * (_text_width(title or "") * 1.4)))
    down = top + mosaic.shape[0]
    figure = Figure(figsize=(across / GRID_DPI, down / GRID_DPI), dpi=GRID_DPI)
    ax = figure.add_axes((left / across, 0, mosaic.shape[1] / across, mosaic.shape[0] / down))
    ax.imshow(mosaic, interpolation="nearest", aspect="auto")
    ax.set_axis_off()
    step_y, step_x = (mosaic.shape[0] - 4) / rows, (mosaic.shape[1] - 4) / cols
    for row, text in enumerate(row_labels or ()):
        ax.text(-8 * point, 4 + (row + 0.5) * step_y, text, ha="right", va="center", fontsize=9, color=INK)
    for column, text in enumerate(column_labels or ()):
        ax.text(4 + (column + 0.5) * step_x, -5 * point, text, ha="center", va="baseline", fontsize=9, color=INK)
    if title:
        figure.text(0, 1 - 13 * point / down, title, fontsize=10, weight="bold", color=INK, va="baseline")
    return figure


def _mosaic(images: np.ndarray, scale: int, gap: int) -> UInt8[np.ndarray, "height width 3"]:
    """All images side by side, each pixel `scale` wide, with light gaps between and around them."""
    images = np.round(255 * np.where(np.isfinite(images), np.clip(images, 0.0, 1.0), 0.6)).astype(np.uint8)
    images = np.broadcast_to(images, (*images.shape[:-1], 3)).repeat(scale, axis=2).repeat(scale, axis=3)
    rows, cols, height, width, _ = images.shape
    framed = np.pad(images, ((0, 0), (0, 0), (gap, 0), (gap, 0), (0, 0)), constant_values=222)
    sheet = framed.transpose(0, 2, 1, 3, 4).reshape(rows * (height + gap), cols * (width + gap), 3)
    return np.pad(sheet, ((0, gap), (0, gap), (0, 0)), constant_values=222)


def _places(values: Sequence[Any]) -> tuple[Mapping[Any, float], str]:
    """Where each value lies on the axis, and the axis's scale: log, linear, or even spacing."""
    if any(not is_number(value) or value <= 0 for value in values):
        return {value: index for index, value in enumerate(values)}, "even"
    return {value: float(value) for value in values}, "log" if values[-1] >= 8 * values[0] else "linear"


def _limits(at: Sequence[float], scale: str) -> tuple[float, float]:
    """The axis's ends: room for every value, also for one whose runs all diverged."""
    if scale == "log":
        edge = (at[-1] / at[0]) ** 0.06
        return at[0] / edge, at[-1] * edge
    edge = max(0.06 * (at[-1] - at[0]), 0.4 if scale == "even" or len(at) == 1 else 0.0)
    return at[0] - edge, at[-1] + edge


def _with_note(figure: Figure, frame: pd.DataFrame, by: str) -> Figure:
    """Adds a line that says which runs diverged, if any did."""
    lost = {value: counts(frame, by, value) for value in ordered(frame[by])}
    notes = [f"{runs_text(*count)} at {label(by, value)}" for value, count in lost.items() if count[0]]
    if notes:
        figure.supxlabel(textwrap.fill("Not in the means: " + "; ".join(notes), 120), x=0.01, ha="left", fontsize=9,
                         color="#a03b1f")  # fmt: skip
    return figure


def _panels(count: int, height: float = 2.5) -> tuple[Figure, list[Axes]]:
    """A figure of the standard width with `count` panels, two or three to a row."""
    cols = 3 if count == 3 or count > 4 else max(1, min(count, 2))
    rows = max(1, -(-count // cols))
    figure = Figure(figsize=(WIDTH, rows * height), layout=ConstrainedLayoutEngine(hspace=0.08, wspace=0.06))
    return figure, [figure.add_subplot(rows, cols, index + 1) for index in range(count)]


def _style(ax: Axes, heading: str, xlabel: str) -> None:
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


def _empty(ax: Axes) -> None:
    ax.set_yticks([])
    ax.text(0.5, 0.5, "no finite value", transform=ax.transAxes, ha="center", va="center", fontsize=9, color=QUIET)


def _equal_elbo(ax: Axes) -> None:
    """Faint lines of equal ELBO, −(rate + distortion), each labelled where it leaves the frame."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    ax.grid(False)
    for total in MaxNLocator(8).tick_values(left + bottom, right + top):
        if not left + bottom < total < right + top:
            continue
        ax.axline((left, total - left), slope=-1, color=FAINT, linewidth=0.8, zorder=0)
        end = (right, total - right) if total - right > bottom else (total - bottom, bottom)
        start = (left, total - left) if total - left < top else (total - top, top)
        at = (end[0] - 0.02 * (end[0] - start[0]), end[1] - 0.02 * (end[1] - start[1]))
        if end[0] - start[0] > 0.25 * (right - left):
            ax.text(*at, f"ELBO {-total:g}".replace("-", "−"), fontsize=7.5, color=QUIET, ha="right", va="bottom",
                    rotation=-45, rotation_mode="anchor", transform_rotates_text=True, zorder=1)  # fmt: skip
    ax.set(xlim=(left, right), ylim=(bottom, top))


def _text_width(text: str) -> float:
    """Width in points at 9 pt, of the longest line."""
    return max((TextPath((0, 0), line, size=9).get_extents().width for line in text.split("\n") if line), default=0.0)
