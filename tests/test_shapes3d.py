"""3D Shapes as a function: what each factor changes, and what it leaves alone; rays against solids by other means."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.data import solids
from vaejax.data.shapes3d import SHAPES, _shapes3d, shapes3d
from vaejax.data.source import factors_of
from vaejax.errors import InputError

FLOOR, WALL, OBJECT, SCALE, SHAPE, TURN = range(6)
rng = np.random.default_rng(0)
N = 256  # one number of images in most tests, so that little is compiled


@pytest.fixture(scope="module")
def source():
    return shapes3d()


@pytest.fixture(scope="module")
def drawn(source):
    """`factors -> images`, for N combinations."""
    render = jax.jit(lambda data, factors: source.render.func(data, factors))
    return lambda factors: np.asarray(render(source.data, jnp.asarray(factors)))


@pytest.fixture(scope="module")
def parts(source):
    """Brightness of floor, wall, object, highlight and sky: [scale, shape, orientation, 5, 64, 64], from 0 to 1."""
    return np.asarray(source.data).reshape(8, 4, 15, 5, 64, 64) / 255


def some(source, n=N):
    return rng.integers(0, source.sizes, (n, 6))


def test_contract(source):
    assert source.name == "shapes3d" and source.size == 480_000
    assert source.sizes == (10, 10, 10, 8, 4, 15)
    assert source.names == ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    assert source.shape == (64, 64, 3) and source.joint is None
    assert source.data.dtype == jnp.uint8 and source.data.nbytes < 10e6
    assert shapes3d() is source


@pytest.mark.parametrize("size", [64, 8])
def test_images_are_in_range(size):
    source = shapes3d(size)
    images = source.render(jnp.asarray(some(source)))
    assert images.shape == (N, *source.shape) == (N, size, size, 3)
    assert images.dtype == jnp.float32
    assert 0 <= images.min() and images.max() <= 1
    assert images.max() > 0.85


def test_jit_changes_nothing_but_rounding(source, drawn):
    factors = some(source)
    eager = source.render(jnp.asarray(factors))
    np.testing.assert_allclose(drawn(factors), eager, atol=1e-6)
    np.testing.assert_array_equal(source.render(jnp.asarray(factors)), eager)


def test_at_is_the_image_of_its_index(source):
    index = jnp.asarray([0, 1, 15, 60, 480, 4800, 48_000, source.size - 1])
    batch = source.at(source.data, index)
    np.testing.assert_array_equal(batch.factors, factors_of(index, source.sizes))
    np.testing.assert_array_equal(batch.factors[1:-1], np.eye(6, dtype=int)[::-1])
    np.testing.assert_array_equal(batch.x, source.render(batch.factors))


def test_sample_is_a_uniform_function_of_its_key(source):
    sample = jax.jit(source.sample, static_argnums=2)
    one, same, other = (sample(source.data, jax.random.key(seed), N) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.x, same.x)
    np.testing.assert_allclose(one.x, source.render(one.factors), atol=1e-6)
    assert not np.array_equal(one.factors, other.factors)
    factors = np.asarray(source.sample_factors(jax.random.key(3), 20_000))
    for column, size in zip(factors.T, source.sizes, strict=True):
        np.testing.assert_allclose(np.bincount(column, minlength=size) / 20_000, 1 / size, atol=0.01)


@pytest.mark.parametrize(("factor", "part"), [(FLOOR, 0), (WALL, 1), (OBJECT, 2)])
def test_a_hue_changes_its_surface_and_nothing_else(source, drawn, parts, factor, part):
    factors = some(source)
    other = factors.copy()
    other[:, factor] = (factors[:, factor] + rng.integers(1, 10, N)) % 10
    changed = (drawn(factors) != drawn(other)).any(axis=-1)
    surface = parts[tuple(factors[:, SCALE:].T)][:, part]
    assert not changed[surface == 0].any()
    assert changed[surface > 0.1].all()


def test_colours_are_those_of_the_hues(source, drawn, parts):
    """A pixel that shows one surface only has the surface's hue, and is fully saturated."""
    factors = some(source)
    images, surfaces = drawn(factors), parts[tuple(factors[:, SCALE:].T)]
    for part in range(3):
        whole = (surfaces[:, part] > 0) & (np.delete(surfaces, part, axis=1) == 0).all(axis=1)
        assert whole.any(axis=(1, 2)).all()
        for image, where, hue in zip(images, whole, factors[:, part], strict=True):
            red, green, blue = image[tuple(np.argwhere(where)[0])].tolist()
            h, s, _ = colorsys.rgb_to_hsv(red, green, blue)
            assert abs((h - hue / 10 + 0.5) % 1 - 0.5) < 0.01 and s == 1


