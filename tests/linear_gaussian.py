"""A linear-Gaussian method of which everything is known: the evidence, the posterior, and the bound of any encoder.

x = W z + b + noise of scale s,    z from N(0, I),    p(x) = N(b, W W' + s^2 I)
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from vaejax.distributions.basic import FixedGaussian, Gaussian
from vaejax.method import Batch, Method

SHAPE, PIXELS, SCALE = (2, 3, 1), 6, 0.5


class FullGaussian(NamedTuple):
    """N(mean, L L'): a distribution that is not independent in its elements, so that its density is one number."""

    mean: Any
    factor: Any

    def sample(self, key):
        return self.mean + jax.random.normal(key, self.mean.shape) @ self.factor.T

    def log_prob(self, z):
        whitened = jax.scipy.linalg.solve_triangular(self.factor, (z - self.mean).T, lower=True)
        log_det = jnp.log(jnp.diag(self.factor)).sum()
        return -0.5 * ((whitened**2).sum(axis=0) + z.shape[1] * jnp.log(2 * jnp.pi)) - log_det


class Exact(NamedTuple):
    """What is known, in float64."""

    evidence: np.ndarray  # log p(x) of every image
    elbo: np.ndarray  # of every image


def parameters(latents: int, seed: int = 0, off: float = 0.3) -> dict[str, Any]:
    """A random decoder, and an encoder whose means are `off` standard deviations away, and that is too wide."""
    rng = np.random.default_rng(seed)
    W, b = rng.normal(size=(PIXELS, latents)), rng.normal(size=PIXELS)
    precision = np.eye(latents) + W.T @ W / SCALE**2
    gain = np.linalg.solve(precision, W.T) / SCALE**2
    encoder = {
        "gain": gain,
        "shift": -gain @ b + off / np.sqrt(np.diag(precision)),
        "log_var": -np.log(np.diag(precision)) + off,
    }
    return jax.tree.map(jnp.float32, {"encoder": encoder, "decoder": {"W": W, "b": b}})


def method(full: bool = False) -> Method:
    """The method; with `full`, its posterior is exact, and not independent in its latents."""

    def encode(params, batch):
        mean = batch.x.reshape(len(batch.x), -1) @ params["encoder"]["gain"].T + params["encoder"]["shift"]
        if not full:
            return Gaussian(mean, jnp.broadcast_to(params["encoder"]["log_var"], mean.shape))
        W = params["decoder"]["W"]
        covariance = jnp.linalg.inv(jnp.eye(W.shape[1]) + W.T @ W / SCALE**2)
        return FullGaussian(mean, jnp.linalg.cholesky(covariance))

    return Method((), None, None, encode, decode, None, prior)  # pyright: ignore


def prior(params, batch):
    shape = (len(batch.x), params["decoder"]["W"].shape[1])
    return Gaussian(jnp.zeros(shape), jnp.zeros(shape))


def decode(params, z, batch=None):
    del batch
    return FixedGaussian(SCALE)((z @ params["decoder"]["W"].T + params["decoder"]["b"]).reshape(-1, *SHAPE))


def images(params, count: int, seed: int = 1) -> Batch:
    """Images from the model."""
    rng, (W, b) = np.random.default_rng(seed), wide(params)
    flat = rng.normal(size=(count, W.shape[1])) @ W.T + b + SCALE * rng.normal(size=(count, PIXELS))
    return Batch(jnp.asarray(flat.reshape(-1, *SHAPE), jnp.float32))


def wide(params) -> list[np.ndarray]:
    """W and b in float64."""
    return [np.asarray(params["decoder"][name], np.float64) for name in ("W", "b")]


def exact(params, batch: Batch) -> Exact:
    """log p(x) and log p(x) - KL(q || posterior) of every image."""
    (W, b), x = wide(params), np.asarray(batch.x, np.float64).reshape(len(batch.x), -1)
    evidence = stats.multivariate_normal(b, W @ W.T + SCALE**2 * np.eye(PIXELS)).logpdf(x)
    encoder = jax.tree.map(partial(np.asarray, dtype=np.float64), params["encoder"])
    precision = np.eye(W.shape[1]) + W.T @ W / SCALE**2
    gap = x @ encoder["gain"].T + encoder["shift"] - np.linalg.solve(precision, W.T @ (x - b).T).T / SCALE**2
    variance = np.exp(encoder["log_var"])
    trace = np.diag(precision) @ variance + np.einsum("ni,ij,nj->n", gap, precision, gap)
    kl = 0.5 * (trace - W.shape[1] - np.linalg.slogdet(precision)[1] - encoder["log_var"].sum())
    return Exact(evidence, evidence - kl)
