"""How was dSprites drawn? Finds the constants of `vaejax.data.sprites` from genuine images, and tests them.

    python -m experiments.benchmarks.fit_sprites PATH.npz

PATH is the official file of dSprites or a subset in its format. Every third orientation is held out from the fit. Takes
about a minute.

Every pixel next to a sprite's outline says on which side of it one point lies. Mapped to the sprite's own frame and
divided by the scale, the points of all images bracket one outline. The constants maximise the likelihood of the sides
under a logistic error of the width that rounding corners to 1/256 pixel gives; each number of corners is tried.
Prints the constants found beside those in the code, how many squares come out right for each subpixel, and, for the
constants in the code, mean IoU and the share of images that are equal in every pixel.
"""

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize

from vaejax.data.sprites import (
    ASPECT,
    ELLIPSE_CORNERS,
    HEART_CORNERS,
    HEART_HEIGHT,
    HEART_SHIFT,
    RADIUS,
    SHAPES,
    SIZES,
    ellipse,
    heart,
    sprites,
    square,
)
from vaejax.errors import InputError

ERROR = 0.0006  # pixels: the width of the logistic, about that of the rounding of corners to 1/256
BAND = 0.02  # pixels: points farther from the outline carry no information
FITTED = 2500  # images of each shape


class Points(NamedTuple):
    """Centres of pixels in the frame of their sprite, in units of its scale, and whether they are white."""

    uv: Float[np.ndarray, "n 2"]
    scale: Float[np.ndarray, " n"]
    white: Bool[np.ndarray, " n"]


def read(path: Path) -> tuple[np.ndarray, Int[np.ndarray, "n 5"]]:
    """Genuine images and their factors.

    Raises:
      InputError: the file can't be read as dSprites.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            images, classes = file["imgs"], file["latents_classes"]
            index = file["original_dataset_indices"] if "original_dataset_indices" in file else None
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError):
        raise InputError(f"{path} is not dSprites: an .npz file with imgs and latents_classes is needed") from None
    factors = classes[:, -5:] if index is None else np.stack(np.unravel_index(index, SIZES), axis=1)
    return images, factors.astype(np.int32)


def placement(factors: Int[np.ndarray, "n 5"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scale [n], rotation matrices from (u, v) to (X, Y) [n, 2, 2] and centres in pixels [n, 2]."""
    scale, angle = 0.5 + 0.1 * factors[:, 1], 2 * np.pi * factors[:, 2] / 39
    cos, sin = np.cos(angle), np.sin(angle)
    return scale, np.array([[cos, sin], [-sin, cos]]).transpose(2, 0, 1), 16 + 32 * factors[:, 3:] / 31


