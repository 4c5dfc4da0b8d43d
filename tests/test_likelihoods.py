"""Likelihoods of counts and of Student's t against float64 and scipy, where float32 usually fails as well."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from vaejax.distributions.counts import (
    NegativeBinomial,
    NegativeBinomialCounts,
    Poisson,
    PoissonCounts,
    ZeroInflatedCounts,
    ZeroInflatedNegativeBinomial,
    bounded,
    size_factor,
)
from vaejax.distributions.multinomial import Multinomial, MultinomialCounts
from vaejax.distributions.vectors import LearnedStudentT, StudentT

EPS = np.finfo(np.float32).eps
COUNTS = np.float32([0, 1, 2, 7, 8, 9, 30, 1000, 1e6])
LOG_MEANS = np.log(np.float32([1e-8, 1e-3, 0.5, 1, 7.9, 30, 1000, 1e6, 1.003e6, 1e8]))
LOG_THETAS = np.log(np.float32([1e-4, 0.1, 1, 8, 100, 1e4, 1e8]))
GRID = [np.ravel(part) for part in np.meshgrid(COUNTS, LOG_MEANS, LOG_THETAS)]
LOGITS = np.float32([-80, -3, 0, 3, 80])
quickly_compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def exact_negative_binomial(x, log_mean, log_theta):
    """In float64, by scipy's log-gamma."""
    x, mean, theta = np.float64(x), np.exp(np.float64(log_mean)), np.exp(np.float64(log_theta))
    coefficient = special.gammaln(x + theta) - special.gammaln(theta) - special.gammaln(x + 1)
    return coefficient - theta * np.log1p(mean / theta) + x * (np.float64(log_mean) - np.log(theta + mean))


def close_given_the_mean(got, exact, x, log_mean, weight=1.0):
    """To 1e-5, and as far as a mean that is rounded to float32 says it."""
    error = np.abs(np.float64(got) - exact)
    allowed = 1e-5 * np.abs(exact) + 2 * EPS * weight * np.abs(x - np.exp(np.float64(log_mean)))
    assert (error <= allowed).all(), (error / allowed).max()


def summed_gradients(log_prob, *arrays):
    every = tuple(range(len(arrays)))
    return quickly_compiled(jax.grad(lambda *arrays: log_prob(*arrays).sum(), argnums=every))(*arrays)


@quickly_compiled
def log_masses(likelihood, x):
    return likelihood.log_prob(x)


@quickly_compiled
def draw(likelihood, key):
    return likelihood.sample(key)


def test_poisson_is_scipys_at_every_size():
    x, log_mean, _ = GRID
    exact = stats.poisson.logpmf(np.float64(x), np.exp(np.float64(log_mean)))
    got = log_masses(Poisson(jnp.array(log_mean)), x)
    close_given_the_mean(got, exact, x, log_mean)
    (slope,) = summed_gradients(lambda log_mean: Poisson(log_mean).log_prob(x), log_mean)
    np.testing.assert_allclose(slope, x - np.exp(np.float64(log_mean)), rtol=1e-5, atol=2 * EPS * 1e8)


def test_the_exact_negative_binomial_is_scipys():
    x, log_mean, log_theta = GRID
    mean, theta = np.exp(np.float64(log_mean)), np.exp(np.float64(log_theta))
    kept = mean / theta > 1e-6  # scipy is given 1 - p
    exact = exact_negative_binomial(x, log_mean, log_theta)[kept]
    np.testing.assert_allclose(exact, stats.nbinom.logpmf(x, theta, theta / (theta + mean))[kept], rtol=1e-6, atol=1e-6)


def test_negative_binomial_is_exact_at_every_size():
    x, log_mean, log_theta = GRID
    mean, theta = np.exp(np.float64(log_mean)), np.exp(np.float64(log_theta))
    got = log_masses(NegativeBinomial(jnp.array(log_mean), jnp.array(log_theta)), x)
    close_given_the_mean(got, exact_negative_binomial(*GRID), x, log_mean, theta / (theta + mean))
    slopes = summed_gradients(lambda *arrays: NegativeBinomial(*arrays).log_prob(x), log_mean, log_theta)
    by_mean = theta * (x - mean) / (theta + mean)
    np.testing.assert_allclose(slopes[0], by_mean, rtol=1e-5, atol=2 * EPS * 1e8)
    digammas = special.digamma(x + theta) - special.digamma(theta) - np.log1p(mean / theta)
    by_theta = theta * (digammas + (mean - x) / (theta + mean))
    np.testing.assert_allclose(slopes[1], by_theta, rtol=2e-5, atol=1e-6)


