"""Codes of any offset and scale: what a metric doesn't depend on by its definition doesn't change it.

Codes are float64 where they have an offset, which float32 can't hold beside what varies.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from vaejax import apply, metrics
from vaejax.analysis import statistics
from vaejax.metrics import Sizes, scores, suite
from vaejax.metrics.sap import near_zero

pytestmark = pytest.mark.filterwarnings("error")

RNG = np.random.default_rng(0)
GRID = (3, 4)
FACTORS, TEST = RNG.integers(0, GRID, (400, 2)), RNG.integers(0, GRID, (200, 2))
CELLS = np.stack(np.unravel_index(np.arange(12), GRID), axis=1)
MIXING = np.array([[1.0, 0.3, -0.2], [0.1, -0.7, 0.4]])
KEY = jax.random.key(0)


def coded(factors, seed):
    return (factors - [1.0, 1.5]) @ MIXING + 0.2 * np.random.default_rng(seed).normal(size=(len(factors), 3))


Z, Z_TEST, OTHER = coded(FACTORS, 1), coded(TEST, 2), coded(FACTORS, 3)
PAIR = Z, FACTORS, Z_TEST, TEST
SHIFTS = st.lists(st.floats(-1e12, 1e12), min_size=3, max_size=3).map(np.array)
SCALE = st.floats(-30, 30).map(lambda exponent: 10.0**exponent)
SCALES = st.lists(SCALE, min_size=3, max_size=3).map(np.array)
OF_CODES = {  # whatever the scale of each code
    "mig": lambda z, _: metrics.mig(z, FACTORS),
    "mig_sup": lambda z, _: {"mig_sup": metrics.mig_sup(z, FACTORS)["mig_sup"]},
    "modularity": lambda z, _: metrics.modularity(z, FACTORS),
    "mutual_info_score": lambda z, _: metrics.mutual_info_score(z),
    "gaussian": lambda z, _: {"tc": metrics.gaussian_total_correlation(z)["gaussian_total_correlation"]},
    "explicitness": lambda z, z_test: metrics.explicitness(z, FACTORS, z_test, TEST),
    "downstream": lambda z, z_test: metrics.downstream(z, FACTORS, z_test, TEST, (10, 100)),
    "udr": lambda z, _: metrics.udr(np.stack([z, OTHER, Z]), np.ones((3, 3))),
}
TOGETHER = {  # where the scale is one for all codes
    "irs": lambda z, _: metrics.irs(z, FACTORS),
    "info_mec": lambda z, _: metrics.info_mec(z, FACTORS),
    "gaussian": lambda z, _: {"norm": metrics.gaussian_total_correlation(z)["wasserstein_norm"]},
}
EXPECTED = {name: metric(Z, Z_TEST) for name, metric in (OF_CODES | TOGETHER).items()}
EXPECTED["gaussian"] = OF_CODES["gaussian"](Z, None) | TOGETHER["gaussian"](Z, None)


def close(name, found, allowed=0.02):
    """Rounding may move some of 400 codes to another bin or past a neighbour."""
    for key, value in found.items():
        assert value == pytest.approx(EXPECTED[name][key], abs=allowed), (name, key)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(SCALES)
def test_the_scale_of_a_code_does_not_matter(scales):
    for name, metric in OF_CODES.items():
        close(name, metric(Z * scales, Z_TEST * scales))


@settings(max_examples=5, deadline=None)
@given(SCALE)
def test_the_scale_of_all_codes_does_not_matter(scale):
    for name, metric in TOGETHER.items():
        close(name, metric(Z * scale, Z_TEST * scale))


@settings(max_examples=5, deadline=None)
@given(SHIFTS)
def test_an_offset_does_not_matter(shifts):
    for name, metric in (OF_CODES | TOGETHER).items():
        close(name, metric(Z + shifts, Z_TEST + shifts))


@pytest.mark.parametrize("change", [lambda z: z * [1e18, 1e-19, -1e30], lambda z: z + np.array([1e8, -1e12, 3e6])])
def test_dci_does_not_change(change):
    plain, moved = metrics.dci(*PAIR), metrics.dci(change(Z), FACTORS, change(Z_TEST), TEST)
    assert list(moved.values()) == pytest.approx(list(plain.values()), abs=0.01)  # near ties


def test_what_has_the_unit_of_the_codes_scales_with_them():
    plain = metrics.gaussian_total_correlation(Z)["wasserstein"]
    for scale in (1e-30, 1e-19, 1e18, 1e30):
        moved = metrics.gaussian_total_correlation(Z * scale + scale * 1e6)["wasserstein"]
        assert moved == pytest.approx(plain * scale**2, rel=1e-4)
    assert metrics.mig_sup(Z * 1e18, FACTORS)["active"] == pytest.approx(
        metrics.mig_sup(Z, FACTORS)["active"], abs=1e-6
    )
    assert metrics.mig_sup(Z * 1e-19, FACTORS)["active"] == 0  # no variance is above 0.01


def test_float32_is_as_good_as_float64_where_there_is_no_offset():
    narrow = Z.astype(np.float32)
    for name, metric in (OF_CODES | TOGETHER).items():
        close(name, metric(narrow, Z_TEST.astype(np.float32)), 1e-2)


@pytest.mark.parametrize("kind", ["f2", jnp.bfloat16, "i8", "u1", bool, "f8", "list", "frame", "jax"])
def test_codes_of_any_real_type(kind):
    """Whole numbers, which all of these hold."""
    z, z_test = (factors[:, [0, 1, 0]] for factors in (FACTORS, TEST))
    z, z_test = (np.minimum(codes, 1) if kind is bool else codes for codes in (z, z_test))
    change = {"list": lambda x: x.tolist(), "frame": pd.DataFrame, "jax": jnp.asarray}.get(
        kind, lambda x: x.astype(kind)
    )
    for name in ("mig", "mig_sup", "modularity", "irs", "info_mec"):
        assert metrics.METRICS[name](change(z), FACTORS) == metrics.METRICS[name](z.astype(np.float32), FACTORS)
    for name in ("sap", "explicitness", "downstream"):
        found = metrics.METRICS[name](change(z), change(FACTORS) if kind == "frame" else FACTORS, change(z_test), TEST)
        assert found == metrics.METRICS[name](z.astype(np.float32), FACTORS, z_test.astype(np.float32), TEST)
    assert apply.information(change(z), FACTORS).tolist() == apply.information(z.astype(np.float32), FACTORS).tolist()


def test_sap_is_scikit_learns_of_codes_far_from_0_once_they_are_centred():
    def by_scikit_learn(z, z_test):
        accuracy = [[LinearSVC(C=0.01, class_weight="balanced", dual=False, tol=1e-6).fit(z[:, [j]], FACTORS[:, k])
                     .score(z_test[:, [j]], TEST[:, k]) for j in range(3)] for k in range(2)]  # fmt: skip
        best = np.sort(accuracy, axis=1)
        return (best[:, -1] - best[:, -2]).mean()

    expected = by_scikit_learn(Z - Z.mean(axis=0), Z_TEST - Z.mean(axis=0))
    for shift in (3e2, 1e6, -1e12):
        assert metrics.sap(Z + shift, FACTORS, Z_TEST + shift, TEST)["sap"] == pytest.approx(expected, abs=6e-3)
    assert metrics.sap(*PAIR)["sap"] == pytest.approx(by_scikit_learn(Z, Z_TEST), abs=6e-3)


@pytest.mark.parametrize("scale", [1e-30, 1e-19, 1e18, 1e30])
def test_sap_depends_on_the_scale_and_is_a_number_at_any(scale):
    """Large codes aren't penalised, and codes that are far too small for the penalty tell nothing."""
    found = metrics.sap(Z * scale, FACTORS, Z_TEST * scale, TEST)["sap"]
    assert found == pytest.approx(
        metrics.sap(Z * 1e6, FACTORS, Z_TEST * 1e6, TEST)["sap"] if scale > 1 else 0, abs=1e-6
    )


