"""What each corruption does to how many elements, and that level 0 does nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.methods.parts.corruptions import CORRUPTIONS, dropout

ALL = {**CORRUPTIONS, "dropout": dropout}
X = jax.random.uniform(jax.random.key(9), (100, 20, 20, 1), minval=0.1, maxval=0.9)


@pytest.mark.parametrize("name", ALL)
def test_level_0_gives_the_same_bits(name):
    spoilt = jax.jit(ALL[name])(jax.random.key(0), X, jnp.float32(0))
    assert spoilt.dtype == X.dtype
    np.testing.assert_array_equal(np.asarray(spoilt).view(np.int32), np.asarray(X).view(np.int32))


@pytest.mark.parametrize("name", ALL)
def test_the_level_is_traced_and_the_key_decides(name):
    traces = []
    spoil = jax.jit(lambda key, level: traces.append(None) or ALL[name](key, X, level))
    a, b = (spoil(jax.random.key(k), jnp.float32(0.3)) for k in (0, 1))
    np.testing.assert_array_equal(a, spoil(jax.random.key(0), jnp.float32(0.3)))
    assert np.mean(a != b) > 0.3
    spoil(jax.random.key(0), jnp.float32(0.5))
    assert len(traces) == 1


def share(mask) -> float:
    return float(np.mean(mask))


def test_masking_sets_a_share_to_0_and_leaves_the_rest():
    spoilt = CORRUPTIONS["masking"](jax.random.key(0), X, 0.25)
    assert share(spoilt == 0) == pytest.approx(0.25, abs=0.01)  # 40,000 elements: a standard error of 0.002
    assert share((spoilt == 0) | (spoilt == X)) == 1
    assert share((spoilt == 0).any(axis=(1, 2, 3))) == 1 and len(set(np.sum(spoilt == 0, axis=(1, 2, 3)).tolist())) > 9


def test_salt_and_pepper_sets_half_of_a_share_to_0_and_half_to_1():
    spoilt = CORRUPTIONS["salt_and_pepper"](jax.random.key(0), X, 0.4)
    assert share(spoilt == 0) == pytest.approx(0.2, abs=0.01)
    assert share(spoilt == 1) == pytest.approx(0.2, abs=0.01)
    assert share((spoilt == 0) | (spoilt == 1) | (spoilt == X)) == 1


def test_gaussian_noise_has_this_standard_deviation_and_is_not_clipped():
    noise = np.asarray(CORRUPTIONS["gaussian"](jax.random.key(0), X, 0.5) - X)
    assert noise.mean() == pytest.approx(0, abs=0.015) and noise.std() == pytest.approx(0.5, rel=0.02)
    assert (noise + X).min() < 0 and (noise + X).max() > 1


def test_dropout_keeps_the_mean():
    z = jnp.ones((1000, 40))
    dropped = dropout(jax.random.key(0), z, 0.25)
    assert share(dropped == 0) == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(dropped[dropped != 0], 1 / 0.75, rtol=1e-6)


@pytest.mark.parametrize("name", ["masking", "dropout"])
def test_level_1_leaves_nothing_and_a_finite_gradient(name):
    assert (ALL[name](jax.random.key(0), X, 1.0) == 0).all()
    gradient = jax.grad(lambda x: ALL[name](jax.random.key(0), x, jnp.float32(1)).sum())(X)
    assert (gradient == 0).all()
