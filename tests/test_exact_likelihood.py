"""A linear VAE with a Gaussian likelihood reaches the exact log-likelihood of probabilistic PCA.

With x = W z + b + noise the evidence is N(b, W Wᵀ + s² I) and the posterior is Gaussian. Its covariance is diagonal
when the columns of W are orthogonal, which the optimum can choose, so that the bound is tight there (Lucas et al. 2019,
"Don't blame the ELBO!", section 4). Tipping & Bishop (1999) give the largest evidence for a given s.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from scipy import stats

from vaejax import Batch, train, vae
from vaejax.distributions.basic import FixedGaussian, StandardNormal
from vaejax.objectives import rate, reconstruction

SHAPE, LATENTS, SCALE, COUNT = (2, 3, 1), 2, 0.5, 512


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, x, parameters):
        return tuple(jnp.split(nn.Dense(LATENTS * parameters)(x.reshape(len(x), -1)), parameters, axis=-1))


class Decoder(nn.Module):
    @nn.compact
    def __call__(self, z, parameters):
        return (nn.Dense(6)(z).reshape(-1, *SHAPE),)


def test_the_elbo_reaches_the_evidence_of_probabilistic_pca():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(COUNT, 3)) @ rng.normal(size=(3, 6)) + 0.4 * rng.normal(size=(COUNT, 6)) + 1.0
    data = jnp.asarray(flat.reshape(-1, *SHAPE), jnp.float32)
    values, vectors = np.linalg.eigh(np.cov(flat.T, bias=True))
    top = np.maximum(values[-LATENTS:] - SCALE**2, 0)
    covariance = (vectors[:, -LATENTS:] * top) @ vectors[:, -LATENTS:].T + SCALE**2 * np.eye(6)
    exact = stats.multivariate_normal(flat.mean(axis=0), covariance).logpdf(flat).mean()

    method = vae(Encoder(), Decoder(), FixedGaussian(SCALE))

    @jax.jit
    def fitted(key):
        state = train.init(method, method.hyper, key, Batch(data))
        for learning_rate in (3e-2, 1e-2, 1e-3, 1e-4):
            hyper = method.hyper._replace(learning_rate=learning_rate)
            state, _ = train.train(method, lambda data, key: Batch(data), 1000, hyper, data, state)
        return state.params

    params = fitted(jax.random.key(0))
    posterior = method.encode(params, Batch(data))

    @jax.jit
    def elbo(key):
        likelihood = method.decode(params, posterior.sample(key))
        return (
            -reconstruction(likelihood, data)
            - rate(posterior, StandardNormal(jnp.zeros_like(posterior.mean)), posterior.mean)
        ).mean()

    reached = jax.lax.map(elbo, jax.random.split(jax.random.key(1), 2000)).mean()
    kernel, bias = (np.asarray(params["decoder"]["params"]["Dense_0"][name], np.float64) for name in ("kernel", "bias"))
    evidence = stats.multivariate_normal(bias, kernel.T @ kernel + SCALE**2 * np.eye(6)).logpdf(flat).mean()
    assert reached < evidence + 0.01  # a bound, up to the error of 2,000 samples
    np.testing.assert_allclose(evidence, exact, atol=0.01)
    np.testing.assert_allclose(reached, exact, atol=0.02)
