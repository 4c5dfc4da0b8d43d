"""Maximum mean discrepancy: the metric, and the two methods whose loss has it."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import InputError, build, objectives
from vaejax.data import load
from vaejax.distributions.basic import Delta, Gaussian
from vaejax.metrics import mmd

RNG = np.random.default_rng(0)
DIGITS = load("digits")
BATCH = DIGITS.at(DIGITS.data, jnp.arange(16))
KEY = jax.random.key(1)
quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def kernel(a, b):
    """By the equation, for two codes."""
    squared, base = sum((x - y) ** 2 for x, y in zip(a, b, strict=True)), 2 * len(a)
    return sum(s * base / (s * base + squared) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))


def by_hand(z, other):
    own, others = (
        sum(kernel(s[i], s[j]) for i, j in itertools.permutations(range(len(s)), 2)) / (len(s) * (len(s) - 1))
        for s in (z, other)
    )
    return own + others - 2 * np.mean([kernel(a, b) for a in z for b in other])


@pytest.mark.parametrize(("n", "m", "latents"), [(2, 2, 1), (4, 3, 2), (3, 6, 5)])
def test_mmd_of_tiny_sets_is_the_sum_over_pairs(n, m, latents):
    z, other = RNG.normal(size=(n, latents)), RNG.normal(size=(m, latents)) + 1
    found = mmd(z, other)
    assert list(found) == ["mmd", "scale"] and found["scale"] == 2 * latents
    assert found["mmd"] == pytest.approx(by_hand(z, other), abs=1e-6)
    inside = objectives.maximum_mean_discrepancy(jnp.asarray(z, jnp.float32), jnp.asarray(other, jnp.float32))
    assert float(inside) == pytest.approx(by_hand(z, other), abs=1e-6)


def test_mmd_is_unbiased():
    """Two points each, two draws of each: the mean over all 16 outcomes is exactly MMD^2 of the two distributions."""
    p, q = np.array([[0.0, 1.0], [2.0, -1.0]]), np.array([[1.0, 1.0], [-1.0, 0.5]])
    pairs = list(itertools.product(range(2), repeat=2))
    mean = np.mean([mmd(p[list(i)], q[list(j)])["mmd"] for i in pairs for j in pairs])

    def expected(a, b):
        return np.mean([kernel(x, y) for x in a for y in b])

    assert mean == pytest.approx(expected(p, p) + expected(q, q) - 2 * expected(p, q), abs=1e-6)


def test_mmd_is_around_0_for_equal_distributions_and_not_for_others():
    pairs = RNG.normal(size=(40, 2, 100, 3))
    found = np.array([mmd(*pair)["mmd"] for pair in pairs])
    assert abs(found.mean()) < 4 * found.std() / 40**0.5
    assert 8 < (found < 0).sum() < 36  # skewed, so more often below
    moved = np.array([mmd(pair[0], pair[1] + [1, 0, 0])["mmd"] for pair in pairs])
    narrow = np.array([mmd(pair[0], 0.6 * pair[1])["mmd"] for pair in pairs])
    assert moved.min() > found.max() and narrow.mean() > 5 * found.std()


def test_sets_longer_than_a_chunk_and_of_other_sizes():
    z, other = RNG.normal(size=(1203, 2)).astype(np.float32), 1.5 * RNG.normal(size=(701, 2)).astype(np.float32)
    assert mmd(z, other)["mmd"] == pytest.approx(float(objectives.maximum_mean_discrepancy(z, other)), abs=1e-5)


def test_the_order_of_the_codes_does_not_matter():
    z, other = RNG.normal(size=(30, 2)), RNG.normal(size=(20, 2))
    assert mmd(z[::-1], other)["mmd"] == pytest.approx(mmd(z, other)["mmd"], abs=1e-6)
    assert mmd(other, z)["mmd"] == pytest.approx(mmd(z, other)["mmd"], abs=1e-6)


@pytest.mark.parametrize(
    ("z", "other", "message"),
    [
        (np.ones((5, 2)), np.ones((5, 3)), "as many latents, not 2 with the prior's 3"),
        (np.ones((1, 2)), np.ones((5, 2)), "at least 2 codes and 2 of the prior, not 1 and 5"),
        (np.full((5, 2), np.nan), np.ones((5, 2)), "did the run diverge"),
    ],
)
def test_bad_input_is_one_clear_line(z, other, message):
    with pytest.raises(InputError, match=message):
        mmd(z, other)


def built(name, **structure):
    method = build(name, (8, 8, 1), "mlp", latents=3, width=16, **structure)
    return method, quickly(method.init)(jax.random.key(0), BATCH)


def terms(method, params):
    """z, distortion and MMD of the batch by hand."""
    posterior = method.encode(params, BATCH)
    z = posterior.sample(KEY)
    drawn = method.prior(params, BATCH).sample(jax.random.fold_in(KEY, 1))
    distortion = objectives.reconstruction(method.decode(params, z), BATCH.x).mean()
    return posterior, float(distortion), by_hand(np.asarray(z), np.asarray(drawn))


@pytest.mark.parametrize(("posterior", "kind"), [("deterministic", Delta), ("gaussian", Gaussian)])
def test_the_loss_of_the_wae_is_the_equation(posterior, kind):
    method, params = built("wae_mmd", posterior=posterior)
    loss, found = method.loss(params, method.hyper._replace(lambda_mmd=7.0), BATCH, KEY, 0)
    q, distortion, discrepancy = terms(method, params)
    assert isinstance(q, kind) and abs(discrepancy) > 0.01
    np.testing.assert_allclose([found["reconstruction"], found["mmd"]], [distortion, discrepancy], rtol=1e-4)
    np.testing.assert_allclose(loss, distortion + 7 * discrepancy, rtol=1e-5)


@pytest.mark.parametrize(("alpha", "weight"), [(0.0, 1.0), (0.3, 5.0), (1.0, 2.0)])
def test_the_loss_of_the_info_vae_is_the_equation(alpha, weight):
    method, params = built("info_vae")
    loss, found = method.loss(params, method.hyper._replace(alpha=alpha, lambda_mmd=weight), BATCH, KEY, 0)
    posterior, distortion, discrepancy = terms(method, params)
    rate = float(posterior.kl().sum(axis=1).mean())
    np.testing.assert_allclose([found["kl"], found["mmd"]], [rate, discrepancy], rtol=1e-4)
    np.testing.assert_allclose(loss, distortion + (1 - alpha) * rate + (alpha + weight - 1) * discrepancy, rtol=1e-5)


def test_info_vae_without_its_kl_is_the_gaussian_wae():
    info, params = built("info_vae")
    wae, _ = built("wae_mmd", posterior="gaussian")
    mine, _ = info.loss(params, info.hyper._replace(alpha=1.0, lambda_mmd=3.0), BATCH, KEY, 0)
    other, _ = wae.loss(params, wae.hyper._replace(lambda_mmd=3.0), BATCH, KEY, 0)
    np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_mmd_reaches_the_encoder_alone_and_draws_codes_to_the_prior():
    method, params = built("wae_mmd")
    gradient = quickly(jax.grad(lambda p: method.loss(p, method.hyper, BATCH, KEY, 0)[1]["mmd"]))(params)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient["decoder"]))
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient["encoder"]))
    z, prior = (
        jnp.asarray(4 + RNG.normal(size=(64, 3)), jnp.float32),
        jnp.asarray(RNG.normal(size=(64, 3)), jnp.float32),
    )
    pull = jax.jit(jax.grad(objectives.maximum_mean_discrepancy))(z, prior).mean(axis=0)
    assert (pull > 0).all()  # downhill is towards 0


def test_one_image_makes_a_loss_that_is_a_number():
    """A step on a batch of one is traced to know its memory; there are no pairs, and no discrepancy within them."""
    method, params = built("wae_mmd")
    loss, _ = method.loss(params, method.hyper, jax.tree.map(lambda leaf: leaf[:1], BATCH), KEY, 0)
    assert jnp.isfinite(loss)
    with pytest.raises(InputError, match="unknown posterior 'normal'"):
        build("wae_mmd", (8, 8, 1), "mlp", posterior="normal")
