"""MIG: known answers, invariances, and the reference values of the unsupervised study's definitions."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from vaejax import InputError
from vaejax.metrics import METRICS, mig
from vaejax.metrics.mig import mutual_information

RNG = np.random.default_rng(0)
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


def test_the_first_key_of_every_metric_is_its_headline():
    for name, metric in METRICS.items():
        assert next(iter(metric(FACTORS, FACTORS))) == name
