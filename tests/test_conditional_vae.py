"""Conditional VAE: what each network sees, what counts in the likelihood, and labels that can't be."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import stats

from vaejax import (
    Batch,
    InputError,
    apply,
    build,
    conditional_vae,
    fit,
    grid,
    load_run,
    measure,
    metrics,
    objectives,
    train,
)
from vaejax.data import arrays, load
from vaejax.distributions.basic import Bernoulli, FixedGaussian, Gaussian, StandardNormal
from vaejax.distributions.conditions import Conditioned, Given, check_classes, one_hot
from vaejax.methods.conditional_vae import observed
from vaejax.storage.folder import claim

SHAPE = (8, 8, 1)
DIGITS = load("digits")
BATCH = DIGITS.at(DIGITS.data, jnp.arange(32))
TINY = {"latents": 3, "width": 16}
quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def built(condition="label", prior="standard", **more):
    classes = {"classes": 10} if condition == "label" else {}
    return build("conditional_vae", SHAPE, "mlp", **TINY, condition=condition, prior=prior, **{**classes, **more})


@pytest.fixture(scope="module")
def started():
    """`(condition, prior) -> (method, params)`."""
    found = {}

    def of(condition, prior="standard"):
        if (condition, prior) not in found:
            method = built(condition, prior)
            found[condition, prior] = method, quickly(method.init)(jax.random.key(0), BATCH)
        return found[condition, prior]

    return of


def relabelled(label: int) -> Batch:
    return BATCH._replace(label=jnp.full(32, label))


def test_quadrants_are_where_they_should_be():
    masks = {count: observed(count, (4, 4, 1))[:, :, 0].astype(int).tolist() for count in (1, 2, 3)}
    above, below = [1, 1, 0, 0], [1, 1, 1, 1]
    assert masks[1] == [[0] * 4] * 2 + [above] * 2
    assert masks[2] == [above] * 4
    assert masks[3] == [below] * 2 + [above] * 2
    assert observed(1, (4, 4, 3)).all(axis=2).sum() == 4 and observed(1, (4, 4, 3)).sum() == 12


@pytest.mark.parametrize(
    ("condition", "prior"), [("label", "learned"), ("quadrant1", "learned"), ("label", "standard")]
)
def test_the_gradient_reaches_every_group(started, condition, prior):
    method, params = started(condition, prior)
    assert set(params) == {"encoder", "decoder"} | ({"prior"} if prior == "learned" else set())
    assert ("plane" in params["encoder"]) == (condition == "label")
    gradient = quickly(jax.grad(lambda p: method.loss(p, method.hyper, BATCH, jax.random.key(1), 0)[0]))(params)
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_the_prior_sees_the_condition_alone(started):
    """Other images with the same label have the same prior; with quadrants only the missing pixels may change."""
    other = BATCH._replace(x=BATCH.x[::-1])
    for condition, batch in (("label", other), ("quadrant2", BATCH._replace(x=BATCH.x.at[:, :, 4:].set(0.5)))):
        method, params = started(condition, "learned")
        before, after = (method.prior(params, b) for b in (BATCH, batch))
        jax.tree.map(np.testing.assert_array_equal, before, after)
        assert np.abs(method.encode(params, batch).base.mean - method.encode(params, BATCH).base.mean).max() > 1e-3
    seen = BATCH._replace(x=BATCH.x.at[:, 0, 0].set(0.7))
    assert np.abs(method.prior(params, seen).base.mean - before.base.mean).max() > 1e-4


def test_encoder_and_learned_prior_see_the_label(started):
    method, params = started("label", "learned")
    for function in (method.encode, method.prior):
        one, two = (function(params, relabelled(label)) for label in (1, 2))
        assert np.abs(one.base.mean - two.base.mean).max() > 1e-3
        np.testing.assert_array_equal(one.mean[:, 3:], np.eye(10)[np.ones(32, int)])


def test_generated_images_depend_on_the_label_and_on_nothing_else_of_the_batch(started):
    method, params = started("label")
    key = jax.random.key(2)
    ones, twos = (apply.generate(method, params, key, relabelled(label)) for label in (1, 2))
    assert np.abs(ones - twos).max(axis=(1, 2, 3)).min() > 1e-3
    blank = apply.generate(method, params, key, Batch(jnp.zeros_like(BATCH.x), label=jnp.ones(32, jnp.int32)))
    np.testing.assert_array_equal(ones, blank)


def test_a_trained_model_draws_the_digit_that_was_asked_for():
    """The mean of the images of which class is nearest to a generated one?"""
    method = build("conditional_vae", SHAPE, "mlp", latents=3, width=32, classes=10, prior="learned")
    result = fit(method, DIGITS, grid(method.hyper, 1, learning_rate=3e-3), steps=300, batch_size=64)
    x, label = (np.asarray(DIGITS.data[name]) for name in ("x", "label"))
    means = np.stack([x[label == digit].mean(axis=0) / 16 for digit in range(10)])
    asked = jnp.repeat(jnp.arange(10), 20)
    batch = Batch(jnp.zeros((200, *SHAPE)), label=asked)
    drawn = np.asarray(apply.generate(method, result.params_of(0), jax.random.key(0), batch))
    distance = ((drawn[:, None] - means) ** 2).sum(axis=(2, 3, 4))
    assert (distance.argmin(axis=1) == asked).mean() > 0.85


@pytest.mark.parametrize(("condition", "known"), [("quadrant1", 16), ("quadrant2", 32), ("quadrant3", 48)])
def test_the_likelihood_counts_what_is_missing_by_hand(started, condition, known):
    method, params = started(condition)
    latents = method.encode(params, BATCH).sample(jax.random.key(0))
    assert latents.shape == (32, 3 + known)
    likelihood = method.decode(params, latents)
    assert isinstance(likelihood, Given) and isinstance(likelihood.base, Bernoulli)
    mask = observed(int(condition[-1]), SHAPE)
    x, p = np.asarray(BATCH.x, np.float64), 1 / (1 + np.exp(-np.asarray(likelihood.base.logits, np.float64)))
    nats = np.where(mask, 0.0, x * np.log(p) + (1 - x) * np.log(1 - p))
    np.testing.assert_allclose(likelihood.log_prob(BATCH.x), nats, atol=1e-5)
    assert (nats != 0).sum() == 32 * (64 - known)
    np.testing.assert_allclose(objectives.reconstruction(likelihood, BATCH.x), -nats.sum(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(likelihood.mean, np.where(mask, x, p), atol=1e-6)
    drawn = np.asarray(likelihood.sample(jax.random.key(1)))
    np.testing.assert_array_equal(drawn[:, mask], np.asarray(BATCH.x)[:, mask])
    assert set(np.unique(drawn[:, ~mask])) == {0, 1}


def test_observed_pixels_of_the_target_never_count(started):
    method, params = started("quadrant2")
    likelihood = method.decode(params, method.encode(params, BATCH).mean)
    wrong = jnp.where(observed(2, SHAPE)[None], 1 - BATCH.x, BATCH.x)
    np.testing.assert_array_equal(likelihood.log_prob(wrong), likelihood.log_prob(BATCH.x))
    missing = jnp.where(observed(2, SHAPE)[None], BATCH.x, 1 - BATCH.x)
    assert (objectives.total_log_prob(likelihood, missing) != objectives.total_log_prob(likelihood, BATCH.x)).all()


def test_apply_keeps_what_is_observed(started):
    method, params = started("quadrant3")
    mask = observed(3, SHAPE)
    for images in (apply.reconstruct(method, params, BATCH), apply.generate(method, params, jax.random.key(0), BATCH)):
        np.testing.assert_array_equal(np.asarray(images)[:, mask], np.asarray(BATCH.x)[:, mask])
        assert (np.asarray(images)[:, ~mask] != np.asarray(BATCH.x)[:, ~mask]).any()


def test_the_rate_to_a_learned_prior_is_the_closed_form(started):
    method, params = started("label", "learned")
    params = jax.tree.map(lambda leaf: 3 * leaf, params)
    posterior, prior = method.encode(params, BATCH), method.prior(params, BATCH)
    assert isinstance(posterior, Conditioned) and isinstance(prior.base, Gaussian)
    m, v, n, w = (np.asarray(leaf, np.float64) for leaf in (*posterior.base, *prior.base))
    exact = 0.5 * (((m - n) ** 2 + np.exp(v)) / np.exp(w) - 1 + w - v)
    found = objectives.rate_per_latent(posterior, prior)
    rate = objectives.rate(posterior, prior, posterior.mean)
    np.testing.assert_allclose(rate, exact.sum(axis=1), rtol=1e-5)
    assert found.shape == (32, 3) and exact.mean() > 0.1
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)
    _, metric = method.loss(params, method.hyper, BATCH, jax.random.key(0), 0)
    np.testing.assert_allclose(metric["kl"], exact.sum(axis=1).mean(), rtol=1e-5)


def test_the_densities_of_conditioned_latents_are_those_of_z():
    base, condition = Gaussian(jnp.ones((2, 3)), jnp.zeros((2, 3))), jnp.array([[5.0], [7.0]])
    both = Conditioned(base, condition)
    latents = both.sample(jax.random.key(0))
    np.testing.assert_array_equal(latents[:, 3:], condition)
    np.testing.assert_array_equal(both.mean, [[1, 1, 1, 5], [1, 1, 1, 7]])
    np.testing.assert_array_equal(both.log_prob(latents), base.log_prob(latents[:, :3]))
    np.testing.assert_array_equal(
        objectives.rate(both, Conditioned(StandardNormal(jnp.zeros((2, 3))), condition), latents), base.kl().sum(axis=1)
    )


class Linear(nn.Module):
    """A linear encoder, and a linear decoder of images 2 x 2."""

    outputs: int

    @nn.compact
    def __call__(self, inputs, parameters):
        h = nn.Dense(self.outputs * parameters, bias_init=nn.initializers.normal(0.5))(inputs.reshape(len(inputs), -1))
        return tuple(jnp.split(h.reshape(len(inputs), -1), parameters, axis=-1))


class LinearImage(nn.Module):
    @nn.compact
    def __call__(self, latents, parameters):
        return tuple(part.reshape(-1, 2, 2, 1) for part in Linear(4)(latents, parameters))


@pytest.mark.parametrize("prior", ["standard", "learned"])
def test_the_conditional_likelihood_is_exact_for_a_linear_gaussian_model(prior):
    """log p(missing | observed) = log N(W_z m(o) + W_c o + b, W_z S(o) W_z^T + s^2 I), by importance sampling."""
    method = conditional_vae(Linear(2), LinearImage(), FixedGaussian(0.7), condition="quadrant1", prior=prior)
    batch = Batch(jax.random.uniform(jax.random.key(5), (6, 2, 2, 1)))
    params = method.init(jax.random.key(1), batch)
    found = metrics.log_likelihood(method, params, batch, jax.random.key(2), samples=20_000, chunk=2000)

    layer = params["decoder"]["params"]["Linear_0"]["Dense_0"]
    kernel, bias = (np.asarray(layer[name], np.float64) for name in ("kernel", "bias"))
    base = method.prior(params, batch).base
    mean = np.asarray(base.mean, np.float64)
    variance = np.exp(np.asarray(base.log_var, np.float64)) if prior == "learned" else np.ones((6, 2))
    x = np.asarray(batch.x, np.float64).reshape(6, 4)
    missing = [0, 1, 3]  # 2 is the lower left
    exact = [
        stats.multivariate_normal(
            (m @ kernel[:2] + o * kernel[2] + bias)[missing],
            (kernel[:2].T @ np.diag(v) @ kernel[:2])[np.ix_(missing, missing)] + 0.49 * np.eye(3),
        ).logpdf(image[missing])
        for m, v, o, image in zip(mean, variance, x[:, 2], x, strict=True)
    ]
    assert prior == "standard" or mean.std() > 0.1
    np.testing.assert_allclose(found["log_likelihood"], np.mean(exact), atol=0.02)


def test_factors_are_scaled_by_how_many_values_they_have():
    method = built("factors", attributes=(5, 1, 3))
    batch = Batch(jnp.zeros((3, *SHAPE)), factors=jnp.array([[0, 0, 0], [4, 0, 2], [1, 0, 1]]))
    params = quickly(method.init)(jax.random.key(0), batch)
    posterior = method.encode(params, batch)
    np.testing.assert_array_equal(posterior.condition, [[0, 0, 0], [1, 0, 1], [0.25, 0, 0.5]])
    assert np.abs(posterior.base.mean[1:] - posterior.base.mean[:1]).max(axis=1).min() > 1e-3  # the image is the same
    with pytest.raises(InputError, match="these images have 3 factors, but attributes=7,7 are the values of 2"):
        built("factors", attributes=(7, 7)).encode(params, batch)
    with pytest.raises(InputError, match="the condition is ground-truth factors, and these images have none"):
        method.encode(params, BATCH)


def test_the_condition_is_no_part_of_the_measured_code():
    method = built("label", "learned")
    runs = fit(method, DIGITS, grid(method.hyper, 2), steps=10, batch_size=32)
    table = measure(method, DIGITS, runs.params, images=100).pivot(index="run", columns="metric", values="value")
    assert [name for name in table if name.startswith("kl_latent")] == [f"kl_latent_{j}" for j in range(3)]
    np.testing.assert_allclose(table["kl"], sum(table[f"kl_latent_{j}"] for j in range(3)), rtol=1e-5)
    assert table["active_units"].max() <= 3  # the one-hot label varies more than 0.01
    assert metrics.codes(method, DIGITS, runs.params, np.arange(7)).shape == (2, 7, 3)


def test_labels_that_are_no_class_are_refused_where_they_enter(tmp_path):
    method = built(classes=9)
    message = "labels run from 0 to 9, but the method has 9 classes, 0 to 8; build it with as many"
    with pytest.raises(InputError, match=message):
        fit(method, DIGITS, grid(method.hyper, 1), steps=1)
    params = quickly(method.init)(jax.random.key(0), BATCH)
    with pytest.raises(InputError, match=message):
        measure(method, DIGITS, jax.tree.map(lambda leaf: np.asarray(leaf)[None], params))
    with pytest.raises(InputError, match="labels run from 12 to 12"):
        apply.generate(method, params, jax.random.key(0), relabelled(12))
    path = tmp_path / "digits.npz"
    np.savez(path, x=np.asarray(DIGITS.data["x"]) * 15, label=np.asarray(DIGITS.data["label"]))
    with pytest.raises(InputError, match="labels run from 0 to 9"):
        fit(method, load(f"npz:{path}", window=1000), grid(method.hyper, 1), steps=1)


def test_traced_labels_pass_and_make_what_can_be_seen():
    method = built()
    assert jax.jit(lambda label: check_classes(method, label))(jnp.array([99])) is None
    np.testing.assert_array_equal(one_hot(jnp.array([1, 2, -1]), 2), [[0, 1], [np.nan] * 2, [np.nan] * 2])


def test_images_without_labels_are_refused_in_one_line():
    method, unlabelled = built(), arrays("mine", np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(InputError, match="this method reads labels, and these images have none"):
        fit(method, unlabelled, grid(method.hyper, 1), steps=1)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({}, "'label' has to know how many there are: give classes=N"),
        ({"classes": 0}, "give classes=N, not 0"),
        ({"classes": 3, "attributes": (2,)}, "the condition 'label' takes no attributes"),
        ({"condition": "factors"}, "as in attributes=3,6,40,32,32, not None"),
        ({"condition": "factors", "attributes": (3, 0)}, "how many values each"),
        ({"condition": "factors", "attributes": 3, "classes": 3}, "takes no classes; leave classes=3 out"),
        ({"condition": "quadrant1", "classes": 3}, "the condition 'quadrant1' takes no classes"),
        ({"condition": "quadrant4"}, "unknown condition 'quadrant4'; did you mean 'quadrant"),
        ({"classes": 3, "prior": "learnt"}, "unknown prior 'learnt'; did you mean 'learned'"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(structure, message):
    with pytest.raises(InputError, match=message):
        build("conditional_vae", SHAPE, "mlp", **structure)


def test_a_run_is_opened_again(tmp_path):
    model = {"method": "conditional_vae", "network": "mlp", **TINY, "condition": "quadrant2", "prior": "learned"}
    claim(tmp_path / "run", {"source": {"name": "digits"}, "model": model, "shape": SHAPE})
    method = build(shape=SHAPE, **model)
    result = fit(method, DIGITS, grid(method.hyper, 1), steps=2, batch_size=8, workdir=tmp_path / "run")
    run = load_run(tmp_path / "run")
    np.testing.assert_array_equal(
        run.method.encode(run.params_of(0), BATCH).mean, method.encode(result.params_of(0), BATCH).mean
    )


def test_a_convolutional_encoder_takes_the_plane():
    method = build("conditional_vae", (8, 8, 3), "conv", latents=3, width=4, classes=10, prior="learned")
    batch = Batch(jnp.zeros((2, 8, 8, 3)), label=jnp.arange(2))
    state = quickly(lambda key: train.init(method, method.hyper, key, batch))(jax.random.key(0))
    assert state.params["encoder"]["network"]["params"]["_Conv_0"]["kernel"].shape[2] == 4
    one, two = method.prior(state.params, batch).base.mean
    assert np.abs(one - two).max() > 1e-5
