"""Rectangles: their pixels against the definition, and what can and what can't be told from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.data.rectangles import rectangles
from vaejax.data.source import factors_of
from vaejax.errors import InputError

rng = np.random.default_rng(0)
N = 256


def some():
    return rng.integers(0, rectangles().sizes, (N, 4))


def lengths(factors):
    """Half sides in pixels at 64, and the angle."""
    w, h, s, a = factors.T
    size = 0.5 + 0.5 * s / 5
    return 21 * size * (0.4 + 0.6 * w / 7), 21 * size * (0.4 + 0.6 * h / 7), np.pi / 2 * a / 16


def test_contract():
    source = rectangles()
    assert source.name == "rectangles" and source.data == () and source.shape == (64, 64, 1)
    assert source.sizes == (8, 8, 6, 16) and source.size == 6144
    assert source.names == ("width", "height", "size", "angle")
    assert rectangles() is source


@pytest.mark.parametrize("size", [64, 32, 16])
def test_pixels_are_those_inside(size):
    """White where the centre is inside by more than the rounding of corners, black where it is outside by more."""
    factors = some()
    images = np.asarray(rectangles(size).render(jnp.asarray(factors)))
    assert images.shape == (N, size, size, 1) and images.dtype == np.float32
    a, b, angle = (value[:, None, None] for value in lengths(factors))
    y, x = (np.indices((size, size)) + 0.5) * 64 / size - 32
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    outside = np.maximum(np.abs(u) - a, np.abs(v) - b)
    margin = 1 / 128
    assert (images[..., 0][outside < -margin] == 1).all()
    assert (images[..., 0][outside > margin] == 0).all()
    assert (np.abs(outside) <= margin).mean() < 0.01


def test_jit_and_vmap_give_the_same_images():
    render, factors = rectangles().render, jnp.asarray(some())
    images = render(factors)
    np.testing.assert_array_equal(jax.jit(render)(factors), images)
    np.testing.assert_array_equal(jax.vmap(render)(factors.reshape(4, 64, 4)).reshape(images.shape), images)


def test_at_is_the_image_of_its_index():
    source = rectangles()
    index = jnp.asarray([0, 1, 16, 96, 768, source.size - 1])
    batch = source.at((), index)
    np.testing.assert_array_equal(batch.factors, factors_of(index, source.sizes))
    np.testing.assert_array_equal(batch.x, source.render(batch.factors))
    drawn = jax.jit(source.sample, static_argnums=2)((), jax.random.key(0), N)
    np.testing.assert_array_equal(drawn.x, source.render(drawn.factors))


def test_every_factor_changes_every_image():
    render, factors = rectangles().render, some()
    for k, size in enumerate(rectangles().sizes):
        other = factors.copy()
        other[:, k] = (factors[:, k] + rng.integers(2, size - 1, N)) % size
        assert (render(jnp.asarray(factors)) != render(jnp.asarray(other))).any(axis=(1, 2, 3)).all()


def test_images_tell_two_lengths_and_an_angle():
    """Equal products of size with width and height give equal images; other lengths and angles give others."""
    render = rectangles().render
    small, large = jnp.array([[2, 2, 2, 7]]), jnp.array([[0, 0, 5, 7]])  # 0.7 * 0.571 = 1 * 0.4
    np.testing.assert_array_equal(render(small), render(large))
    one, other = some(), some()
    apart = np.abs(np.array(lengths(one)) - np.array(lengths(other))) > [[1.5], [1.5], [0.4]]
    unlike = (render(jnp.asarray(one)) != render(jnp.asarray(other))).any(axis=(1, 2, 3))
    assert unlike[apart.any(axis=0)].all()


def test_ninety_degrees_exchange_width_and_height():
    flat, high = rectangles().render(jnp.array([[7, 0, 5, 0], [0, 7, 5, 0]]))
    np.testing.assert_array_equal(np.rot90(flat), high)


@pytest.mark.parametrize("size", [0, 8, 63, 128, 64.0, "64"])
def test_other_sizes_are_refused(size):
    with pytest.raises(InputError, match="rectangles have size 64, 32 or 16, not") as error:
        rectangles(size)
    assert "\n" not in str(error.value)
