"""3D Shapes as a function: a coloured solid in a coloured room, ray-traced when asked for, from no file.

The data set is that of Burgess and Kim, "3D Shapes Dataset" (2018), https://github.com/google-deepmind/3dshapes-dataset
(first used by Kim and Mnih 2018, "Disentangling by Factorising"): 480,000 images of 64x64 pixels in RGB, one for every
combination of six factors, in this order, the last fastest:

    floor_hue, wall_hue, object_hue   hue h = 0, 0.1, ..., 0.9 of a fully saturated colour
    scale                             8 values, linear from 0.75 to 1.25
    shape                             cube, cylinder, sphere, capsule
    orientation                       15 values, linear from -30 to 30 degrees

Its authors published the images and not the scene. The factors are theirs; the scene that follows is ours, and looks
like theirs: no image is equal to one of the data set (that is `shapes3d:2.0.0` of tensorflow-datasets).

Scene. A square room without a ceiling, under a sky; the solid stands on the middle of its floor, with the room's axes.
A camera outside looks over the nearest wall, which is left out, and is turned around the vertical axis through the
middle by the orientation. So all that stands in the room turns with it, and opposite orientations are mirror images.

Light. A surface of normal n, seen along the unit vector d, has the brightness

    AMBIENT + HEAD * max(0, -n.d) + DIFFUSE * max(0, n.s)          s: towards the sun, in the room's frame

(the last term times the visible part of the sun on the floor, which is the soft shadow). On the solid, the part
g = GLOSS * max(0, n.b)^SHINE of this is white highlight, where b bisects s and -d: (1 - g) * brightness + g. No light
goes from one surface to another.

Pixels. The brightness does not depend on the hues, and colours add up, so with c the colours of the three hues

    image = c_floor * S_0 + c_wall * S_1 + c_object * S_2 + highlight * S_3 + sky * S_4

where the maps S depend on scale, shape and orientation alone. They are traced once, for all 480 combinations, with nine
rays a pixel, which takes a second or two, and are the source's data (9.8 MB at 64x64). 64 images are made of them in
0.5 ms on one CPU core; to trace these anew, with one ray a pixel, takes 110 ms, which is more than half of a training
step. Below 64x64 a pixel is the mean of those at 64x64; at 16x16 the shapes are hard to tell, at 8x8 not at all.
"""

import colorsys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key, Num, UInt8

from vaejax.data.bound import bound
from vaejax.data.record import Named
from vaejax.data.rendered import check_side, uniform_factors
from vaejax.data.solids import Hit, capsule, cube, cylinder, sphere
from vaejax.data.source import Data, Factors, draw, factors_of
from vaejax.method import Batch, Space

NAMES = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
SIZES = (10, 10, 10, 8, 4, 15)
SHAPES = ("cube", "cylinder", "sphere", "capsule")
COUNT = int(np.prod(SIZES))
SCALES, SOLIDS, TURNS = SIZES[3:]

# Lengths are in units of the half side of the cube of scale 1.
ROOM = 5.0  # half the side of the floor
WALL = 3.8  # the height of the walls
DISTANCE = 7.0  # of the camera from the vertical axis
HEIGHT = 3.4  # of the camera
TARGET = 0.8  # the height of the point in the middle of the image
FIELD = 0.466  # tangent of half the field of view
SUN = np.array([0.0, -0.35, 1.0])  # towards the middle of the sun
BLUR = 0.4  # the sun's radius in the same units
AMBIENT, HEAD, DIFFUSE = 0.36, 0.15, 0.46
GLOSS, SHINE = 0.45, 30
SKY = (0.72, 0.86, 0.98)

SIDE = 64
SIDES = (64, 32, 16, 8)
ACROSS = 3 * SIDE  # rays along a side of the image
SHADOW_RAYS = 16  # from each pixel to the sun
FAR = 20.0  # farther than anything


def shapes3d(size: int = SIDE) -> Factors:
    """3D Shapes, drawn on demand. Equal sizes give the same object, so nothing recompiles.

    Args:
      size: height and width of the images: 64 as published, or 32, 16 or 8.

    Returns:
      A source whose images are Float[n, size, size, 3] in [0, 1], and whose data are the maps S of the module's
      docstring: uint8 [480, 5, size, size].

    Raises:
      InputError: `size` is none of these.
    """
    return _shapes3d(check_side("shapes3d", size, SIDES))