def test_shape_scale_and_orientation_change_the_image(source, drawn):
    factors = some(source)
    factors[:, OBJECT] = (factors[:, FLOOR] + factors[:, WALL] + 1) % 10
    for factor in (SCALE, SHAPE, TURN):
        other = factors.copy()
        other[:, factor] = (factors[:, factor] + rng.integers(1, source.sizes[factor], N)) % source.sizes[factor]
        assert np.abs(drawn(factors) - drawn(other)).max(axis=(1, 2, 3)).min() > 0.1


def test_scale_is_the_size_of_the_object(parts):
    area = (parts[..., 2, :, :] > 0).mean(axis=(-1, -2))
    assert (np.diff(area, axis=0) > 0).all()
    ratio = (area[-1] / area[0]).mean()
    assert (1.25 / 0.75) ** 2 < ratio < 1.25 * (1.25 / 0.75) ** 2  # a little more: its front comes nearer


def test_only_the_cube_shows_that_it_turns(parts):
    """The other solids are round: they and the camera turn, but their outline stays where it is."""
    outline = parts[..., 2, :, :] > 0
    moved = (outline != outline[:, :, 7:8]).mean(axis=(0, 2, 3, 4))
    assert moved[0] > 0.01 and (moved[1:] < 0.0005).all()


def test_opposite_orientations_are_mirror_images(source, drawn, parts):
    factors = some(source)
    mirrored = factors.copy()
    mirrored[:, TURN] = 14 - factors[:, TURN]
    np.testing.assert_allclose(drawn(mirrored), drawn(factors)[:, :, ::-1], atol=0.03)
    straight = parts[:, :, 7]  # traced as a whole, so its two halves are alike only because the scene is
    unlike = np.abs(straight - straight[..., ::-1])
    assert unlike.max() < 0.03 and (unlike > 1.5 / 255).mean() < 0.001


def test_the_corner_of_the_walls_moves_with_the_orientation(parts):
    """In a row above the object, the side wall is darker than the back wall; where it begins moves to one side."""
    row = parts[0, 0, :8, 1, 8]  # orientations from -30 to 0 degrees
    dark = row < 0.8 * np.median(row, axis=1, keepdims=True)
    right = dark[:, 32:].sum(axis=1)
    assert (np.diff(right) <= 0).all() and right[0] > right[7] + 10


def test_floor_is_below_and_sky_above(parts):
    floor, sky = parts[..., 0, :, :], parts[..., 4, :, :]
    assert (floor[..., -1, :] > 0).all() and (floor[..., :20, :] == 0).all()
    assert (sky[..., 0, :] > 0).mean() > 0.5 and (sky[..., 20:, :] == 0).all()


def test_the_object_throws_a_soft_shadow(parts):
    """The floor is darkest beside the foot of the object, and in between there are all shades."""
    floor = np.where(parts[:, :, :, 2] == 0, parts[:, :, :, 0], np.nan)
    shade = np.where(parts[:, :, :, 1] + parts[:, :, :, 4] == 0, floor, np.nan)[:, :, :, 30:]
    assert (np.nanmin(shade, axis=(-1, -2)) < 0.85 * np.nanmax(shade, axis=(-1, -2))).all()
    levels = [len(np.unique(image[~np.isnan(image)].round(2))) for image in shade[4].reshape(-1, 34, 64)]
    assert min(levels) > 10


