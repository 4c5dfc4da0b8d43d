"""MIG, and what all metrics share: the checks of their input, the table of their names."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from vaejax import InputError, metrics
from vaejax.metrics import METRICS, mig
from vaejax.metrics.checks import check, check_codes, check_pair
from vaejax.metrics.information import discretise, mutual_information

RNG = np.random.default_rng(0)
CODES, EYE = np.ones((3, 2)), np.eye(3, 2, dtype=int)
FACTORS = RNG.integers(0, [3, 4, 5], size=(5000, 3))


@pytest.mark.parametrize("name", ["aligned", "rotated", "redundant", "mixed", "noise"])
def test_mig_agrees_with_the_reference(shared, name):
    reference = json.loads((shared / "metrics_reference.json").read_text())[name]["mig"]
    arrays = np.load(shared / "metrics_reference.npz")
    assert mig(arrays[f"{name}_z"], arrays[f"{name}_factors"])["mig"] == pytest.approx(reference, abs=1e-6)


def test_the_true_factors_score_1_in_any_order_scale_and_sign():
    assert mig(FACTORS, FACTORS)["mig"] == pytest.approx(1, abs=2e-3)  # 1 less what 5,000 samples share by chance
    moved = FACTORS[:, [2, 0, 1]] * np.array([-3.0, 0.1, 100.0]) + 7
    assert mig(moved, FACTORS)["mig"] == pytest.approx(mig(FACTORS, FACTORS)["mig"], abs=1e-6)


def test_a_factor_encoded_twice_is_not_found():
    twice = np.concatenate([FACTORS, FACTORS], axis=1)
    assert mig(twice, FACTORS)["mig"] == pytest.approx(0, abs=1e-6)


def test_noise_and_constant_codes_score_0():
    assert mig(RNG.normal(size=(5000, 4)), FACTORS)["mig"] < 0.01
    assert mig(np.ones((5000, 4)), FACTORS)["mig"] == 0
    with_constant = np.concatenate([FACTORS, np.ones((5000, 1))], axis=1)
    assert mig(with_constant, FACTORS)["mig"] == pytest.approx(mig(FACTORS, FACTORS)["mig"], abs=1e-6)


def test_a_single_code_has_no_rival():
    assert mig(FACTORS[:, :1], FACTORS[:, :1])["mig"] == pytest.approx(1, abs=1e-6)


def test_a_factor_that_never_varies_is_left_out():
    constant = np.concatenate([FACTORS, np.full((5000, 1), 2)], axis=1)
    assert mig(FACTORS, constant)["mig"] == pytest.approx(mig(FACTORS, FACTORS)["mig"], abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 20), st.integers(1, 7))
def test_mutual_information_is_scikit_learns(seed, bins, size):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, bins, (300, 3)), rng.integers(0, size, (300, 2))
    expected = [[mutual_info_score(x, y) for y in b.T] for x in a.T]
    np.testing.assert_allclose(mutual_information(a, b, 20, 7), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("z", "factors", "message"),
    [
        (np.ones((5, 2)), np.ones((4, 1), int), "with one N"),
        (np.ones(5), np.ones((5, 1), int), "with one N"),
        (np.ones((0, 2)), np.ones((0, 2), int), "with one N"),
        (np.full((5, 2), np.nan), np.arange(5)[:, None], "did the run diverge"),
        (np.ones((5, 2)), np.ones((5, 1), int), "at least one factor that varies"),
    ],
)
def test_bad_input_is_one_clear_line(z, factors, message):
    with pytest.raises(InputError, match=message):
        mig(z, factors)


def test_factor_values_are_numbered_and_constant_factors_left_out():
    z = np.arange(8.0).reshape(4, 2)
    factors = np.array([[7, 3, -1], [7, 9, 5], [7, 3, 5], [7, 4, 5]], np.int8)
    codes, numbers = check("it", z, factors)
    np.testing.assert_array_equal(codes, z)
    np.testing.assert_array_equal(numbers, [[0, 0], [2, 1], [0, 1], [1, 1]])
    for kind, kept in (("f2", "f4"), (jnp.bfloat16, "f4"), (bool, "f8"), ("i8", "f8"), ("f8", "f8"), ("f4", "f4")):
        assert check_codes("it", np.ones((3, 2), kind)).dtype == kept


def test_both_sets_number_values_alike():
    train, test = np.array([[5, 1], [9, 1], [5, 1]]), np.array([[7, 2], [9, 1]])
    z, factors, z_test, factors_test = check_pair("it", np.ones((3, 2)), train, np.ones((2, 2)), test)
    assert factors.tolist() == [[0], [2], [0]]  # the second doesn't vary in training
    assert factors_test.tolist() == [[1], [2]]
    assert len(z) == 3 and len(z_test) == 2


@pytest.mark.parametrize(
    ("z", "factors", "z_test", "factors_test", "message"),
    [
        (CODES, EYE, np.ones((3, 1)), EYE, r"\(2 and 2\), not 1 and 2"),
        (CODES, EYE, CODES, EYE[:2], "test set takes codes"),
        (CODES, EYE * 0.5, CODES, EYE, "factors that are integers"),
        (CODES * 1e39, EYE, CODES, EYE, "finite codes"),
        (np.full((3, 2), "a"), EYE, CODES, EYE, "are numbers"),
    ],
)
def test_sets_that_do_not_fit_are_refused(z, factors, z_test, factors_test, message):
    with pytest.raises(InputError, match=message):
        check_pair("it", z, factors, z_test, factors_test)


def test_bins_are_those_of_numpy():
    z = RNG.normal(size=(1000, 3)).astype(np.float32)
    expected = [np.digitize(column, np.histogram(column, 20)[1][:-1]) - 1 for column in z.T]
    np.testing.assert_array_equal(discretise(z), np.transpose(expected))


def test_the_table_of_metrics_names_their_functions():
    assert all(getattr(metrics, name) is metric and name in metrics.__all__ for name, metric in METRICS.items())
