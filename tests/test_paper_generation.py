"""The protocols of conditional and adversarial autoencoders, tried out on small digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.papers import aae, quadrants
from experiments.papers.table import Setting
from vaejax.data import load
from vaejax.data.binarized import binarized
from vaejax.methods.conditional_vae import observed
from vaejax.networks.mlp import MLPDecoder


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Scikit-learn's digits in place of MNIST."""

    def small(self, split, change=""):
        source = load("digits", split)
        return binarized(source) if change == "+binarized" else source

    monkeypatch.setattr(Setting, "mnist", small)
    monkeypatch.setattr(aae, "SEEDS", 2)
    return Setting(tmp_path, quick=True)


@pytest.mark.slow
def test_the_quadrants_of_all_models(quick, monkeypatch):
    monkeypatch.setattr(quadrants, "PUBLISHED", {2: quadrants.PUBLISHED[2]})
    network, bound, sampled, other_bound, other_sampled, gain = quadrants.rows(quick)
    assert network.what == "2 quadrants: network, -CLL" and network.published == 61.9
    assert (bound.published, bound.low, bound.high) == (51.0, pytest.approx(48.45), pytest.approx(53.55))
    assert sampled.measured < bound.measured and other_sampled.measured < other_bound.measured
    assert other_bound.measured != bound.measured
    assert gain.measured == pytest.approx(network.measured - bound.measured) and gain.low == 0
    assert 15 < network.measured < 40  # 32 missing pixels, little trained: about log 2 each
    assert {path.name for path in quick.folder.iterdir()} == {"network-2", "cvae-2", "cvae_sees_x-2"}


def test_a_decoder_of_codes_does_not_see_the_condition():
    decoder = quadrants.CodeOnly(MLPDecoder((8, 8, 1), (16,), "relu"), 3)
    latents = jax.random.normal(jax.random.key(0), (5, 3 + 16))
    params = decoder.init(jax.random.key(1), latents, 1)
    (made,), (other,) = (decoder.apply(params, z, 1) for z in (latents, latents.at[:, 3:].set(0.0)))
    np.testing.assert_array_equal(made, other)
    assert np.abs(decoder.apply(params, latents.at[:, 2].add(1.0), 1)[0] - made).max() > 1e-3


def test_the_network_is_trained_on_missing_pixels_only():
    method = quadrants.completion(MLPDecoder((8, 8, 1), (16,), "relu"), "quadrant1")
    source = load("digits")
    batch = source.at(source.data, jnp.arange(16))
    params = method.init(jax.random.key(0), batch)

    def loss(params, x):
        return method.loss(params, method.hyper, batch._replace(x=x), jax.random.key(1), 0)[0]

    by_params, by_x = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, batch.x)
    bias = np.asarray(by_params["decoder"]["params"]["Dense_1"]["bias"]).reshape(8, 8)
    mask = observed(1, (8, 8, 1))[:, :, 0]
    assert (bias[mask] == 0).all() and (bias[~mask] != 0).all()
    kernel = by_params["decoder"]["params"]["Dense_0"]["kernel"]
    assert kernel.shape == (16, 16) and np.abs(by_x).max() > 0


@pytest.mark.slow
def test_codes_and_images_of_both_models(quick):
    vae, adversarial, gain, *told = aae.rows(quick)
    assert gain.measured == pytest.approx(vae.measured - adversarial.measured, abs=1e-6) and gain.low == 0
    assert gain.interval is not None and gain.interval[0] <= gain.measured <= gain.interval[1]
    assert len(told) == 2 and all(50 < one.measured <= 100 for one in told)  # untrained models give themselves away
    assert {path.name for path in quick.folder.iterdir()} == {"vae", "adversarial_autoencoder"}
