"""Array metrics by information, deviation and covariance: known answers, definitions in NumPy, the reference values."""

import json
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mutual_info_score

from vaejax import InputError, metrics
from vaejax.metrics.checks import triangle
from vaejax.metrics.info_mec import info_scores, neighbour_information
from vaejax.metrics.logistic import log_probabilities, logistic
from vaejax.metrics.record import named
from vaejax.metrics.records import SUITE

NEIGHBOURS = jax.jit(neighbour_information, static_argnames="size")
RNG = np.random.default_rng(0)
SIZES = (3, 4, 5)
FACTORS = RNG.integers(0, SIZES, size=(2000, 3))
NOISE = RNG.normal(size=(2000, 3)).astype(np.float32)
ROTATION = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
CODES = {
    "perfect": FACTORS.astype(np.float32),
    "moved": (FACTORS[:, [2, 0, 1]] * np.array([-2.0, 0.5, 64.0]) + 8).astype(np.float32),
    "rotated": ((FACTORS / SIZES + 0.03 * NOISE) @ ROTATION).astype(np.float32),
    "mixed": (FACTORS / SIZES @ np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]]) + 0.03 * NOISE).astype(np.float32),
    "noise": NOISE,
    "constant": np.full((2000, 3), 0.1, np.float32),
    "half": np.where([True, False, True], FACTORS, np.float32(0.1)).astype(np.float32),
}
ARRAY = ("mig_sup", "modularity", "irs", "info_mec")
ALONE = ("gaussian_total_correlation", "mutual_info_score")


def value(name, z, factors=FACTORS):
    metric = metrics.METRICS[name]
    return metric(z) if name in ALONE else metric(z, factors)


def headline(name, z, factors=FACTORS):
    return next(iter(value(name, z, factors).values()))


@pytest.mark.parametrize("codes", ["aligned", "rotated", "redundant", "mixed", "noise"])
def test_values_agree_with_the_reference(shared, codes):
    reference = json.loads((shared / "metrics_reference.json").read_text())[codes]
    arrays = np.load(shared / "metrics_reference.npz")
    z, factors = arrays[f"{codes}_z"], arrays[f"{codes}_factors"]
    for name in ("modularity", "irs", *ALONE):
        assert headline(name, z, factors) == pytest.approx(reference[name], abs=1e-5)
    found = value("gaussian_total_correlation", z)["wasserstein"]
    assert found == pytest.approx(reference["gaussian_wasserstein_correlation"], abs=1e-4)


@pytest.mark.parametrize("name", ARRAY)
def test_the_true_factors_score_1(name):
    scores = value(name, CODES["perfect"])
    assert name != "info_mec" or scores.pop("active") == 3
    assert list(scores.values()) == pytest.approx([1] * len(scores), abs=0.01)


@pytest.mark.parametrize("name", ["mig_sup", "modularity"])
def test_order_scale_and_sign_of_codes_do_not_matter(name):
    assert headline(name, CODES["moved"]) == pytest.approx(headline(name, CODES["perfect"]), abs=1e-5)


@pytest.mark.parametrize("name", ARRAY)
def test_a_rotation_costs(name):
    assert headline(name, CODES["rotated"]) < headline(name, CODES["perfect"]) - 0.2


def test_a_mixture_makes_codes_dependent():
    plain, mixed = (value("gaussian_total_correlation", CODES[name]) for name in ("perfect", "mixed"))
    assert all(mixed[key] > plain[key] + 0.05 for key in ("gaussian_total_correlation", "wasserstein_norm"))
    assert headline("mutual_info_score", CODES["mixed"]) > headline("mutual_info_score", CODES["noise"]) + 0.05


def test_a_linear_readout_does_not_see_a_rotation():
    assert value("info_mec", CODES["rotated"])["infoe"] == pytest.approx(1, abs=0.05)
    assert value("info_mec", CODES["noise"])["infoe"] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("name", [*ARRAY, *ALONE])
def test_constant_codes_score_0(name):
    assert list(value(name, CODES["constant"]).values()) == pytest.approx(
        [0] * len(value(name, CODES["constant"])), abs=1e-6
    )


def test_unused_codes():
    """The second of three codes is constant."""
    assert headline("modularity", CODES["half"]) == pytest.approx(2 / 3, abs=0.01)
    gap = value("mig_sup", CODES["half"])
    assert gap["mig_sup"] == pytest.approx(2 / 3, abs=0.01) and gap["active"] == pytest.approx(1, abs=0.01)
    assert headline("irs", CODES["half"]) == pytest.approx(1, abs=0.01)
    mec = value("info_mec", CODES["half"])
    assert mec["active"] == 2 and mec["infom"] > 0.98
    assert mec["infoe"] == pytest.approx(2 / 3, abs=0.01) and mec["infoc"] < 0.9
    used = headline("gaussian_total_correlation", CODES["half"][:, [0, 2]])
    assert headline("gaussian_total_correlation", CODES["half"]) == pytest.approx(used, abs=1e-6)


