"""Images side by side, each pixel enlarged by a whole number."""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
# (what pandas and matplotlib declare is wider than what they return)

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from vaejax.errors import InputError
from vaejax.plots.style import INK, WIDTH

GRID_DPI = 192  # of image grids: two device pixels per CSS pixel


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
    left = round(point * (1.1 * max(map(text_width, row_labels)) + 14)) if row_labels else 0
    top = round(point * (24 * bool(title) + (16 if column_labels else 0)))
    target = min(1.4 * GRID_DPI, (WIDTH * GRID_DPI - left) / cols - 4)
    sheet = mosaic(images, max(1, int(target // width)), gap=4)
    across = max(left + sheet.shape[1], round(point * (text_width(title or "") * 1.4)))
    down = top + sheet.shape[0]
    figure = Figure(figsize=(across / GRID_DPI, down / GRID_DPI), dpi=GRID_DPI)
    ax = figure.add_axes((left / across, 0, sheet.shape[1] / across, sheet.shape[0] / down))
    ax.imshow(sheet, interpolation="nearest", aspect="auto")
    ax.set_axis_off()
    step_y, step_x = (sheet.shape[0] - 4) / rows, (sheet.shape[1] - 4) / cols
    for row, text in enumerate(row_labels or ()):
        ax.text(-8 * point, 4 + (row + 0.5) * step_y, text, ha="right", va="center", fontsize=9, color=INK)
    for column, text in enumerate(column_labels or ()):
        ax.text(4 + (column + 0.5) * step_x, -5 * point, text, ha="center", va="baseline", fontsize=9, color=INK)
    if title:
        figure.text(0, 1 - 13 * point / down, title, fontsize=10, weight="bold", color=INK, va="baseline")
    return figure


def beside_nearest(
    generated: Float[np.ndarray, "N H W C"],
    nearest: Float[np.ndarray, "N count H W C"],
    distances: Float[np.ndarray, "N count"] | None = None,
    title: str | None = None,
) -> Figure:
    """Generated images above the training images nearest to them, with the distance of the nearest where it is given.

    Raises:
      InputError: shapes that don't fit.
    """
    generated, nearest = np.asarray(generated), np.asarray(nearest)
    if nearest.ndim != 5 or generated.shape != (len(nearest), *nearest.shape[2:]):
        raise InputError(
            f"generated images [N, H, W, C] are shown above their nearest [N, count, H, W, C], not {generated.shape} "
            f"above {nearest.shape}"
        )
    rows = ["generated", "nearest", *(f"{place + 2}." for place in range(nearest.shape[1] - 1))]
    labels = None if distances is None else [f"{distance:.1f}" for distance in np.asarray(distances)[:, 0]]
    return image_grid(np.concatenate([generated[None], nearest.swapaxes(0, 1)]), rows, labels, title)


def mosaic(images: np.ndarray, scale: int, gap: int) -> UInt8[np.ndarray, "height width 3"]:
    """All images side by side, each pixel `scale` wide, with light gaps between and around them."""
    images = np.round(255 * np.where(np.isfinite(images), np.clip(images, 0.0, 1.0), 0.6)).astype(np.uint8)
    images = np.broadcast_to(images, (*images.shape[:-1], 3)).repeat(scale, axis=2).repeat(scale, axis=3)
    rows, cols, height, width, _ = images.shape
    framed = np.pad(images, ((0, 0), (0, 0), (gap, 0), (gap, 0), (0, 0)), constant_values=222)
    sheet = framed.transpose(0, 2, 1, 3, 4).reshape(rows * (height + gap), cols * (width + gap), 3)
    return np.pad(sheet, ((0, gap), (0, gap), (0, 0)), constant_values=222)


def text_width(text: str) -> float:
    """Width in points at 9 pt, of the longest line."""
    return max((TextPath((0, 0), line, size=9).get_extents().width for line in text.split("\n") if line), default=0.0)
