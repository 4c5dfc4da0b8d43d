"""Figures of a disentanglement study: functions of its scores (vaejax/analysis/study.py) and of their statistics.

A method has one colour everywhere. Dots with bars are means with 95 % bootstrap intervals over seeds; where there is a
single run there is no bar.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
# (what pandas and matplotlib declare is wider than what they return)

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from vaejax.analysis.statistics import Estimate
from vaejax.analysis.study import (
    CRITERIA,
    REFERENCE,
    Scores,
    is_score,
    method_name,
    metric_name,
)
from vaejax.plots.style import FAINT, INK, QUIET, WIDTH, dress

COLOURS = {
    "vae": "#22262b",
    "beta_vae": "#1f6fb4",
    "annealed_beta": "#7c93dd",
    "annealed_capacity": "#2ea3a8",
    "factor_vae": "#cf3f55",
    "beta_tcvae": "#e08a1e",
    "dip_vae_i": "#6a4c93",
    "dip_vae_ii": "#b57fc9",
    "autoencoder": "#3f8f4f",
    "sparse_autoencoder": "#97bb55",
    "pca": "#8a6640",
    "ica": "#c49f63",
    "pixels": "#858c95",
    "random_encoder": "#b4b9c0",
    "true_factors": "#4c535c",
}
SPARE = ("#a3195b", "#0b5d5e", "#6b7a00", "#5b3fd6", "#d65a31", "#3a6ea5")  # for methods that aren't known here
PARTS = {"method": "#1f6fb4", "strength": "#e08a1e", "seed": "#c9cdd3"}
DIVERGING = LinearSegmentedColormap.from_list("diverging", ["#a3382f", "#e3a294", "#fbfaf8", "#93b7d6", "#1c5a91"])
CEILING = "true_factors"  # far above all else: its value is written at the edge, so that the rest can be read
STEPS = (1, 2, 2.5, 5, 10)  # between ticks


def method_colours(methods: Sequence[str]) -> dict[str, str]:
    """One colour per method, whatever else is in the figure."""
    others = [method for method in methods if method not in COLOURS]
    return {**COLOURS, **{method: SPARE[index % len(SPARE)] for index, method in enumerate(others)}}


def distributions(study: Scores, metrics: Sequence[str], means: Mapping[str, Estimate]) -> Figure:
    """A row per metric, a column per setting: every run as a dot, and the mean with its interval."""
    colour = method_colours(study.methods)
    firsts = [i for i, s in enumerate(study.settings) if i == 0 or s.method != study.settings[i - 1].method]
    at = np.arange(len(study.settings)) + 0.9 * (np.searchsorted(firsts, np.arange(len(study.settings)), "right") - 1)
    figure = Figure(figsize=(WIDTH, 1.5 + 0.92 * len(metrics)), layout=ConstrainedLayoutEngine(hspace=0.02, h_pad=0.03))
    panels = np.atleast_1d(figure.subplots(len(metrics), 1, sharex=True))
    sway = np.linspace(-0.22, 0.22, len(study.seeds)) if len(study.seeds) > 1 else np.zeros(1)
    ends = [*firsts[1:], len(at)]
    shades = [colour[setting.method] for setting in study.settings]
    inside = np.array([setting.method != CEILING for setting in study.settings])
    for ax, metric in zip(panels, metrics, strict=True):
        value, low, high = means[metric]
        dress(ax, "", "")
        ax.scatter((at[:, None] + sway).ravel(), study.values[metric].ravel(), s=10 if len(sway) < 15 else 5,
                   alpha=0.45, c=np.repeat(shades, len(sway)), linewidths=0, zorder=2)  # fmt: skip
        ax.vlines(at, low, high, colors=shades, linewidth=1.6, zorder=3)
        ax.hlines(value, at - 0.32, at + 0.32, colors=shades, linewidth=1.8, zorder=3)
        for first, after in zip(firsts[::2], ends[::2], strict=True):
            ax.axvspan(at[first] - 0.95, at[after - 1] + 0.95, color="#f4f5f6", linewidth=0, zorder=0)
        _leave_out(ax, study.values[metric][inside], value[~inside], at[~inside], vertical=True)
        ax.yaxis.set_major_locator(MaxNLocator(3, steps=STEPS))
        ax.set_ylabel(_wrapped(metric_name(metric), 14), rotation=0, ha="right", va="center", fontsize=8.5, color=INK)
        ax.tick_params(axis="x", length=0)
        ax.tick_params(axis="y", labelsize=7.5)
    ticks = ["" if setting.strength is None else f"{setting.strength:g}" for setting in study.settings]
    panels[-1].set_xticks(at, ticks, fontsize=7, rotation=90 if len(at) > 20 or max(map(len, ticks)) > 3 else 0)
    panels[-1].set_xlim(at[0] - 0.95, at[-1] + 0.95)
    for first, after in zip(firsts, ends, strict=True):
        setting = study.settings[first]
        name = method_name(setting.method)
        text = name if setting.strength is None or name.endswith(setting.symbol) else f"{name}, {setting.symbol}"
        panels[0].annotate(text, ((at[first] + at[after - 1]) / 2, 1.0), (0, 4), fontsize=8, rotation=38, ha="left",
                           xycoords=panels[0].get_xaxis_transform(), textcoords="offset points", va="bottom",
                           color=colour[setting.method], weight="bold", rotation_mode="anchor")  # fmt: skip
    return figure


def explained(shares: Mapping[str, Estimate]) -> Figure:
    """What method, strength and seed explain of the variance of each metric: stacked, and each with its interval."""
    metrics = list(shares)
    figure = Figure(figsize=(WIDTH, 1.2 + 0.36 * len(metrics)), layout=ConstrainedLayoutEngine(wspace=0.04))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
    for row, metric in enumerate(metrics):
        value, low, high = shares[metric]
        start = np.append(0, np.cumsum(value))
        for index, (part, shade) in enumerate(PARTS.items()):
            left.barh(row, value[index], left=start[index], height=0.68, color=shade, label=part if row == 0 else None)
            if value[index] >= 0.07:
                left.text(start[index] + value[index] / 2, row, f"{100 * value[index]:.0f}", ha="center", va="center",
                          fontsize=8, color=INK if part == "seed" else "white")  # fmt: skip
            place = row + 0.22 * (index - 1)
            dot = "#7d838c" if part == "seed" else shade
            right.plot([low[index], high[index]], [place] * 2, color=dot, linewidth=1.6, solid_capstyle="butt")
            right.plot(value[index], place, "o", color=dot, markersize=3.6)
    for ax, heading in ((left, "Share of the variance over runs (%)"), (right, "The same with intervals (%)")):
        dress(ax, heading, "")
        ax.grid(False)
        ax.set_xlim(-0.005, 1.005)
        ax.set_xticks(np.linspace(0, 1, 5), ["0", "25", "50", "75", "100"])
    right.grid(axis="x", color=FAINT, linewidth=0.6)
    right.tick_params(axis="y", length=0)
    left.set_ylim(len(metrics) - 0.45, -0.55)
    left.set_yticks(range(len(metrics)), [metric_name(metric) for metric in metrics])
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False, fontsize=9,
                  labelcolor=INK, handlelength=1.0, handleheight=1.0)  # fmt: skip
    return figure


def correlation_map(metrics: Sequence[str], found: Estimate) -> Figure:
    """Spearman's correlation of every pair of metrics; faint numbers have an interval that includes zero."""
    count = len(metrics)
    figure = Figure(figsize=(WIDTH, 1.6 + (WIDTH - 2.3) * min(1.0, count / 12) * 0.9), layout="constrained")
    ax = figure.add_subplot()
    names = [metric_name(metric) for metric in metrics]
    _heat(ax, found, names, names, DIVERGING, (-1.0, 1.0), size=8 if count < 15 else 6.5 if count < 22 else 5.5)
    ax.tick_params(labelbottom=False, labeltop=True)
    ax.set_xticks(ax.get_xticks(), names, rotation=45, ha="left", rotation_mode="anchor")
    border = sum(map(is_score, metrics))
    if 0 < border < count:
        ax.axhline(border, color=INK, linewidth=1.2)
        ax.axvline(border, color=INK, linewidth=1.2)
    return figure


