"""The tables of likelihoods: a VAE on static MNIST, and importance-weighted training against a VAE; quick versions."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments.paper import iwae, static_vae
from experiments.paper.table import Setting, falling
from vaejax import Batch, InputError, build, train


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


def test_static_vae_is_one_row_of_two_seeds(static, tmp_path):
    setting = Setting(tmp_path / "table", static_mnist=static, quick=True)
    (row,) = static_vae.rows(setting)
    assert (row.published, row.low, row.high) == (89.85, 88.8, 90.8)
    low, high = row.interval
    assert low <= row.measured <= high and 500 < row.measured < 784 * np.log(2) + 20  # noise is worth 543 nats
    assert json.loads((tmp_path / "table" / "vae" / "config.json").read_text())["steps"] == 20
    assert [again.measured for again in static_vae.rows(setting)] == [row.measured]  # nothing is trained again


def test_static_vae_says_what_it_needs(tmp_path):
    with pytest.raises(InputError, match="give its folder as --static-mnist DIR") as caught:
        static_vae.rows(Setting(tmp_path, quick=True))
    assert "\n" not in str(caught.value)


def test_iwae_compares_two_models_of_the_same_steps(shared, tmp_path):
    setting = Setting(tmp_path, data_dir=str(shared / "tfds"), quick=True)
    vae, weighted, gain = iwae.rows(setting)
    assert (vae.published, weighted.published) == (86.76, 84.78)
    assert (vae.low, vae.high, gain.low) == (85.8, 88.3, 1.0)
    np.testing.assert_allclose(gain.measured, vae.measured - weighted.measured)
    assert abs(gain.measured) > 1e-6 and 100 < weighted.measured < 600
    runs = pd.read_csv(tmp_path / "vae_and_iwae" / "runs.csv")
    assert runs["switch"].tolist() == [20, 16] and runs["seed"].nunique() == runs["learning_rate"].nunique() == 1
    history = pd.read_csv(tmp_path / "vae_and_iwae" / "history.csv").pivot(index="step", columns="run", values="loss")
    np.testing.assert_allclose(history.loc[10, 0], history.loc[10, 1], rtol=1e-6)


def test_the_method_switches_at_its_step():
    """Before it the loss and the gradient are those of one sample, from there those of several."""
    one, many = (build("iwae", (4, 4, 1), "mlp_tanh", latents=2, width=8, samples=samples) for samples in (1, 5))
    both = iwae.switched(one, many)
    both = both._replace(hyper=both.hyper._replace(switch=10))
    batch = Batch(jax.random.bernoulli(jax.random.key(0), 0.5, (6, 4, 4, 1)).astype(float))
    params = jax.jit(one.init)(jax.random.key(1), batch)

    @jax.jit
    def losses(step):
        gradients = [
            jax.grad(method.loss, has_aux=True)(params, method.hyper, batch, jax.random.key(2), step)
            for method in (one, many, both)
        ]
        return [(metrics, jax.tree.leaves(slope)) for slope, metrics in gradients]

    for step, which in ((0, 0), (9, 0), (10, 1), (1000, 1)):
        *parts, found = losses(step)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, parts[which])
    assert abs(parts[0][0]["loss"] - parts[1][0]["loss"]) > 1e-3


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
