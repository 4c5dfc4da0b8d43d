"""Adversarial autoencoder: which gradient goes where, what the discriminator sees, and that codes come to the prior."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaejax import Batch, InputError, apply, build, fit, grid, measure, metrics
from vaejax.data import arrays, load
from vaejax.distributions.basic import StandardNormal
from vaejax.distributions.priors import Ring, SwissRoll
from vaejax.networks.discriminator import Discriminator

SHAPE = (8, 8, 1)
DIGITS = load("digits")
BATCH = DIGITS.at(DIGITS.data, jnp.arange(32))
SMALL = {"width": 16, "discriminator_width": 16, "discriminator_depth": 2}
KEY = jax.random.key(1)
quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def built(prior="gaussian", **more):
    return build("adversarial_autoencoder", SHAPE, "mlp", latents=2, prior=prior, **{**SMALL, **more})


METHOD, LABELLED = built(), built("mixture", classes=10)


@pytest.fixture(scope="module")
def params():
    return quickly(METHOD.init)(jax.random.key(0), BATCH)


@pytest.fixture(scope="module")
def labelled():
    return quickly(LABELLED.init)(jax.random.key(0), BATCH)


@pytest.fixture(scope="module")
def gradient():
    """The gradient of any metric, or of the sum, alone."""

    def part(params, name, weight):
        hyper = METHOD.hyper._replace(lambda_adversarial=weight)
        total, found = METHOD.loss(params, hyper, BATCH, KEY, 0)
        return total if name == "total" else found[name]

    return quickly(jax.grad(part), static_argnums=1)


def norms(gradients):
    return {group: float(optax.tree.norm(tree)) for group, tree in gradients.items()}


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("discriminator_loss", {"discriminator"}),
        ("loss", {"encoder", "decoder"}),
        ("adversarial", {"encoder"}),
        ("reconstruction", {"encoder", "decoder"}),
    ],
)
def test_each_loss_reaches_its_own_groups_only(params, gradient, name, groups):
    assert {group for group, norm in norms(gradient(params, name, 3.0)).items() if norm > 0} == groups


def test_the_gradient_of_the_scalar_is_that_of_each_group_by_its_own_loss(params, gradient):
    total, own, other = (gradient(params, name, 3.0) for name in ("total", "loss", "discriminator_loss"))
    expected = {"encoder": own["encoder"], "decoder": own["decoder"], "discriminator": other["discriminator"]}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), total, expected)
    without = gradient(params, "total", 0.0)["discriminator"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), without, total["discriminator"])


def test_the_encoder_goes_where_the_discriminator_sees_the_prior(params, gradient):
    """A step down the gradient of -log D(z) raises D of the codes."""
    step = jax.tree.map(lambda leaf: -0.01 * leaf, gradient(params, "adversarial", 1.0)["encoder"])
    moved = {**params, "encoder": optax.apply_updates(params["encoder"], step)}
    before, after = (METHOD.loss(p, METHOD.hyper, BATCH, KEY, 0)[1] for p in (params, moved))
    assert after["adversarial"] < before["adversarial"]
    assert after["discriminator_loss"] > before["discriminator_loss"]


@pytest.mark.parametrize("name", ["plain", "labelled"])
def test_the_loss_is_the_equation(name, request, params):
    """From the discriminator's outputs by hand; with labels it sees [z, one-hot]."""
    method, p = (METHOD, params) if name == "plain" else (LABELLED, request.getfixturevalue("labelled"))
    total, found = method.loss(p, method.hyper._replace(lambda_adversarial=7.0), BATCH, KEY, 0)
    z = method.encode(p, BATCH).mean
    drawn = method.prior(p, BATCH).sample(jax.random.fold_in(KEY, 1))
    shown = (
        [z, drawn]
        if name == "plain"
        else [jnp.concatenate([c, jax.nn.one_hot(BATCH.label, 10)], 1) for c in (z, drawn)]
    )
    codes, prior = (np.asarray(Discriminator(16, 2).apply(p["discriminator"], c), np.float64) for c in shown)
    d_codes, d_prior = (1 / (1 + np.exp(logits[:, 1] - logits[:, 0])) for logits in (codes, prior))
    adversarial, telling = -np.log(d_codes).mean(), -0.5 * (np.log(d_prior) + np.log(1 - d_codes)).mean()
    np.testing.assert_allclose([found["adversarial"], found["discriminator_loss"]], [adversarial, telling], rtol=1e-4)
    np.testing.assert_allclose(found["loss"], found["reconstruction"] + 7 * adversarial, rtol=1e-5)
    np.testing.assert_allclose(total, found["loss"] + telling, rtol=1e-5)
    assert abs(telling - math.log(2)) < 0.5


def test_each_group_has_its_own_adam(params):
    rates = {"learning_rate": 0.1, "discriminator_learning_rate": 0.01}
    optimizer = METHOD.optimizer(METHOD.hyper._replace(**rates))
    ones = jax.tree.map(jnp.ones_like, params)
    moves, _ = optimizer.update(ones, optimizer.init(params), params)
    for group, rate in {"encoder": 0.1, "decoder": 0.1, "discriminator": 0.01}.items():
        for leaf in jax.tree.leaves(moves[group]):
            np.testing.assert_allclose(leaf, -rate, rtol=1e-3)