@cache
def _shapes3d(size: int) -> Factors:
    with jax.ensure_compile_time_eval():  # arrays, also where this is first called while something is traced
        data = _pooled(maps(), size).round().astype(jnp.uint8)
    drawn = jax.tree_util.Partial(render, data)  # a pytree: the maps are no constant of a program that gets it
    factors = bound(uniform_factors, SIZES)
    return Factors(
        "shapes3d",
        Space((size, size, 3)),
        COUNT,
        data,
        at,
        sample,
        SIZES,
        NAMES,
        drawn,
        factors,
        made=(shapes3d, (size,)),
    )


def at(data: Data, index: Int[Array, " n"]) -> Batch:
    """The images of these combinations; `data` as in `shapes3d`."""
    factors = factors_of(index, SIZES)
    return Batch(render(data, factors), factors=factors)


def sample(data: Data, key: Key[Array, ""], n: int) -> Batch:
    """n images drawn uniformly with replacement; `data` as in `shapes3d`."""
    return at(data, draw(key, n, COUNT))


def render(data: Data, factors: Int[Array, "n 6"]) -> Float[Array, "n size size 3"]:
    """The images of these factors; `data` as in `shapes3d`."""
    scale, shape, turn = factors[:, 3:].T
    part = data[(scale * SOLIDS + shape) * TURNS + turn]
    hue = jnp.asarray(_colours())[factors[:, :3]]
    white = jnp.broadcast_to(jnp.array([(1.0, 1.0, 1.0), SKY]), (len(factors), 2, 3))
    colour = jnp.concatenate([hue, white], axis=1) / 255
    lit = sum(part[:, m, :, :, None].astype(jnp.float32) * colour[:, None, None, m] for m in range(5))
    return jnp.minimum(lit, 1.0)


def _colours() -> Float[np.ndarray, "10 3"]:
    """The colours of the ten hues."""
    return np.array([colorsys.hsv_to_rgb(hue / 10, 1, 1) for hue in range(10)], np.float32)