def test_constant_codes_stay_constant():
    flat = np.full((50, 1), 0.1)
    assert len(np.unique(near_zero(flat, flat)[0])) == 1
    for z in (np.full((400, 3), 0.1), np.full((400, 3), 1e12 + 0.1), np.full((400, 3), 1e-30)):
        assert metrics.mig(z, FACTORS)["mig"] == 0 and metrics.irs(z, FACTORS)["irs"] == 0
        assert metrics.info_mec(z, FACTORS)["active"] == 0


@pytest.mark.parametrize("move", [0.0, 3e6, 1e12])
def test_what_both_sets_are_shifted_by_does_not_matter(move):
    real, other = Z + move, OTHER[:, ::-1] + move
    assert metrics.mmd(real, other)["mmd"] == pytest.approx(metrics.mmd(Z, OTHER[:, ::-1])["mmd"], abs=2e-5)
    plain = metrics.two_sample_test(Z, OTHER[:, ::-1], steps=100)["accuracy"]
    assert metrics.two_sample_test(real, other, steps=100)["accuracy"] == pytest.approx(plain, abs=0.03)
    near = metrics.nearest_neighbours(real, other, 2)
    expected = metrics.nearest_neighbours(Z, OTHER[:, ::-1], 2)
    assert (near.indices == expected.indices).mean() > 0.99
    np.testing.assert_allclose(near.distances, expected.distances, atol=1e-3)


