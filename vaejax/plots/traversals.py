"""Latent traversals as a figure (a row of images for each latent) and as an animation (all latents move at once)."""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
# (what matplotlib declares is wider than what it returns)

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from vaejax.errors import InputError
from vaejax.plots.images import GRID_DPI, image_grid, mosaic, text_width
from vaejax.plots.style import FAINT, INK, QUIET, WIDTH

ACCENT = "#3b7ea1"
DPI = 96  # of the animation: one of its pixels is one CSS pixel
SIDE = 128  # pixels of an image in it, if there are few
AREA = 250_000  # pixels of all images of a frame, at most, so that the file stays small
GAP = 14  # pixels between cells
SLIDER = 20  # pixels below an image
COLOURS = (108, 40, 16)  # of the images: fewer where the file would be larger than
LIMIT = 1_500_000  # bytes


def traversal_strip(
    images: Float[np.ndarray, "latents T H W C"],
    labels: Sequence[str],
    values: Float[np.ndarray, " T"] | Float[np.ndarray, "latents T"],
) -> Figure:
    """A row for each latent: the images in [0, 1] as its code takes the values, common to all or each row's own.

    Raises:
      InputError: shapes and labels that don't fit.
    """
    values = _checked(images, labels, values)
    if values.ndim == 1:
        return image_grid(images, labels, [short(value) for value in values])
    ends = [f"{short(row[0])} to {short(row[-1])}" for row in values]
    joint = [", " if "\n" in label else "\n" for label in labels]
    return image_grid(images, [a + b + c for a, b, c in zip(labels, joint, ends, strict=True)])


