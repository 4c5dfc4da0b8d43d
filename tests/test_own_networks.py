"""Networks of one's own in every method that takes any: dropout is on in the loss and off in use."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import vaejax
from vaejax import Batch, fit, grid
from vaejax.networks.calls import live
from vaejax.training.contract import check_method

SHAPE = (8, 8, 1)
X = np.random.default_rng(0).random((4, *SHAPE), np.float32)
BATCH = Batch(jnp.asarray(X), label=jnp.arange(4))
KEY, OTHER, STEP = jax.random.key(1), jax.random.key(2), jnp.zeros((), jnp.int32)


class Net(nn.Module):
    """A layer, dropout in one of the ways in which it is written, and a layer."""

    size: int | tuple[int, ...]
    how: str = "plain"

    @nn.compact
    def __call__(self, x, parameters):
        h = nn.relu(nn.Dense(32)(x.reshape(len(x), -1)))
        if self.how == "plain":
            h = nn.Dropout(0.5)(h)
        elif self.how == "always":
            h = nn.Dropout(0.5, deterministic=False)(h)
        elif self.how == "call":
            h = nn.Dropout(0.5)(h, deterministic=False)
        elif self.how == "rngs":
            h = nn.Dropout(0.5)(h, deterministic=not self.has_rng("dropout"))
        shape = (self.size,) if isinstance(self.size, int) else self.size
        return tuple(nn.Dense(int(np.prod(shape)))(h).reshape(-1, *shape) for _ in range(parameters))


class Told(nn.Module):
    size: int

    @nn.compact
    def __call__(self, x, parameters, deterministic=True):
        h = nn.Dropout(0.5, deterministic=deterministic)(nn.relu(nn.Dense(32)(x.reshape(len(x), -1))))
        return (nn.Dense(self.size)(h),) * parameters


class Training(nn.Module):
    size: int

    @nn.compact
    def __call__(self, x, parameters, *, train):
        h = nn.Dropout(0.5, deterministic=not train)(nn.relu(nn.Dense(32)(x.reshape(len(x), -1))))
        return (nn.Dense(self.size)(h),) * parameters


class Field(nn.Module):
    size: int
    deterministic: bool = True

    @nn.compact
    def __call__(self, x, parameters):
        h = nn.Dropout(0.5)(nn.relu(nn.Dense(32)(x.reshape(len(x), -1))), deterministic=self.deterministic)
        return (nn.Dense(self.size)(h),) * parameters


WAYS = [*(partial(Net, how=how) for how in ("plain", "always", "call", "rngs")), Told, Training, Field]
METHODS = {  # noise of their own is off, so that the loss changes with the key by dropout alone
    "autoencoder": {},
    "sparse_autoencoder": {},
    "kl_sparse_autoencoder": {},
    "k_sparse_autoencoder": {},
    "contractive_autoencoder": {},
    "denoising_autoencoder": {},
    "wae_mmd": {},
    "adversarial_autoencoder": {"discriminator_width": 8},
    "vq_vae": {"codes": 4, "codebook": "gradient"},
    "fsq_vae": {"levels": (5, 5, 5)},
    "vae": {},
    "beta_vae": {},
    "iwae": {"samples": 2, "estimator": "dreg"},
    "denoising_vae": {},
    "conditional_vae": {"classes": 4, "prior": "learned"},
    "vamp_vae": {"components": 2},
    "factor_vae": {"discriminator_width": 8},
    "beta_tcvae": {},
    "info_vae": {},
}
QUIET = {"level": 0.0, "lambda_adversarial": 0.0, "lambda_mmd": 0.0}


def made(name, encoder, decoder):
    method = getattr(vaejax, name)(encoder, decoder, **METHODS[name])
    hyper = method.hyper._replace(**{key: value for key, value in QUIET.items() if key in method.hyper._fields})
    return method._replace(hyper=hyper)


def reconstruction(method, params, key):
    return method.loss(params, method.hyper, BATCH, key, STEP)[1]["reconstruction"]


@pytest.mark.parametrize("way", WAYS, ids=["plain", "always", "call", "rngs", "told", "train", "field"])
def test_dropout_is_on_in_the_loss_and_off_in_use_however_it_is_written(way):
    method = vaejax.autoencoder(way(3), Net(SHAPE, "none"))
    params = method.init(KEY, BATCH)
    one, two = (float(reconstruction(method, params, key)) for key in (KEY, OTHER))
    assert abs(one - two) > 1e-4
    assert one == float(reconstruction(method, params, KEY))
    z = method.encode(params, BATCH).mean
    np.testing.assert_array_equal(z, method.encode(params, BATCH).mean)
    layers = params["encoder"]["params"]
    h = np.maximum(X.reshape(4, -1) @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"], 0)
    np.testing.assert_allclose(z, h @ layers["Dense_1"]["kernel"] + layers["Dense_1"]["bias"], atol=1e-5)
    dropped = method.encode(live(params, KEY), BATCH).mean
    assert np.abs(dropped - z).max() > 1e-2


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_dropout_of_either_network_is_on_in_the_loss_of_every_method(name, half):
    """A method that draws codes does it from the same key, so its networks without dropout are the reference."""
    with_dropout, without = ("plain", "none") if half == "encoder" else ("none", "plain")
    method = made(name, Net(3, with_dropout), Net(SHAPE, without))
    plain = made(name, Net(3, "none"), Net(SHAPE, "none"))
    params = method.init(KEY, BATCH)  # the same: dropout has none
    jax.tree.map(np.testing.assert_array_equal, params, plain.init(KEY, BATCH))
    expected, found = reconstruction(plain, params, KEY), reconstruction(method, params, KEY)
    assert abs(float(expected - found)) > 1e-4
    z, z_plain = (m.encode(params, BATCH).mean for m in (method, plain))
    np.testing.assert_array_equal(z, z_plain)
    np.testing.assert_array_equal(method.decode(params, z).mean, plain.decode(params, z).mean)
    assert check_method(method, jax.eval_shape(lambda: jax.tree.map(lambda leaf: leaf[:1], BATCH)))


def test_kept_units_are_divided_by_what_is_kept():
    method = vaejax.autoencoder(Net(3), Net(SHAPE, "none"))
    params = method.init(KEY, BATCH)
    keys = jax.random.split(KEY, 4000)
    mean = jax.jit(jax.vmap(lambda key: method.encode(live(params, key), BATCH).mean))(keys).mean(axis=0)
    np.testing.assert_allclose(mean, method.encode(params, BATCH).mean, atol=0.06)


def test_networks_with_dropout_train_and_every_run_and_step_draws_anew():
    source = vaejax.data.load("digits")
    method = vaejax.vae(Net(3), Net(SHAPE))
    result = fit(method, source, grid(method.hyper, 2, learning_rate=3e-3), steps=40, batch_size=32)
    losses = result.history["loss"]
    assert result.status == ["finished"] * 2 and (losses[:, -1] < losses[:, 0]).all() and losses[0, 0] != losses[1, 0]


def test_a_network_that_is_no_linen_module_is_called_as_it_is():
    class Linear:
        def init(self, key, inputs, parameters):
            return {"w": jax.random.normal(key, (64, 3))}

        def apply(self, params, inputs, parameters):
            return (inputs.reshape(len(inputs), -1) @ params["w"],) * parameters

    method = vaejax.vae(Linear(), Net(SHAPE))
    assert method.encode(method.init(KEY, BATCH), BATCH).mean.shape == (4, 3)


@pytest.mark.parametrize("name", [name for name in vaejax.METHODS])
def test_no_rank_is_promoted(name):
    from tests.test_methods import TABLE

    row = TABLE[name]
    method = vaejax.build(name, SHAPE, row.network, 3, 8, **row.structure)

    def used(key, batch):
        params = method.init(key, batch)
        gradient = jax.grad(method.loss, has_aux=True)(params, method.hyper, batch, key, STEP)
        posterior = method.encode(params, batch)
        z = posterior.sample(key)
        likelihood = method.decode(params, z)
        drawn = () if method.prior is None else method.prior(params, batch).sample(key)
        return gradient, posterior.mean, likelihood.mean, likelihood.log_prob(batch.x), drawn

    batch = Batch(jax.ShapeDtypeStruct((2, *SHAPE), jnp.float32), label=jax.ShapeDtypeStruct((2,), jnp.int32))
    with jax.numpy_rank_promotion("raise"):
        jax.eval_shape(used, jax.random.key(0), batch)