def test_two_sets_of_any_scale():
    plain = metrics.nearest_neighbours(Z, OTHER)
    for scale in (1e-30, 1e18, 1e30):
        found = metrics.nearest_neighbours(Z * scale, OTHER * scale)
        np.testing.assert_array_equal(found.indices, plain.indices)
        np.testing.assert_allclose(found.distances, plain.distances * scale, rtol=1e-6)
        told = metrics.two_sample_test(Z * scale, scale * (OTHER + 1), steps=200)["accuracy"]
        assert told == pytest.approx(metrics.two_sample_test(Z, OTHER + 1, steps=200)["accuracy"], abs=0.05)
    far = metrics.mmd(Z + 1e8, OTHER)["mmd"]  # all terms between the two are 0
    within = metrics.mmd(Z, OTHER)["mmd"] + 2 * 7
    assert 5 < far < within
    assert metrics.mmd(Z * 1e30, OTHER * 1e30)["mmd"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["beta_vae_score", "factor_vae_score"])
@pytest.mark.parametrize("way", ["table", "function"])
def test_interventions_do_not_see_an_offset(name, way):
    few = {"train": 200, "test": 200, "batch": 16, **({"variance": 500} if name == "factor_vae_score" else {})}

    def score(codes):
        look_up = metrics.table(codes, GRID) if way == "table" else lambda f: codes[np.asarray(f) @ [4, 1]]
        return METRIC(look_up, GRID, KEY, **few)[name]

    METRIC = metrics.METRICS[name]
    cells = CELLS @ MIXING
    assert score(cells + np.array([1e8, -3e6, 1e12])) == pytest.approx(score(cells), abs=0.02)
    assert score(cells * 1e30) == pytest.approx(score(cells * 1e9), abs=0.02)
    assert score(cells * 1e-30) == pytest.approx(score(cells * 1e-12), abs=0.02)  # too small to be used


@pytest.mark.slow
def test_the_suite_agrees_with_the_metrics_on_shifted_and_scaled_codes():
    scale, shift = np.array([1e18, 1e-19, 1.0]), np.array([0, 0, 1e8])
    runs = [np.stack([z, z * scale + shift, z * 1e20, z * np.nan]) for z in (Z, Z_TEST, CELLS @ MIXING)]
    names = ("mig", "modularity", "gaussian_total_correlation", "explicitness", "downstream", "sap", "irs", "mig_sup")
    tidy = scores(runs[0], FACTORS, runs[1], TEST, runs[2], GRID, KEY, sizes=Sizes(99, 99, 8, 99, 99), metrics=names)
    found = tidy.pivot(index="metric", columns="run", values="value")
    assert found.drop([name for name in found.index if name.startswith("samples")])[3].isna().all()
    for run in range(3):
        z, z_test = runs[0][run], runs[1][run]
        for name in names:
            metric = metrics.METRICS[name]
            if "factors_test" in suite.SUITE[name].needs:
                values = metric(z, FACTORS, z_test, TEST)
            else:
                values = metric(z) if name == "gaussian_total_correlation" else metric(z, FACTORS)
            for key, value in values.items():
                assert found.loc[suite.column(name, key), run] == pytest.approx(value, rel=1e-3, abs=0.02), (
                    run,
                    name,
                    key,
                )


def test_explicitness_leaves_out_a_factor_that_does_not_vary_in_the_test_set():
    same = TEST * [0, 1] + [1, 0]
    z_test = coded(same, 2)
    found = metrics.explicitness(Z, FACTORS, z_test, same)["explicitness"]
    alone = metrics.explicitness(Z, FACTORS[:, 1:], z_test, same[:, 1:])["explicitness"]
    assert found == pytest.approx(alone, abs=1e-6) and found > 0.6


def test_labels_of_latents_with_an_offset():
    assert apply.label_latents(Z + 1e8, FACTORS, ["a", "b"]) == apply.label_latents(Z, FACTORS, ["a", "b"])
    np.testing.assert_allclose(apply.information(Z * 1e18 + 1e25, FACTORS), apply.information(Z, FACTORS), atol=1e-2)


def test_a_seed_that_is_there_three_times_is_one():
    values = np.array([1.0, 2.0, 4.0, 7.0])

    def estimate(columns, seeds):
        return statistics.bootstrap(lambda weights: statistics.mean(columns, weights), seeds)

    once = estimate(values, 4)
    assert estimate(values, np.array([5, 3, 8, 1])).value == once.value
    thrice = estimate(np.repeat(values, 3), np.repeat([0, 1, 2, 3], 3))
    np.testing.assert_allclose(thrice, once)
    naive = estimate(np.repeat(values, 3), 12)
    assert naive.high - naive.low < 0.7 * (once.high - once.low)
    alone = estimate(np.full(3, 2.0), [7, 7, 7])
    assert alone.value == 2 and np.isnan(alone.low) and np.isnan(alone.high)
