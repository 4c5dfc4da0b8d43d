"""Closed forms against scipy."""

import importlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from vaejax import distributions
from vaejax.distributions import COLUMNS, Categories, Conditioned, Masked, Mixed
from vaejax.distributions.basic import (
    LIKELIHOODS,
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    Delta,
    DiscretizedLogistic,
    FixedGaussian,
    Gaussian,
    LearnedGaussian,
    LogisticMixture,
    PixelLevels,
    StandardNormal,
    softplus,
)
from vaejax.distributions.declared import has_density, is_sized, shares_total
from vaejax.errors import InputError
from vaejax.networks import quantizer
from vaejax.objectives import reconstruction

numbers = st.floats(-4, 4, width=32)
quickly_compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


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


def test_softplus_and_its_derivative_are_exact_everywhere():
    x = np.concatenate([np.linspace(-30, 30, 601), [-1e4, -100, -1e-6, 0, 1e-6, 100, 1e4]])
    exact = np.logaddexp(0, x)
    np.testing.assert_allclose(softplus(jnp.float32(x)), exact, rtol=1e-6, atol=1e-30)
    slope = jax.vmap(jax.grad(softplus))(jnp.float32(x))
    np.testing.assert_allclose(slope, np.exp(-np.logaddexp(0, -x)), rtol=1e-6, atol=1e-30)


def test_standard_normal_is_the_gaussian_of_zeros():
    x, zeros = jnp.linspace(-3, 3, 7), jnp.zeros(7)
    np.testing.assert_allclose(StandardNormal(zeros).log_prob(x), Gaussian(zeros, zeros).log_prob(x), rtol=1e-6)
    key = jax.random.key(0)
    np.testing.assert_array_equal(StandardNormal(zeros).sample(key), Gaussian(zeros, zeros).sample(key))


@pytest.mark.parametrize(
    "make", [lambda: FixedGaussian(0.0), lambda: FixedGaussian(np.inf), lambda: LearnedGaussian(-1)]
)
def test_a_scale_has_to_be_positive(make):
    with pytest.raises(InputError, match="positive"):
        make()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_family_takes_as_many_arrays_as_it_says(name):
    family = LIKELIHOODS[name]

    def all_of_it(zeros):
        likelihood = family(*[zeros] * family.parameters)
        return likelihood.log_prob(jnp.ones((2, 3))), likelihood.mean, likelihood.sample(jax.random.key(0))

    assert [made.shape for made in jax.eval_shape(all_of_it, jnp.zeros((2, 3)))] == [(2, 3)] * 3


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_likelihood_may_be_flattened_and_its_samples_are_pixels(name):
    """`reconstruction` flattens every field; what a family is given has as many axes as the image."""
    family, rng = LIKELIHOODS[name], np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(size=(3, 2, 4, 1)), jnp.float32)
    arrays = jnp.asarray(rng.normal(size=(family.parameters, *x.shape)), jnp.float32)

    @quickly_compiled
    def all_of_it(arrays):
        likelihood = family(*arrays)
        both = reconstruction(likelihood, x), -likelihood.log_prob(x).sum(axis=(1, 2, 3))
        return *both, likelihood.mean, likelihood.sample(jax.random.key(2))

    flat, summed, mean, drawn = all_of_it(arrays)
    np.testing.assert_allclose(flat, summed, rtol=1e-5)
    assert drawn.dtype == jnp.float32 and drawn.shape == mean.shape == x.shape
    if name in ("bernoulli", "continuous_bernoulli", "discretized_logistic", "categorical"):
        assert 0 <= drawn.min() <= drawn.max() <= 1 and 0 <= mean.min() <= mean.max() <= 1


# --- the interval [0, 1] ---------------------------------------------------------------------------------------------

NEAR_HALF = [0.0, 1e-8, -1e-4, 0.01, 0.3, -0.999, 0.999, 1.0, 1.001, -1.001]  # the series ends at 1


