"""Importance-weighted training against a VAE on dynamically binarised MNIST (Burda et al. 2016, table 1).

python -m experiments.papers iwae --data-dir DIR

Protocol: 784-200-200-50 and back with tanh, a Bernoulli likelihood, pixels drawn anew whenever an image is shown,
inputs centred and the decoder's biases such that it starts with the mean image, log p(x) of the 10,000 test images,
binarised once, by 5,000 importance samples each. Published: 86.76 nats for K = 1 (a VAE) and 84.78 for K = 50.

Departures, so that it takes an hour. Both models go on from one VAE of FIRST steps, for LAST steps with K = 1 and with
K = 50 (as the paper does in its table 2; in table 1 K is the same throughout), so they have as many steps, at the same
rates: a straight line from RATE to 0. In all 270,000 steps of 100 images, where the paper has 3,280 epochs in batches
of 20 and eight stages from 1e-3 to 1e-4. Adam's epsilon is its default 1e-8, not 1e-4, and its averages begin anew with
the LAST steps; images are drawn with replacement. One seed.

It gave (2026-11-26, 2 cores, 51 minutes): the VAE 87.07, the IWAE 85.87, which is 1.20 lower. What centring and the
biases are worth: after 10,000 steps with the rate falling to 0, the bound is 100.4 with them and 103.7 without.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from experiments.papers.table import Row, Setting, scheduled
from vaejax.data import Source
from vaejax.method import Method, Network, Params
from vaejax.methods import iwae
from vaejax.networks import network
from vaejax.training.runs import grid

LATENTS, LAYERS = 50, (200, 200)
FIRST, LAST = 240_000, 30_000
BATCH = 100
RATE = 2e-3
SAMPLES = 5000
PUBLISHED = {"VAE": 86.76, "IWAE": 84.78}
NEAREST = 1e-3  # of a mean pixel to 0 and 1, so that its logit is finite


def rows(setting: Setting) -> list[Row]:
    """Both negative log-likelihoods, and their difference."""
    train, test = (setting.mnist(split, "+binarized") for split in ("train", "test"))
    one, many = (sized(setting, train, samples) for samples in (1, 4 if setting.quick else 50))
    last = RATE * LAST / (FIRST + LAST)
    start = trained(setting, "first", one, train, FIRST, (RATE, last))
    arms = [
        trained(setting, name, continued(method, start), train, LAST, (last, 0.0), seed=1)
        for name, method in (("vae", one), ("iwae", many))
    ]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arms)
    found = setting.log_likelihood(one, params, test, SAMPLES)
    vae, weighted = -found["log_likelihood"]
    notes = [
        f"standard error {error:.2f} over images, effective sample size {size:.3g} of {setting.samples(SAMPLES)}"
        for error, size in zip(found["standard_error"], found["effective_sample_size"], strict=True)
    ]
    return [
        Row("VAE, -log p(x), nats", PUBLISHED["VAE"], float(vae), 85.8, 88.3, note=notes[0]),
        Row("IWAE, -log p(x), nats", PUBLISHED["IWAE"], float(weighted), note=notes[1]),
        Row("VAE - IWAE, nats", PUBLISHED["VAE"] - PUBLISHED["IWAE"], float(vae - weighted), low=1.0),
    ]


def trained(
    setting: Setting, name: str, method: Method, train: Source, steps: int, rates: tuple[float, float], seed: int = 0
) -> Params:
    """Parameters after so many steps, the learning rate going from the first of `rates` to the second in a line."""
    steps = setting.steps(steps)
    straight = scheduled(method, lambda rate: optax.linear_schedule(rate, rates[1], steps))
    runs = grid(method.hyper, [seed], learning_rate=rates[0])
    return setting.fit(name, straight, train, runs, steps=steps, batch_size=BATCH).params_of(0)


def continued(method: Method, params: Params) -> Method:
    """The method, begun at these parameters."""
    return method._replace(init=lambda key, batch: params)


def sized(setting: Setting, train: Source, samples: int) -> Method:
    """The model with so many samples."""
    latents, layers = (4, (16, 16)) if setting.quick else (LATENTS, LAYERS)
    encoder, decoder = network("mlp_tanh", train.shape, latents, layers)
    mean = np.asarray(train.data["x"], np.float32).mean(axis=0) / train.data["scale"]
    return iwae(Centred(encoder, mean), Biased(decoder, mean), samples=samples)


class Centred(NamedTuple):
    """An encoder that is shown images [B, H, W, C] less their mean."""

    network: Network
    mean: Float[np.ndarray, "H W C"]

    def init(self, key, x, parameters):
        """The parameters of the network."""
        return self.network.init(key, x, parameters)

    def apply(self, params, x, parameters):
        """The arrays of the network."""
        return self.network.apply(params, x - self.mean, parameters)


class Biased(NamedTuple):
    """A decoder of Bernoulli images that starts with their mean: its logits are added to what the network makes."""

    network: Network
    mean: Float[np.ndarray, "H W C"]

    def init(self, key, z, parameters):
        """The parameters of the network."""
        return self.network.init(key, z, parameters)

    def apply(self, params, z, parameters):
        """The logits [B, H, W, C], as the only array."""
        (logits,) = self.network.apply(params, z, parameters)
        return (logits + jax.scipy.special.logit(jnp.clip(self.mean, NEAREST, 1 - NEAREST)),)