def test_redundant_codes():
    twice = np.concatenate([CODES["perfect"]] * 2, axis=1)
    assert headline("modularity", twice) == pytest.approx(1, abs=0.01)  # each is about one factor
    assert headline("mig_sup", twice) == pytest.approx(1, abs=0.01)
    mec = value("info_mec", CODES["perfect"][:, [0, 0, 1]])
    assert mec["infom"] > 0.98 and mec["infoe"] == pytest.approx(2 / 3, abs=0.01)
    assert mec["infoc"] == pytest.approx(((1 / 2 - 1 / 3) / (1 - 1 / 3) + 1) / 3, abs=0.02)  # and nothing of the third
    assert headline("gaussian_total_correlation", twice) == np.inf
    pairs = [mutual_info_score(column, column) for column in FACTORS.T]
    assert headline("mutual_info_score", twice) == pytest.approx(2 * sum(pairs) / 30, abs=0.01)


def test_a_code_of_two_factors():
    both = (FACTORS[:, 0] * 4 + FACTORS[:, 1])[:, None].astype(np.float32)
    information = [mutual_info_score(both[:, 0], column) for column in FACTORS.T]
    a, b, _ = (i / mutual_info_score(c, c) for i, c in zip(information, FACTORS.T, strict=True))
    assert headline("mig_sup", both) == pytest.approx(abs(a - b), abs=1e-4)
    ratio = np.sort(np.square(information)) / np.max(np.square(information))
    assert headline("modularity", both) == pytest.approx(1 - ratio[:2].sum() / 2, abs=1e-4)


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.99, 0.99999])
def test_the_total_correlation_of_two_gaussians(rho):
    """z has exactly this correlation; TC = -1/2 log(1 - rho^2)."""
    q = np.linalg.qr(np.column_stack([np.ones(2000), NOISE[:, :2]]))[0][:, 1:]
    z = np.column_stack([q[:, 0], rho * q[:, 0] + np.sqrt(1 - rho**2) * q[:, 1]]) * [1e-3, 1e6] + 5
    expected = -0.5 * np.log1p(-(rho**2))
    assert headline("gaussian_total_correlation", z - z.mean(axis=0)) == pytest.approx(expected, abs=2e-3)


FAR = {  # the first of 200 images -> whether float32 can tell its codes from linear functions of each other
    (1e6, 1e6, 1e6): True, (1e12, 1e12, 1e12): False, (1e12, 2e12, 0.0): False, (1e12, 0.0, 0.0): True,
}  # fmt: skip


@pytest.mark.parametrize("row", FAR, ids=str)
def test_one_far_image_leaves_the_total_correlation_right(row):
    """Against the determinants in exact arithmetic."""
    z = NOISE[:200, :3].astype(np.float64)
    z[0] = row
    exact = [[Fraction(value) for value in line] for line in z.tolist()]
    centre = [sum(column) / 200 for column in zip(*exact, strict=True)]
    (a, d, e), (_, b, f), (*_, c) = [
        [sum((line[i] - centre[i]) * (line[j] - centre[j]) for line in exact) for j in range(3)] for i in range(3)
    ]
    ratio = a * b * c / (a * (b * c - f * f) - d * (d * c - e * f) + e * (d * f - b * e))
    expected = (math.log(ratio.numerator) - math.log(ratio.denominator)) / 2
    assert headline("gaussian_total_correlation", z) == pytest.approx(expected, abs=1e-4)
    assert headline("gaussian_total_correlation", z.astype(np.float32)) == (
        pytest.approx(expected, abs=1e-4) if FAR[row] else np.inf
    )


def test_irs_is_its_definition():
    """40 values in 20 bins, a constant code, a value that is rare."""
    factors = np.column_stack([RNG.integers(0, 40, 2000), RNG.random(2000) < 0.002, FACTORS[:, 0]]).astype(int)
    z = np.column_stack([factors[:, 0] / 40 + 0.1 * NOISE[:, 0], np.exp(NOISE[:, 1]), np.full(2000, 0.1)])
    bins = [np.digitize(column, np.histogram(column, 20)[1][:-1]) for column in factors.T]
    largest = np.abs(z - z.mean(axis=0)).max(axis=0)[:2]
    deviation = np.array([
        np.mean([
            np.quantile(np.abs(z[column == v, :2] - z[column == v, :2].mean(axis=0)), 0.99, axis=0)
            for v in np.unique(column)
        ], axis=0)
        for column in bins
    ])  # fmt: skip
    expected = np.average((1 - deviation / largest).max(axis=0), weights=largest)
    assert headline("irs", z, factors) == pytest.approx(expected, abs=1e-4)


