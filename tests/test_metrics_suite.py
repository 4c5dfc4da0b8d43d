"""The suite: the same values as the metrics one by one, for runs of a sweep and for any other codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import Batch, InputError, build, metrics
from vaejax.data import load
from vaejax.metrics import Sizes, codes, evaluate, scores, suite

SPRITES = load("sprites", size=8)
SMALL = Sizes(train=300, test=100, batch=8, variance=100, grid=300)
GRID = (3, 4, 5)
RNG = np.random.default_rng(0)
FACTORS, FACTORS_TEST = RNG.integers(0, GRID, (300, 3)), RNG.integers(0, GRID, (100, 3))
CELLS = np.stack(np.unravel_index(np.arange(60), GRID), axis=1)
MIXING = RNG.normal(size=(3, 3))
QUICK = ("factor_vae_score", "mig")


def of_runs(factors):
    """The factors, a mixture of them, and a run that diverged."""
    return np.stack([factors, factors @ MIXING, factors * np.nan]).astype(np.float32)


def measured(names, **options):
    tidy = scores(of_runs(FACTORS), FACTORS, of_runs(FACTORS_TEST), FACTORS_TEST, of_runs(CELLS), GRID,
                  jax.random.key(0), sizes=SMALL, metrics=names, **options)  # fmt: skip
    assert list(tidy.columns) == ["run", "metric", "value"]
    return tidy.pivot(index="metric", columns="run", values="value")


def test_values_are_those_of_the_metrics():
    """Of one metric of every kind; tests/test_metrics_information.py has the others."""
    table = measured(("mig_sup", "gaussian_total_correlation", "downstream"))
    z, z_test = of_runs(FACTORS), of_runs(FACTORS_TEST)
    for run in (0, 1):
        found = {
            "mig_sup": metrics.mig_sup(z[run], FACTORS),
            "gaussian_total_correlation": metrics.gaussian_total_correlation(z[run]),
            "downstream": metrics.downstream(z[run], FACTORS, z_test[run], FACTORS_TEST),
        }
        for name, values in found.items():
            labels = [suite.column(name, key) for key in values]
            allowed = 0.007 if name == "downstream" else 1e-3  # two guesses in 300
            np.testing.assert_allclose(table.loc[labels, run], list(values.values()), atol=allowed)


def test_interventional_values_are_those_of_the_metrics():
    table = measured(suite.INTERVENTIONAL)
    assert table.loc["factor_vae_score", 0] == 1 and table.loc["beta_vae_score", 0] > 0.9
    represent = metrics.table(of_runs(CELLS)[1], GRID)
    used = {"train": 300, "test": 100, "batch": 8, "variance": 100}
    found = metrics.factor_vae_score(represent, GRID, jax.random.key(0), **used)
    assert table.loc["factor_vae_score", 1] == pytest.approx(found["factor_vae_score"], abs=0.011)


def test_a_diverged_run_is_nan_and_what_was_used_is_said():
    table = measured(QUICK)
    sizes = {"samples_train": 300, "samples_test": 100, "samples_grid": 60, "samples_batch": 8, "samples_variance": 100}
    assert table.loc[list(sizes), 2].to_dict() == sizes
    values = table.drop(list(sizes))
    assert values[2].isna().all() and not values[[0, 1]].isna().any(axis=None)
    assert "factor_vae_score_active" in values.index


def test_runs_that_all_diverged_have_a_row_for_every_metric():
    z = of_runs(FACTORS)[2:]
    tidy = scores(z, FACTORS, z[:, :100], FACTORS[:100], z[:, :0], (), jax.random.key(0), metrics=("mig_sup", "mig"))
    table = tidy.set_index("metric")["value"]
    assert table[["mig_sup", "mig"]].isna().all() and "samples_grid" not in table


def test_progress_counts_metrics_of_runs():
    seen = []
    measured(QUICK, on_progress=lambda done, total: seen.append((done, total)))
    done, totals = zip(*seen, strict=True)
    assert set(totals) == {6} and list(done) == sorted(done) and done[-1] == 6


@pytest.fixture(scope="module")
def trained():
    """Three encoders as they were drawn."""
    method = build("beta_vae", SPRITES.shape, "mlp", latents=3, width=16)
    blank = Batch(jnp.zeros((1, *SPRITES.shape)))
    params = jax.vmap(lambda key: method.init(key, blank))(jax.random.split(jax.random.key(0), 3))
    return method, jax.tree.map(np.asarray, params)


def test_codes_are_posterior_means(trained):
    method, params = trained
    index = np.arange(0, 7370, 10)[:150]
    found = codes(method, SPRITES, params, index)
    assert found.shape == (3, 150, 3)
    for run in (0, 2):
        one = jax.tree.map(lambda leaf, run=run: leaf[run], params)
        expected = method.encode(one, SPRITES.at(SPRITES.data, jnp.asarray(index))).mean
        np.testing.assert_allclose(found[run], expected, atol=1e-5)


def test_a_sweep_is_evaluated(trained, monkeypatch):
    """In groups of two runs: the same as all at once, with the grid thinned to 288 of 737,280 combinations."""
    method, params = trained
    params = jax.tree.map(
        lambda leaf: np.where(np.arange(3).reshape(3, *[1] * (leaf.ndim - 1)) == 1, np.nan, leaf), params
    )
    seen = []
    whole = evaluate(method, SPRITES, params, jax.random.key(0), sizes=SMALL, metrics=QUICK)
    monkeypatch.setattr(suite, "TOGETHER", 2)
    tidy = evaluate(method, SPRITES, params, jax.random.key(0), sizes=SMALL, metrics=QUICK,
                    on_progress=lambda *progress: seen.append(progress))  # fmt: skip
    assert seen[-1] == (9, 9) and [done for done, _ in seen] == sorted(done for done, _ in seen)
    wide = tidy.pivot(index="metric", columns="run", values="value")
    np.testing.assert_allclose(wide, whole.pivot(index="metric", columns="run", values="value"), atol=2e-3)
    assert wide.loc["samples_grid", 0] == 288 and wide.loc["mig", 0] > 0 and np.isnan(wide.loc["mig", 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ("mgi",)}, "unknown metric 'mgi'; did you mean 'mig'"),
        ({"z": np.ones((300, 3))}, r"codes \[R, N, D\], factors \[N, K\]"),
        ({"factors_test": FACTORS_TEST[:50]}, r"codes \[R, N, D\], factors \[N, K\]"),
        ({"cells": np.ones((3, 50, 3))}, r"needs codes \[R, 60, D\], not \(3, 50, 3\)"),
        ({"factors": np.ones((300, 3), int)}, "at least one factor that varies"),
    ],
)
def test_bad_input_is_one_clear_line(change, message):
    arrays = {"z": of_runs(FACTORS), "factors": FACTORS, "z_test": of_runs(FACTORS_TEST), "factors_test": FACTORS_TEST}
    given = {**arrays, "cells": of_runs(CELLS), "grid": GRID, "key": jax.random.key(0), "metrics": QUICK, **change}
    with pytest.raises(InputError, match=message):
        scores(**given)


def test_only_sources_with_all_combinations_are_evaluated(trained):
    method, params = trained
    with pytest.raises(InputError, match="all combinations of known factors, which digits lacks"):
        evaluate(method, load("digits"), params, jax.random.key(0))
    with pytest.raises(InputError, match="train has to be at least 1"):
        evaluate(method, SPRITES, params, jax.random.key(0), sizes=SMALL._replace(train=0))
