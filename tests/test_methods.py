"""Every method through every capability it claims."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import METHODS, Batch, InputError, apply, build, train
from vaejax.distributions import LIKELIHOODS, Bernoulli, Delta, Gaussian
from vaejax.method import Method

SHAPE = (8, 8, 1)
CASES = [
    *[(method, "mlp", likelihood) for method in METHODS for likelihood in LIKELIHOODS],
    *[(method, "conv", "bernoulli") for method in METHODS],
    ("beta_vae", "conv_k2", "bernoulli"),
]


def blobs(data, key) -> Batch:
    """32 images of one bright square each, at a random place."""
    corner = jax.random.randint(key, (32, 2), 0, 5)
    inside = (jnp.arange(8) - corner[..., None]) // 4 == 0  # [32, 2, 8]
    return Batch((inside[:, 0, :, None] & inside[:, 1, None, :])[..., None].astype(jnp.float32))


@cache
def built(method: str, network: str, likelihood: str) -> Method:
    return build(method, SHAPE, network, latents=3, width=32 if network == "mlp" else 4, likelihood=likelihood)


@cache
def started(case) -> train.State:
    method = built(*case)
    return jax.jit(lambda key: train.init(method, method.hyper, key, blobs((), key)))(jax.random.key(0))


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_loss_is_finite_from_step_0_and_gradients_reach_every_parameter(case):
    method, state = built(*case), started(case)
    batch = blobs((), jax.random.key(1))
    grads, metrics = jax.jit(jax.grad(method.loss, has_aux=True))(state.params, method.hyper, batch, state.key, 0)
    assert all(np.isfinite(value) for value in metrics.values())
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(grad).all() and np.abs(grad).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_200_steps_lower_the_loss(case):
    method = built(*case)
    hyper = method.hyper._replace(learning_rate=3e-3)
    state, metrics = jax.jit(lambda state: train.train(method, blobs, 200, hyper, (), state))(started(case))
    assert int(state.step) == 200
    assert metrics["loss"][-20:].mean() < metrics["loss"][:20].mean() - 1


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_encode_decode_and_apply(case):
    method, state = built(*case), started(case)
    batch = blobs((), jax.random.key(2))
    posterior = method.encode(state.params, batch)
    assert posterior.mean.shape == (32, 3)
    assert isinstance(posterior, Delta if case[0] == "autoencoder" else Gaussian)
    assert method.decode(state.params, posterior.mean).log_prob(batch.x).shape == batch.x.shape
    remade = apply.reconstruct(method, state.params, batch.x)
    np.testing.assert_allclose(remade, method.decode(state.params, posterior.mean).mean)
    assert apply.generate(method, state.params, jax.random.key(0), 5, 3).shape == (5, *SHAPE)


def test_a_traversal_moves_one_code_and_leaves_the_others():
    case = ("beta_vae", "mlp", "bernoulli")
    method, params = built(*case), started(case).params
    z, values = jnp.array([0.3, -1.0, 2.0]), jnp.array([-2.0, 0.3, 1.0])
    rows = apply.traverse(method, params, z, values)
    assert rows.shape == (3, 3, *SHAPE)
    for latent in range(3):
        for step, value in enumerate(values):
            alone = method.decode(params, z.at[latent].set(value)[None]).mean[0]
            np.testing.assert_allclose(rows[latent, step], alone, atol=1e-6)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_beta_1_is_exactly_the_vae(network):
    plain, weighted = built("vae", network, "bernoulli"), built("beta_vae", network, "bernoulli")
    state = started(("vae", network, "bernoulli"))
    step = jax.jit(
        lambda state: (
            train.train_step(plain, blobs, plain.hyper, (), state),
            train.train_step(weighted, blobs, weighted.hyper._replace(beta=1.0), (), state),
        )
    )
    (one, one_metrics), (other, other_metrics) = step(state)
    jax.tree.map(np.testing.assert_array_equal, (one.params, one_metrics), (other.params, other_metrics))


def test_the_loss_is_the_equation():
    """-log p(x | z) + beta KL by hand, in float64, from the network's outputs."""
    method, state = built("beta_vae", "mlp", "bernoulli"), started(("beta_vae", "mlp", "bernoulli"))
    batch, key = blobs((), jax.random.key(3)), jax.random.key(4)
    loss, metrics = method.loss(state.params, method.hyper._replace(beta=3.0), batch, key, jnp.array(0))
    posterior = method.encode(state.params, batch)
    likelihood = method.decode(state.params, posterior.sample(key))
    assert isinstance(posterior, Gaussian) and isinstance(likelihood, Bernoulli)
    mean, log_var, logits = (np.asarray(a, np.float64) for a in (*posterior, likelihood.logits))
    p, x = 1 / (1 + np.exp(-logits)), np.asarray(batch.x, np.float64)
    distortion = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=(1, 2, 3)).mean()
    rate = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).sum(axis=1).mean()
    np.testing.assert_allclose([metrics["reconstruction"], metrics["kl"]], [distortion, rate], rtol=1e-5)
    np.testing.assert_allclose(loss, distortion + 3 * rate, rtol=1e-5)


def test_equal_names_give_the_same_object_and_unknown_ones_the_nearest():
    assert build("vae", SHAPE, "mlp") is build("vae", SHAPE, "mlp")
    with pytest.raises(InputError, match="unknown method 'beta-vae'; did you mean 'beta_vae'"):
        build("beta-vae", SHAPE, "mlp")
    with pytest.raises(InputError, match="unknown likelihood 'gauss'; did you mean 'gaussian'"):
        build("vae", SHAPE, "mlp", likelihood="gauss")
