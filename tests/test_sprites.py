"""The renderer of dSprites: its contract, and its images against genuine ones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.data.source import factors_of
from vaejax.data.sprites import sprites
from vaejax.errors import InputError


@pytest.fixture(scope="module")
def genuine(shared) -> tuple[np.ndarray, np.ndarray]:
    """Genuine images [N, 64, 64] and their factors [N, 5]."""
    with np.load(shared / "dsprites" / "dsprites_downsampled.npz", allow_pickle=False) as file:
        images, index = file["imgs"], file["original_dataset_indices"]
    return images > 0, np.stack(np.unravel_index(index, sprites().sizes), axis=1)


def some_factors() -> jax.Array:
    """Of 1024 images: one number in most tests, so that the renderer is compiled once for each size."""
    return jnp.asarray(np.random.default_rng(0).integers(0, sprites().sizes, (1024, 5)))


def test_contract() -> None:
    source = sprites()
    assert source.name == "sprites" and source.data == ()
    assert source.sizes == (3, 6, 40, 32, 32)
    assert source.names == ("shape", "scale", "orientation", "x", "y")
    assert source.shape == (64, 64, 1) and source.size == 737_280


@pytest.mark.parametrize("size", [64, 32, 16, 8])
def test_images_are_binary(size: int) -> None:
    source = sprites(size)
    images = source.render(some_factors())
    assert images.shape == (1024, size, size, 1) == (1024, *source.shape)
    assert images.dtype == jnp.float32
    assert set(np.unique(images)) == {0.0, 1.0}


@pytest.mark.parametrize("size", [32, 16])
def test_every_sprite_is_visible(size: int) -> None:
    smallest = some_factors().at[:, 1].set(0)
    assert sprites(size).render(smallest).sum(axis=(1, 2, 3)).min() >= 2


def test_small_images_sample_the_same_geometry() -> None:
    factors = some_factors()
    convex = factors.at[:, 0].set(factors[:, 0] % 2)
    large, small = sprites(64).render(convex), sprites(32).render(convex)
    around = large.reshape(1024, 32, 2, 32, 2).mean(axis=(2, 4))  # the four pixels around each centre at 32
    assert np.all(small[..., 0][around == 1] == 1)
    assert np.mean(small[..., 0][around == 0]) < 0.001


def test_jit_map_and_vmap_give_the_same_images() -> None:
    render, factors = sprites().render, some_factors()
    images = render(factors)
    ones, groups = factors.reshape(1024, 1, 5), factors.reshape(4, 256, 5)
    np.testing.assert_array_equal(jax.jit(render)(factors), images)
    np.testing.assert_array_equal(jax.lax.map(render, ones).reshape(images.shape), images)
    np.testing.assert_array_equal(jax.vmap(render)(groups).reshape(images.shape), images)


def test_at_is_the_image_of_its_index() -> None:
    source = sprites()
    index = jnp.array([0, 1, 32, 1024, 40 * 1024, 6 * 40 * 1024, source.size - 1])
    batch = source.at((), index)
    assert batch.factors is not None
    np.testing.assert_array_equal(batch.factors, factors_of(index, source.sizes))
    np.testing.assert_array_equal(np.ravel_multi_index(np.asarray(batch.factors).T, source.sizes), index)
    np.testing.assert_array_equal(batch.factors[1:-1], np.eye(5, dtype=int)[::-1])
    np.testing.assert_array_equal(batch.x, source.render(batch.factors))


def test_sample_is_a_function_of_its_key() -> None:
    source = sprites()
    sample = jax.jit(source.sample, static_argnums=2)
    one, same, other = (sample((), jax.random.key(seed), 1024) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.x, same.x)
    np.testing.assert_array_equal(one.x, source.render(one.factors))
    assert not np.array_equal(one.factors, other.factors)


def test_factors_are_drawn_uniformly() -> None:
    source = sprites()
    factors = np.asarray(source.sample_factors(jax.random.key(3), 20_000))
    for column, size in zip(factors.T, source.sizes, strict=True):
        count = np.bincount(column, minlength=size)
        assert len(count) == size
        np.testing.assert_allclose(count / 20_000, 1 / size, atol=0.02)


def test_the_first_and_the_last_orientation_coincide() -> None:
    factors = some_factors()
    render = sprites().render
    np.testing.assert_array_equal(render(factors.at[:, 2].set(0)), render(factors.at[:, 2].set(39)))


def test_position_moves_the_sprite_right_and_down() -> None:
    corners = jnp.array([[2, 5, 0, x, y] for x in (0, 31) for y in (0, 31)])
    image = np.asarray(sprites().render(corners))[..., 0]
    row, column = np.indices((64, 64)) + 0.5
    mean = np.stack([(image * q).sum(axis=(1, 2)) / image.sum(axis=(1, 2)) for q in (column, row)], axis=1)
    np.testing.assert_allclose(mean, [[16, 15], [16, 47], [48, 15], [48, 47]], atol=1)


@pytest.mark.parametrize("size", [0, 4, 63, 128, 64.0, "64"])
def test_other_sizes_are_refused(size: Any) -> None:
    with pytest.raises(InputError, match="sprites have size 64, 32, 16 or 8, not") as error:
        sprites(size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [0, 1, 2])
def test_images_equal_the_genuine_ones(genuine: tuple[np.ndarray, np.ndarray], shape: int) -> None:
    images, factors = (array[genuine[1][:, 0] == shape] for array in genuine)
    render = sprites().render
    drawn = np.concatenate([render(jnp.asarray(part)) for part in np.array_split(factors, 15)])[..., 0] > 0
    iou = (drawn & images).sum(axis=(1, 2)) / (drawn | images).sum(axis=(1, 2))
    wrong = (drawn != images).sum(axis=(1, 2))
    assert iou.mean() >= 0.99999
    assert (wrong == 0).mean() >= 0.9995
    assert wrong.max() <= 1