@pytest.mark.parametrize(
    ("prior", "kind"), [("gaussian", StandardNormal), ("mixture", Ring), ("swiss_roll", SwissRoll)]
)
def test_the_prior_is_the_one_that_was_asked_for(prior, kind, params):
    found = built(prior).prior(params, BATCH)
    assert isinstance(found, kind) and found.sample(KEY).shape == found.mean.shape == (32, 2)


def test_the_prior_of_a_labelled_image_is_that_of_its_class(labelled):
    prior = LABELLED.prior(labelled, BATCH)
    np.testing.assert_array_equal(np.exp(prior.log_weights), np.eye(10)[np.asarray(BATCH.label)])
    whole = LABELLED.prior(labelled, Batch(BATCH.x))  # to draw images of any class
    np.testing.assert_allclose(np.exp(whole.log_weights), 0.1, rtol=1e-5)
    three = built("mixture", classes=3)
    assert three.prior(labelled, BATCH._replace(label=BATCH.label % 3)).log_weights.shape == (32, 3)
    same = built("gaussian", classes=10).prior(labelled, BATCH)
    assert isinstance(same, StandardNormal)


def test_encoder_and_decoder_do_without_labels(labelled):
    other = BATCH._replace(label=(BATCH.label + 1) % 10)
    np.testing.assert_array_equal(LABELLED.encode(labelled, BATCH).mean, LABELLED.encode(labelled, other).mean)
    np.testing.assert_array_equal(LABELLED.encode(labelled, Batch(BATCH.x)).mean, LABELLED.encode(labelled, BATCH).mean)
    one, two = (apply.generate(LABELLED, labelled, KEY, BATCH._replace(label=jnp.full(32, k))) for k in (0, 5))
    assert np.abs(one - two).max() > 1e-3


@pytest.fixture(scope="module")
def trained():
    """Two weights of the adversary, the ring of labels: 0 and 20."""
    method = built("mixture", classes=10, width=64, discriminator_width=64)
    rates = {"learning_rate": 1e-3, "discriminator_learning_rate": 1e-3}
    runs = grid(method.hyper, 1, lambda_adversarial=[0, 20], **rates)
    return method, fit(method, DIGITS, runs, steps=1500, batch_size=64, chunk=1)


def test_training_brings_codes_to_the_prior_of_their_labels(trained):
    method, result = trained
    batch = DIGITS.at(DIGITS.data, jnp.arange(1000))
    apart, near = [], []
    for run in range(2):
        params = result.params_of(run)
        z = np.asarray(method.encode(params, batch).mean)
        apart.append(metrics.mmd(z, np.asarray(method.prior(params, batch).sample(KEY)))["mmd"])
        place = np.round(np.arctan2(z[:, 1], z[:, 0]) / (2 * np.pi / 10)) % 10
        near.append((place == np.asarray(batch.label)).mean())
    assert apart[1] < apart[0] / 10
    assert near[0] < 0.3 and near[1] > 0.7


def test_it_is_measured_without_an_elbo(trained):
    method, result = trained
    found = set(measure(method, DIGITS, result.params, images=100)["metric"])
    assert found == {"reconstruction", "squared_error", "active_units"}


def test_a_gaussian_posterior_is_measured_where_its_prior_has_a_density(params):
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[None], quickly(built(posterior="gaussian").init)(KEY, BATCH))
    kl = [
        "kl" in set(measure(built(prior, posterior="gaussian"), DIGITS, one, images=100)["metric"])
        for prior in ("mixture", "swiss_roll")
    ]
    assert kl == [True, False]


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({"prior": "gauss"}, "unknown prior 'gauss'; did you mean 'gaussian'"),
        ({"posterior": "gauss"}, "unknown posterior 'gauss'"),
        ({"classes": 0}, "at least 1 class, not 0"),
        ({"discriminator_depth": 0}, "at least 1 layer of width 1, not 0 of 16"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(structure, message):
    with pytest.raises(InputError, match=message):
        built(**structure)


def test_latents_and_labels_that_do_not_fit_are_refused_in_one_line():
    flat = build("adversarial_autoencoder", SHAPE, "mlp", latents=3, prior="swiss_roll", **SMALL)
    with pytest.raises(
        InputError, match="the prior 'swiss_roll' lies in a plane, so that there have to be 2 latents, not 3"
    ):
        fit(flat, DIGITS, grid(flat.hyper, 1), steps=1)
    with pytest.raises(InputError, match="labels run from 0 to 9, but the method has 5 classes"):
        fit(built(classes=5), DIGITS, grid(METHOD.hyper, 1), steps=1)
    with pytest.raises(InputError, match="this method reads labels, and these images have none"):
        fit(LABELLED, arrays("mine", np.zeros((4, 8, 8), np.uint8)), grid(METHOD.hyper, 1), steps=1)
