"""Terms of objectives against enumeration, quadrature and closed forms."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from vaejax import InputError, objectives
from vaejax.distributions.basic import Gaussian, StandardNormal
from vaejax.methods.parts.schedules import anneal

N, D = 5, 2
RNG = np.random.default_rng(0)
MEAN, STD = RNG.normal(size=(N, D)), RNG.uniform(0.3, 1.0, size=(N, D))
POSTERIOR = Gaussian(jnp.asarray(MEAN, jnp.float32), jnp.asarray(2 * np.log(STD), jnp.float32))
CODES = MEAN + STD * RNG.normal(size=(N, D))  # z_n, drawn from q(z | x_n)
EXACT = np.full((1, N), -math.log(N))


aggregate = jax.jit(objectives.log_aggregate)
total_correlation = jax.jit(objectives.total_correlation)
traced_anneal = jax.jit(anneal)


def members(posterior, index) -> Gaussian:
    return jax.tree.map(lambda leaf: leaf[index], posterior)


def densities(z):
    """log q(z) and log q(z_d) of the mixture of all N posteriors, in float64."""
    given = norm.pdf(np.asarray(z, np.float64)[:, None], MEAN, STD)  # [B, N, D]
    return np.log(given.prod(axis=-1).mean(axis=1)), np.log(given.mean(axis=1))


def estimates(estimator: str, size: int):
    """log q(z_n) and log q(z_nd) by every ordered batch without repetition, for every image n in it; and all n."""
    weights = objectives.LOG_WEIGHTS[estimator](size, N)
    index = np.array(list(itertools.permutations(range(N), size)))
    joint, marginals = jax.jit(jax.vmap(objectives.log_aggregate, in_axes=(0, 0, None)))(
        CODES[index].astype(np.float32), members(POSTERIOR, index), weights
    )
    return np.asarray(joint).ravel(), np.asarray(marginals).reshape(-1, D), index.ravel()


def test_the_aggregate_posterior_of_all_images_is_the_mixture():
    z = jnp.asarray(RNG.normal(size=(7, D)), jnp.float32)
    joint, marginals = aggregate(z, POSTERIOR, EXACT)
    np.testing.assert_allclose(joint, densities(z)[0], rtol=1e-5)
    np.testing.assert_allclose(marginals, densities(z)[1], rtol=1e-5)


def test_total_correlation_of_all_images_is_what_quadrature_gives():
    line = np.linspace(-7, 7, 701)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, D)
    joint, marginals = densities(grid)
    density = np.exp(joint) * (line[1] - line[0]) ** 2
    assert abs(density.sum() - 1) < 1e-6
    truth = (density * (joint - marginals.sum(axis=-1))).sum()
    draws = 40_000
    index = RNG.integers(N, size=draws)
    z = jnp.asarray(MEAN[index] + STD[index] * RNG.normal(size=(draws, D)), jnp.float32)
    found = np.asarray(total_correlation(z, POSTERIOR, EXACT), np.float64)
    assert truth > 0.1
    assert abs(found.mean() - truth) < 4 * found.std() / math.sqrt(draws)


def test_independent_latents_have_no_total_correlation():
    """A grid of posteriors that are products: q(z) is the product of its marginals at every z."""
    one = jnp.array([-1.0, 0.3, 2.0])
    mean = jnp.stack(jnp.meshgrid(one, one), axis=-1).reshape(-1, 2)
    posterior = Gaussian(mean, jnp.full_like(mean, -1.0))
    z = jnp.asarray(RNG.normal(size=(20, 2)), jnp.float32)
    np.testing.assert_allclose(total_correlation(z, posterior, np.full((1, 9), -math.log(9))), 0, atol=1e-5)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_stratified_estimates_of_the_density_are_unbiased_over_all_batches(size):
    """The mean of q(z_n) over every ordered batch that holds n is exactly q(z_n), for joint and marginals."""
    joint, marginals, image = estimates("mss", size)
    truth = densities(CODES)
    for n in range(N):
        np.testing.assert_allclose(np.exp(joint[image == n]).mean(), np.exp(truth[0][n]), rtol=2e-5)
        np.testing.assert_allclose(np.exp(marginals[image == n]).mean(axis=0), np.exp(truth[1][n]), rtol=2e-5)


def test_stratified_sampling_puts_the_smallest_weight_on_the_image_itself():
    """1/N is on the diagonal (and not in the first column); every row is a distribution."""
    weights = np.exp(objectives.stratified_log_weights(4, 100))
    np.testing.assert_allclose(np.diag(weights), 1 / 100, rtol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.sort(weights, axis=1)[0], [1 / 100, 97 / 300, 1 / 3, 1 / 3], rtol=1e-6)
    assert (np.sort(weights, axis=1) == np.sort(weights, axis=1)[0]).all()  # no image is treated differently
    np.testing.assert_allclose(objectives.stratified_log_weights(1, 8), -math.log(8), rtol=1e-6)


def test_the_batch_that_is_the_whole_data_set_gives_the_weighted_estimate_in_closed_form():
    """With M = N every weight is 1 / N^2: log q is too small by log N, and TC too large by (D - 1) log N, exactly."""
    z = jnp.asarray(CODES, jnp.float32)
    found = total_correlation(z, POSTERIOR, objectives.weighted_log_weights(N, N))
    exact = total_correlation(z, POSTERIOR, EXACT)
    np.testing.assert_allclose(found, exact + (D - 1) * math.log(N), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 4])
def test_weighted_estimates_have_the_expectation_of_their_weights_and_are_a_lower_bound(size):
    """Over all batches that hold n the others are equally likely: E q = q(z|x_n)/(N M) + (M-1)/(N M) mean of others."""
    joint, _, image = estimates("mws", size)
    given = norm.pdf(CODES[:, None], MEAN, STD).prod(axis=-1)  # q(z_n | x_j)
    own = np.diag(given)
    expected = (own + (size - 1) * (given.sum(axis=1) - own) / (N - 1)) / (N * size)
    for n in range(N):
        np.testing.assert_allclose(np.exp(joint[image == n]).mean(), expected[n], rtol=2e-5)
        assert joint[image == n].mean() < densities(CODES)[0][n]


def test_the_number_of_images_shifts_the_weighted_estimate_and_changes_no_gradient():
    mean = jax.jit(jax.value_and_grad(lambda z, weights: objectives.total_correlation(z, POSTERIOR, weights).mean()))
    z = jnp.asarray(CODES, jnp.float32)
    few, many = (mean(z, objectives.weighted_log_weights(N, size)) for size in (10, 1000))
    np.testing.assert_allclose(many[0] - few[0], (D - 1) * math.log(100), rtol=1e-5)
    np.testing.assert_allclose(many[1], few[1], atol=1e-6)


def test_stratified_total_correlation_is_near_the_exact_one_where_the_weighted_is_far():
    """200 posteriors, 100 batches of 64: the exact value by the whole mixture, averaged over the same codes."""
    count, size, latents = 200, 64, 3
    rng = np.random.default_rng(1)
    mean = rng.normal(size=(count, latents)) @ np.array([[1, 0.8, 0], [0, 0.6, 0], [0, 0, 1]])
    posterior = Gaussian(jnp.asarray(mean, jnp.float32), jnp.full((count, latents), -2.0))
    index = np.stack([rng.permutation(count)[:size] for _ in range(100)])
    z = members(posterior, index).sample(jax.random.key(0))
    found = jax.jit(jax.vmap(objectives.total_correlation, in_axes=(0, 0, None)))
    exact = total_correlation(z.reshape(-1, latents), posterior, np.full((1, count), -math.log(count))).mean()
    mws, mss = (
        found(z, members(posterior, index), make(size, count)).mean() for make in objectives.LOG_WEIGHTS.values()
    )
    assert 0.3 < exact < 0.8
    assert abs(mss - exact) < 0.1
    assert mws > exact + 5


def test_a_batch_larger_than_the_data_set_is_refused_for_stratified_sampling():
    with pytest.raises(InputError, match="data set of 3 images, not 4 at a time"):
        objectives.stratified_log_weights(4, 3)


def test_the_covariance_is_over_the_batch():
    z = RNG.normal(size=(50, 3)) * [1, 2, 3] + [5, -4, 0]
    np.testing.assert_allclose(objectives.covariance(jnp.asarray(z)), np.cov(z.T, bias=True), rtol=1e-4)


def test_the_dip_penalty_is_the_sum_of_its_squares():
    spread = jnp.array([[2.0, 0.5, 0.0], [0.5, 1.0, -1.0], [0.0, -1.0, 0.0]])
    off, own = 2 * (0.5**2 + 1), 1 + 0 + 1
    np.testing.assert_allclose(objectives.dip_penalty(spread, 3.0, 7.0), 3 * off + 7 * own, rtol=1e-6)
    assert objectives.dip_penalty(jnp.eye(4), 3.0, 7.0) == 0
    np.testing.assert_array_equal(jax.jit(jax.grad(objectives.dip_penalty))(jnp.eye(4), 3.0, 7.0), 0)


def test_the_capacity_bounds_the_mean_of_the_batch():
    rate, slope = jnp.array([1.0, 5.0, 3.0]), jax.jit(jax.grad(objectives.capacity_penalty))
    assert objectives.capacity_penalty(rate, 4.0) == 1.0
    assert objectives.capacity_penalty(rate, 2.5) == 0.5
    np.testing.assert_allclose(slope(rate, 4.0), -1 / 3, rtol=1e-6)
    np.testing.assert_allclose(slope(rate, 0.0), 1 / 3, rtol=1e-6)


def test_permuting_keeps_every_marginal_and_breaks_dependence():
    one = jnp.arange(1000.0)
    z = jnp.stack([one, one, -one], axis=1)
    shuffled = np.asarray(objectives.permuted(jax.random.key(0), z))
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(z, axis=0))
    assert (np.abs(np.corrcoef(shuffled.T) - np.eye(3)) < 0.15).all()


def test_the_ideal_discriminator_gives_the_density_ratio():
    """Logits log q and log prod q_d (up to a constant) give log q - sum log q_d; and log 2 where both are equal."""
    joint, marginals = densities(CODES)
    logits = jnp.stack([joint, marginals.sum(axis=-1)], axis=1) + 3.0
    np.testing.assert_allclose(objectives.density_ratio(logits), joint - marginals.sum(axis=-1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(objectives.telling_apart(jnp.ones((4, 2)), jnp.zeros((4, 2))), math.log(2), rtol=1e-6)
    sure = jnp.array([[9.0, -9.0]])
    np.testing.assert_allclose(objectives.telling_apart(sure, -sure), 0, atol=1e-6)
    np.testing.assert_allclose(objectives.telling_apart(-sure, -sure), 9.0, rtol=1e-4)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 200), st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 100))
def test_annealing_is_linear_and_then_stays(step, start, end, length):
    expected = np.interp(step, [0, length], [start, end]) if step < length else end
    np.testing.assert_allclose(traced_anneal(step, start, end, length), expected, rtol=1e-4, atol=1e-4)


def test_annealing_of_no_length_is_the_end_exactly_from_the_first_step_on():
    assert traced_anneal(0, 0.3, 0.7, 0.0) == np.float32(0.7)
    assert traced_anneal(10, 0.3, 0.7, 10.0) == np.float32(0.7)
    assert traced_anneal(0, 0.3, 0.7, 10.0) == np.float32(0.3)


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 2, 3)], ids=["vectors", "sequences", "grids"])
def test_the_rate_is_one_number_of_each_example_whatever_shape_latents_have(shape):
    """KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1) / 2 - log s, with m = 1, 2 and s = 2; to N(m, s^2) it is 0."""
    mean = jnp.stack([jnp.full(shape, 1.0), jnp.full(shape, 2.0)])
    posterior = Gaussian(mean, jnp.full(mean.shape, 2 * math.log(2)))
    each = np.array([(m**2 + 3) / 2 - math.log(2) for m in (1.0, 2.0)])
    prior = StandardNormal(jnp.zeros(mean.shape))
    per_latent = objectives.rate_per_latent(posterior, prior)
    assert per_latent.shape == mean.shape
    np.testing.assert_allclose(per_latent.reshape(2, -1), np.tile(each[:, None], math.prod(shape)), rtol=1e-6)
    np.testing.assert_allclose(objectives.rate(posterior, prior, mean), each * math.prod(shape), rtol=1e-6)
    np.testing.assert_array_equal(objectives.rate(posterior, posterior, mean), np.zeros(2))
    np.testing.assert_array_equal(objectives.rate_per_latent(posterior, posterior), np.zeros(mean.shape))