def exact_normaliser(logits: float) -> float:
    """log of the integral of exp(logits x) over [0, 1], in float64."""
    return np.log(np.expm1(logits) / logits) if logits else 0.0


@settings(max_examples=50, deadline=None)
@given(logits=st.floats(-60, 60, width=32), x=st.floats(0, 1, width=32))
def test_continuous_bernoulli_is_the_normalised_density(logits, x):
    logits, x = float(logits), float(x)
    got = ContinuousBernoulli(jnp.float32(logits)).log_prob(jnp.float32(x))
    expected = logits * x - (exact_normaliser(logits) if abs(logits) > 1e-6 else logits / 2)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("logits", [*NEAR_HALF, -20.0, 3.0, 50.0])
def test_continuous_bernoulli_integrates_to_1_with_this_mean(logits):
    likelihood = ContinuousBernoulli(jnp.float32(logits))
    nodes, weights = np.polynomial.legendre.leggauss(100)
    x, weights = (nodes + 1) / 2, weights / 2
    density = np.exp(np.float64(likelihood.log_prob(jnp.float32(x))))
    np.testing.assert_allclose(weights @ density, 1, atol=1e-5)
    np.testing.assert_allclose(likelihood.mean, weights @ (x * density), atol=1e-6)


def test_the_constant_is_that_of_the_paper():
    """C(lambda) = 2 artanh(1 - 2 lambda) / (1 - 2 lambda), in terms of lambda = sigmoid(logits)."""
    for lam in (0.01, 0.3, 0.49, 0.77, 0.999):
        constant = 2 * np.arctanh(1 - 2 * lam) / (1 - 2 * lam)
        mean = lam / (2 * lam - 1) + 1 / (2 * np.arctanh(1 - 2 * lam))
        likelihood = ContinuousBernoulli(jnp.float32(np.log(lam / (1 - lam))))
        for x in (0.0, 0.2, 1.0):
            expected = np.log(constant) + x * np.log(lam) + (1 - x) * np.log(1 - lam)
            np.testing.assert_allclose(likelihood.log_prob(x), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(likelihood.mean, mean, rtol=1e-5)


@pytest.mark.parametrize("logits", [*NEAR_HALF, 80.0, -80.0, 1e4, -1e4])
def test_gradients_of_the_continuous_bernoulli_are_x_minus_the_mean(logits):
    for x in (0.0, 0.4, 1.0):
        slope = jax.grad(lambda logits, x=x: ContinuousBernoulli(logits).log_prob(x))(jnp.float32(logits))
        h = np.float64(logits) / 2
        mean = 0.5 + (0.5 / np.tanh(h) - 0.5 / h if abs(h) > 1e-3 else h / 6)
        np.testing.assert_allclose(slope, x - mean, atol=1e-5)


@pytest.mark.parametrize("logits", [-1e4, -8.0, 0.0, 1.5, 8.0])
def test_samples_of_the_continuous_bernoulli_have_its_moments(logits):
    likelihood = ContinuousBernoulli(jnp.full(50_000, logits))
    drawn = likelihood.sample(jax.random.key(0))
    assert 0 <= drawn.min() and drawn.max() <= 1
    np.testing.assert_allclose(drawn.mean(), likelihood.mean[0], atol=6 * 0.29 / np.sqrt(50_000))
    if abs(logits) < 100:  # the median, by the inverse of the cumulative distribution
        median = np.log1p(0.5 * np.expm1(logits)) / logits if logits else 0.5
        np.testing.assert_allclose((drawn < median).mean(), 0.5, atol=0.01)


# --- grey levels -----------------------------------------------------------------------------------------------------

GREYS = jnp.arange(256) / 255


def mixture(seed: int, components: int = 3, spread: float = 2.0, count: int = 256) -> DiscretizedLogistic:
    """One mixture, repeated."""
    drawn = spread * np.random.default_rng(seed).normal(size=(3, components, 1))
    return LogisticMixture(components)(*jnp.asarray(np.tile(drawn.reshape(-1, 1), count), jnp.float32))


@quickly_compiled
def log_masses(likelihood):
    return likelihood.log_prob(GREYS)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.3, 2.0, 6.0]))