@jax.jit
def maps() -> UInt8[Array, "480 5 64 64"]:
    """How bright floor, wall, solid, highlight and sky are in every pixel, for each scale, shape and orientation.

    Half of the orientations are traced; the others are their mirror images.
    """
    scale, shape = (part.ravel() for part in jnp.indices((SCALES, SOLIDS)))

    def seen(turn: Int[Array, ""]) -> UInt8[Array, "32 5 64 64"]:
        o, d = _rays(turn, ACROSS)
        room = _room(o, d)
        return lax.map(lambda one: _maps(one[0], one[1], turn, o, d, room), (0.75 + scale / 14, shape))

    found = lax.map(seen, jnp.arange(TURNS // 2 + 1))
    whole = jnp.concatenate([found, found[-2::-1, ..., ::-1]])
    return jnp.swapaxes(whole, 0, 1).reshape(-1, 5, SIDE, SIDE)


def _maps(
    scale: Float[Array, ""],
    shape: Int[Array, ""],
    turn: Int[Array, ""],
    o: Float[Array, " 3"],
    d: Float[Array, "across across 3"],
    room: Float[Array, "4 across across"],
) -> UInt8[Array, "5 64 64"]:
    """The maps of one combination, from the rays of its orientation and the room without a solid."""
    t, n = _solid(shape, scale, o, d)
    gloss = GLOSS * jnp.maximum((n * _unit(_unit(jnp.asarray(SUN)) - d)).sum(axis=-1), 0) ** SHINE
    solid = jnp.where(jnp.isfinite(t), jnp.stack([sum(_brightness(n, d)) * (1 - gloss), gloss]), 0)
    ambient, direct, wall, sky = _pooled(jnp.where(jnp.isfinite(t), 0, room), SIDE)
    floor = ambient + direct * _sunshine(scale, shape, turn)
    found = jnp.stack([floor, wall, *_pooled(solid, SIDE), sky])
    return jnp.round(255 * found).astype(jnp.uint8)


def _room(o: Float[Array, " 3"], d: Float[Array, "across across 3"]) -> Float[Array, "4 across across"]:
    """How bright the floor is without and by the sun, and how bright walls and sky are; each 0 where others are."""
    to_sides = (jnp.where(d[..., :2] > 0, ROOM, -ROOM) - o[:2]) / d[..., :2]
    to_wall = to_sides.min(axis=-1)
    height = o[2] + to_wall * d[..., 2]  # where the ray leaves the square
    inwards = jnp.pad(-jnp.sign(d[..., :2]) * (to_sides == to_wall[..., None]), ((0, 0), (0, 0), (0, 1)))
    floor, wall, sky = height < 0, (height >= 0) & (height < WALL), height >= WALL
    ambient, direct = _brightness(jnp.array([0.0, 0.0, 1.0]), d)
    return jnp.stack([floor * ambient, floor * direct, wall * sum(_brightness(inwards, d)), sky * (1 - d[..., 2] / 2)])


def _rays(turn: Int[Array, ""], across: int) -> tuple[Float[Array, " 3"], Float[Array, "across across 3"]]:
    """Where the camera is, and unit vectors through the centres of a grid over its image, from the upper left."""
    angle = (turn - TURNS // 2) * (np.pi / 3 / (TURNS - 1))
    right = jnp.stack([jnp.cos(angle), jnp.sin(angle), jnp.zeros(())])
    o = jnp.stack([DISTANCE * right[1], -DISTANCE * right[0], jnp.full((), HEIGHT)])
    ahead = _unit(jnp.array([0.0, 0.0, TARGET]) - o)
    place = FIELD * ((2 * jnp.arange(across) + 1) / across - 1)
    return o, _unit(ahead + place[:, None] * right - place[:, None, None] * jnp.cross(right, ahead))


def _solid(shape: Int[Array, ""], scale: Float[Array, ""], o: Float[Array, "..."], d: Float[Array, "..."]) -> Hit:
    """Where rays meet the solid."""
    return lax.switch(
        shape,
        [
            lambda: cube(o, d, 1.0 * scale),
            lambda: cylinder(o, d, 1.05 * scale, 2.0 * scale),
            lambda: sphere(o, d, 1.2 * scale),
            lambda: capsule(o, d, 0.85 * scale, 2.7 * scale),
        ],
    )


def _brightness(n: Float[Array, "*#rays 3"], d: Float[Array, "*rays 3"]) -> tuple[Array, Array]:
    """How bright a surface of this normal is, seen along d: what is always there, and what the sun gives."""
    ambient = AMBIENT + HEAD * jnp.maximum(-(n * d).sum(axis=-1), 0)
    return ambient, DIFFUSE * jnp.maximum((n * _unit(jnp.asarray(SUN))).sum(axis=-1), 0)


def _sunshine(scale: Float[Array, ""], shape: Int[Array, ""], turn: Int[Array, ""]) -> Float[Array, "side side"]:
    """Which part of the sun is seen from the floor in the middle of every pixel.

    The points of the sun lie on a spiral, at equal areas, and on its mirror image. Rays come from there, so that the
    floor under the solid is dark, and no light leaks out along its lower edge.
    """
    o, d = _rays(turn, SIDE)
    ground = o + jnp.where(d[..., 2:] < 0, -o[2] / d[..., 2:], FAR) * d
    half = np.arange(SHADOW_RAYS // 2) + 0.5
    radius, angle = BLUR * np.sqrt(2 * half / SHADOW_RAYS), np.pi * (3 - np.sqrt(5)) * half
    spiral = np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * half], axis=1)
    points = SUN + np.concatenate([spiral, spiral * [-1, 1, 1]])

    def add(total: Array, point: Array) -> tuple[Array, None]:
        t, _ = _solid(shape, scale, ground + FAR * point, jnp.broadcast_to(-point, ground.shape))
        return total + jnp.isinf(t), None

    return lax.scan(add, jnp.zeros((SIDE, SIDE)), jnp.asarray(points, jnp.float32))[0] / SHADOW_RAYS


def _unit(v: Float[Array, "*rays 3"]) -> Float[Array, "*rays 3"]:
    """Vectors of this direction and length 1."""
    return v * lax.rsqrt((v**2).sum(axis=-1, keepdims=True))


def _pooled(x: Num[Array, "*batch h w"], size: int) -> Float[Array, "*batch size size"]:
    """Means over square blocks."""
    block = x.shape[-1] // size
    return x.reshape(*x.shape[:-2], size, block, size, block).mean(axis=(-3, -1))


SHAPES3D = Named("shapes3d", shapes3d, rendered=True)
