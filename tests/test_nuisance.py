"""Sprites in random colours and before noise: random over images, yet a pure function of the factors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.data import color_sprites, noisy_sprites, sprites
from vaejax.errors import InputError

N = 512
SOURCES = {"color_sprites": color_sprites, "noisy_sprites": noisy_sprites}
factors = jnp.asarray(np.random.default_rng(0).integers(0, sprites().sizes, (N, 5)))
sprite = np.asarray(sprites(32).render(factors))[..., 0] == 1


@pytest.mark.parametrize("name", SOURCES)
def test_contract(name):
    source, base = SOURCES[name](32), sprites(32)
    assert source.name == name and source.shape == (32, 32, 3) and source.data == ()
    assert (source.sizes, source.names, source.size) == (base.sizes, base.names, base.size)
    assert SOURCES[name](32) is source and SOURCES[name]().shape == (64, 64, 3)
    images = source.render(factors)
    assert images.shape == (N, 32, 32, 3) and images.dtype == jnp.float32
    assert 0 <= images.min() and images.max() <= 1


@pytest.mark.parametrize("name", SOURCES)
def test_render_at_and_sample_agree(name):
    source = SOURCES[name](32)
    images = source.render(factors)
    np.testing.assert_array_equal(images, jax.jit(source.render)(factors))
    np.testing.assert_array_equal(images[::-1], source.render(factors[::-1]))  # whatever else is in the batch
    index = jnp.asarray(np.ravel_multi_index(np.asarray(factors).T, source.sizes))
    batch = source.at((), index)
    np.testing.assert_array_equal(batch.x, images)
    np.testing.assert_array_equal(batch.factors, factors)
    drawn = jax.jit(source.sample, static_argnums=2)((), jax.random.key(1), N)
    np.testing.assert_array_equal(drawn.x, source.render(drawn.factors))


def test_colours_are_uniform_and_one_to_an_image():
    images = np.asarray(color_sprites(32).render(factors))
    assert (images[~sprite] == 0).all()
    colour = images.max(axis=(1, 2))
    np.testing.assert_array_equal(images, sprite[..., None] * colour[:, None, None])
    for channel in colour.T:
        assert (np.abs(np.sort(channel) - np.linspace(0.5, 1, N)) < 0.04).all()  # Kolmogorov and Smirnov, p = 0.003
    assert np.abs(np.corrcoef(colour.T) - np.eye(3)).max() < 0.2
    values = np.asarray(factors)
    assert np.abs(np.corrcoef(np.concatenate([colour, values], axis=1).T)[:3, 3:]).max() < 0.2


def test_the_colour_does_not_depend_on_the_size():
    small, large = (np.asarray(color_sprites(size).render(factors)).max(axis=(1, 2)) for size in (32, 64))
    np.testing.assert_array_equal(small, large)


def test_noise_is_uniform_behind_a_white_sprite():
    images = np.asarray(noisy_sprites(32).render(factors))
    assert (images[sprite] == 1).all()
    noise = images[~sprite]
    levels = np.round(noise * 255)
    np.testing.assert_allclose(noise, levels / 255, atol=1e-6)
    frequency = np.bincount(levels.astype(int).ravel(), minlength=256) / noise.size
    np.testing.assert_allclose(frequency, 1 / 256, rtol=0.1)
    neighbours = np.corrcoef(images[:, 0, :-1].ravel(), images[:, 0, 1:].ravel())[0, 1]
    channels = np.corrcoef(noise.T) - np.eye(3)
    between = np.corrcoef(images[:-1, 0].ravel(), images[1:, 0].ravel())[0, 1]  # one image and the next
    assert max(abs(neighbours), abs(between), np.abs(channels).max()) < 0.03


@pytest.mark.parametrize("name", SOURCES)
def test_other_sizes_are_refused(name):
    with pytest.raises(InputError, match="have size 64, 32, 16 or 8, not 20") as error:
        SOURCES[name](20)
    assert "\n" not in str(error.value)
