"""Likelihoods of tables: categories, columns of different kinds, missing values; the same flat, mapped and compiled."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vaejax.distributions import LIKELIHOODS
from vaejax.distributions.basic import Bernoulli, FixedGaussian, LearnedGaussian
from vaejax.distributions.counts import NegativeBinomialCounts, PoissonCounts, ZeroInflatedCounts
from vaejax.distributions.masks import Masked, masked
from vaejax.distributions.mixed import Mixed
from vaejax.distributions.multinomial import MultinomialCounts
from vaejax.distributions.vectors import Categories, Category, LearnedStudentT
from vaejax.objectives import reconstruction

quickly_compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
KINDS = (
    *("gaussian_learned", "bernoulli", Categories(5), "poisson", "student_t", "gaussian", Categories(5)),
    *(LearnedStudentT(degrees=4), "negative_binomial", "zero_inflated_negative_binomial"),
)
OF = [
    *(LearnedGaussian(), Bernoulli, Categories(5), PoissonCounts(False), LearnedStudentT(), FixedGaussian()),
    *(Categories(5), LearnedStudentT(degrees=4), NegativeBinomialCounts(False), ZeroInflatedCounts(False)),
]
X = jnp.tile(jnp.array([0.3, 1, 4, 7, -2.5, 0.1, 0, 30, 12, 0]), (6, 1))
WHOLE = jnp.abs(jnp.round(X)) % 4
NAMES = ("student_t", "poisson", "negative_binomial", "zero_inflated_negative_binomial", "multinomial")
FAMILIES = {
    **{name: LIKELIHOODS[name] for name in NAMES},
    "negative_binomial by itself": NegativeBinomialCounts(False),
    "categories": Categories(4),
    "mixed": Mixed(KINDS),
}


def given(family, shape, seed=0):
    """A likelihood of examples of this shape."""
    raw = np.random.default_rng(seed).normal(size=(family.parameters, *shape))
    return family(*jnp.asarray(raw, jnp.float32))


# --- categories ------------------------------------------------------------------------------------------------------


def test_a_category_has_the_mass_of_the_softmax():
    logits = np.float32([[0.3, 80, -80], [-1, -80, 80], [2, 0, 0]])  # three levels of three elements
    likelihood = Categories(3)(*jnp.array(logits[:, None]))
    mass = np.exp(np.float64(logits) - np.logaddexp.reduce(np.float64(logits), axis=0))
    for level in range(3):
        log_mass = likelihood.log_prob(jnp.full((1, 3), float(level)))
        expected = np.float64(logits[level]) - np.logaddexp.reduce(np.float64(logits), axis=0)
        np.testing.assert_allclose(log_mass[0], expected, rtol=1e-5, atol=1e-6)
        assert (log_mass <= 0).all()
        slope = jax.grad(lambda *logits, at=level: Category(logits).log_prob(float(at)).sum())(*map(jnp.array, logits))
        np.testing.assert_allclose(slope, (level == 0) - mass[0], atol=1e-6)
    np.testing.assert_allclose(likelihood.probs[0], mass.T, rtol=1e-5, atol=1e-30)
    np.testing.assert_array_equal(likelihood.mean, [[2, 0, 1]])
    whole = jnp.array([1, 0, 2])
    np.testing.assert_array_equal(likelihood.log_prob(whole), likelihood.log_prob(whole.astype(float)))


def test_what_is_no_category_has_no_mass_and_nan_stays_nan():
    log_mass = Categories(3)(*jnp.zeros((3, 1, 5))).log_prob(jnp.array([[-1.0, 3.0, 1.5, jnp.nan, 2.0]]))
    np.testing.assert_allclose(log_mass, [[-np.inf, -np.inf, -np.inf, np.nan, -np.log(3)]], rtol=1e-6)


def test_samples_of_categories_have_their_shares():
    likelihood = Categories(3)(*jnp.broadcast_to(jnp.array([0.0, 1.0, -1.0])[:, None, None], (3, 20_000, 1)))
    shares = np.bincount(np.asarray(likelihood.sample(jax.random.key(0)), int).ravel()) / 20_000
    p = np.asarray(likelihood.probs[0, 0])
    assert (np.abs(shares - p) < 5 * np.sqrt(p * (1 - p) / 20_000)).all()


# --- columns of different kinds --------------------------------------------------------------------------------------


def test_columns_have_the_likelihoods_of_their_own_families():
    family = Mixed(KINDS)
    needed = [kind.parameters for kind in OF]
    assert family.parameters == -(-sum(needed) // len(OF))
    raw = np.float32(np.random.default_rng(1).normal(size=(family.parameters, *X.shape)))
    got = quickly_compiled(lambda raw: (family(*raw).log_prob(X), family(*raw).mean))(raw)
    rest = np.concatenate(raw[1:], axis=1)
    for column, own in enumerate(OF):
        start = sum(needed[:column]) - column
        numbers = [raw[0][:, column], *rest[:, start : start + needed[column] - 1].T]
        likelihood = own(*map(jnp.array, numbers))
        np.testing.assert_allclose(got[0][:, column], likelihood.log_prob(X[:, column]), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got[1][:, column], likelihood.mean, rtol=1e-5)


def test_a_mixed_likelihood_uses_all_that_a_network_gives_but_less_than_a_number_for_each_column():
    family = Mixed(("bernoulli", "gaussian", Categories(5)))
    raw = np.float32(np.random.default_rng(1).normal(size=(family.parameters, 1, 3)))
    slope = jax.grad(lambda raw: family(*raw).log_prob(jnp.array([[1.0, 0.3, 2.0]])).sum())(raw)
    assert family.parameters == 3 and (slope != 0).sum() == 7


def test_samples_of_columns_are_of_their_kinds():
    family = Mixed(KINDS)
    raw = np.random.default_rng(2).normal(size=(family.parameters, 1, len(OF)))
    likelihood = family(*jnp.tile(jnp.asarray(raw, jnp.float32), (1, 20_000, 1)))
    drawn = np.float64(quickly_compiled(lambda likelihood: likelihood.sample(jax.random.key(0)))(likelihood))
    counts = drawn[:, [3, 8, 9]]
    assert (counts >= 0).all() and (counts == np.round(counts)).all() and set(np.unique(drawn[:, 1])) == {0, 1}
    assert set(np.unique(drawn[:, [2, 6]])) == set(range(5))
    error = np.abs(drawn.mean(axis=0) - np.asarray(likelihood.mean[0]))
    for column in (0, 1, 3, 5, 7, 8, 9):
        assert error[column] < 5 * drawn[:, column].std() / np.sqrt(20_000), column


# --- flat, mapped over, compiled -------------------------------------------------------------------------------------


SHAPES = [
    *((name, (6, 10)) for name in FAMILIES),
    *((name, (6, 2, 5, 1)) for name in FAMILIES if name != "mixed"),
    ("mixed", (6, 2, 10)),
]


@pytest.mark.parametrize(("name", "shape"), SHAPES, ids=str)
def test_a_likelihood_may_be_flattened(name, shape):
    family = FAMILIES[name]
    x = jnp.resize(WHOLE, shape)
    likelihood = given(family, shape)
    likelihood = likelihood.sized(jnp.arange(1.0, 7)) if family.sized else likelihood
    assert likelihood.has_density is True and all(len(leaf) == 6 for leaf in jax.tree.leaves(likelihood))

    @quickly_compiled
    def both(likelihood):
        return reconstruction(likelihood, x), -likelihood.log_prob(x).reshape(6, -1).sum(axis=1)

    flat, summed = both(likelihood)
    assert np.isfinite(summed).all()
    np.testing.assert_allclose(flat, summed, rtol=1e-5)
    mask = jnp.arange(shape[1])[None] < jnp.array([[1], [2], [0], [1], [2], [1]])
    flat, summed = both(masked(likelihood, mask))
    np.testing.assert_allclose(flat, summed, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(flat[2], 0)


@pytest.mark.parametrize("name", FAMILIES)
def test_mapped_over_and_compiled_a_likelihood_is_the_same(name):
    family, x = FAMILIES[name], WHOLE
    runs = np.float32(np.random.default_rng(3).normal(size=(3, family.parameters, *X.shape)))

    def of_run(raw, key):
        likelihood = family(*raw)
        return likelihood.log_prob(x), likelihood.mean, likelihood.sample(key)

    keys = jax.random.split(jax.random.key(0), 3)
    mapped = quickly_compiled(jax.vmap(of_run))(runs, keys)
    alone = quickly_compiled(of_run)
    for run in range(3):
        for got, expected in zip((part[run] for part in mapped), alone(runs[run], keys[run]), strict=True):
            assert got.shape == expected.shape == x.shape and got.dtype == jnp.float32
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


# --- what is missing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FAMILIES, "bernoulli", "gaussian_learned"])
def test_what_is_missing_counts_nothing_whatever_is_there(name):
    family = FAMILIES[name] if name in FAMILIES else LIKELIHOODS[name]
    mask = jnp.asarray(np.random.default_rng(4).random(X.shape) < 0.6).at[0].set(False)
    x = WHOLE
    raw = jnp.asarray(np.random.default_rng(5).normal(size=(family.parameters, *X.shape)), jnp.float32)

    @quickly_compiled
    def loss_and_gradient(x):
        return jax.value_and_grad(lambda raw: Masked(family(*raw), mask).log_prob(x).sum())(raw)

    expected = loss_and_gradient(x)
    for other in (jnp.nan, jnp.inf, -7.5, 0.0, 50.0):
        got = loss_and_gradient(jnp.where(mask, x, other))
        jax.tree.map(np.testing.assert_array_equal, got, expected)
    assert np.isfinite(expected[0]) and np.isfinite(expected[1]).all()
    likelihood = Masked(family(*raw), mask)
    np.testing.assert_array_equal(np.asarray(likelihood.log_prob(x))[~np.asarray(mask)], 0)
    np.testing.assert_array_equal(likelihood.mean, family(*raw).mean)
    np.testing.assert_array_equal(likelihood.sample(jax.random.key(0)), family(*raw).sample(jax.random.key(0)))
    if name != "mixed" and not getattr(family, "sized", False):  # elsewhere they are parameters of other elements too
        np.testing.assert_array_equal(np.asarray(expected[1])[:, ~np.asarray(mask)], 0)
    assert np.asarray(expected[1])[0 if name == "mixed" else slice(None), 1:].any()


def test_multinomial_counts_are_those_among_what_is_there():
    logits, x = jnp.array([[0.5, -1.0, 2.0, 0.0]]), jnp.array([[3.0, 1.0, jnp.nan, 5.0]])
    there = np.array([True, True, False, True])
    shares = np.exp(np.float64(logits[0, there]))
    exact = stats.multinomial.logpmf([3, 1, 5], 9, shares / shares.sum())
    likelihood = Masked(MultinomialCounts()(logits), jnp.array(there[None]))
    np.testing.assert_allclose(likelihood.log_prob(x).sum(), exact, rtol=1e-5)
    slope = jax.grad(lambda logits: Masked(MultinomialCounts()(logits), there[None]).log_prob(x).sum())(logits)
    np.testing.assert_allclose(slope[0, there], [3, 1, 5] - 9 * shares / shares.sum(), rtol=1e-4)
    assert slope[0, 2] == 0


def test_padding_of_sequences_changes_nothing():
    """Of a loss and of the gradient of what is there, padded by 0 or by 50, or not at all."""
    raw = jnp.asarray(np.random.default_rng(6).normal(size=(2, 3, 7, 2)), jnp.float32)
    x, mask = jnp.round(4 * jnp.abs(raw[0])), jnp.arange(7)[None] < jnp.array([[4], [2], [3]])
    family = NegativeBinomialCounts(False)

    def loss(raw, x, mask):
        return reconstruction(masked(family(*raw), mask), x)

    short = loss(raw[:, :, :4], x[:, :4], mask[:, :4])
    slope = jax.grad(lambda raw: loss(raw, x, mask).sum())(raw)
    for padding in (0.0, 50.0, jnp.nan):
        padded = jnp.where(mask[..., None], x, padding)
        np.testing.assert_array_equal(loss(raw, padded, mask), short)
        np.testing.assert_array_equal(jax.grad(lambda raw, x=padded: loss(raw, x, mask).sum())(raw), slope)
    np.testing.assert_array_equal(np.asarray(slope)[:, ~np.asarray(mask)], 0)