@pytest.mark.parametrize("size", [32, 8])
def test_small_images_are_means_of_large_ones(source, size):
    factors = jnp.asarray(some(source))
    large, small = source.render(factors), shapes3d(size).render(factors)
    around = large.reshape(N, size, 64 // size, size, 64 // size, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(small, around, atol=2 / 255)


def test_every_factor_shows_at_32():
    source = shapes3d(32)
    factors = some(source)
    factors[:, OBJECT] = (factors[:, FLOOR] + factors[:, WALL] + 1) % 10
    images = source.render(jnp.asarray(factors))
    for factor, size in enumerate(source.sizes):
        other = factors.copy()
        other[:, factor] = (factors[:, factor] + rng.integers(1, size, N)) % size
        assert np.abs(images - source.render(jnp.asarray(other))).max(axis=(1, 2, 3)).min() > 0.05


def test_it_can_be_made_while_something_is_traced():
    _shapes3d.cache_clear()
    traced = jax.jit(lambda factors: shapes3d(8).render(factors))(jnp.zeros((1, 6), int))
    np.testing.assert_allclose(traced, shapes3d(8).render(jnp.zeros((1, 6), int)), atol=1e-6)


@pytest.mark.parametrize("size", [0, 4, 28, 63, 128, 64.0, "64"])
def test_other_sizes_are_refused(size):
    with pytest.raises(InputError, match="shapes3d have size 64, 32, 16 or 8, not") as error:
        shapes3d(size)
    assert "\n" not in str(error.value)


# --- rays and solids -------------------------------------------------------------------------------------------------

SOLIDS = {  # where rays meet it; how far a point is outside it
    "cube": (lambda o, d: solids.cube(o, d, jnp.float32(1.0)), lambda x, y, z: max(abs(x), abs(y), abs(z - 1)) - 1),
    "cylinder": (
        lambda o, d: solids.cylinder(o, d, jnp.float32(0.8), jnp.float32(1.5)),
        lambda x, y, z: max(np.hypot(x, y) - 0.8, -z, z - 1.5),
    ),
    "sphere": (
        lambda o, d: solids.sphere(o, d, jnp.float32(1.1)),
        lambda x, y, z: np.sqrt(x * x + y * y + (z - 1.1) ** 2) - 1.1,
    ),
    "capsule": (
        lambda o, d: solids.capsule(o, d, jnp.float32(0.7), jnp.float32(2.4)),
        lambda x, y, z: np.sqrt(x * x + y * y + (z - np.clip(z, 0.7, 1.7)) ** 2) - 0.7,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_rays_meet_solids_where_marching_does(shape):
    """The first point on the surface and its normal, against small steps along the ray and differences."""
    hit, outside = SOLIDS[shape]
    o = np.array([1.5, -4.0, 3.0])
    aim = np.random.default_rng(1).uniform([-1.6, -1.6, 0.01], [1.6, 1.6, 2.6], (60, 3))
    d = (aim - o) / np.linalg.norm(aim - o, axis=1, keepdims=True)
    t, n = (np.asarray(part, float) for part in jax.jit(hit)(jnp.asarray(o, jnp.float32), jnp.asarray(d, jnp.float32)))
    steps = np.arange(2, 9, 0.004)
    hits = 0
    for ray, distance, normal in zip(d, t, n, strict=True):
        inside = [outside(*(o + step * ray)) < 0 for step in steps]
        if np.isinf(distance):
            assert sum(inside) < 40  # it may have cut a corner
            continue
        hits += 1
        assert any(inside) and abs(steps[np.argmax(inside)] - distance) < 0.01
        point = o + distance * ray
        slope = [(outside(*(point + e)) - outside(*(point - e))) / 2e-4 for e in 1e-4 * np.eye(3)]
        assert abs(outside(*point)) < 1e-5
        assert np.abs(np.array(slope) - normal).max() < 0.01
    assert 15 < hits < 60


def test_rays_away_from_a_solid_miss_it():
    o, d = jnp.array([0.0, -4.0, 1.0]), jnp.array([[0.0, -1.0, 0.01], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    for hit, _ in SOLIDS.values():
        assert np.isinf(jax.jit(hit)(o, d)[0]).all()