def against(study: Scores, x: str, metrics: Sequence[str]) -> Figure:
    """Metrics against another, a dot per run, coloured by method and larger for a greater strength."""
    colour = method_colours(study.methods)
    figure, panels = _panels(len(metrics), 2.7, sharey=False)
    rank = {}
    for method in study.methods:
        mine = [index for index, setting in enumerate(study.settings) if setting.method == method]
        rank |= {index: place / max(1, len(mine) - 1) for place, index in enumerate(mine)}
    for panel, (ax, metric) in enumerate(zip(panels, metrics, strict=True)):
        dress(ax, metric_name(metric), metric_name(x) if panel >= len(metrics) - 3 else "")
        for index, setting in enumerate(study.settings):
            known = np.isfinite(study.values[x][index]) & np.isfinite(study.values[metric][index])
            ax.scatter(study.values[x][index][known], study.values[metric][index][known], s=8 + 26 * rank[index],
                       color=colour[setting.method], alpha=0.6, linewidths=0, zorder=3)  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
    shown = [m for m in study.methods if any(np.isfinite(study.values[x][study.number == study.methods.index(m)]).flat)]
    _legend(figure, shown, colour)
    return figure


def selection_map(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Spearman's correlation of each criterion with each score, among all runs and within every method."""
    first = next(iter(tables.values()))
    criteria, methods = list(dict.fromkeys(first["criterion"])), list(dict.fromkeys(first["method"]))
    figure = Figure(figsize=(WIDTH, -(-len(tables) // 2) * (1.35 + 0.27 * len(criteria))),
                    layout=ConstrainedLayoutEngine(hspace=0.06, wspace=0.04))  # fmt: skip
    across = min(2, len(tables))
    for index, (score, table) in enumerate(tables.items()):
        ax = figure.add_subplot(-(-len(tables) // 2), across, index + 1)
        parts = [
            table.pivot(index="criterion", columns="method", values=name).reindex(index=criteria, columns=methods)
            for name in ("rho", "rho_low", "rho_high")
        ]
        names = [metric_name(criterion) + (" ↓" if CRITERIA[criterion] < 0 else " ↑") for criterion in criteria]
        columns = ["All runs" if method == "all" else method_name(method) for method in methods]
        found = Estimate(*(part.to_numpy(np.float64) for part in parts))
        _heat(ax, found, names if index % across == 0 else [""] * len(names), columns, DIVERGING, (-1.0, 1.0), size=7.5)
        ax.set_title(metric_name(score), loc="left", fontsize=9, weight="bold", color=INK)
        ax.axvline(1, color=INK, linewidth=1.2)
        ax.set_xticks(ax.get_xticks(), columns, rotation=38, ha="right", rotation_mode="anchor")
    return figure


def selected_scores(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """The score of the run that each criterion selects among all, beside the mean run and the best."""
    rows = {score: table[table["method"] == "all"].reset_index(drop=True) for score, table in tables.items()}
    names = [metric_name(criterion) for criterion in next(iter(rows.values()))["criterion"]]
    across = min(3, len(rows)) if len(rows) != 4 else 2
    figure, panels = _panels(len(rows), 0.95 + 0.22 * len(names), sharey=True, across=across)
    for ax, (score, table) in zip(panels, rows.items(), strict=True):
        dress(ax, metric_name(score), "")
        ax.axvline(table["mean"].mean(), color=QUIET, linewidth=1.2, linestyle=(0, (4, 2)), label="mean run")
        ax.axvline(table["best"].max(), color=PARTS["strength"], linewidth=1.6, label="best run")
        for place, row in table.iterrows():
            ax.plot([row["chosen_low"], row["chosen_high"]], [place] * 2, color=PARTS["method"], linewidth=1.8)
            ax.plot(row["chosen"], place, "o", color=PARTS["method"], markersize=5.5,
                    label="selected run" if place == 0 else None)  # fmt: skip
        _name_rows(ax, names)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False, fontsize=9,
                  labelcolor=INK)  # fmt: skip
    return figure


def chance_map(table: pd.DataFrame) -> Figure:
    """How often the best choice wins over another, by another seed: 1/2 if the seed decides, 1 if the choice does."""
    choices, metrics = list(dict.fromkeys(table["choice"])), list(dict.fromkeys(table["metric"]))
    figure = Figure(figsize=(WIDTH, 1.1 + 0.44 * len(choices)), layout="constrained")
    ax = figure.add_subplot()
    parts = [
        table.pivot(index="choice", columns="metric", values=name).reindex(index=choices, columns=metrics)
        for name in ("chance", "low", "high")
    ]
    found = Estimate(*(part.to_numpy(np.float64) for part in parts))
    rows = ["Method" if choice == "method" else f"Strength of {method_name(choice)}" for choice in choices]
    columns = [_wrapped(metric_name(metric), 15) for metric in metrics]
    _heat(ax, found, rows, columns, DIVERGING, (0.0, 1.0), size=8.5, zero=0.5, intervals=True)
    ax.tick_params(labelbottom=False, labeltop=True)
    if choices[0] == "method" and len(choices) > 1:
        ax.axhline(1, color=INK, linewidth=1.2)
    return figure


def best_scores(table: pd.DataFrame) -> Figure:
    """Each method at its best strength: mean and interval, a panel per metric; the reference as a line and a band."""
    methods, metrics = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["metric"]))
    colour = method_colours(methods)
    across = 3 if len(metrics) > 2 and len(metrics) != 4 else min(2, len(metrics))
    figure, panels = _panels(len(metrics), 0.75 + 0.2 * len(methods), sharey=True, across=across)
    for ax, metric in zip(panels, metrics, strict=True):
        dress(ax, metric_name(metric), "")
        rows = table[table["metric"] == metric].set_index("method")
        if REFERENCE in rows.index:
            ax.axvline(rows.loc[REFERENCE, "mean"], color=QUIET, linewidth=1.0, zorder=1)
            if np.isfinite(rows.loc[REFERENCE, "low"]):
                ax.axvspan(*rows.loc[REFERENCE, ["low", "high"]].astype(float), color="#e9ebee", linewidth=0, zorder=0)
        for place, method in enumerate(methods):
            value, low, high = rows.loc[method, ["mean", "low", "high"]].astype(float)
            ax.plot([low, high], [place] * 2, color=colour[method], linewidth=2.0, zorder=3)
            ax.plot(value, place, "o", color=colour[method], markersize=5.5, zorder=4)
        _name_rows(ax, [method_name(method) for method in methods])
        _ceiling(ax, rows[["mean", "low", "high"]])
    return figure


def source_shift(table: pd.DataFrame, names: tuple[str, str]) -> Figure:
    """Each metric per method on two sources: open dots on the first, filled ones on the second."""
    methods, metrics = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["metric"]))
    colour = method_colours(methods)
    across = 3 if len(metrics) > 2 and len(metrics) != 4 else min(2, len(metrics))
    figure, panels = _panels(len(metrics), 0.75 + 0.24 * len(methods), sharey=True, across=across)
    for ax, metric in zip(panels, metrics, strict=True):
        dress(ax, metric_name(metric), "")
        rows = table[table["metric"] == metric].set_index("method")
        for place, method in enumerate(methods):
            row, shade = rows.loc[method], colour[method]
            for which, offset, face in (("first", -0.15, "white"), ("second", 0.15, shade)):
                bar = [row[f"{which}_low"], row[f"{which}_high"]]
                ax.plot(bar, [place + offset] * 2, color=shade, linewidth=1.4, zorder=2)
                ax.plot(row[which], place + offset, "o", color=shade, markerfacecolor=face, markersize=5, zorder=3)
            if row["difference_low"] > 0 or row["difference_high"] < 0:
                ax.annotate("★", (1.0, place), (3, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
                            fontsize=8, color=INK, va="center")  # fmt: skip
        _name_rows(ax, [method_name(method) for method in methods])
        _ceiling(ax, rows[[name + end for name in ("first", "second") for end in ("", "_low", "_high")]])
    for face, text in (("white", names[0]), (QUIET, names[1])):
        panels[0].plot([], [], "o", color=QUIET, markerfacecolor=face, markersize=5, label=text)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=9,
                  labelcolor=INK)  # fmt: skip
    return figure


def _panels(count: int, height: float, sharey: bool, across: int = 3) -> tuple[Figure, list[Axes]]:
    """Panels in rows of `across`; with shared rows only the first of each has their names."""
    across = min(across, count)
    down = -(-count // across)
    figure = Figure(figsize=(WIDTH, 0.35 + down * height), layout=ConstrainedLayoutEngine(hspace=0.05, wspace=0.04))
    panels = []
    for index in range(count):
        row = panels[index - index % across] if sharey and index % across else None
        panels.append(figure.add_subplot(down, across, index + 1, sharey=row))
        if row is not None:
            panels[-1].tick_params(axis="y", labelleft=False)
    return figure, panels


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Rows from the top, with lines to read along."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color=FAINT, linewidth=0.5)
    ax.grid(axis="x", color=FAINT, linewidth=0.5)
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))


