"""The denoising VAE's bounds, by hand."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import Batch, InputError, build
from vaejax.data import load
from vaejax.methods.parts.corruptions import CORRUPTIONS

SHAPE = (8, 8, 1)
DIGITS = load("digits")
KEY, STEP = jax.random.key(4), jnp.array(0)
quickly_compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@cache
def made(**structure):
    """A method whose functions are compiled, parameters with posteriors that differ, and a batch."""
    method = build("denoising_vae", SHAPE, "mlp", 3, 16, **structure)
    batch = DIGITS.sample(DIGITS.data, jax.random.key(3), 16)
    params = quickly_compiled(method.init)(jax.random.key(0), batch)
    compiled = {part: quickly_compiled(getattr(method, part)) for part in ("loss", "encode", "decode")}
    return (
        method._replace(**compiled),
        {**params, "encoder": jax.tree.map(lambda leaf: 2 * leaf, params["encoder"])},
        batch,
    )


def nats(method, params, batch, z):
    """-log p(x | z), log q(z | seen) and log p(z) of one draw, in float64."""
    seen = Batch(CORRUPTIONS["salt_and_pepper"](jax.random.fold_in(KEY, 1), batch.x, 0.3))
    posterior = method.encode(params, seen)
    logits = method.decode(params, z).logits
    mean, log_var, logits, x, z = (np.asarray(a, np.float64).reshape(16, -1) for a in (*posterior, logits, batch.x, z))
    distortion = (np.logaddexp(0, logits) - x * logits).sum(axis=1)
    log_q = -0.5 * ((z - mean) ** 2 / np.exp(log_var) + log_var + np.log(2 * np.pi)).sum(axis=1)
    kl = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).sum(axis=1)
    return posterior, distortion, log_q, -0.5 * (z**2 + np.log(2 * np.pi)).sum(axis=1), kl


def test_the_posterior_is_of_the_corrupted_image_and_the_likelihood_of_the_clean_one():
    method, params, batch = made()
    loss, metrics = method.loss(params, method.hyper._replace(level=0.3), batch, KEY, STEP)
    posterior, *_ = nats(method, params, batch, jnp.zeros((16, 3)))
    _, distortion, _, _, kl = nats(method, params, batch, posterior.sample(KEY))
    np.testing.assert_allclose(loss, (distortion + kl).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["kl"], kl.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["reconstruction"], distortion.mean(), rtol=1e-5)


@pytest.mark.parametrize("samples", [2, 10])
def test_the_importance_weighted_bound_is_the_equation(samples):
    method, params, batch = made(samples=samples)
    hyper = method.hyper._replace(level=0.3)
    loss, metrics = method.loss(params, hyper, batch, KEY, STEP)
    posterior, *_ = nats(method, params, batch, jnp.zeros((16, 3)))
    weights = []
    for key in jax.random.split(KEY, samples):
        _, distortion, log_q, log_prior, kl = nats(method, params, batch, posterior.sample(key))
        weights.append(np.exp(log_prior - distortion - log_q))
    np.testing.assert_allclose(loss, -np.log(np.mean(weights, axis=0)).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["kl"], kl.mean(), rtol=1e-5)


def test_more_samples_make_the_bound_tighter():
    losses = []
    for samples in (2, 10):
        method, params, batch = made(samples=samples)
        keys = [jax.random.key(k) for k in range(20)]
        losses.append(np.mean([method.loss(params, method.hyper, batch, key, STEP)[0] for key in keys]))
    assert losses[0] > losses[1] + 0.01


def test_bad_options_are_refused_in_one_line():
    with pytest.raises(InputError, match="at least samples=1 code of an image, not 0"):
        build("denoising_vae", SHAPE, "mlp", samples=0)
    with pytest.raises(InputError, match="unknown corruption 'dropout'"):
        build("denoising_vae", SHAPE, "mlp", corruption="dropout")