def traversals_beside(
    strips: Mapping[str, tuple[Float[np.ndarray, "latents T H W C"], Sequence[str]]],
) -> Figure:
    """The traversals of several models side by side under their names, each with a label for every row.

    Raises:
      InputError: no model, or images and labels that don't fit.
    """
    if not strips:
        raise InputError("there is nothing to show: give the traversals of at least one model")
    point = GRID_DPI / 72
    left = round(point * (1.1 * max(text_width(label) for _, labels in strips.values() for label in labels) + 14))
    sheets = {}
    for name, (images, labels) in strips.items():
        images = np.asarray(images, np.float32)
        _checked(images, labels, np.zeros(np.shape(images)[1:2]))
        room = (WIDTH * GRID_DPI / len(strips) - left) / images.shape[1] - 4
        sheets[name] = mosaic(images, max(1, int(room // images.shape[3])), gap=4)
    top, between = round(20 * point), round(10 * point)
    width = sum(left + sheet.shape[1] for sheet in sheets.values()) + between * (len(sheets) - 1)
    height = top + max(sheet.shape[0] for sheet in sheets.values())
    figure = Figure(figsize=(width / GRID_DPI, height / GRID_DPI), dpi=GRID_DPI)
    at = 0
    for (name, sheet), (_, labels) in zip(sheets.items(), strips.values(), strict=True):
        high, wide = sheet.shape[:2]
        ax = figure.add_axes(((at + left) / width, 1 - (top + high) / height, wide / width, high / height))
        ax.imshow(sheet, interpolation="nearest", aspect="auto")
        ax.set_axis_off()
        ax.text(0, -6 * point, name, fontsize=10, weight="bold", color=INK)
        for row, label in enumerate(labels):
            place = 4 + (row + 0.5) * (high - 4) / len(labels)
            ax.text(-8 * point, place, label, ha="right", va="center", fontsize=9, color=INK)
        at += left + wide + between
    return figure


def traversal_gif(
    images: Float[np.ndarray, "latents T H W C"],
    labels: Sequence[str],
    values: Float[np.ndarray, " T"] | Float[np.ndarray, "latents T"],
    *,
    columns: int = 6,
    milliseconds: int = 100,
) -> bytes:
    """A GIF of 2T - 2 frames, there and back without end: in each, every latent's image at one of its values.

    Pixels are enlarged by a whole number (images too large for the file's size are averaged down by one); below each
    image a slider shows where the code is between the ends of its row of values. A row of values that are NaN has no
    slider: for an image that stays, such as the one that the traversal starts from.

    Args:
      images: in [0, 1], grey or RGB; what isn't a number is mid-grey.
      labels: one above each image, of one or more lines.
      values: the codes, common to all latents or each latent's own.
      columns: images to a row, at most; the rows are filled evenly.
      milliseconds: a frame is shown.

    Raises:
      InputError: shapes and labels that don't fit, or less than 2 steps.
    """
    values = np.broadcast_to(_checked(images, labels, values), np.shape(images)[:2])
    steps = values.shape[1]
    if steps < 2:
        raise InputError(f"an animation takes at least 2 steps, not {steps}")
    pixels = _enlarged(np.asarray(images, np.float32))  # [latents, T, h, w, 3]
    layout = _lay_out(labels, pixels.shape[2:4], columns)
    frames = np.repeat(_background(labels, values, layout)[None], steps, axis=0)
    height, width = pixels.shape[2:4]
    for cell, (top, left) in enumerate(layout.corners):
        frames[:, top : top + height, left : left + width] = pixels[cell]
        low, high = values[cell, 0], values[cell, -1]
        if np.isfinite(values[cell]).all() and low != high:
            for step, place in enumerate((values[cell] - low) / (high - low)):
                _dot(frames[step], top + height + SLIDER // 2, left + place * (width - 1))
    return _gif([*frames, *frames[-2:0:-1]], milliseconds)


def short(value: float) -> str:
    """A code's value with at most one decimal."""
    return f"{round(float(value), 1) + 0.0:g}".replace("-", "−")


def _checked(images: np.ndarray, labels: Sequence[str], values: np.ndarray) -> np.ndarray:
    shape, values = np.shape(images), np.asarray(values)
    if len(shape) != 5 or shape[-1] not in (1, 3) or 0 in shape:
        raise InputError(f"a traversal is images [latents, T, H, W, 1 or 3], not {list(shape)}")
    if values.shape not in (shape[1:2], shape[:2]):
        raise InputError(f"a traversal {list(shape)} takes values {[shape[1]]} or {list(shape[:2])}, not "
                         f"{list(values.shape)}")  # fmt: skip
    if len(labels) != shape[0]:
        raise InputError(f"{len(labels)} labels for {shape[0]} latents; give one for each")
    return values


def _enlarged(images: Float[np.ndarray, "latents T H W C"]) -> UInt8[np.ndarray, "latents T h w 3"]:
    """The images as bytes, with each pixel repeated, or as many averaged, as the size of the file asks for."""
    count, steps, height, width, channels = images.shape
    target = min(SIDE, (AREA / count) ** 0.5)
    images = np.where(np.isfinite(images), np.clip(images, 0.0, 1.0), 0.6)
    scale = int(target / max(height, width) + 0.3)
    if scale < 1:
        block = -(-max(height, width) // int(target))
        images = images[:, :, : height - height % block or None, : width - width % block or None]
        h, w = max(1, height // block), max(1, width // block)
        images = images.reshape(count, steps, h, -1, w, images.shape[3] // w, channels).mean(axis=(3, 5))
    pixels = np.round(255 * images).astype(np.uint8).repeat(max(1, scale), axis=2).repeat(max(1, scale), axis=3)
    return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))


class _Layout(NamedTuple):
    """Where things are on a frame, in pixels: its size, and the upper left corner of every image."""

    height: int
    width: int
    side: tuple[int, int]
    corners: list[tuple[int, int]]


def _lay_out(labels: Sequence[str], side: tuple[int, int], columns: int) -> _Layout:
    rows = -(-len(labels) // columns)
    columns = -(-len(labels) // rows)
    point = DPI / 72
    head = round(point * 12 * max(label.count("\n") + 1 for label in labels)) + 4
    across = GAP + max(side[1], round(point * max(map(text_width, labels))))
    down = head + side[0] + SLIDER + GAP
    corners = [
        (GAP // 2 + down * (cell // columns) + head, GAP // 2 + across * (cell % columns) + (across - side[1]) // 2)
        for cell in range(len(labels))
    ]
    return _Layout(rows * down + GAP // 2, columns * across + GAP, side, corners)


def _background(labels: Sequence[str], values: np.ndarray, layout: _Layout) -> UInt8[np.ndarray, "height width 3"]:
    """What stays: labels, slider tracks and their ends."""
    figure = Figure(figsize=(layout.width / DPI, layout.height / DPI), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    height, width = layout.side

    def write(x: float, y: float, text: str, **style) -> None:
        figure.text(x / layout.width, 1 - y / layout.height, text, **style)

    for label, row, (top, left) in zip(labels, values, layout.corners, strict=True):
        write(left + width / 2, top - 5, label, ha="center", va="bottom", fontsize=9, color=INK, linespacing=1.15)
        if np.isfinite(row).all():
            write(left, top + height + SLIDER - 3, short(row[0]), ha="left", va="top", fontsize=7, color=QUIET)
            write(
                left + width, top + height + SLIDER - 3, short(row[-1]), ha="right", va="top", fontsize=7, color=QUIET
            )
    canvas.draw()
    sheet = np.array(canvas.buffer_rgba())[..., :3]
    faint = _bytes(FAINT)
    for row, (top, left) in zip(values, layout.corners, strict=True):
        sheet[top - 1 : top + height + 1, left - 1 : left + width + 1] = faint
        if np.isfinite(row).all():
            line = top + height + SLIDER // 2
            sheet[line - 1 : line + 1, left : left + width] = faint
    return sheet


def _dot(frame: UInt8[np.ndarray, "height width 3"], y: int, x: float) -> None:
    """A disc of radius 4 pixels, in place, cut off where the frame ends."""
    x = round(x)
    rows, columns = np.ogrid[-4:5, -4:5]
    down, across = np.nonzero(rows**2 + columns**2 <= 18)
    down, across = down + y - 4, across + x - 4
    inside = (0 <= down) & (down < frame.shape[0]) & (0 <= across) & (across < frame.shape[1])
    frame[down[inside], across[inside]] = _bytes(ACCENT)


def _bytes(colour: str) -> UInt8[np.ndarray, " 3"]:
    return np.round(255 * np.array(to_rgb(colour))).astype(np.uint8)


def _gif(frames: Sequence[UInt8[np.ndarray, "height width 3"]], milliseconds: int) -> bytes:
    """The frames with one palette for all, so that nothing flickers, repeated for ever."""
    every = Image.fromarray(np.concatenate(frames[: len(frames) // 2 + 1]))
    ink = np.linspace(_bytes(INK), 255, 16).round().astype(np.uint8)  # of text, from dark to white
    own = np.concatenate([np.zeros((1, 3), np.uint8), ink[::-1], [_bytes(ACCENT), _bytes(FAINT), _bytes(QUIET)]])
    data = b""
    for colours in COLOURS:
        found = np.array(every.quantize(colours).getpalette(), np.uint8).reshape(-1, 3)[:colours]
        palette = Image.new("P", (1, 1))
        palette.putpalette(np.concatenate([own, found]).astype(np.uint8).tobytes())
        drawn = [_indexed(frame, palette) for frame in frames]
        file = io.BytesIO()
        drawn[0].save(file, "GIF", save_all=True, append_images=drawn[1:], duration=milliseconds, loop=0)
        data = file.getvalue()
        if len(data) <= LIMIT:
            break
    return data


def _indexed(frame: UInt8[np.ndarray, "height width 3"], palette: Image.Image) -> Image.Image:
    """The frame in the palette's colours, whose first are black and white: Pillow misses even those by a little."""
    index = np.array(Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE))
    index[(frame == 0).all(axis=-1)] = 0
    index[(frame == 255).all(axis=-1)] = 1
    image = Image.fromarray(index)
    image.putpalette(palette.getpalette() or [])
    return image
