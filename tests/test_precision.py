"""Rounding the factors of products, as hardware of low precision does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks.precision import in_precision, rounded
from vaejax import InputError, build, fit, grid
from vaejax.data import load

A, B = (np.random.default_rng(seed).standard_normal((5, 5)).astype(np.float32) for seed in (0, 1))


def cut(x, bits):
    return jax.lax.reduce_precision(x, 8, bits)


def test_factors_are_rounded_and_nothing_else():
    found = rounded(jax.jit(lambda a, b: jax.nn.relu(a @ b) + a / 3), 7)(A, B)
    np.testing.assert_allclose(found, jnp.maximum(cut(A, 7) @ cut(B, 7), 0) + A / 3, rtol=1e-6)
    assert np.abs(found - (np.maximum(A @ B, 0) + A / 3)).max() > 1e-3


def test_gradients_are_rounded_too():
    found = rounded(jax.grad(lambda a, b: (a @ b).sum()), 7)(A, B)
    np.testing.assert_array_equal(found, jnp.ones((5, 5)) @ cut(B, 7).T)


@pytest.mark.parametrize(("network", "bits", "tolerance"), [("mlp", 23, 1e-6), ("conv", 7, 3e-2)])
def test_all_bits_are_no_change_and_few_are_a_small_one(network, bits, tolerance):
    method, source = build("beta_vae", (8, 8, 1), network, latents=2, width=4), load("digits")
    batch, key = source.sample(source.data, jax.random.key(0), 4), jax.random.key(1)
    params = method.init(key, batch)
    got, want = (
        jax.jit(jax.value_and_grad(one.loss, has_aux=True))(params, method.hyper, batch, key, 0)
        for one in (in_precision(method, bits), method)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance), got, want)


def test_an_unknown_precision_is_refused():
    method = build("vae", (8, 8, 1), "mlp", latents=2, width=4)
    with pytest.raises(InputError, match="unknown precision 'bf17'; did you mean 'bf16'"):
        fit(method, load("digits"), grid(method.hyper, 1), steps=1, precision="bf17")
