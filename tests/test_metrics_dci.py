"""DCI: the reference, scikit-learn's boosted trees on small data, and known answers."""

import json

import jax
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier

from vaejax import InputError
from vaejax.metrics import dci_trees
from vaejax.metrics.dci import concentration, dci, dci_scores
from vaejax.metrics.dci_trees import bin_of, boosted_trees, quantiles

RNG = np.random.default_rng(0)
SIZES = (3, 4)
FACTORS = RNG.integers(0, SIZES, size=(600, 2)).astype(np.int32)
TEST = RNG.integers(0, SIZES, size=(300, 2)).astype(np.int32)
FEW = 16  # bins: enough for codes with few values


@pytest.fixture(scope="module")
def of_reference(shared):
    arrays = np.load(shared / "metrics_reference.npz")
    names = ("aligned", "rotated", "redundant", "mixed", "noise")
    parts = ("z", "factors", "z_test", "factors_test")
    return {name: dci(*(arrays[f"{name}_{part}"] for part in parts)) for name in names}


def test_dci_agrees_with_the_reference(shared, of_reference):
    reference = json.loads((shared / "metrics_reference.json").read_text())
    keys = {"disentanglement": "dci_disentanglement", "completeness": "dci_completeness"}
    keys["informativeness"] = "dci_informativeness_test"
    for name, found in of_reference.items():
        for ours, theirs in keys.items():
            assert found[ours] == pytest.approx(reference[name][theirs], abs=0.015), (name, ours)
        assert list(found) == [*keys, "informativeness_train"]


def test_dci_ranks_the_reference_alike(shared, of_reference):
    reference = json.loads((shared / "metrics_reference.json").read_text())
    for key in ("disentanglement", "completeness"):
        expected = sorted(of_reference, key=lambda name: reference[name][f"dci_{key}"])
        assert sorted(of_reference, key=lambda name: of_reference[name][key]) == expected


@pytest.mark.parametrize("size", [2, 3])
def test_the_trees_are_scikit_learns(size):
    """With few values per code both try the same thresholds, so everything has to agree."""
    rng = np.random.default_rng(size)
    y = rng.integers(0, size, 500)
    z = np.round(4 * (y[:, None] * [1.0, 0.5, 0.0] + rng.normal(size=(500, 3)))) / 4
    z = np.clip(z, -1.5, 2.5).astype("f4")
    fit = GradientBoostingClassifier(
        loss="log_loss", n_estimators=20, learning_rate=0.1, max_depth=3, subsample=1.0,
        min_samples_split=2, min_samples_leaf=1, max_features=None, init=None, random_state=0,
    )  # fmt: skip
    fit.fit(z[:300], y[:300])
    found = boosted_trees(z[:300], y[:300, None], z[300:], y[300:, None], (size,), 300, rounds=20)
    np.testing.assert_allclose(found.importance[:, 0], fit.feature_importances_, atol=0.01)
    assert found.train[0] == pytest.approx(fit.score(z[:300], y[:300]), abs=0.01)
    assert found.test[0] == pytest.approx(fit.score(z[300:], y[300:]), abs=0.015)


def test_both_forms_of_the_histogram_agree(monkeypatch):
    rows, binned = RNG.normal(size=(50, 3)).astype("f4"), RNG.integers(0, 5, (50, 2))
    expected = [[rows[binned[:, d] == b].sum(axis=0) for b in range(5)] for d in range(2)]
    for histograms in (dci_trees.histograms_by_row, dci_trees.histograms_by_product, dci_trees.histograms):
        np.testing.assert_allclose(histograms(rows, binned, 5), expected, atol=1e-5)


def test_bins_hold_equal_counts_and_equal_values_stay_together():
    z = RNG.normal(size=(1000, 1)).astype("f4")
    counts = np.bincount(np.asarray(bin_of(z, quantiles(z, 8)))[:, 0])
    assert counts.tolist() == [125] * 8
    few = RNG.integers(0, 3, (1000, 1)).astype("f4")
    binned = np.asarray(bin_of(few, quantiles(few, 32)))[:, 0]
    assert len({(value, number) for value, number in zip(few[:, 0], binned, strict=True)}) == 3
    assert len(set(binned)) == 3