def _ceiling(ax: Axes, rows: pd.DataFrame) -> None:
    """`_leave_out` of the true factors, whose mean is the first column; methods are the index."""
    inside = (rows.index != CEILING).astype(bool)
    _leave_out(
        ax, rows[inside].to_numpy(np.float64), rows.iloc[~inside, 0].to_numpy(np.float64), np.flatnonzero(~inside)
    )


def _leave_out(ax: Axes, rest: np.ndarray, value: np.ndarray, at: np.ndarray, vertical: bool = False) -> None:
    """Fits the axis to the rest, and writes the values that are then outside at its end."""
    rest = rest[np.isfinite(rest)]
    if not rest.size or not np.isfinite(value).any():
        return
    low, high = rest.min(), rest.max()
    edge = 0.06 * (high - low) or 0.05
    outside = [(v, place) for v, place in zip(value, at, strict=True) if v > high + 3 * edge]
    if not outside:
        return
    (ax.set_ylim if vertical else ax.set_xlim)(low - edge, high + edge)
    for v, place in outside:
        if vertical:
            ax.annotate(f"↑\n{v:.2f}", (place, 1), (0, -2), xycoords=ax.get_xaxis_transform(), ha="center", va="top",
                        textcoords="offset points", fontsize=7, color=COLOURS[CEILING])  # fmt: skip
        else:
            ax.annotate(f"{v:.2f} →", (1, place), (-2, 0), xycoords=ax.get_yaxis_transform(), ha="right", va="center",
                        textcoords="offset points", fontsize=8.5, color=COLOURS[CEILING])  # fmt: skip


