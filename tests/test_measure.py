"""Every measure against its definition, computed another way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import Batch, InputError, apply, build, fit, grid, measure, metrics
from vaejax.data import example, load
from vaejax.metrics.measure import examples

SPRITES = load("sprites", size=8)


@pytest.fixture(scope="module")
def trained():
    method = build("beta_vae", SPRITES.shape, "mlp", latents=3, width=32)
    runs = grid(method.hyper, 1, beta=[0.1, 1, 100], learning_rate=3e-3)
    return fit(method, SPRITES, runs, steps=300, batch_size=32)


@pytest.fixture(scope="module")
def table(trained):
    wide = measure(trained.method, SPRITES, trained.params, images=1050)
    assert list(wide.columns) == ["run", "metric", "value"]
    return wide.pivot(index="run", columns="metric", values="value")


@pytest.mark.parametrize("run", [0, 1, 2])
def test_measures_are_what_they_say(trained, table, run):
    index = jnp.asarray(examples(SPRITES, 1050))
    batch = SPRITES.at(SPRITES.data, index)
    x = np.asarray(batch.x, np.float64)
    params, row = trained.params_of(run), table.loc[run]
    posterior = trained.method.encode(params, batch)
    mean, log_var = np.asarray(posterior.mean, np.float64), np.asarray(posterior.log_var, np.float64)
    kl = (0.5 * (mean**2 + np.exp(log_var) - 1 - log_var)).mean(axis=0)
    np.testing.assert_allclose(row[["kl_latent_0", "kl_latent_1", "kl_latent_2"]], kl, atol=1e-3)
    np.testing.assert_allclose(row["kl"], kl.sum(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(row["elbo"], -row["reconstruction"] - row["kl"], rtol=1e-5)
    assert row["active_units"] == (mean.var(axis=0) > 0.01).sum()
    remade = np.asarray(trained.method.decode(params, posterior.mean).mean)
    np.testing.assert_allclose(row["squared_error"], ((x - remade) ** 2).sum(axis=(1, 2, 3)).mean(), rtol=1e-4)
    assert row["mig"] == pytest.approx(metrics.mig(posterior.mean, batch.factors)["mig"], abs=2e-3)
    draws = [
        -np.asarray(trained.method.decode(params, posterior.sample(jax.random.key(seed))).log_prob(batch.x))
        .sum(axis=(1, 2, 3))
        .mean()
        for seed in range(20)
    ]
    np.testing.assert_allclose(row["reconstruction"], np.mean(draws), atol=6 * np.std(draws) + 0.02)


def test_a_strong_beta_silences_the_code(table):
    assert table.loc[0, "kl"] > table.loc[1, "kl"] > table.loc[2, "kl"]
    assert table.loc[2, "active_units"] == 0 < table.loc[0, "active_units"]


def test_the_last_batch_is_not_counted_twice():
    """150 images, in batches of 100: the mean is over 150, not 200."""
    digits = load("digits")._replace(size=150)
    method = build("autoencoder", (8, 8, 1), "mlp", latents=2, width=8)
    params = jax.vmap(lambda key: method.init(key, digits.at(digits.data, jnp.arange(2))))(
        jax.random.split(jax.random.key(0), 2)
    )
    table = measure(method, digits, params).pivot(index="run", columns="metric", values="value")
    first = jax.tree.map(lambda leaf: leaf[0], params)
    x = digits.at(digits.data, jnp.arange(150)).x
    remade = method.decode(first, method.encode(first, Batch(x)).mean).mean
    np.testing.assert_allclose(table.loc[0, "squared_error"], ((x - remade) ** 2).sum(axis=(1, 2, 3)).mean(), rtol=1e-5)
    assert set(table.columns) == {"reconstruction", "squared_error", "active_units"}  # no KL, no ELBO, no factors


def test_accuracy_is_of_the_images_with_a_label():
    """150 images in batches of 100, of which every third has no label; a run of NaN has no accuracy."""
    digits = load("digits")._replace(size=150)
    label = np.asarray(digits.at(digits.data, jnp.arange(150)).label)
    known = np.arange(150) % 3 > 0
    kept = digits._replace(at=lambda data, index: hidden(digits.at(data, index), index))
    method = build("stacked_classifier", (8, 8, 1), latents=8, width=(16,))
    first = digits.at(digits.data, jnp.arange(2))
    params = jax.vmap(lambda key: method.init(key, first))(jax.random.split(jax.random.key(0), 2))
    broken = jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), params)
    table = measure(method, kept, broken).pivot(index="run", columns="metric", values="value")
    one = jax.tree.map(lambda leaf: leaf[0], params)
    answers = np.asarray(apply.classify(method, one, digits.at(digits.data, jnp.arange(150)))).argmax(axis=1)
    right = (answers == label)[known]
    assert 0 < right.mean() < 1 and right.mean() != (answers == label).mean()
    np.testing.assert_allclose(table["accuracy"], [right.mean(), np.nan], rtol=1e-6)


def hidden(batch, index):
    """The batch, without the label of every third image."""
    return batch._replace(label=jnp.where(index % 3 > 0, batch.label, -1))


def test_a_diverged_run_is_nan_and_not_zero(trained):
    broken = jax.tree.map(lambda leaf: jnp.asarray(leaf).at[1].set(jnp.nan), trained.params)
    table = measure(trained.method, SPRITES, broken, images=100).pivot(index="run", columns="metric", values="value")
    assert table.loc[1].isna().all() and not table.loc[[0, 2]].isna().any(axis=None)


def test_examples_are_all_or_different_ones():
    assert examples(load("digits", split="test"), 1000).tolist() == list(range(360))
    few = examples(SPRITES, 500)
    assert len(set(few.tolist())) == 500 and few.max() < SPRITES.size


def test_no_image_is_no_measure(trained):
    with pytest.raises(InputError, match="images has to be at least 1, not 0"):
        measure(trained.method, SPRITES, trained.params, images=0)


@pytest.mark.slow
def test_programs_of_many_architectures_are_not_kept():
    """And those of the last are: nothing compiles twice."""
    import gc

    from vaejax.compiled import KEPT
    from vaejax.metrics.measure import _measure

    inner = _measure.__wrapped__  # beneath the precision
    for width in range(1, KEPT + 4):
        method = build("autoencoder", SPRITES.shape, "mlp", latents=1, width=width)
        params = jax.tree.map(
            lambda leaf: np.zeros((1, *leaf.shape), leaf.dtype),
            jax.eval_shape(method.init, jax.random.key(0), example(SPRITES)),
        )
        measure(method, SPRITES, params, images=10)
    gc.collect()
    assert inner.cache_info().currsize == KEPT == inner._cache_size()
    measure(method, SPRITES, params, images=10)
    assert inner.cache_info().hits >= 1 and inner._cache_size() == KEPT