def known(encode) -> dict[str, float]:
    z, z_test = (np.pad(z, ((0, 0), (0, 3 - z.shape[1]))) for z in (encode(FACTORS), encode(TEST)))
    return dci(z, FACTORS, z_test, TEST, bins=FEW)  # filled up with constant codes: one shape is compiled once


def test_the_true_factors_score_1_in_any_order_scale_and_sign():
    assert list(known(lambda factors: factors.astype(float)).values()) == pytest.approx([1, 1, 1, 1], abs=1e-3)
    moved = known(lambda factors: factors[:, ::-1] * np.array([-3.0, 0.1]) + 7)
    assert list(moved.values()) == pytest.approx([1, 1, 1, 1], abs=1e-3)


def test_a_rotation_costs_disentanglement_and_completeness():
    found = known(lambda factors: (factors - np.array([1, 1.5])) @ np.array([[1, 1], [1, -1]]))
    assert found["disentanglement"] < 0.5
    assert found["completeness"] < 0.5
    assert found["informativeness"] > 0.95


def test_a_code_of_two_factors_costs_disentanglement_alone():
    found = known(lambda factors: np.c_[factors[:, 0] * 4 + factors[:, 1], np.zeros(len(factors))])
    assert found["disentanglement"] < 0.01
    assert found["completeness"] == pytest.approx(1, abs=1e-3)


def test_a_factor_in_halves_costs_completeness_alone():
    """One code tells values 0 and 1 from the rest, another 0 and 2."""

    def halves(factors):
        return np.c_[factors[:, 0], factors[:, 1] // 2, factors[:, 1] % 2]

    found = known(halves)
    assert found["disentanglement"] == pytest.approx(1, abs=1e-3)
    assert found["completeness"] < 0.85


def test_noise_and_constant_codes():
    rng = np.random.default_rng(3)
    noise = known(lambda factors: rng.normal(size=(len(factors), 2)))
    assert noise["disentanglement"] < 0.02
    assert noise["informativeness"] < 0.45
    constant = known(lambda factors: np.ones((len(factors), 2)))
    assert constant["disentanglement"] == pytest.approx(0, abs=1e-6)
    assert constant["completeness"] == pytest.approx(0, abs=1e-6)
    with_constant = known(lambda factors: np.c_[factors, np.ones(len(factors))])
    assert list(with_constant.values()) == pytest.approx([1, 1, 1, 1], abs=1e-3)


def test_concentration_by_hand():
    importance = np.array([[1.0, 0.5], [0.0, 0.5]])
    assert concentration(importance) == pytest.approx(0.5, abs=1e-6)  # columns (1, 0) and (0.5, 0.5), weights alike
    assert concentration(importance.T) == pytest.approx((1.5 * (1 + np.log(1 / 3) / np.log(2) / 3
        + np.log(2 / 3) / np.log(2) * 2 / 3) + 0.5) / 2, abs=1e-6)  # fmt: skip
    assert concentration(np.zeros((3, 2))) == pytest.approx(0, abs=1e-6)
    assert concentration(np.ones((1, 4))) == 1


def test_groups_of_trees_change_nothing_and_runs_go_through_vmap(monkeypatch):
    z = np.stack([FACTORS + RNG.normal(size=FACTORS.shape), RNG.normal(size=FACTORS.shape)]).astype("f4")
    z_test = np.stack([TEST + RNG.normal(size=TEST.shape), RNG.normal(size=TEST.shape)]).astype("f4")
    alone = [dci(a, FACTORS, b, TEST, bins=FEW) for a, b in zip(z, z_test, strict=True)]
    z_bad = z.copy()
    z_bad[1, 0, 0] = np.nan
    monkeypatch.setattr(dci_trees, "AT_ONCE", 4)  # 7 trees in two groups, the last filled up
    dci_scores.clear_cache()
    boosted_trees.clear_cache()
    found = jax.vmap(lambda a, b: dci_scores(a, FACTORS, b, TEST, SIZES, FEW))(z_bad, z_test)
    for key, values in found.items():
        assert values[0] == pytest.approx(alone[0][key], abs=0.01)
        assert np.isnan(values[1])


def test_bad_input_is_one_clear_line():
    with pytest.raises(InputError, match="bins has to be at least 2"):
        dci(FACTORS, FACTORS, TEST, TEST, bins=1)
    with pytest.raises(InputError, match="did the run diverge"):
        dci(FACTORS * np.nan, FACTORS, TEST, TEST)
