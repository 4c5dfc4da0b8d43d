"""UDR: scikit-learn's lasso, and known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Lasso

from vaejax import InputError
from vaejax.metrics.udr import lasso, relative_strength, udr, udr_scores

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=(500, 4))
Z = np.linalg.qr(NORMAL - NORMAL.mean(axis=0))[0] * np.sqrt(500)  # exactly uncorrelated, mean 0, variance 1
ROTATION = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
ALL = np.ones((3, 4))


def test_the_weights_are_scikit_learns():
    x = RNG.normal(size=(300, 5)) @ RNG.normal(size=(5, 5))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = x @ RNG.normal(size=(5, 3)) / 3 + RNG.normal(size=(300, 3))
    y -= y.mean(axis=0)
    expected = Lasso(alpha=0.1, fit_intercept=True, max_iter=10_000, tol=1e-10).fit(x, y).coef_.T
    found = lasso(jnp.asarray(x.T @ x / 300)[None], jnp.asarray(x.T @ y / 300)[None])[0]
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert (expected == 0).any()


def by_scikit_learn(codes, kls):
    runs = len(codes)
    active = kls > 0.01
    codes = [(z - z.mean(axis=0)) / z.std(axis=0) * mask for z, mask in zip(codes, active, strict=True)]
    pairs = np.full((runs, runs), np.nan)
    for i in range(runs):
        for j in range(runs):
            if i != j:
                fit = Lasso(alpha=0.1, fit_intercept=True, max_iter=10_000, tol=1e-8).fit(codes[j], codes[i])
                r = np.abs(fit.coef_.T)[active[j]][:, active[i]]
                strengths = [np.nan_to_num(r.max(axis=a) ** 2 / r.sum(axis=a)).mean() for a in (0, 1)]
                pairs[i, j] = np.mean(strengths)
    return np.nanmedian(pairs, axis=1)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_scores_are_those_of_the_definition():
    codes = np.stack([Z @ (ROTATION + RNG.normal(size=(4, 4)) / 3) + RNG.normal(size=Z.shape) for _ in range(5)])
    kls = RNG.uniform(0.1, 1, (5, 4))
    kls[[0, 2, 2], [1, 0, 3]] = 0.005
    found = udr(codes * 7 + 2, kls)
    expected = by_scikit_learn(codes, kls)
    np.testing.assert_allclose([found[f"udr_{i}"] for i in range(5)], expected, atol=1e-4)
    assert found["udr"] == pytest.approx(expected.mean(), abs=1e-4)
    assert next(iter(found)) == "udr"


def test_runs_that_agree_up_to_order_sign_and_scale_score_1_less_the_penalty():
    found = udr(np.stack([Z, -3 * Z[:, [2, 0, 3, 1]] + 5, 0.01 * Z[:, ::-1]]), ALL)
    np.testing.assert_allclose(list(found.values()), 0.9, atol=1e-4)


def test_a_rotated_run_scores_lower_and_runs_of_noise_score_0():
    found = udr(np.stack([Z, Z, Z @ ROTATION]), ALL)
    assert found["udr_2"] < found["udr_0"]
    assert udr(RNG.normal(size=(3, 5000, 4)), ALL)["udr"] == 0


def test_redundant_codes_cost_something():
    twice = np.concatenate([Z, Z + 0.1 * RNG.normal(size=Z.shape)], axis=1)
    assert udr(np.stack([twice, twice, twice]), np.ones((3, 8)))["udr"] <= 0.9


def test_uninformative_and_constant_dimensions():
    more = np.concatenate([Z, RNG.normal(size=(500, 1))], axis=1)
    kls = np.array([[1, 1, 1, 1, 0.001]] * 3)
    assert udr(np.stack([more, more, more]), kls)["udr"] == pytest.approx(0.9, abs=1e-4)  # left out
    flat = np.concatenate([Z, np.full((500, 1), 0.1)], axis=1)
    found = udr(np.stack([flat, flat, flat]), np.ones((3, 5)))
    assert found["udr"] == pytest.approx(0.9 * 4 / 5, abs=1e-4)  # agrees with none
    assert udr(np.stack([Z, Z, Z]), np.array([[1] * 4, [1] * 4, [0] * 4]))["udr_2"] == 0


def test_a_diverged_run_is_nan_and_the_others_ignore_it():
    codes = np.stack([Z, Z, Z @ ROTATION, Z]).astype("f4")
    codes[3, 0, 0] = np.nan
    found = udr_scores(codes, np.ones((4, 4)))
    np.testing.assert_allclose(found[:3], udr_scores(codes[:3], ALL), atol=1e-6)
    assert np.isnan(found[3])
    groups = jax.vmap(udr_scores)(codes[None, :3], ALL[None])
    np.testing.assert_allclose(groups[0], found[:3], atol=1e-6)


def test_relative_strength_by_hand():
    w = np.array([[1.0, 0.5], [0.0, -0.5]])
    rows = (1 / 1.5 + 0.25 / 0.5) / 2
    columns = (1.0 + 0.25 / 1.0) / 2
    found = relative_strength(w, np.array([True, True]), np.array([True, True]))
    assert found == pytest.approx((rows + columns) / 2)


@pytest.mark.parametrize(
    ("codes", "kls", "message"),
    [
        (Z[None], ALL[:1], "at least 2"),
        (np.stack([Z, Z]), ALL, "takes codes"),
        (Z, ALL[0], "takes codes"),
        (np.stack([Z, Z * np.nan]), ALL[:2], "diverged"),
        (np.stack([Z, Z]), ALL[:2] * np.nan, "diverged"),
    ],
)
def test_bad_input_is_one_clear_line(codes, kls, message):
    with pytest.raises(InputError, match=message):
        udr(codes, kls)
