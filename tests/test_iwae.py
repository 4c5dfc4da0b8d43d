"""The importance-weighted bound against quadrature, and both estimators of its gradient against each other."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import linear_gaussian as linear
from vaejax import Batch, InputError, iwae, vae
from vaejax.distributions.basic import FixedGaussian, Gaussian
from vaejax.objectives import iwae_bound

quickly_compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
LATENTS = 1


class Encoder:
    """The linear encoder of tests/linear_gaussian.py as a network."""

    def init(self, key, x, parameters):
        raise NotImplementedError

    def apply(self, params, x, parameters):
        mean = x.reshape(len(x), -1) @ params["gain"].T + params["shift"]
        return mean, jnp.broadcast_to(params["log_var"], mean.shape)


class Decoder(Encoder):
    """And its decoder."""

    def apply(self, params, x, parameters):
        return ((x @ params["W"].T + params["b"]).reshape(-1, *linear.SHAPE),)


@cache
def linear_iwae(samples: int, estimator: str = "iwae"):
    return iwae(Encoder(), Decoder(), FixedGaussian(linear.SCALE), samples, estimator)


@partial(quickly_compiled, static_argnums=0)
def loss_and_slope(method, params, batch, key):
    """The loss, its metrics and its gradient."""
    (loss, metrics), slope = jax.value_and_grad(method.loss, has_aux=True)(params, method.hyper, batch, key, 0)
    return loss, metrics, slope


PARAMS = linear.parameters(LATENTS, off=0.8)
BATCH = linear.images(PARAMS, 4)


@cache
def losses(samples: int) -> np.ndarray:
    """The loss with 4,000 keys."""
    method = linear_iwae(samples)

    @quickly_compiled
    def every(keys):
        return jax.vmap(lambda key: method.loss(PARAMS, method.hyper, BATCH, key, 0)[0])(keys)

    return np.float64(every(jax.random.split(jax.random.key(0), 4000)))


def log_weights_at(nodes: np.ndarray) -> np.ndarray:
    """log w at z = mean + scale * node, for every image: [nodes, B], in float64 and by hand."""
    (W, b), x = linear.wide(PARAMS), np.asarray(BATCH.x, np.float64).reshape(4, -1)
    encoder = {name: np.asarray(value, np.float64) for name, value in PARAMS["encoder"].items()}
    scale = np.exp(encoder["log_var"][0] / 2)
    z = (x @ encoder["gain"].T + encoder["shift"])[:, 0] + scale * nodes[:, None]
    log_q = -0.5 * nodes[:, None] ** 2 - 0.5 * np.log(2 * np.pi) - np.log(scale)
    error = x - z[..., None] * W[:, 0] - b
    log_x = -0.5 * (error**2).sum(axis=-1) / linear.SCALE**2 - 6 * np.log(linear.SCALE * np.sqrt(2 * np.pi))
    return log_x - 0.5 * z**2 - 0.5 * np.log(2 * np.pi) - log_q


def test_the_bound_is_the_logarithm_of_the_mean_weight():
    log_weights = np.random.default_rng(0).normal(size=(5, 3)) * 30
    expected = np.log(np.exp(log_weights - log_weights.max(axis=0)).mean(axis=0)) + log_weights.max(axis=0)
    np.testing.assert_allclose(iwae_bound(jnp.float32(log_weights)), expected, rtol=1e-5)
    np.testing.assert_allclose(iwae_bound(jnp.float32(log_weights[:1])), log_weights[0], rtol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_the_loss_is_minus_the_bound_by_quadrature(samples):
    """Gauss-Hermite over the noise of every sample: its expectation, within four standard errors of 4,000 draws."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    every = log_weights_at(nodes)
    grids = np.meshgrid(*[np.arange(60)] * samples, indexing="ij")
    chance = np.prod([weights[grid.ravel()] for grid in grids], axis=0)
    bound = np.logaddexp.reduce([every[grid.ravel()] for grid in grids]) - np.log(samples)
    expected = -(chance @ bound).mean()
    found = losses(samples)
    np.testing.assert_allclose(found.mean(), expected, atol=4 * found.std() / np.sqrt(found.size))
    if samples == 1:
        np.testing.assert_allclose(expected, -linear.exact(PARAMS, BATCH).elbo.mean(), rtol=1e-6)


def test_the_bound_rises_with_samples_to_the_evidence():
    bounds = [-losses(samples).mean() for samples in (1, 2, 3, 20)]
    assert bounds[0] < bounds[1] - 0.05 < bounds[2] - 0.05 < bounds[3] - 0.05
    assert bounds[3] < linear.exact(PARAMS, BATCH).evidence.mean() + 0.01


def test_one_sample_is_a_vae_whose_kl_is_estimated():
    """The same loss and the same gradient in expectation."""
    plain = vae(Encoder(), Decoder(), FixedGaussian(linear.SCALE))

    @partial(quickly_compiled, static_argnums=0)
    def gradients(method, keys):
        def one(key):
            slope, metrics = jax.grad(method.loss, has_aux=True)(PARAMS, method.hyper, BATCH, key, 0)
            return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(slope)]), metrics["loss"]

        return jax.vmap(one)(keys)

    keys = jax.random.split(jax.random.key(1), 4000)
    (one, loss), (other, expected) = gradients(linear_iwae(1), keys), gradients(plain, keys)
    error = np.hypot(one.std(axis=0), other.std(axis=0)) / np.sqrt(4000)
    assert (np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4.5 * error).all()
    np.testing.assert_allclose(loss.mean(), expected.mean(), atol=4 * loss.std() / np.sqrt(4000))
    assert not np.allclose(one, other, atol=1e-3)


