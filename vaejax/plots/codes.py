"""Figures of codes against factors: which factor each latent carries, as a matrix of shares and as curves."""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
# (what matplotlib declares is wider than what it returns)

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vaejax.apply.label import LEAST
from vaejax.errors import InputError
from vaejax.plots.images import text_width
from vaejax.plots.style import FAINT, INK, QUIET, WIDTH, dress
from vaejax.plots.traversals import ACCENT, traversal_gif, traversal_strip

__all__ = [
    "factor_curves", "mutual_information_heatmap", "mutual_information_heatmaps", "traversal_gif", "traversal_strip",
]  # fmt: skip

SHADES = LinearSegmentedColormap.from_list("share", ["#ffffff", "#a9c6d8", ACCENT, "#173f5f"])
ROW, COLUMN = 0.29, 0.82  # inches of a cell of a matrix
TICKS = 34  # points for the numbers of an axis
BAND = (10, 90)  # percentiles of a code over the other factors


def mutual_information_heatmap(
    information: Float[np.ndarray, "D K"], factor_names: Sequence[str], latent_labels: Sequence[str], title: str = ""
) -> Figure:
    """I(z_j; v_k) / H(v_k) of every code and factor, from 0 to 1; each factor's best code is framed.

    A best share below 0.05 has no frame, because no code carries the factor then.
    """
    return mutual_information_heatmaps({title: information}, factor_names, {title: latent_labels})


def mutual_information_heatmaps(
    information: Mapping[str, Float[np.ndarray, "D K"]],
    factor_names: Sequence[str],
    latent_labels: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """The matrices of several models side by side, under their names; see `mutual_information_heatmap`.

    Raises:
      InputError: no matrix, or names and labels that don't fit.
    """
    if not information:
        raise InputError("there is nothing to show: give at least one matrix of mutual information")
    matrices = {name: np.asarray(matrix, np.float64) for name, matrix in information.items()}
    labels = latent_labels or {name: [f"z{j}" for j in range(len(matrix))] for name, matrix in matrices.items()}
    for name, matrix in matrices.items():
        if matrix.ndim != 2 or 0 in matrix.shape or matrix.shape != (len(labels[name]), len(factor_names)):
            raise InputError(
                f"a matrix of mutual information is [codes, factors], here [{len(labels[name])}, {len(factor_names)}], "
                f"not {list(matrix.shape)}"
            )
    left = max(text_width(text) for texts in labels.values() for text in texts) / 72 + 0.35
    column = max(COLUMN, max(map(text_width, factor_names)) / 72 + 0.12)
    column = min(column, max(0.36, ((WIDTH - 0.5) / len(matrices) - left) / len(factor_names)))
    width = len(matrices) * (left + column * len(factor_names)) + 0.5
    tall = max(map(len, matrices.values()))
    slant = column < max(map(text_width, factor_names)) / 72 + 0.04
    figure = Figure(figsize=(width, ROW * tall + 0.75 + 0.4 * slant), layout="constrained")
    panels = figure.subplots(1, len(matrices), squeeze=False)[0]
    for ax, (name, matrix) in zip(panels, matrices.items(), strict=True):
        mesh = _matrix(ax, matrix, column)
        dress(ax, name, "")
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        ax.set_ylim(tall, 0)
        ax.set_yticks(np.arange(len(matrix)) + 0.5, labels[name])
        turn = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if slant else {}
        ax.set_xticks(np.arange(len(factor_names)) + 0.5, factor_names, **turn)
    bar = figure.colorbar(mesh, ax=panels, pad=0.01, fraction=0.04, aspect=16)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, labelcolor=QUIET, length=0)
    bar.set_label("I(z; v) / H(v)", fontsize=8, color=QUIET)
    return figure


def _matrix(ax: Axes, matrix: Float[np.ndarray, "D K"], column: float):
    """The cells with their numbers, and a frame around each column's largest."""
    mesh = ax.pcolormesh(np.ma.masked_invalid(matrix), cmap=SHADES.with_extremes(bad="#eceef0"), vmin=0, vmax=1,
                         edgecolor="white", linewidth=1.5)  # fmt: skip
    for (row, place), share in np.ndenumerate(matrix):
        text = (f"{share:.2f}" if column >= 0.4 else f"{share:.1f}") if np.isfinite(share) else "–"
        ax.text(
            place + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8, color="white" if share > 0.6 else INK
        )
    for place, shares in enumerate(matrix.T):
        if np.nanmax(shares, initial=0.0) >= LEAST:
            best = int(np.nanargmax(shares))
            ax.add_patch(Rectangle((place + 0.04, best + 0.06), 0.92, 0.88, fill=False, ec=INK, lw=1.3, zorder=3))
    return mesh


