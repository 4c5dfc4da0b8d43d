"""The tables of likelihoods: a VAE on static MNIST, and importance-weighted training against a VAE; quick versions."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments.papers import iwae, static_vae
from experiments.papers.table import Setting, falling
from vaejax import Batch, InputError, build, train
from vaejax.networks import network


@pytest.fixture
def static(tmp_path):
    """A folder of 60 made-up images for each split, in the form in which static MNIST was published."""
    rng, folder = np.random.default_rng(0), tmp_path / "static"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        rows = rng.integers(0, 2, (60, 784))
        lines = "\n".join(" ".join(map(str, row)) for row in rows)
        (folder / f"binarized_mnist_{split}.amat").write_text(lines + "\n")
    return folder


def test_static_vae_is_two_sizes_of_two_seeds(static, tmp_path):
    setting = Setting(tmp_path / "table", static_mnist=static, quick=True)
    one, two = static_vae.rows(setting)
    assert (one.published, two.published) == (89.85, None) and one.measured != two.measured
    for row, name in ((one, "784-400-40"), (two, "784-400-400-40")):
        assert (row.what, row.low, row.high) == (f"VAE {name}, -log p(x), nats", 88.8, 90.8)
        low, high = row.interval
        assert low <= row.measured <= high and 500 < row.measured < 784 * np.log(2) + 20  # noise is worth 543 nats
        assert json.loads((tmp_path / "table" / name / "config.json").read_text())["steps"] == 20
    assert static_vae.rows(setting) == [one, two]  # nothing is trained again


def test_static_vae_says_what_it_needs(tmp_path):
    with pytest.raises(InputError, match="give its folder as --static-mnist DIR") as caught:
        static_vae.rows(Setting(tmp_path, quick=True))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_iwae_compares_two_models_that_go_on_from_one(shared, tmp_path):
    setting = Setting(tmp_path, data_dir=str(shared / "tfds"), quick=True)
    vae, weighted, gain = iwae.rows(setting)
    assert (vae.published, weighted.published) == (86.76, 84.78)
    assert (vae.low, vae.high, gain.low) == (85.8, 88.3, 1.0)
    np.testing.assert_allclose(gain.measured, vae.measured - weighted.measured)
    assert abs(gain.measured) > 1e-6 and 100 < weighted.measured < 300
    runs = {name: pd.read_csv(tmp_path / name / "runs.csv") for name in ("first", "vae", "iwae")}
    assert runs["vae"].equals(runs["iwae"]) and runs["first"]["seed"].item() != runs["vae"]["seed"].item()
    train_images = setting.mnist("train")
    mean = (train_images.data["x"].mean(axis=0) / train_images.data["scale"])[None]
    method = iwae.sized(setting, train_images, 1)
    params = method.init(jax.random.key(0), Batch(mean))
    np.testing.assert_allclose(method.encode(params, Batch(mean)).mean, 0, atol=1e-4)  # all biases begin at 0
    first, last = (runs[name]["learning_rate"].item() for name in ("first", "vae"))
    np.testing.assert_allclose(first * iwae.LAST / (iwae.FIRST + iwae.LAST), last, rtol=1e-6)


def test_iwae_goes_on_from_the_parameters_it_is_given():
    method = build("iwae", (4, 4, 1), "mlp_tanh", latents=2, width=8, samples=3)
    batch = Batch(jnp.ones((2, 4, 4, 1)))
    params = method.init(jax.random.key(0), batch)
    again = train.init(iwae.continued(method, params), method.hyper, jax.random.key(1), batch)
    jax.tree.map(np.testing.assert_array_equal, again.params, params)


def test_iwae_shows_images_less_their_mean_and_starts_with_it():
    rng = np.random.default_rng(0)
    mean = np.array([[[0.0], [0.25]], [[0.5], [1.0]]], np.float32)
    x, z = jnp.array(rng.random((5, 2, 2, 1), np.float32)), jnp.array(rng.random((5, 3), np.float32))
    encoder, decoder = network("mlp_tanh", (2, 2, 1), 3, (4,))
    centred, biased = iwae.Centred(encoder, mean), iwae.Biased(decoder, mean)
    key = jax.random.key(0)
    at, to = centred.init(key, x, 2), biased.init(key, z, 1)
    jax.tree.map(np.testing.assert_array_equal, (at, to), (encoder.init(key, x, 2), decoder.init(key, z, 1)))
    for found, expected in zip(centred.apply(at, x, 2), encoder.apply(at, x - mean, 2), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    (logits,) = biased.apply(jax.tree.map(jnp.zeros_like, to), z, 1)
    np.testing.assert_allclose(jax.nn.sigmoid(logits), np.tile(mean.clip(1e-3, 0.999), (5, 1, 1, 1)), rtol=1e-4)
    (other,) = biased.apply(to, z, 1)
    np.testing.assert_allclose(other - logits, decoder.apply(to, z, 1)[0], rtol=1e-4, atol=1e-5)


def test_the_learning_rate_falls_to_0():
    """Adam's first steps are as long as the learning rate."""
    method = falling(build("iwae", (4, 4, 1), "mlp_tanh", latents=2, width=8), 40)
    batch = Batch(np.ones((2, 4, 4, 1), np.float32))
    hyper = method.hyper._replace(learning_rate=1e-2)

    @jax.jit
    def moved(key):
        state = train.init(method, hyper, key, batch)
        second = train.train_step(method, lambda data, key: batch, hyper, (), state)[0]
        last = train.train(method, lambda data, key: batch, 45, hyper, (), state)[0]
        after = train.train_step(method, lambda data, key: batch, hyper, (), last)[0]

        def distance(a, b):
            return jax.tree.reduce(jnp.maximum, jax.tree.map(lambda x, y: jnp.abs(x - y).max(), a.params, b.params))

        return distance(second, state), distance(after, last)

    first, last = moved(jax.random.key(0))
    np.testing.assert_allclose(first, 1e-2, rtol=1e-3)
    assert last == 0
