"""The tables of the VQ-VAE and of the hierarchical VAE: quick versions on genuine MNIST, and what they measure."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.papers import hierarchical, vq
from experiments.papers.table import Setting
from vaejax.data import load
from vaejax.distributions.basic import FixedGaussian
from vaejax.objectives import reconstruction


@pytest.mark.slow
def test_vq_gives_two_rows_of_every_data_set_that_is_there(shared, tmp_path):
    found = vq.rows(Setting(tmp_path, str(shared / "tfds"), quick=True))
    assert [row.what for row in found][:2] == ["mnist, K = 64: squared error / variance", "mnist, K = 64: perplexity"]
    error, used = found[:2]
    assert error.published is None and used.low == 32 and 1 <= used.measured <= 64
    assert 0.3 < error.measured < 2  # untrained
    for row in found[:2]:
        values = [float(value) for value in row.note.removeprefix("seeds: ").split(" and ")]
        np.testing.assert_allclose(row.measured, np.mean(values), rtol=1e-3)


def test_the_variance_is_that_of_all_pixels():
    digits = load("digits")
    x = np.asarray(digits.at(digits.data, jnp.arange(digits.size)).x, np.float64)
    np.testing.assert_allclose(vq.variance(digits), x.var(), rtol=1e-5)


def test_the_reconstruction_term_is_the_squared_error_over_the_variance():
    x, made = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 3, 4, 4, 1)), jnp.float32)
    at = reconstruction(FixedGaussian(math.sqrt(0.06 / 2))(made), x) - reconstruction(
        FixedGaussian(math.sqrt(0.06 / 2))(x), x
    )
    np.testing.assert_allclose(at, ((x - made) ** 2).sum(axis=(1, 2, 3)) / 0.06, rtol=1e-4)


@pytest.mark.slow
def test_hierarchical_compares_five_latents_with_one(shared, tmp_path, monkeypatch):
    arms = {name: sizes for name, sizes in hierarchical.ARMS.items() if name != "one latent, as deep"}
    monkeypatch.setattr(hierarchical, "ARMS", arms)
    one, five, gain = hierarchical.rows(Setting(tmp_path, str(shared / "tfds"), quick=True))
    assert gain.low == 1.5 and gain.measured == pytest.approx(one.measured - five.measured)
    assert all(200 < row.measured < 700 for row in (one, five))
    assert hierarchical.ARMS["five latents"][1] * 5 == hierarchical.ARMS["one latent"][1]
