"""Explicitness: the reference, scikit-learn's logistic regression and ROC-AUC, and known answers."""

import json

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from vaejax import InputError
from vaejax.metrics.explicitness import explicitness, explicitness_of, roc_areas, standardise

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 3, size=(2000, 3))
TEST = RNG.integers(0, 3, size=(1000, 3))


def filled(z):
    """With constant codes up to 18, which change nothing: one shape is compiled once."""
    return np.pad(z, ((0, 0), (0, 18 - z.shape[1])))


def score(encode) -> float:
    return explicitness(filled(encode(FACTORS)), FACTORS, filled(encode(TEST)), TEST)["explicitness"]


def one_hot(factors):
    return np.eye(3)[factors].reshape(len(factors), -1)


@pytest.mark.parametrize("name", ["aligned", "rotated", "redundant", "mixed", "noise"])
def test_explicitness_agrees_with_the_reference(shared, name):
    reference = json.loads((shared / "metrics_reference.json").read_text())[name]["explicitness"]
    arrays = np.load(shared / "metrics_reference.npz")
    arguments = [arrays[f"{name}_{part}"] for part in ("z", "factors", "z_test", "factors_test")]
    assert explicitness(*arguments)["explicitness"] == pytest.approx(reference, abs=2e-4)


def test_it_is_scikit_learns_on_small_data():
    z, z_test = FACTORS + RNG.normal(size=FACTORS.shape), TEST + RNG.normal(size=TEST.shape)
    scaler = StandardScaler().fit(z)
    expected = []
    for y, y_test in zip(FACTORS.T, TEST.T, strict=True):
        fit = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(scaler.transform(z), y)
        probability = fit.predict_proba(scaler.transform(z_test))
        expected.append(roc_auc_score(y_test, probability, multi_class="ovr", average="macro"))
    found = explicitness(filled(z), FACTORS, filled(z_test), TEST)["explicitness"]
    assert found == pytest.approx(np.mean(expected), abs=1e-4)


def test_areas_are_scikit_learns_with_ties_and_missing_classes():
    scores, y = RNG.integers(0, 5, (200, 4)).astype("f4"), RNG.integers(0, 3, 200)
    areas, exists = roc_areas(scores, y)
    expected = [roc_auc_score(y == c, scores[:, c]) for c in range(3)]
    np.testing.assert_allclose(areas[:3], expected, atol=1e-6)
    assert exists.tolist() == [True, True, True, False]


def test_separable_values_score_1_in_any_order_scale_sign_and_rotation():
    assert score(one_hot) == pytest.approx(1, abs=1e-6)
    assert score(lambda factors: one_hot(factors)[:, ::-1] * -100 + 3) == pytest.approx(1, abs=1e-6)
    rotation = np.linalg.qr(RNG.normal(size=(9, 9)))[0]
    assert score(lambda factors: one_hot(factors) @ rotation) == pytest.approx(1, abs=1e-6)


def test_the_middle_value_along_a_line_is_seen_in_part():
    # p(middle) peaks in the middle: multinomial regression does rank it
    assert score(lambda factors: factors.astype(float)) > 0.99
    assert score(lambda factors: np.abs(factors - 1.0)) < 0.9  # the two outer values look the same


def test_redundant_codes_change_nothing():
    assert score(lambda factors: np.c_[one_hot(factors), one_hot(factors)]) == pytest.approx(1, abs=1e-6)


def test_noise_and_constant_codes_are_at_chance():
    assert score(lambda factors: RNG.normal(size=(len(factors), 3))) == pytest.approx(0.5, abs=0.03)
    assert score(lambda factors: np.ones((len(factors), 3))) == pytest.approx(0.5, abs=1e-6)


def test_a_constant_code_becomes_0_even_where_rounding_leaves_a_spread():
    z = np.full((1000, 1), 0.1) * np.array([[1.0, 3.3]])
    assert (np.asarray(standardise(z, z + 1)[0]) == 0).all()
    assert (np.asarray(standardise(z, z + 1)[1]) == 0).all()


def test_a_value_that_only_the_test_set_has_is_left_out():
    rare = TEST.copy()
    rare[:10, 0] = 9
    found = explicitness(one_hot(FACTORS), FACTORS, one_hot(np.minimum(rare, 2)), rare)["explicitness"]
    assert 0.97 < found <= 1


def test_runs_are_vmapped_and_nan_gives_nan():
    z = np.stack([FACTORS + RNG.normal(size=FACTORS.shape), RNG.normal(size=FACTORS.shape)]).astype("f4")
    z_test = np.stack([TEST + RNG.normal(size=TEST.shape), RNG.normal(size=TEST.shape)]).astype("f4")
    over_runs = jax.vmap(lambda a, b: explicitness_of(a, FACTORS, b, TEST, 3))
    expected = [score(lambda f, i=i: (z if f is FACTORS else z_test)[i]) for i in range(2)]
    np.testing.assert_allclose(over_runs(z, z_test), expected, atol=1e-4)
    z_test[0, 0, 0] = np.nan
    assert np.isnan(over_runs(z, z_test)).tolist() == [True, False]


def test_bad_input_is_one_clear_line():
    with pytest.raises(InputError, match="did the run diverge"):
        explicitness(np.full((2000, 3), np.inf), FACTORS, TEST, TEST)