def factor_curves(
    codes: Float[np.ndarray, "N D"],
    factors: Int[np.ndarray, "N K"],
    names: Sequence[str],
    labels: Sequence[str] | None = None,
    information: Float[np.ndarray, "D K"] | None = None,
) -> Figure:
    """Each code against each factor: the mean for every factor value; band: 10th to 90th percentile over the others.

    Args:
      names: of the factors.
      labels: of the codes; z0, z1, ... if not given.
      information: shares as of `vaejax.apply.label.information`; curves are the stronger the more the code has of the
        factor, and the share is written into the panel.

    Raises:
      InputError: shapes, names and labels that don't fit.
    """
    codes, factors = np.asarray(codes), np.asarray(factors)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or 0 in codes.shape or 0 in factors.shape:
        raise InputError(f"codes [N, D] and factors [N, K] have to have one N, not {codes.shape} and {factors.shape}")
    labels = [f"z{j}" for j in range(codes.shape[1])] if labels is None else labels
    if len(names) != factors.shape[1] or len(labels) != codes.shape[1]:
        raise InputError(f"{len(names)} names and {len(labels)} labels for {factors.shape[1]} factors and "
                         f"{codes.shape[1]} codes; give one for each")  # fmt: skip
    rows, columns = codes.shape[1], factors.shape[1]
    headings = [textwrap.fill(name, max(6, int(80 / columns)), break_long_words=False) for name in names]
    top, bottom = 0.1 + 0.17 * (1 + max(heading.count("\n") for heading in headings)), 0.45  # inches, as the next two
    row = min(0.95, max(0.62, 16 / rows))
    left = (TICKS + 1.08 * max(text_width(_two_lines(label)) for label in labels)) / 72 + 0.08
    height = top + row * rows + bottom
    figure = Figure(figsize=(WIDTH, height))
    grid = {"left": left / WIDTH, "right": 0.99, "top": 1 - top / height, "bottom": bottom / height}
    panels = figure.subplots(
        rows, columns, squeeze=False, sharex="col", sharey="row", gridspec_kw={**grid, "wspace": 0.08, "hspace": 0.16}
    )
    for k in range(columns):
        values = np.unique(factors[:, k])
        groups = [codes[factors[:, k] == value] for value in values]
        mean = np.stack([group.mean(axis=0) for group in groups], axis=1)  # [D, values]
        low, high = np.stack([np.percentile(group, BAND, axis=0) for group in groups], axis=2)
        for j in range(rows):
            share = 1.0 if information is None else float(information[j, k])
            ax, strength = panels[j, k], min(1.0, 0.25 + share / 0.5)
            colour = ACCENT if share >= LEAST else QUIET
            ax.fill_between(values, low[j], high[j], color=colour, alpha=0.22 * strength, linewidth=0)
            mark = "o" if len(values) <= 12 else ""
            ax.plot(values, mean[j], color=colour, alpha=strength, linewidth=1.5, marker=mark, markersize=3)
            _dress_small(ax, headings[k] if j == 0 else "", labels[j] if k == 0 else "", j == rows - 1)
            if information is not None:
                ax.text(0.97, 0.93, f"{share:.2f}", transform=ax.transAxes, ha="right", va="top", fontsize=7.5,
                        color=INK if share >= LEAST else QUIET)  # fmt: skip
    for ax in panels[:, 0] if information is not None else ():  # room for the shares
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.25 * (high - low))
    figure.text(
        (left / WIDTH + 0.99) / 2, 0.07 / height, "number of the factor's value", ha="center", fontsize=9, color=INK
    )
    return figure


def _dress_small(ax: Axes, heading: str, ylabel: str, last: bool) -> None:
    dress(ax, heading, "")
    ax.grid(False)
    ax.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
    ax.tick_params(labelsize=7.5, labelbottom=last)
    ax.locator_params(axis="y", nbins=3)
    ax.locator_params(axis="x", nbins=4, integer=True)
    if ylabel:
        text = _two_lines(ylabel)
        ax.annotate(text, (0, 0.5), (-TICKS, 0), "axes fraction", "offset points", ha="right", va="center", fontsize=9,
                    color=INK)  # fmt: skip


def _two_lines(label: str) -> str:
    """What a latent carries below its name."""
    return label.replace(" → ", "\n→ ")