def test_negative_binomial_of_a_large_theta_is_poisson():
    x, log_mean = (part.ravel() for part in np.meshgrid(COUNTS, LOG_MEANS))
    log_theta = jnp.full(x.shape, 30.0)  # 1e13, where log-gammas are larger than 1e14
    got = log_masses(NegativeBinomial(jnp.array(log_mean), log_theta), x)
    np.testing.assert_allclose(got, log_masses(Poisson(jnp.array(log_mean)), x), rtol=2e-5)


def test_float64_has_more_digits():
    with jax.enable_x64(True):
        x, log_mean, log_theta = (np.float64(part) for part in GRID)
        poisson = Poisson(jnp.array(log_mean)).log_prob(x)
        np.testing.assert_allclose(poisson, stats.poisson.logpmf(x, np.exp(log_mean)), rtol=1e-6)
        counts = NegativeBinomial(jnp.array(log_mean), jnp.array(log_theta))
        np.testing.assert_allclose(counts.log_prob(x), exact_negative_binomial(*GRID), rtol=1e-6)


def test_zero_inflation_is_exact_at_every_size():
    log_mean, log_theta, dropout = (part.ravel() for part in np.meshgrid(LOG_MEANS, LOG_THETAS, LOGITS))

    def log_prob(x, *arrays):
        return ZeroInflatedNegativeBinomial(NegativeBinomial(*arrays[:2]), arrays[2]).log_prob(x)

    lost, kept = -np.logaddexp(0, -np.float64(dropout)), -np.logaddexp(0, np.float64(dropout))
    zero = exact_negative_binomial(0, log_mean, log_theta)
    with np.errstate(divide="ignore"):
        likely = np.log1p(np.exp(kept) * np.expm1(zero))  # one minus what is not zero
    exact = np.where(zero > -0.1, likely, np.logaddexp(lost, kept + zero))
    got = jax.jit(log_prob)(jnp.zeros(1), log_mean, log_theta, dropout)
    np.testing.assert_allclose(got, exact, rtol=2e-5, atol=1e-37)
    at_three = kept + exact_negative_binomial(3, log_mean, log_theta)
    np.testing.assert_allclose(log_prob(3.0, log_mean, log_theta, dropout), at_three, rtol=1e-5, atol=20 * EPS)
    for x in (0.0, 3.0, 1e6):
        for slope in summed_gradients(partial(log_prob, x), log_mean, log_theta, dropout):
            assert np.isfinite(slope).all()


@settings(max_examples=30, deadline=None)
@given(log_mean=st.floats(-20, 3.4), log_theta=st.floats(-2, 18), dropout=st.floats(-80, 80))
def test_masses_are_below_1_and_add_up_to_1(log_mean, log_theta, dropout):
    x = jnp.arange(4096.0)
    arrays = [jnp.full((), value, jnp.float32) for value in (log_mean, log_theta, dropout)]
    counts = NegativeBinomial(*arrays[:2])
    for masses in (Poisson(arrays[0]), counts, ZeroInflatedNegativeBinomial(counts, arrays[2])):
        log_mass = np.float64(log_masses(masses, x))
        assert log_mass.max() <= EPS
        np.testing.assert_allclose(np.exp(log_mass).sum(), 1, atol=1e-5)


def test_what_is_no_count_has_no_mass_and_nan_stays_nan():
    arrays = [jnp.zeros((1, 3))] * 3
    x = jnp.array([[-1.0, jnp.nan, -1e6]])
    for family in (PoissonCounts(False), NegativeBinomialCounts(False), ZeroInflatedCounts(False)):
        log_mass = family(*arrays[: family.parameters]).log_prob(x)
        np.testing.assert_array_equal(log_mass, [[-jnp.inf, jnp.nan, -jnp.inf]])


# --- what a network gives, and sizes ---------------------------------------------------------------------------------

SIZED = [PoissonCounts(), NegativeBinomialCounts(), ZeroInflatedCounts(), MultinomialCounts()]


@pytest.mark.parametrize("family", SIZED, ids=lambda family: type(family).__name__)
def test_means_are_shares_of_the_size(family):
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(family.parameters, 3, 2, 2, 1)).astype(np.float32)
    raw[2:] = -80  # no dropout
    shares = np.exp(raw[0]) / np.exp(raw[0]).sum(axis=(1, 2, 3), keepdims=True)
    likelihood = family(*raw)
    np.testing.assert_allclose(likelihood.mean, shares, rtol=1e-5)
    size = jnp.array([1.0, 30.0, 1e6])
    np.testing.assert_allclose(likelihood.sized(size).mean, shares * size[:, None, None, None], rtol=1e-5)