def test_the_256_masses_of_the_logistic_mixture_are_those_of_its_cumulative_distribution(seed, spread):
    likelihood = mixture(seed, spread=spread)
    got = np.float64(log_masses(likelihood))
    logits, means, raw = (np.array([float(value[0]) for value in part]) for part in likelihood)
    weights = np.exp(logits - np.logaddexp.reduce(logits))
    scales = np.exp(-7 + np.logaddexp(0, raw + 7))
    edges = np.concatenate([[-np.inf], np.linspace(-1, 1, 511)[1::2], [np.inf]])  # half-way between levels
    standard = (edges[:, None] - means) / scales
    below, above = stats.logistic.cdf(standard), stats.logistic.sf(standard)
    mass = np.maximum(np.diff(below, axis=0), -np.diff(above, axis=0)) @ weights  # each side keeps its digits
    np.testing.assert_allclose(np.exp(got).sum(), 1, rtol=1e-4)
    kept = mass > 1e-12
    np.testing.assert_allclose(got[kept], np.log(mass[kept]), rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize(("mean", "log_scale"), [(0.0, 0.0), (0.9, -3.0), (-1.3, -1.0), (0.2, -7.0), (40.0, 2.0)])
def test_the_mean_of_the_logistic_mixture_is_within_half_a_level_of_the_sum_over_levels(mean, log_scale):
    """And much closer where the scale is wider than a level, which is 2 / 255 wide."""
    raw = -7 + np.log(np.expm1(max(log_scale + 7, 1e-3)))
    likelihood = LogisticMixture(2)(*(jnp.full(256, value) for value in (0.0, 1.0, mean, -0.5, raw, 0.0)))
    summed = (np.exp(np.float64(log_masses(likelihood))) * np.arange(256) / 255).sum()
    np.testing.assert_allclose(likelihood.mean[0], summed, atol=1e-4 if log_scale > -4 else 0.5 / 255)


def test_the_tails_of_the_logistic_mixture_are_finite_and_so_are_their_gradients():
    x = jnp.array([0.0, 1 / 255, 0.5, 1.0])

    @quickly_compiled
    def log_prob_and_slope(mean, raw):
        parts = [jnp.broadcast_to(value, x.shape) for value in (0.0, 3.0, mean, -mean, raw, raw)]
        value, back = jax.vjp(lambda parts: LogisticMixture(2)(*parts).log_prob(x), parts)
        return value, back(jnp.ones_like(x))

    for mean, raw in [(500.0, -50.0), (-500.0, -50.0), (0.0, 30.0), (0.0, -1e4), (1e4, 0.0)]:
        for found in jax.tree.leaves(log_prob_and_slope(mean, raw)):
            assert np.isfinite(found).all(), (mean, raw)


def test_a_far_mean_is_drawn_towards_the_pixel():
    """Even where the mass is below the smallest float32: the formula has no difference of nearly equal numbers."""
    slope = jax.grad(lambda mean: LogisticMixture(1)(jnp.zeros(1), mean, jnp.full(1, -6.0)).log_prob(0.5).sum())
    assert slope(jnp.array([2.0])) < -100 and slope(jnp.array([-2.0])) > 100


def test_samples_of_the_logistic_mixture_have_its_masses():
    drawn = mixture(7, spread=1.0, count=200_000).sample(jax.random.key(3))
    counts = np.bincount(np.rint(np.asarray(drawn) * 255).astype(int), minlength=256)
    mass = np.exp(np.float64(log_masses(mixture(7, spread=1.0))))
    pooled = [np.add.reduceat(values, np.arange(0, 256, 16)) for values in (counts, mass / mass.sum() * 200_000)]
    kept = pooled[1] > 20
    chi2 = ((pooled[0] - pooled[1])[kept] ** 2 / pooled[1][kept]).sum()
    assert kept.sum() > 5 and chi2 < stats.chi2.ppf(0.9999, kept.sum() - 1)


@quickly_compiled
def categorical(logits, x, key):
    """log p, the mean and 20,000 samples of one pixel."""
    likelihood = Categorical(tuple(logits[:, None] + jnp.zeros(x.shape)))
    many = PixelLevels(len(logits))(*jnp.broadcast_to(logits[:, None], (len(logits), 20_000)))
    return likelihood.log_prob(x), likelihood.mean, many.sample(key)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([2, 5, 17]))
