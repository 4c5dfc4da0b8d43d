"""SAP: the reference, scikit-learn's support vector machine, and known answers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.svm import LinearSVC

from vaejax import InputError
from vaejax.metrics.sap import attribute_predictability_gap, predictability, sap, support_vectors

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 3, size=(3000, 3))
TEST = RNG.integers(0, 3, size=(1000, 3))


def score(encode) -> float:
    return sap(encode(FACTORS), FACTORS, encode(TEST), TEST)["sap"]


@pytest.mark.parametrize("name", ["aligned", "rotated", "redundant", "mixed", "noise"])
def test_sap_agrees_with_the_reference(shared, name):
    reference = json.loads((shared / "metrics_reference.json").read_text())[name]["sap"]
    arrays = np.load(shared / "metrics_reference.npz")
    arguments = [arrays[f"{name}_{part}"] for part in ("z", "factors", "z_test", "factors_test")]
    assert sap(*arguments)["sap"] == pytest.approx(reference, abs=2e-4)


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 2e-3), (1.0, 0.0), (30.0, -90.0)])
def test_the_fit_is_scikit_learns(classes, scale, shift):
    rng = np.random.default_rng(classes)
    x = rng.normal(size=400)
    y = np.digitize(x + 0.5 * rng.normal(size=400), np.linspace(-1, 1, classes - 1))
    x = (x * scale + shift).astype(np.float32)
    options = {"penalty": "l2", "loss": "squared_hinge", "dual": False, "fit_intercept": True, "intercept_scaling": 1}
    fit = LinearSVC(C=0.01, class_weight="balanced", tol=1e-8, max_iter=10_000, multi_class="ovr", **options)
    fit.fit(x[:, None], y)
    w, b = support_vectors(x, y, 6)
    if classes == 2:  # scikit-learn gives the second class alone, and the first has the opposite
        np.testing.assert_allclose(w[:2], [-fit.coef_[0, 0], fit.coef_[0, 0]], rtol=1e-4)
        np.testing.assert_allclose(b[:2], [-fit.intercept_[0], fit.intercept_[0]], rtol=1e-4, atol=1e-6)
    else:
        np.testing.assert_allclose(w[:classes], fit.coef_[:, 0], rtol=1e-4, atol=1e-5 * abs(fit.coef_).max())
        np.testing.assert_allclose(b[:classes], fit.intercept_, atol=1e-5)
    assert np.isneginf(b[classes:]).all()  # classes that don't occur are never predicted


def test_every_accuracy_is_scikit_learns():
    z, z_test = FACTORS[:, :2] + RNG.normal(size=(3000, 2)), TEST[:, :2] + RNG.normal(size=(1000, 2))
    fits = [[LinearSVC(C=0.01, class_weight="balanced", dual=False).fit(x[:, None], y) for y in FACTORS.T] for x in z.T]
    expected = [[fits[j][k].score(z_test[:, [j]], TEST[:, k]) for k in range(3)] for j in range(2)]
    found = predictability(*(jnp.asarray(array) for array in (z, FACTORS, z_test, TEST)), 3)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_true_factors_in_any_order_scale_and_sign():
    true = score(lambda factors: factors.astype(float))
    assert true == pytest.approx(2 / 3, abs=0.03)  # the best code is always right, the others guess one in three
    moved = score(lambda factors: (factors[:, [2, 0, 1]] - 1) * np.array([-1.0, 2, -3]))
    assert moved == pytest.approx(true, abs=0.03)


@pytest.mark.parametrize("shift", [0.0, 0.7, -3.0, 5.0, 1e6, -1e10])
def test_a_shift_within_a_standard_deviation_matters_and_a_larger_one_is_taken_off(shift):
    """By itself scikit-learn guesses a constant from a million on, since the intercept is penalised."""
    x, x_test, y, y_test = FACTORS[:, :1] - 1.0, TEST[:, :1] - 1.0, FACTORS[:, :1], TEST[:, :1]
    moved, moved_test = x + shift, x_test + shift

    def score(x, x_test):
        return LinearSVC(C=0.01, class_weight="balanced", dual=False, tol=1e-6).fit(x, y[:, 0]).score(x_test, y_test)

    far = abs(moved.mean()) > moved.std()
    assert far == (abs(shift) > 1) and (abs(shift) < 1e6 or score(moved, moved_test) < 0.4)
    expected = score(moved - moved.mean(), moved_test - moved.mean()) if far else score(moved, moved_test)
    assert sap(moved, y, moved_test, y_test)["sap"] == pytest.approx(expected, abs=1e-6)


def test_two_values_are_told_apart_and_rotation_mixes_them():
    bits, bits_test = RNG.integers(0, 2, (3000, 2)), RNG.integers(0, 2, (1000, 2))
    assert sap(bits, bits, bits_test, bits_test)["sap"] == pytest.approx(0.5, abs=0.05)
    rotation = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    assert sap(bits @ rotation, bits, bits_test @ rotation, bits_test)["sap"] < 0.1


def test_a_factor_encoded_twice_is_not_found():
    assert score(lambda factors: np.concatenate([factors, factors], axis=1)) == 0


def test_noise_and_constant_codes_score_0():
    assert score(lambda factors: RNG.normal(size=(len(factors), 3))) < 0.05
    assert score(lambda factors: np.ones((len(factors), 3))) == 0


def test_a_single_code_has_no_rival_and_a_constant_factor_is_left_out():
    alone = sap(FACTORS[:, :1], FACTORS[:, :1], TEST[:, :1], TEST[:, :1])["sap"]
    assert alone == 1
    constant, constant_test = np.full((3000, 1), 5), np.full((1000, 1), 5)
    more = sap(FACTORS[:, :1], np.c_[FACTORS[:, :1], constant], TEST[:, :1], np.c_[TEST[:, :1], constant_test])
    assert more["sap"] == alone


def test_runs_are_vmapped_and_nan_gives_nan():
    z = np.stack([FACTORS + RNG.normal(size=FACTORS.shape), RNG.normal(size=FACTORS.shape)]).astype("f4")
    z_test = np.stack([TEST + RNG.normal(size=TEST.shape), RNG.normal(size=TEST.shape)]).astype("f4")
    alone = [sap(a, FACTORS, b, TEST)["sap"] for a, b in zip(z, z_test, strict=True)]
    over_runs = jax.vmap(lambda a, b: attribute_predictability_gap(a, FACTORS, b, TEST, 3))
    np.testing.assert_allclose(over_runs(z, z_test), alone, atol=2e-3)
    z[1, 0, 0] = np.nan
    assert np.isnan(over_runs(z, z_test)).tolist() == [False, True]


def test_bad_input_is_one_clear_line():
    with pytest.raises(InputError, match="did the run diverge"):
        sap(np.full((3000, 2), np.nan), FACTORS, TEST, TEST)
    with pytest.raises(InputError, match="with one N"):
        sap(FACTORS[:5], FACTORS, TEST, TEST)


def test_the_scale_counts_between_two_ends_and_nothing_overflows():
    z, z_test = FACTORS + 0.1, TEST + 0.1
    found = {scale: sap(z * scale, FACTORS, z_test * scale, TEST)["sap"] for scale in (1e-300, 1e-12, 1, 1e12, 1e38)}
    assert found[1e-300] == found[1e-12] == 0 and found[1e12] == found[1e38]
    assert 0.3 < found[1] <= found[1e12] <= 1