@pytest.mark.parametrize(
    "family",
    [*SIZED, PoissonCounts(False), NegativeBinomialCounts(False), ZeroInflatedCounts(False), LearnedStudentT()],
    ids=str,
)
def test_extremes_of_what_a_network_gives_are_finite(family):
    values = np.float32([-1e4, -80, 0, 80, 1e4])
    raw = np.stack(np.meshgrid(*[values] * family.parameters)).reshape(family.parameters, 1, -1)
    x = jnp.array([[0.0], [1.0], [1e6]]) * jnp.ones(raw.shape[2])

    def log_prob(*raw):
        likelihood = family(*(jnp.broadcast_to(part, x.shape) for part in raw))
        return (likelihood.sized(jnp.array([1.0, 1e4, 1e8])) if family.sized else likelihood).log_prob(x)

    assert np.isfinite(jax.jit(log_prob)(*raw)).all()
    for slope in summed_gradients(log_prob, *raw):
        assert np.isfinite(slope).all()


def test_bounded_numbers_are_themselves_up_to_20_and_always_grow():
    raw = jnp.array([-1e20, -1e4, -20.0, -3.0, 0.0, 19.0, 20.0, 21.0, 1e20])
    made, slope = bounded(raw), jax.vmap(jax.grad(bounded))(raw)
    np.testing.assert_array_equal(made[2:7], raw[2:7])
    assert (np.diff(made) > 0).all() and np.abs(made).max() < 67 and (slope > 0).all()


def test_a_size_factor_is_the_total_of_what_is_there_and_at_least_1():
    x = jnp.array([[3.0, jnp.nan, 4.0], [0.0, 0.0, 0.0], [1.0, 2.0, 5.0]])
    mask = jnp.array([[True, False, True], [True] * 3, [False, True, True]])
    np.testing.assert_array_equal(size_factor(x, mask), [7, 1, 7])
    np.testing.assert_array_equal(size_factor(jnp.ones((2, 3, 4, 1))), [12, 12])
    np.testing.assert_array_equal(size_factor(jnp.ones((2, 3, 4)), jnp.array([[True, True, False]] * 2)), [8, 8])


# --- multinomial -----------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), total=st.sampled_from([0, 1, 9, 1000, 10**6]))
def test_multinomial_is_scipys(seed, total):
    rng = np.random.default_rng(seed)
    logits = np.float32(3 * rng.normal(size=(1, 4)))
    shares = np.exp(np.float64(logits)) / np.exp(np.float64(logits)).sum()
    x = rng.multinomial(total, shares)
    exact = stats.multinomial.logpmf(x[0], total, shares[0] / shares.sum())
    likelihood = MultinomialCounts()(jnp.array(logits))
    error = abs(log_masses(likelihood, np.float32(x)).sum() - exact)
    assert error <= 1e-5 * abs(exact) + 3 * EPS * (4 + np.abs(x - total * shares).sum())
    (slope,) = summed_gradients(lambda logits: Multinomial(logits, jnp.ones((1, 1))).log_prob(np.float32(x)), logits)
    np.testing.assert_allclose(slope, x - total * shares, rtol=1e-4, atol=1e-5 * max(total, 1))


def test_masses_of_the_multinomial_add_up_to_1():
    total, logits = 6, jnp.array([[0.3, -1.0, 2.0]])
    every = np.array([(i, j, total - i - j) for i in range(total + 1) for j in range(total + 1 - i)], np.float32)
    log_mass = log_masses(MultinomialCounts()(jnp.repeat(logits, len(every), 0)), every).sum(axis=1)
    assert log_mass.max() < 0
    np.testing.assert_allclose(np.exp(log_mass).sum(), 1, rtol=1e-5)


# --- Student's t -----------------------------------------------------------------------------------------------------


def test_student_t_is_scipys_at_every_number_of_degrees():
    every = [0.1, 0.5, 1, 3, 15.9, 16.1, 300, 1e5, 1e8], [0, 1e-3, -1.5, 40, 1e6], [0.01, 7]
    degrees, x, scale = (np.ravel(part) for part in np.meshgrid(*every))
    arrays = [np.float32(part) for part in (np.full(x.shape, 0.5), np.log(scale), np.log(degrees))]
    exact = stats.t.logpdf(x, np.exp(np.float64(arrays[2])), 0.5, np.exp(np.float64(arrays[1])))
    got = log_masses(StudentT(*map(jnp.array, arrays)), np.float32(x))
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=3e-6)
    for slope in summed_gradients(lambda *arrays: StudentT(*arrays).log_prob(np.float32(x)), *arrays):
        assert np.isfinite(slope).all()
    with jax.enable_x64(True):
        likelihood = StudentT(*(jnp.array(np.float64(part)) for part in arrays))
        np.testing.assert_allclose(likelihood.log_prob(x), exact, rtol=1e-6, atol=1e-7)


