"""BetaVAE and FactorVAE scores: known answers, tables, draws, the reference values; thinned grids."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaejax import InputError, metrics
from vaejax.metrics import beta_vae_score, factor_vae_score, subgrid, table
from vaejax.metrics.beta_vae_score import guesses
from vaejax.metrics.factor_vae_score import votes
from vaejax.metrics.interventions import combinations, hold, which

SIZES = (3, 4, 5)
GRID = np.stack(np.unravel_index(np.arange(60), SIZES), axis=1).astype(np.float32)
KEY = jax.random.key(0)
FEW = {"train": 500, "test": 300, "batch": 32}
SCORES = {
    "beta_vae_score": partial(beta_vae_score, **FEW),
    "factor_vae_score": partial(factor_vae_score, **FEW, variance=1000),
}
RNG = np.random.default_rng(0)
ROTATION = np.linalg.qr(RNG.normal(size=(3, 3)))[0]


def headline(name, codes, sizes=SIZES):
    return next(iter(SCORES[name](table(np.asarray(codes, np.float32), sizes), sizes, KEY).values()))


@pytest.mark.parametrize("name", SCORES)
def test_the_true_factors_score_1_in_any_order_scale_and_sign(name):
    assert headline(name, GRID) == 1
    assert headline(name, GRID[:, [2, 0, 1]] * [-3, 0.2, 50] + 7) == 1


@pytest.mark.parametrize("name", SCORES)
def test_redundant_and_unused_codes_cost_nothing(name):
    codes = np.concatenate([GRID, GRID, np.full((60, 3), 0.1)], axis=1)
    assert headline(name, codes) == 1


@pytest.mark.parametrize("name", SCORES)
def test_a_rotation_is_hardly_seen_and_a_mixture_is(name):
    assert headline(name, GRID / SIZES @ ROTATION) > 0.95
    one = np.sin(5 * GRID @ RNG.normal(size=(3, 1)))  # a single code of all factors
    assert headline(name, one) < 0.9


@pytest.mark.parametrize("name", SCORES)
def test_noise_scores_by_chance(name):
    random = np.random.default_rng(1)

    def represent(factors):  # no function of the factors, and not one that jax could trace
        return random.normal(size=(len(factors), 3)).astype(np.float32)

    assert SCORES[name](represent, SIZES, KEY)[name] == pytest.approx(1 / 3, abs=0.1)


def test_constant_codes():
    constant = np.full((60, 3), 0.1)
    assert headline("factor_vae_score", constant) == 0
    assert headline("beta_vae_score", constant) == pytest.approx(1 / 3, abs=0.1)


def test_codes_that_hardly_vary_have_no_vote():
    found = SCORES["factor_vae_score"](table(GRID * [1, 1, 0.04 / np.sqrt(2)], SIZES), SIZES, KEY)
    assert found["active"] == 2  # the standard deviation of 0..4 is sqrt(2)
    assert found["factor_vae_score"] == pytest.approx(2 / 3, abs=0.1)


def test_what_was_used_is_said():
    found = SCORES["factor_vae_score"](table(GRID, SIZES), SIZES, KEY)
    assert {name: found[name] for name in (*FEW, "variance")} == {**FEW, "variance": 1000}
    assert list(found)[:3] == ["factor_vae_score", "train_accuracy", "active"]
    found = SCORES["beta_vae_score"](table(GRID, SIZES), SIZES, KEY)
    assert found.items() >= FEW.items() and list(found)[:2] == ["beta_vae_score", "train_accuracy"]


@pytest.mark.parametrize("name", SCORES)
def test_a_table_gives_what_computing_gives(name):
    codes = np.sin(GRID @ RNG.normal(size=(3, 3))).astype(np.float32)
    strides = np.array([20, 5, 1])
    direct = SCORES[name](lambda factors: codes[np.asarray(factors) @ strides], SIZES, KEY)
    assert direct == SCORES[name](table(codes, SIZES), SIZES, KEY)


@pytest.mark.parametrize("name", SCORES)
def test_runs_together_score_as_alone_and_a_diverged_one_is_nan(name):
    mixed = np.sin(GRID @ RNG.normal(size=(3, 3)))
    runs = np.stack([GRID, mixed, mixed * np.nan, np.full((60, 3), 0.1)], axis=1).astype(np.float32)
    score = partial(guesses) if name == "beta_vae_score" else partial(votes, variance=1000)
    found = score(table(runs, SIZES), SIZES, KEY, (0, 1, 2), **FEW)
    assert np.isnan(found[name][2])
    alone = [headline(name, runs[:, run]) for run in (0, 1, 3)]
    np.testing.assert_allclose(found[name][jnp.array([0, 1, 3])], alone, atol=0.004)  # a guess in 300


def test_one_factor_is_held_and_the_others_are_drawn():
    factor, first = which(KEY, 50, (0, 2)), combinations(KEY, (50, 32), SIZES)
    assert set(np.asarray(factor).tolist()) == {0, 2}
    assert (first.min(axis=(0, 1)) == 0).all() and (first.max(axis=(0, 1)) == jnp.array(SIZES) - 1).all()
    held = np.asarray(hold(factor, first, first[:, :1]))
    for k in range(3):
        constant = (held[:, :, k] == held[:, :1, k]).all(axis=1)
        np.testing.assert_array_equal(constant, np.asarray(factor) == k)


def test_a_factor_of_one_value_is_never_held():
    codes = np.stack(np.unravel_index(np.arange(12), (3, 1, 4)), axis=1)
    assert headline("factor_vae_score", codes, (3, 1, 4)) == headline("beta_vae_score", codes, (3, 1, 4)) == 1


@pytest.mark.parametrize("codes", ["mixed", "noise"])
def test_scores_agree_with_the_reference(shared, codes):
    """An image's code is drawn among the stored ones of its factors; where there is none, among those nearby."""
    reference = json.loads((shared / "metrics_reference.json").read_text())[codes]
    arrays, sizes = np.load(shared / "metrics_reference.npz"), (3, 6, 8, 8, 8)
    z = np.concatenate([arrays[f"{codes}_z"], arrays[f"{codes}_z_test"]])
    factors = np.concatenate([arrays[f"{codes}_factors"], arrays[f"{codes}_factors_test"]]).astype(int)
    index = np.ravel_multi_index(factors.T, sizes)
    order = np.argsort(index, kind="stable")
    at = np.searchsorted(index[order], np.arange(np.prod(sizes))).clip(max=len(z) - 1)
    represent = table(z[order][at], sizes)
    for name, metric in (("beta_vae", beta_vae_score), ("factor_vae", factor_vae_score)):
        found = metric(represent, sizes, KEY)[f"{name}_score"]
        assert found == pytest.approx(np.mean(reference[name]), abs=0.025)