def boundary(images: np.ndarray, factors: Int[np.ndarray, "n 5"]) -> Points:
    """All pixels whose 3x3 neighbourhood has both colours."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(images, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
    image, row, column = np.nonzero(around.max(axis=(3, 4)) != around.min(axis=(3, 4)))
    scale, rotation, centre = placement(factors[image])
    offset = np.stack([column, row], axis=1) + 0.5 - centre
    uv = np.einsum("nji,nj->ni", rotation, offset) / scale[:, None]
    return Points(uv, scale, images[image, row, column] > 0)


def inside(outline: Float[np.ndarray, "V 2"], uv: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """Distance from the edge that a ray from the origin through the point meets, positive inside the outline."""
    angle = np.arctan2(outline[:, 1], outline[:, 0])
    start = np.argmin(angle)
    ring = np.roll(outline, -start, axis=0)
    edge = np.searchsorted(np.roll(angle, -start), np.arctan2(uv[:, 1], uv[:, 0]), side="right") - 1
    a, b = ring[edge], ring[(edge + 1) % len(ring)]
    along, to = b - a, uv - a
    return (along[:, 0] * to[:, 1] - along[:, 1] * to[:, 0]) / np.maximum(np.hypot(*along.T), 1e-12)


def surprise(outline: Float[np.ndarray, "V 2"], points: Points) -> float:
    """The negative log-likelihood, in nats, of the sides that the points were seen on."""
    margin = inside(outline, points.uv) * points.scale * np.where(points.white, 1, -1)
    return float(np.logaddexp(0, -margin / ERROR).sum())


def fit(outline: Callable[..., np.ndarray], start: list[float], points: Points) -> tuple[np.ndarray, float]:
    """The parameters of the outline that make the points least surprising, and the surprise."""
    simplex = np.array(start) * (1 + 0.002 * np.vstack([np.zeros(len(start)), np.eye(len(start))]))
    options = {"initial_simplex": simplex, "xatol": 1e-6, "fatol": 1e-2, "maxiter": 400}
    found = minimize(lambda p: surprise(outline(*p), points), start, method="Nelder-Mead", options=options)
    return found.x, found.fun


def fit_with_corners(outline: Callable[..., np.ndarray], start: list[float], points: Points, counts: range):
    """The best number of corners with its parameters. First a smooth outline, to keep the points in its band only."""
    smooth, _ = fit(lambda *p: outline(*p, 1000), start, points)
    near = np.abs(inside(outline(*smooth, 1000), points.uv)) < BAND
    points = Points(*(field[near] for field in points))
    fits = {count: fit(lambda *p, n=count: outline(*p, n), list(smooth), points) for count in counts}
    best = min(fits, key=lambda count: fits[count][1])
    return best, fits[best][0]


def squares_right(images: np.ndarray, factors: Int[np.ndarray, "n 5"], subpixel: int) -> float:
    """The share of squares that are drawn right if corners are rounded to 1/subpixel."""
    scale, rotation, centre = placement(factors)
    corners = centre[:, None] + scale[:, None, None] * np.einsum("nij,vj->nvi", rotation, square())
    a = np.round(corners * subpixel) / subpixel
    along = np.roll(a, -1, axis=1) - a
    y, x = np.mgrid[:64, :64] + 0.5
    dx, dy, ax, ay = (q[:, :, None, None] for q in (along[..., 0], along[..., 1], a[..., 0], a[..., 1]))
    drawn = (dx * (y - ay) - dy * (x - ax) > 0).all(axis=1)
    return float((drawn == (images > 0)).all(axis=(1, 2)).mean())


def agreement(images: np.ndarray, factors: Int[np.ndarray, "n 5"]) -> tuple[float, float]:
    """Mean IoU, and the share of images equal in every pixel, of the renderer as it is."""
    render, iou, equal = sprites().render, [], []
    for i in range(0, len(images), 1024):
        drawn, seen = np.asarray(render(jnp.asarray(factors[i : i + 1024])))[..., 0] > 0, images[i : i + 1024] > 0
        iou += list((drawn & seen).sum(axis=(1, 2)) / (drawn | seen).sum(axis=(1, 2)))
        equal += list((drawn == seen).all(axis=(1, 2)))
    return float(np.mean(iou)), float(np.mean(equal))


def run(path: Path) -> None:
    """Fit, test, print."""
    images, factors = read(path)
    orientations = np.unique(factors[:, 2])
    held_out = np.isin(factors[:, 2], orientations[2::3])
    chosen = {}
    for shape, name in enumerate(SHAPES):
        index = np.flatnonzero((factors[:, 0] == shape) & ~held_out)
        chosen[name] = np.random.default_rng(shape).permutation(index)[:FITTED]
    points = {name: boundary(images[index], factors[index]) for name, index in chosen.items()}

    (radius,), _ = fit(square, [9.5], points["square"])
    print(f"square   radius {radius:.4f} ({RADIUS})")
    corners, (aspect,) = fit_with_corners(lambda a, n: ellipse(RADIUS, a, n), [1.3], points["ellipse"], range(60, 161))
    print(f"ellipse  aspect {aspect:.4f} ({ASPECT}), corners {corners} ({ELLIPSE_CORNERS})")
    corners, (height, shift) = fit_with_corners(
        lambda h, s, n: heart(RADIUS, h, s, n), [14.0, 0.14], points["heart"], range(100, 201)
    )
    print(
        f"heart    height {height:.4f} ({HEART_HEIGHT}), shift {shift:.4f} ({HEART_SHIFT}), "
        f"corners {corners} ({HEART_CORNERS})"
    )
    few = chosen["square"][:1000]
    for subpixel in (16, 64, 128, 256, 512, 2**20):
        print(f"corners rounded to 1/{subpixel}: {squares_right(images[few], factors[few], subpixel):.4f} of squares")
    for shape, name in enumerate(SHAPES):
        for part, rows in (("fitted", ~held_out), ("held out", held_out)):
            index = np.flatnonzero(rows & (factors[:, 0] == shape))
            iou, equal = agreement(images[index], factors[index])
            print(f"{name:8} {part:8} {len(index):6} images: mean IoU {iou:.6f}, equal in every pixel {equal:.5f}")


def main(path: Annotated[Path, tyro.conf.Positional]) -> None:
    """Find the constants of the sprites again from genuine images of dSprites (an .npz file)."""
    try:
        run(path)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    tyro.cli(main)
