"""Closed forms against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from vaejax.distributions import LIKELIHOODS, Bernoulli, Delta, FixedGaussian, Gaussian, LearnedGaussian
from vaejax.errors import InputError

numbers = st.floats(-4, 4, width=32)


@settings(max_examples=50, deadline=None)
@given(x=numbers, mean=numbers, log_var=numbers)
def test_gaussian_log_prob_is_scipys(x, mean, log_var):
    got = Gaussian(jnp.float32(mean), jnp.float32(log_var)).log_prob(jnp.float32(x))
    np.testing.assert_allclose(got, stats.norm.logpdf(x, mean, np.exp(log_var / 2)), rtol=1e-4, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(x=st.floats(0, 1, width=32), logits=numbers)
def test_bernoulli_log_prob_is_the_cross_entropy(x, logits):
    p = 1 / (1 + np.exp(-logits))
    got = Bernoulli(jnp.float32(logits)).log_prob(jnp.float32(x))
    np.testing.assert_allclose(got, x * np.log(p) + (1 - x) * np.log1p(-p), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(Bernoulli(jnp.float32(logits)).log_prob(1.0), stats.bernoulli.logpmf(1, p), atol=1e-5)


def test_bernoulli_is_stable_for_extreme_logits():
    logits = jnp.array([-1e4, 1e4])
    np.testing.assert_array_equal(Bernoulli(logits).log_prob(jnp.array([0.0, 1.0])), [0, 0])
    np.testing.assert_array_equal(Bernoulli(logits).log_prob(jnp.array([1.0, 0.0])), [-1e4, -1e4])


@pytest.mark.parametrize("other", [None, (0.7, -1.2)])
@pytest.mark.parametrize(("mean", "log_var"), [(0.0, 0.0), (1.5, -2.0), (-0.3, 1.1)])
def test_gaussian_kl_is_the_integral(mean, log_var, other):
    other_mean, other_log_var = other or (0.0, 0.0)
    p = stats.norm(mean, np.exp(log_var / 2))
    q = stats.norm(other_mean, np.exp(other_log_var / 2))
    exact, _ = integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -20, 20)
    against = None if other is None else Gaussian(jnp.array(other_mean), jnp.array(other_log_var))
    np.testing.assert_allclose(Gaussian(jnp.array(mean), jnp.array(log_var)).kl(against), exact, atol=1e-5)


def test_bernoulli_kl_is_the_sum_over_outcomes():
    p, q = np.array([0.1, 0.5, 0.93]), np.array([0.4, 0.5, 0.2])
    exact = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    logits = [jnp.log(v / (1 - v)) for v in (p, q)]
    np.testing.assert_allclose(Bernoulli(logits[0]).kl(Bernoulli(logits[1])), exact, atol=1e-6)


def test_samples_have_the_moments_of_the_distribution():
    key, shape = jax.random.key(0), (100_000,)
    gaussian = Gaussian(jnp.full(shape, 2.0), jnp.full(shape, -1.0)).sample(key)
    np.testing.assert_allclose([gaussian.mean(), gaussian.var()], [2.0, np.exp(-1)], atol=0.01)
    bernoulli = Bernoulli(jnp.full(shape, 1.0)).sample(key)
    assert set(np.unique(bernoulli)) == {0, 1}
    np.testing.assert_allclose(bernoulli.mean(), 1 / (1 + np.exp(-1)), atol=0.01)
    np.testing.assert_array_equal(Delta(jnp.arange(3.0)).sample(key), [0, 1, 2])


def test_a_gaussian_sample_is_reparameterised():
    def first_moment(mean, log_var):
        return Gaussian(mean, log_var).sample(jax.random.key(1)).mean()

    by_mean, by_log_var = jax.grad(first_moment, argnums=(0, 1))(jnp.zeros(50_000), jnp.zeros(50_000))
    np.testing.assert_allclose(by_mean.sum(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(by_log_var.sum(), 0.0, atol=0.01)  # the noise has mean zero


def test_fixed_gaussian_is_squared_error_in_nats():
    x, mean = jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5])
    np.testing.assert_allclose(FixedGaussian(0.3)(mean).log_prob(x), stats.norm.logpdf(x, mean, 0.3), rtol=1e-6)


@pytest.mark.parametrize("raw", [-100.0, -6.0, 0.0, 3.0])
def test_learned_gaussian_stays_above_its_floor(raw):
    scale = np.exp(LearnedGaussian(0.01)(jnp.zeros(1), jnp.full(1, raw)).log_var / 2)
    np.testing.assert_allclose(scale, 0.01 + np.exp(raw), rtol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda: FixedGaussian(0.0), lambda: FixedGaussian(np.inf), lambda: LearnedGaussian(-1)]
)
def test_a_scale_has_to_be_positive(make):
    with pytest.raises(InputError, match="positive"):
        make()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_family_takes_as_many_arrays_as_it_says(name):
    family = LIKELIHOODS[name]
    likelihood = family(*[jnp.zeros((2, 3))] * family.parameters)
    assert likelihood.log_prob(jnp.ones((2, 3))).shape == likelihood.mean.shape == (2, 3)
    assert likelihood.sample(jax.random.key(0)).shape == (2, 3)