@cache
def many_gradients(estimator: str):
    """Gradients with respect to encoder and decoder of a bound of 5 samples, for 5,000 keys."""
    method = linear_iwae(5, estimator)

    @quickly_compiled
    def every(keys):
        def one(key):
            slope = jax.grad(lambda params: method.loss(params, method.hyper, BATCH, key, 0)[0])(PARAMS)
            return {group: jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(slope[group])]) for group in slope}

        return jax.vmap(one)(keys)

    return jax.tree.map(np.float64, every(jax.random.split(jax.random.key(2), 5000)))


def test_dreg_is_the_encoder_s_gradient_in_expectation_with_less_variance():
    one, other = many_gradients("iwae")["encoder"], many_gradients("dreg")["encoder"]
    gap = (one - other).mean(axis=0)
    assert (np.abs(gap) < 4.5 * (one - other).std(axis=0) / np.sqrt(len(one))).all()
    assert (np.abs(one.mean(axis=0)) > 10 * np.abs(gap)).any()  # so that it is no comparison of zeros
    assert (other.var(axis=0) < 0.6 * one.var(axis=0)).all()


def test_dreg_leaves_the_decoder_s_gradient_as_it_is():
    np.testing.assert_allclose(
        many_gradients("dreg")["decoder"], many_gradients("iwae")["decoder"], rtol=1e-4, atol=1e-4
    )


def test_dreg_is_its_formula():
    """sum_k v_k^2 (d log w_k / d z_k) (d z_k / d encoder), each factor by itself."""
    method, key = linear_iwae(3, "dreg"), jax.random.key(5)
    slope = loss_and_slope(method, PARAMS, BATCH, key)[2]["encoder"]
    expected = quickly_compiled(by_formula, static_argnums=0)(method, PARAMS["encoder"], key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), slope, expected)


def by_formula(method, encoder, key):
    """The gradient for 3 samples of each of 4 images, with respect to the encoder."""
    posterior = method.encode({**PARAMS, "encoder": encoder}, BATCH)
    W, b = PARAMS["decoder"]["W"], PARAMS["decoder"]["b"]

    def log_weight(z, x, q):
        log_x = FixedGaussian(linear.SCALE)(W @ z + b).log_prob(x.ravel()).sum()
        return log_x + Gaussian(jnp.zeros(1), jnp.zeros(1)).log_prob(z).sum() - q.log_prob(z).sum()

    def drawn(encoder, number):
        return method.encode({**PARAMS, "encoder": encoder}, BATCH).sample(jax.random.split(key, 3)[number])

    z = jnp.stack([drawn(encoder, k) for k in range(3)])
    over_images = jax.vmap(jax.value_and_grad(log_weight), (0, 0, 0))
    log_w, by_z = jax.vmap(over_images, (0, None, None))(z, BATCH.x, posterior)
    share = jax.nn.softmax(log_w, axis=0)
    parts = []
    for k in range(3):
        _, back = jax.vjp(lambda encoder, k=k: drawn(encoder, k), encoder)
        parts.append(back(-(share[k] ** 2)[:, None] * by_z[k] / len(BATCH.x))[0])
    return jax.tree.map(lambda *leaves: sum(leaves), *parts)


def test_an_exact_encoder_has_nothing_to_learn_from_any_sample():
    """The path of `dreg` alone is flat where q is the posterior; the gradient of `iwae` is noise there."""
    params = linear.parameters(LATENTS, off=0.0)

    def largest(estimator):
        slope = loss_and_slope(linear_iwae(4, estimator), params, BATCH, jax.random.key(0))[2]["encoder"]
        return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope))

    assert largest("dreg") < 1e-4 < 0.01 < largest("iwae")


def test_metrics_add_up_to_the_bound_of_single_samples():
    loss, metrics, _ = loss_and_slope(linear_iwae(3), PARAMS, BATCH, jax.random.key(0))
    assert metrics["loss"] == loss < metrics["reconstruction"] + metrics["kl"]
    assert 1 < metrics["effective_samples"] < 3
    loss, metrics, _ = loss_and_slope(linear_iwae(1), PARAMS, BATCH, jax.random.key(0))
    np.testing.assert_allclose(metrics["reconstruction"] + metrics["kl"], loss, rtol=1e-6)
    np.testing.assert_allclose(metrics["effective_samples"], 1)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({"samples": 0}, "at least 1 sample, not 0"),
        ({"samples": -3}, "at least 1 sample, not -3"),
        ({"estimator": "drag"}, "unknown estimator 'drag'; did you mean 'dreg'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(structure, message):
    with pytest.raises(InputError, match=message) as caught:
        iwae(Encoder(), Decoder(), **structure)
    assert "\n" not in str(caught.value)


def test_integers_of_a_batch_pass_through_dreg():
    """Labels and factors have no gradient, and its rule has to say so."""
    batch = Batch(BATCH.x, factors=jnp.zeros((4, 2), jnp.int32), label=jnp.arange(4))
    slope = loss_and_slope(linear_iwae(2, "dreg"), PARAMS, batch, jax.random.key(0))[2]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