def test_neighbour_information_is_scikit_learns():
    """Also of values with fewer than 10 neighbours, of one that occurs once and is left out, and of repeated images."""
    rare = np.repeat([0, 1, 2, 3], [1, 4, 995, 1000])
    factors = np.column_stack([FACTORS[:, :2], rare])
    z = (factors / 4 + 0.2 * NOISE).astype(np.float32)
    z[1000:], factors[1000:, :2] = z[1000:][again := RNG.integers(0, 1000, 1000)], factors[1000:, :2][again]
    found = np.asarray(NEIGHBOURS(z, factors, size=5))
    expected = [mutual_info_classif(z, column, n_neighbors=10, random_state=0) for column in factors.T]
    np.testing.assert_allclose(found, np.transpose(expected), atol=2e-3)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_the_classifier_is_scikit_learns(penalty):
    """One input is a multiple of another, one class has no example."""
    y = FACTORS[:, 1]
    z = np.column_stack([y, y, FACTORS[:, 0]]) + NOISE[:, [0, 0, 1]]
    z = (z * [1, -3, 100] + [0, 7, 50]).astype(np.float32)
    w, b = logistic(z, y, 5, penalty=penalty)
    model = LogisticRegression(C=1 / penalty if penalty else np.inf, tol=1e-8, max_iter=5000).fit(z.astype(float), y)
    log_p = np.asarray(log_probabilities(z, w, b))[:, :4]
    assert log_loss(y, np.exp(log_p)) == pytest.approx(log_loss(y, model.predict_proba(z)), abs=1e-4)
    np.testing.assert_allclose(np.exp(log_p), model.predict_proba(z), atol=0.02)
    assert float(b[4]) == -np.inf  # no example of it


def test_infoe_is_a_balanced_likelihood():
    rare = np.minimum(FACTORS[:, 2], 2)  # the third value is three times as frequent
    factors = np.column_stack([rare, rare, FACTORS[:, 2]])
    z = (factors / 2 + NOISE).astype(np.float32)

    def explained(column):
        p = LogisticRegression(C=np.inf, class_weight="balanced").fit(z, column).predict_proba(z)
        return 1 - log_loss(column, p) / np.log(p.shape[1])

    expected = np.mean([explained(column) for column in factors.T])
    assert value("info_mec", z, factors)["infoe"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", ["mig", *ARRAY, *ALONE])
def test_runs_together_score_as_alone_and_a_diverged_one_is_nan(name):
    z = np.stack([CODES["perfect"], CODES["perfect"] + np.nan, CODES["rotated"], CODES["constant"]])
    of, known = SUITE[name], {"factors": jnp.asarray(FACTORS), "size": 5, "unit": jnp.ones(3), "weight": jnp.ones(3)}
    r, deviation = triangle(z)
    of_run = {"moved": z, "triangle": r, "deviation": deviation}
    given = {need: of_run[need] for need in of.needs if need in of_run}
    together = jax.jit(jax.vmap(lambda own: of.function(*({**own, **known}[need] for need in of.needs))))(given)
    for key, values in named(name, together, (4,)).items():
        assert np.isnan(values[1])
        for run in (0, 2, 3):
            np.testing.assert_allclose(values[run], value(name, z[run])[key], atol=2e-3)


@pytest.mark.parametrize("name", [*ARRAY, *ALONE])
def test_the_headline_comes_first_and_diverged_codes_are_refused(name):
    first = next(iter(value(name, CODES["noise"])))
    assert first == {"info_mec": "infom"}.get(name, name)
    with pytest.raises(InputError, match=f"{name} takes finite codes.*did the run diverge"):
        value(name, CODES["noise"] + np.inf)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(3)), st.lists(st.integers(-6, 6), min_size=3, max_size=3), st.integers(0, 2**31))
def test_codes_can_be_permuted_and_scaled(order, exponents, seed):
    """By powers of two, so that not even a bin changes; what is weighted by scale is scaled as a whole."""
    rng = np.random.default_rng(seed)
    z = (FACTORS @ rng.normal(size=(3, 3)) + rng.normal(size=(2000, 3))).astype(np.float32)
    each, whole = np.exp2(np.asarray(exponents, np.float32)), np.float32(2.0 ** exponents[0])
    for name in ("mig_sup", "modularity", *ALONE):
        assert headline(name, (z * each)[:, order]) == pytest.approx(headline(name, z), abs=1e-5)
    assert headline("irs", (z * whole)[:, order]) == pytest.approx(headline("irs", z), abs=1e-5)
    moved, plain = info_scores((z * whole)[:, order], FACTORS, 5), info_scores(z, FACTORS, 5)
    for key, score in plain.items():
        assert float(moved[key]) == pytest.approx(float(score), abs=2e-3)
