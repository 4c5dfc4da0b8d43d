"""Figures of a sweep over one hyperparameter.

A `table` has one row per (run, metric): `run`, hyperparameter columns, `seed`, `metric`, `value`; a `history` one row
per (run, step). Diverged runs are left out of every mean, and every figure says so (vaejax/analysis/tables.py).
Nothing here uses pyplot or rcParams.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
# (what pandas and matplotlib declare is wider than what they return)

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vaejax.analysis.tables import (
    check_columns,
    check_metrics,
    check_seeds,
    diverged,
    finished,
    is_number,
    label,
    name,
    ordered,
    short,
    summary,
    title,
)
from vaejax.errors import InputError, choose
from vaejax.plots.style import (
    FAINT,
    INK,
    QUIET,
    WIDTH,
    colours,
    dress,
    limits,
    mark_empty,
    new_panels,
    places_of,
    with_note,
)


def curves(
    table: pd.DataFrame, x: str = "beta", metrics: Sequence[str] | None = None, example: str = "image"
) -> Figure:
    """Each metric against a hyperparameter: mean line, 95 % interval over seeds as a band, each run as a dot.

    The axis is log2 for positive values that span a factor of 8 or more, evenly spaced if a value isn't positive. What
    has no order (or a single value) gets error bars in place of the line and its band.
    """
    metrics = check_metrics(table, x, metrics)
    stats, runs, values = summary(table, x, metrics), finished(table), ordered(table[x])
    place, scale = places_of(values)
    colour, at = colours(values), [place[value] for value in values]
    figure, panels = new_panels(len(metrics))
    for ax, metric in zip(panels, metrics, strict=True):
        rows, dots = stats[stats["metric"] == metric], runs[runs["metric"] == metric]
        mean, low, high = (rows[column].to_numpy() for column in ("mean", "low", "high"))
        if scale == "log":
            ax.set_xscale("log", base=2)
        if len(values) > 1 and all(map(is_number, values)):
            ax.fill_between(at, low, high, color=INK, alpha=0.10, linewidth=0)
            ax.plot(at, mean, color=INK, linewidth=1.4)
        else:
            ax.errorbar(
                at, mean, [mean - low, high - mean], color=INK, fmt="_", markersize=16, elinewidth=7, ecolor=FAINT
            )
        ax.scatter([place[v] for v in dots[x]], dots["value"], s=17, c=[colour[v] for v in dots[x]], lw=0, zorder=3)
        dress(ax, title(metric, example), name(x))
        shown = values[:: -(-len(values) // 8)]
        ax.set_xticks([place[v] for v in shown], [short(v) for v in shown])
        ax.minorticks_off()
        ax.set_xlim(limits(at, scale))
        if not len(dots):
            mark_empty(ax)
    return with_note(figure, table, x)


def rate_distortion(table: pd.DataFrame, by: str = "beta", example: str = "image") -> Figure:
    """KL against reconstruction (nats per `example`): each run as a dot, means connected, and lines of equal ELBO."""
    check_metrics(table, by, ("kl", "reconstruction"))
    values, colour = ordered(table[by]), colours(table[by])
    runs = finished(table).pivot(index=["run", by], columns="metric", values="value").reset_index()
    runs = runs.reindex(columns=[by, "kl", "reconstruction"]).dropna()
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    ax = figure.add_subplot()
    dress(ax, "", f"Rate: KL(q(z|x) ‖ p(z)) (nats/{example})")
    ax.set_ylabel(f"Distortion: −log p(x|z) (nats/{example})", fontsize=9, color=INK)
    if not len(runs):
        mark_empty(ax)
        return with_note(figure, table, by)
    means = runs.groupby(by, sort=False).mean().reindex([value for value in values if value in set(runs[by])])
    ax.plot(means["kl"], means["reconstruction"], color=QUIET, linewidth=1.2, zorder=2)
    ax.scatter(runs["kl"], runs["reconstruction"], s=20, c=[colour[v] for v in runs[by]], alpha=0.55, lw=0, zorder=3)
    for value, kl, distortion in means.itertuples():
        ax.plot(kl, distortion, "o", color=colour[value], markersize=7, markeredgecolor="white", zorder=4)
        ax.annotate(label(by, value), (kl, distortion), (7, 6), textcoords="offset points", fontsize=9, color=INK)
    ax.margins(x=0.12, y=0.12)
    _equal_elbo(ax)
    return with_note(figure, table, by)


def kl_per_latent(table: pd.DataFrame, by: str = "beta", example: str = "image") -> Figure:
    """KL of each latent (nats per `example`), sorted within each run from the largest, then averaged over seeds."""
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
    dress(ax, f"KL of each latent, largest first (nats/{example})", "latent, by rank within its run")
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
    return with_note(figure, table, by)


def learning_curves(
    history: pd.DataFrame,
    by: str = "beta",
    metrics: Sequence[str] = ("loss", "reconstruction", "kl"),
    example: str = "image",
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
    figure, panels = new_panels(len(metrics), height=2.9)
    for ax, metric in zip(panels, metrics, strict=True):
        for (value, run), rows in history.groupby([by, "run"]):
            dashed = {"linestyle": (0, (4, 2)), "alpha": 0.9} if run in bad else {"alpha": 0.3}
            ax.plot(rows["step"], rows[metric], color=colour[value], linewidth=0.8, **dashed)
        for value, shade in colour.items():
            mean = history[(history[by] == value) & ~history["run"].isin(bad)].groupby("step")[metric].mean()
            ax.plot(mean.index, mean, color=shade, linewidth=1.6, label=label(by, value))
        dress(ax, title(metric, example), "step")
        ax.margins(x=0)
        seen = np.isfinite(history[metric]) & ~history["run"].isin(bad)
        if (seen & late).any():
            low, high = history.loc[seen, metric].min(), history.loc[seen & late, metric].max()
            ax.set_ylim(low - 0.04 * (high - low) - 1e-9, high + 0.04 * (high - low) + 1e-9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=min(len(colour), 8),
                  frameon=False, fontsize=9, handlelength=1.4, labelcolor=INK)  # fmt: skip
    return with_note(figure, history, by)


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