def test_a_learned_student_t_has_a_floor_and_a_mean():
    raw = jnp.array([[-100.0, 0.0, 3.0]])
    learned = LearnedStudentT(0.01)(raw, raw, raw)
    np.testing.assert_allclose(np.exp(learned.log_scale), 0.01 + np.exp(raw), rtol=1e-5)
    np.testing.assert_allclose(np.exp(learned.log_degrees), 1 + np.exp(np.maximum(raw, -30)), rtol=1e-5)
    given = LearnedStudentT(degrees=4)
    assert given.parameters == 2
    np.testing.assert_allclose(np.exp(given(raw, raw).log_degrees), 4 * np.ones((1, 3)), rtol=1e-6)


# --- samples ---------------------------------------------------------------------------------------------------------


def counts(mean, theta):
    return NegativeBinomial(jnp.float32(np.log(mean)), jnp.float32(np.log(theta)))


SAMPLED = {  # a distribution of one number, its mean and its variance
    **{
        f"poisson {mean:g}": (Poisson(jnp.float32(np.log(mean))), mean, mean) for mean in (1e-8, 0.3, 12, 9e3, 2e4, 1e8)
    },
    **{
        f"negative binomial {mean:g} {theta:g}": (counts(mean, theta), mean, mean + mean**2 / theta)
        for mean, theta in ((3, 0.5), (1e-8, 1), (200, 4), (5, 1e8), (1e6, 30), (0.4, 1e-1))
    },
    "zero-inflated": (
        ZeroInflatedNegativeBinomial(counts(6, 3), jnp.float32(np.log(0.25 / 0.75))),
        0.75 * 6,
        0.75 * (6 + 36 / 3 + 36) - (0.75 * 6) ** 2,
    ),
    "student t": (StudentT(*map(jnp.float32, (-2, np.log(3), np.log(10)))), -2, 9 * 10 / 8),
    "nearly gauss": (StudentT(*map(jnp.float32, (0, 0, np.log(1e8)))), 0, 1),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_have_the_mean_and_the_variance(name):
    likelihood, mean, variance = SAMPLED[name]
    many = jax.tree.map(lambda leaf: jnp.full((40_000,), leaf), likelihood)
    assert many.has_density
    np.testing.assert_allclose(many.mean, np.full(40_000, mean), rtol=2e-5)
    for generator in ("threefry2x32", "rbg"):
        drawn = draw(many, jax.random.key(0, impl=generator))
        assert drawn.dtype == jnp.float32 and drawn.shape == (40_000,)
        drawn = np.float64(drawn)
        centred = (drawn - mean) ** 2
        assert abs(drawn.mean() - mean) < 5 * np.sqrt(variance / 40_000) + 2 * EPS * abs(mean)
        assert abs(centred.mean() - variance) < 5 * max(centred.std(), np.sqrt(variance)) / 200
        if not isinstance(likelihood, StudentT):
            assert (drawn >= 0).all() and (drawn == np.round(drawn)).all()


def test_multinomial_samples_add_up_and_have_the_means():
    logits = jnp.tile(jnp.array([[0.0, -80.0, 1.0, 2.0]]), (20_000, 1))
    likelihood = MultinomialCounts()(logits).sized(jnp.full(20_000, 50.0))
    drawn = likelihood.sample(jax.random.key(1))
    np.testing.assert_array_equal(drawn.sum(axis=1), np.full(20_000, 50))
    p = np.exp([0.0, -80.0, 1.0, 2.0]) / np.exp([0.0, -80.0, 1.0, 2.0]).sum()
    error = np.abs(np.asarray(drawn).mean(axis=0) - 50 * p)
    assert (error <= 5 * np.sqrt(50 * p * (1 - p) / 20_000)).all()
    np.testing.assert_allclose(np.cov(np.asarray(drawn).T), 50 * (np.diag(p) - np.outer(p, p)), atol=0.3)
    np.testing.assert_allclose(likelihood.mean[0], 50 * p, rtol=1e-5)