def test_a_thinned_grid_is_a_grid():
    index, sizes = subgrid((3, 6, 40, 32, 32), 50_000)
    assert sizes == (3, 6, 10, 16, 16) and index.size == 46_080
    kept = np.stack(np.unravel_index(index, (3, 6, 40, 32, 32)), axis=1)
    expected = np.stack(np.unravel_index(np.arange(46_080), sizes), axis=1) * [1, 1, 4, 2, 2]
    np.testing.assert_array_equal(kept, expected)
    whole, same = subgrid(SIZES, 60)
    assert whole.tolist() == list(range(60)) and same == SIZES


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.integers(16, 3000))
def test_a_thinned_grid_is_small_enough_and_no_factor_is_lost(sizes, most):
    index, thinned = subgrid(tuple(sizes), most)
    assert index.size == np.prod(thinned) <= most and len(np.unique(index)) == index.size
    assert all(after >= min(before, 2) for before, after in zip(sizes, thinned, strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: subgrid((3, 4, 5), 7), r"can't be thinned to 7 combinations"),
        (lambda: table(GRID[:50], SIZES), "needs 60 rows, one for each combination, not 50"),
        (lambda: headline("beta_vae_score", np.ones((1, 2)), (1, 1)), "at least one factor that varies"),
        (lambda: headline("beta_vae_score", GRID[:, 0]), r"codes \[B, D\]; 2 rows gave \(2,\)"),
        (lambda: headline("beta_vae_score", GRID * np.nan), "finite codes"),
        (lambda: headline("factor_vae_score", GRID * np.nan), "finite codes"),
        (lambda: metrics.beta_vae_score(table(GRID, SIZES), SIZES, KEY, train=0), "train has to be at least 1"),
        (lambda: metrics.factor_vae_score(table(GRID, SIZES), SIZES, KEY, batch=1), "at least 2 images, not batch=1"),
        (lambda: metrics.factor_vae_score(lambda f: f, (50_000, 50_000), KEY), "fewer than 2.31 combinations"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InputError, match=message):
        call()
