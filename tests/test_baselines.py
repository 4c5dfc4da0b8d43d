"""Baselines against scikit-learn, known answers, and what their docstrings promise."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import InputError, build
from vaejax.data import load
from vaejax.data.source import Factors, factors_of
from vaejax.method import Batch, Space
from vaejax.metrics.baselines import BASELINES, ica, pca, pixels, random_encoder, true_factors

SPRITES = load("sprites", size=16)
assert isinstance(SPRITES, Factors)
FACTORS = SPRITES.sample_factors(jax.random.key(5), 600)
SMALL = {"seed": 3, "latents": 4, "images": 500}


def mixtures() -> Factors:
    """Images of 2 x 2 pixels: a linear mixture of two independent uniform factors."""
    mix = jnp.array([[1.0, 0.8], [0.2, -0.7], [0.6, 0.9], [-0.4, 0.6]])

    def render(factors):
        return ((factors / 20) @ mix.T).reshape(-1, 2, 2, 1)

    def at(data, index):
        factors = factors_of(index, (21, 21))
        return Batch(render(factors), factors)

    def sample(data, key, n):
        return at(data, jax.random.randint(key, (n,), 0, 441))

    def sample_factors(key, n):
        return jax.random.randint(key, (n, 2), 0, 21)

    return Factors("mixtures", Space((2, 2, 1)), 441, (), at, sample, (21, 21), ("a", "b"), render, sample_factors)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_maps_factors_to_finite_codes_under_jit(name):
    represent = BASELINES[name](
        SPRITES, **SMALL, **({"network": "mlp", "width": 8} if name == "random_encoder" else {})
    )
    codes = jax.jit(represent)(FACTORS)
    assert codes.shape == (600, {"true_factors": 5, "pixels": 256}.get(name, 4))
    assert np.isfinite(codes).all()
    np.testing.assert_allclose(jax.jit(represent)(FACTORS[:7]), codes[:7], atol=1e-4)  # of each image alone


def test_true_factors_are_the_factors_from_0_to_1():
    codes = true_factors(SPRITES)(jnp.array([[0, 0, 0, 0, 0], [2, 5, 39, 31, 31], [1, 1, 13, 0, 31]]))
    np.testing.assert_allclose(codes, [[0] * 5, [1] * 5, [0.5, 0.2, 1 / 3, 0, 1]], rtol=1e-6)


def test_pixels_are_the_image_or_its_block_means():
    images = np.asarray(SPRITES.render(FACTORS))
    np.testing.assert_array_equal(pixels(SPRITES)(FACTORS), images.reshape(600, -1))
    means = images.reshape(600, 4, 4, 4, 4).mean(axis=(2, 4)).reshape(600, -1)
    np.testing.assert_allclose(pixels(SPRITES, side=4)(FACTORS), means, atol=1e-6)
    with pytest.raises(InputError, match="16x16 can't be averaged down to 5x5"):
        pixels(SPRITES, side=5)(FACTORS)


def test_principal_components_are_white_and_ordered_and_independent_of_what_they_are_applied_to():
    source = mixtures()
    represent = pca(source, seed=0, latents=2, images=2000)
    every = factors_of(jnp.arange(441), (21, 21))
    codes = np.asarray(represent(every), np.float64)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(2), atol=0.1)  # fitted to other draws
    # two components are all there is: the images come back from them
    images = np.asarray(source.render(every)).reshape(441, -1)
    left = images - images.mean(axis=0)
    fit, *_ = np.linalg.lstsq(np.c_[codes, np.ones(441)], left, rcond=None)
    np.testing.assert_allclose(np.c_[codes, np.ones(441)] @ fit, left, atol=1e-5)


def test_independent_components_of_a_mixture_are_its_factors():
    source = mixtures()
    every = factors_of(jnp.arange(441), (21, 21))
    for make, least, most in ((ica, 0.99, 1.01), (pca, 0.0, 0.95)):
        codes = make(source, seed=1, latents=2, images=4000)(every)
        correlation = np.abs(np.corrcoef(np.asarray(codes).T, np.asarray(every).T)[:2, 2:])
        assert least < correlation.max(axis=1).min() < most


def test_a_random_encoder_is_a_method_at_step_0():
    method = build("vae", SPRITES.shape, "mlp", 4, 8)
    batch = Batch(SPRITES.render(FACTORS))
    expected = method.encode(method.init(jax.random.key(3), Batch(batch.x[:1])), batch).mean
    np.testing.assert_allclose(random_encoder(SPRITES, **SMALL, network="mlp", width=8)(FACTORS), expected, atol=1e-6)
    other = random_encoder(SPRITES, **{**SMALL, "seed": 4}, network="mlp", width=8)(FACTORS)
    assert np.abs(other - expected).max() > 1e-2


@pytest.mark.parametrize("name", ["pca", "ica"])
def test_equal_seeds_give_equal_codes(name):
    one, again = (BASELINES[name](SPRITES, **SMALL)(FACTORS[:20]) for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_components_that_do_not_converge_are_said(caplog, monkeypatch):
    monkeypatch.setattr("vaejax.metrics.baselines.ITERATIONS", 1)
    with caplog.at_level(logging.WARNING, "vaejax"):
        ica(SPRITES, **SMALL)
    assert "ICA of sprites, seed 3, did not converge in 1 iterations" in caplog.text


@pytest.mark.parametrize("name", BASELINES)
def test_a_source_without_factors_is_refused(name):
    with pytest.raises(InputError, match="digits has no ground-truth factors"):
        BASELINES[name](load("digits"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latents": 5}, "of 4 pixels have at least 1 component, but not 5"),
        ({"latents": 3}, "vary in fewer than 3 directions"),
        ({"images": 1}, "at least 2 images, not 1"),
    ],
)
def test_more_components_than_there_are(arguments, message):
    with pytest.raises(InputError, match=message):
        pca(mixtures(), **arguments)