def test_categorical_is_the_softmax(seed, levels):
    logits = 3 * np.random.default_rng(seed).normal(size=levels)
    mass = np.exp(logits - np.logaddexp.reduce(logits))
    greys = np.arange(levels) / (levels - 1)
    near = jnp.float32(np.concatenate([greys, greys * 0.99]))  # a value counts as the nearest level
    log_prob, mean, drawn = categorical(jnp.float32(logits), near, jax.random.key(seed))
    np.testing.assert_allclose(log_prob, np.tile(np.log(mass), 2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean, np.full(2 * levels, greys @ mass), rtol=1e-5)
    shares = np.bincount(np.rint(np.asarray(drawn) * (levels - 1)).astype(int), minlength=levels) / 20_000
    np.testing.assert_allclose(shares, mass, atol=0.02)


def test_the_gradient_of_categorical_is_the_level_minus_its_mass():
    logits = jnp.array([[0.3], [-1.0], [1000.0]])
    slope = jax.grad(lambda logits: PixelLevels(3)(*logits).log_prob(0.5).sum())(logits)
    np.testing.assert_allclose(slope[:, 0], [0, 1, -1], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: LogisticMixture(0), "at least 1 component, not 0"), (lambda: PixelLevels(1), "at least 2 levels")],
)
def test_a_mixture_of_nothing_and_a_single_level_are_refused(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def _classes(*modules):
    found = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    return {each.__name__: each for each in found if each.__module__.startswith("vaejax.")}


METHOD_MODULES = [importlib.import_module(f"vaejax.methods.{name}") for name in ("code_prior", "hierarchical_vae")]
DISTRIBUTIONS = {
    name: each
    for name, each in _classes(distributions, distributions.priors, quantizer, *METHOD_MODULES).items()
    if hasattr(each, "log_prob") and name != "Distribution"
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_every_distribution_says_whether_it_has_a_density(name):
    said = vars(DISTRIBUTIONS[name])["has_density"]
    assert isinstance(said, property) or said is (name not in ("Delta", "SwissRoll"))


def test_every_family_says_whether_it_is_sized():
    families = [*LIKELIHOODS.values(), *COLUMNS.values(), Delta, Gaussian, Categories(3), Mixed(("gaussian",))]
    assert all(type(family.sized) is bool for family in families)
    sized = {name for name, family in LIKELIHOODS.items() if is_sized(family)}
    assert sized == {"poisson", "negative_binomial", "zero_inflated_negative_binomial", "multinomial"}
    assert not any(is_sized(family) for family in COLUMNS.values())


def test_what_says_nothing_has_a_density_and_no_size():
    class Own:
        parameters = 1

    assert has_density(Own()) and not is_sized(Own()) and not shares_total(Own())
    point, normal = Delta(jnp.zeros((2, 3))), Gaussian(jnp.zeros((2, 3)), jnp.zeros((2, 3)))
    for wrapper, argument in ((Conditioned, jnp.ones((2, 1))), (Masked, jnp.ones((2, 3), bool))):
        assert not has_density(wrapper(point, argument)) and has_density(wrapper(normal, argument))
