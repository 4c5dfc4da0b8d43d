"""Downstream accuracy: scikit-learn's logistic regression, known answers, and what was used."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from vaejax import InputError
from vaejax.metrics.downstream import downstream, few_label_accuracy

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 3, size=(1000, 2))
TEST = RNG.integers(0, 3, size=(500, 2))


def one_hot(factors):
    return np.eye(3)[factors].reshape(len(factors), -1)


def filled(z):
    """With constant codes up to 12, which change nothing: one shape is compiled once."""
    return np.pad(z, ((0, 0), (0, 12 - z.shape[1])))


def test_it_is_scikit_learns_with_the_first_labels():
    z, z_test = FACTORS + RNG.normal(size=FACTORS.shape), TEST + RNG.normal(size=TEST.shape)
    found = downstream(filled(z), FACTORS, filled(z_test), TEST, labels=(20, 1000))
    mean, scale = z.mean(axis=0), z.std(axis=0)
    for count in (20, 1000):
        fits = [LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(((z - mean) / scale)[:count], y[:count])
                for y in FACTORS.T]  # fmt: skip
        expected = np.mean([f.score((z_test - mean) / scale, y) for f, y in zip(fits, TEST.T, strict=True)])
        assert found[f"accuracy_{count}"] == pytest.approx(expected, abs=0.003)


def test_what_was_used_is_in_the_result():
    found = downstream(filled(one_hot(FACTORS)), FACTORS, filled(one_hot(TEST)), TEST, labels=(1000, 20, 5000))
    assert list(found) == ["downstream", "labels", "accuracy_20", "accuracy_1000"]
    assert found["labels"] == 1000
    assert found["downstream"] == found["accuracy_1000"] == 1
    assert found["accuracy_20"] > 0.9


def test_efficiency_is_the_ratio_of_100_to_10000():
    factors = RNG.integers(0, 3, (10_000, 1))
    z, z_test = factors + RNG.normal(size=factors.shape), TEST[:, :1] + RNG.normal(size=(500, 1))
    found = downstream(z, factors, z_test, TEST[:, :1], labels=(100, 10_000))
    assert found["efficiency"] == pytest.approx(found["accuracy_100"] / found["accuracy_10000"])
    assert 0.8 < found["efficiency"] < 1.1


@pytest.mark.parametrize(
    ("encode", "low", "high"),
    [
        (lambda f: one_hot(f) @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0], 1, 1),
        (lambda f: -100 * one_hot(f)[:, ::-1] + 5, 1, 1),
        (lambda f: np.c_[one_hot(f), one_hot(f)], 1, 1),
        (lambda f: np.random.default_rng(len(f)).normal(size=(len(f), 6)), 0.25, 0.42),
        (lambda f: np.ones((len(f), 6)), 0.25, 0.42),
    ],
    ids=["rotated", "permuted and scaled", "redundant", "noise", "constant"],
)
def test_known_answers(encode, low, high):
    z, z_test = filled(encode(FACTORS)), filled(encode(TEST))
    assert low <= downstream(z, FACTORS, z_test, TEST, labels=(20, 1000))["downstream"] <= high


def test_runs_are_vmapped_and_nan_gives_nan():
    z = np.stack([one_hot(FACTORS), RNG.normal(size=(1000, 6))]).astype("f4")
    z_test = np.stack([one_hot(TEST), RNG.normal(size=(500, 6))]).astype("f4")
    z[1, 0, 0] = np.nan
    found = jax.vmap(lambda a, b: few_label_accuracy(a, FACTORS, b, TEST, 3, (1000,)))(z, z_test)
    assert found[0, 0] == 1
    assert np.isnan(found[1, 0])


@pytest.mark.parametrize(("labels", "message"), [((0, 10), "at least 1"), ((5000,), "1000 training"), ((), "1000")])
def test_bad_numbers_of_labels_are_one_clear_line(labels, message):
    with pytest.raises(InputError, match=message):
        downstream(FACTORS, FACTORS, TEST, TEST, labels=labels)


def test_nan_codes_are_one_clear_line():
    with pytest.raises(InputError, match="did the run diverge"):
        downstream(FACTORS * np.nan, FACTORS, TEST, TEST)
