"""FactorVAE: which gradient goes where, and that the discriminator learns to tell."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaejax import Batch, build, objectives, train
from vaejax.networks.discriminator import Discriminator

METHOD = build("factor_vae", (8, 8, 1), "mlp", latents=3, width=16, discriminator_width=16, discriminator_depth=2)
RATES = ("learning_rate", "discriminator_learning_rate")
BATCH = Batch(jax.random.uniform(jax.random.key(9), (32, 8, 8, 1)))


@pytest.fixture(scope="module")
def params():
    return METHOD.init(jax.random.key(0), BATCH)


@pytest.fixture(scope="module")
def gradient():
    """The gradient of any metric, or of the loss, alone."""

    def part(params, name, gamma):
        total, metrics = METHOD.loss(params, METHOD.hyper._replace(gamma=gamma), BATCH, jax.random.key(1), 0)
        return total if name == "total" else metrics[name]

    return jax.jit(jax.grad(part), static_argnums=1)


def norms(gradients):
    return {group: float(optax.tree.norm(tree)) for group, tree in gradients.items()}


def test_the_loss_of_the_discriminator_reaches_the_discriminator_only(params, gradient):
    found = norms(gradient(params, "discriminator_loss", 10.0))
    assert found["encoder"] == 0 and found["decoder"] == 0 and found["discriminator"] > 0


def test_the_loss_of_the_autoencoder_does_not_reach_the_discriminator(params, gradient):
    found = norms(gradient(params, "loss", 10.0))
    assert found["encoder"] > 0 and found["decoder"] > 0 and found["discriminator"] == 0


def test_the_total_correlation_reaches_the_encoder_only(params, gradient):
    found = norms(gradient(params, "total_correlation", 10.0))
    assert found["encoder"] > 0 and found["decoder"] == 0 and found["discriminator"] == 0


def test_the_gradient_of_the_scalar_is_that_of_each_group_by_its_own_loss(params, gradient):
    total, own, other = (gradient(params, name, 10.0) for name in ("total", "loss", "discriminator_loss"))
    expected = {"encoder": own["encoder"], "decoder": own["decoder"], "discriminator": other["discriminator"]}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), total, expected)


def test_gamma_does_not_change_what_the_discriminator_learns(params, gradient):
    few, many = (gradient(params, "total", gamma)["discriminator"] for gamma in (0.0, 100.0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), few, many)


def test_the_loss_is_the_equation(params):
    """gamma * mean(logit_real - logit_permuted) on top of the ELBO, from the discriminator's outputs by hand."""
    key, gamma = jax.random.key(1), 7.0
    total, metrics = METHOD.loss(params, METHOD.hyper._replace(gamma=gamma), BATCH, key, 0)
    z = METHOD.encode(params, BATCH).sample(key)
    logits = np.asarray(Discriminator(16, 2).apply(params["discriminator"], z), np.float64)
    correlation = (logits[:, 0] - logits[:, 1]).mean()
    np.testing.assert_allclose(metrics["total_correlation"], correlation, rtol=1e-4)
    expected = metrics["reconstruction"] + metrics["kl"] + gamma * correlation
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(total, metrics["loss"] + metrics["discriminator_loss"], rtol=1e-6)
    assert abs(metrics["discriminator_loss"] - math.log(2)) < 0.5


def test_each_group_has_its_own_adam(params):
    """With a learning rate of 0 a group stays where it is; the first step of Adam is its learning rate long."""
    state = train.init(METHOD, METHOD.hyper, jax.random.key(0), BATCH)
    step = jax.jit(lambda hyper, state: train.train_step(METHOD, lambda data, key: BATCH, hyper, (), state)[0].params)
    for still, moving in (RATES, RATES[::-1]):
        moved = step(METHOD.hyper._replace(**{still: 0.0, moving: 0.01}), state)
        distance = {
            group: max(float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, pair), strict=True))
            for group in moved
            for pair in [(moved[group], state.params[group])]
        }
        learns_discriminator = moving == "discriminator_learning_rate"
        for group, far in distance.items():
            expected = 0.01 if (group == "discriminator") == learns_discriminator else 0.0
            assert far == pytest.approx(expected, rel=1e-2), group


def test_the_moments_of_each_adam(params):
    """Gradients 1 and then 0 move by rate * b1/(1+b1) / sqrt(b2/(1+b2)) in the second step."""
    optimizer = METHOD.optimizer(METHOD.hyper._replace(learning_rate=1.0, discriminator_learning_rate=1.0))
    ones, zeros = (jax.tree.map(lambda leaf, value=value: jnp.full_like(leaf, value), params) for value in (1, 0))
    _, moments = optimizer.update(ones, optimizer.init(params), params)
    moves, _ = optimizer.update(zeros, moments, params)
    for group, (b1, b2) in {"encoder": (0.9, 0.999), "decoder": (0.9, 0.999), "discriminator": (0.5, 0.9)}.items():
        for leaf in jax.tree.leaves(moves[group]):
            np.testing.assert_allclose(leaf, -(b1 / (1 + b1)) / np.sqrt(b2 / (1 + b2)), rtol=1e-3)


def test_a_trained_discriminator_knows_the_total_correlation_of_a_gaussian():
    """Codes of a known Gaussian with correlation 0.8: TC = -1/2 log(1 - 0.64) = 0.51 nats."""
    network, adam = Discriminator(32, 2), optax.adam(3e-3)
    mix = jnp.array([[1.0, 0.0], [0.8, 0.6]])

    def step(state, key):
        params, moments = state
        codes_key, permutation_key = jax.random.split(key)
        z = jax.random.normal(codes_key, (256, 2)) @ mix.T

        def loss(params):
            real, shuffled = network.apply(params, z), network.apply(params, objectives.permuted(permutation_key, z))
            return objectives.telling_apart(real, shuffled).mean()

        updates, moments = adam.update(jax.grad(loss)(params), moments)
        return (optax.apply_updates(params, updates), moments), None

    @jax.jit
    def learn(key):
        params = network.init(key, jnp.zeros((1, 2)))
        (params, _), _ = jax.lax.scan(step, (params, adam.init(params)), jax.random.split(key, 1500))
        z = jax.random.normal(jax.random.key(7), (20_000, 2)) @ mix.T
        return objectives.density_ratio(network.apply(params, z)).mean()

    assert float(learn(jax.random.key(0))) == pytest.approx(-0.5 * math.log(1 - 0.64), abs=0.1)