def _legend(figure: Figure, methods: Sequence[str], colour: Mapping[str, str]) -> None:
    ax = figure.axes[0]
    for method in methods:
        ax.plot([], [], "o", color=colour[method], markersize=5, label=method_name(method))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=min(len(methods), 8), frameon=False,
                  fontsize=9, labelcolor=INK, handletextpad=0.1, columnspacing=1.2)  # fmt: skip


def _heat(
    ax: Axes,
    found: Estimate,
    rows: Sequence[str],
    columns: Sequence[str],
    colours: Colormap,
    ends: tuple[float, float],
    *,
    size: float,
    zero: float = 0.0,
    intervals: bool = False,
) -> None:
    """A heat map with its numbers, both faint where the interval includes `zero` or there is none."""
    value, low, high = (np.asarray(part, np.float64) for part in found)
    certain = (low > zero) | (high < zero) | ((value == ends[1]) & np.eye(*value.shape, dtype=bool))
    shades = colours((value - ends[0]) / (ends[1] - ends[0]))[..., :3]
    shades = np.where(certain[..., None], shades, 1 - 0.4 * (1 - shades))
    shades = np.where(np.isfinite(value)[..., None], shades, 0.93)
    ax.pcolormesh(shades, edgecolor="white", linewidth=1)
    dress(ax, "", "")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelsize=8.5 if len(rows) < 22 else 7.5)
    ax.set_yticks(np.arange(len(rows)) + 0.5, rows)
    ax.set_xticks(np.arange(len(columns)) + 0.5, columns)
    ax.set_ylim(len(rows), 0)
    middle, reach = sum(ends) / 2, (ends[1] - ends[0]) / 2
    for (row, column), shown in np.ndenumerate(value):
        if not np.isfinite(shown):
            ax.text(column + 0.5, row + 0.5, "–", ha="center", va="center", fontsize=size, color=QUIET)
            continue
        sure = certain[row, column]
        ink = "#7b828c" if not sure else "white" if abs(shown - middle) > 0.62 * reach else INK
        text = _short(shown)
        if intervals and np.isfinite(low[row, column]):
            ax.text(column + 0.5, row + 0.74, f"[{_short(low[row, column])}, {_short(high[row, column])}]", ha="center",
                    va="center", fontsize=size - 1.5, color=ink)  # fmt: skip
        height = 0.36 if intervals and np.isfinite(low[row, column]) else 0.5
        ax.text(column + 0.5, row + height, text, ha="center", va="center", fontsize=size, color=ink,
                weight="bold" if sure and intervals else "normal")  # fmt: skip


def _short(value: float) -> str:
    """Two decimals without the zero before the point: "−.43"."""
    text = f"{value:.2f}".replace("-0.00", "0.00")
    return text.replace("-", "−").replace("0.", ".", 1) if abs(value) < 0.995 else text.replace("-", "−")[:-1]


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_long_words=False)
