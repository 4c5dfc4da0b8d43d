"""How near codes come to the prior: an adversarial autoencoder against a VAE on MNIST (Makhzani et al. 2015,
"Adversarial Autoencoders", figure 2).

python -m experiments.papers aae --data-dir DIR

Protocol: 8 latents, N(0, I) for prior, the same networks (784-400-400-8 and back, ReLU) and the same number of steps.
Codes of the 10,000 test images, drawn from their posteriors, against as many draws of the prior, by MMD^2
(`vaejax.metrics.mmd`: unbiased, so that 0 is what equal distributions give on average). And how well a classifier tells
binary images drawn from the model from binarised test images, half of them held out (`vaejax.metrics.two_sample_test`):
50 % where it can't. Of the AAE's tests in the paper only pictures can be compared: its Parzen likelihoods depend on the
dropout and the window. Intervals are 95 %, by a bootstrap over SEEDS seeds.

Departures: networks of 400 where the paper has 1000; a discriminator of 2 x DISCRIMINATOR; for everything else see
`vaejax.methods.adversarial_autoencoder`.

It gave (2026-11-26, 2 cores, 18 minutes): MMD^2 0.0118 [0.0087, 0.0153] for the VAE and 0.0052 [0.0040, 0.0068] for the
AAE; difference 0.0066 [0.0029, 0.0110]. Told from real images: 76.9 % [75.7, 77.8] of the VAE's and 70.6 % [69.9, 71.4]
of the AAE's.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.papers.table import Row, Setting
from vaejax.analysis.statistics import bootstrap, mean
from vaejax.data import Source
from vaejax.method import Batch, Method, Params
from vaejax.methods import build
from vaejax.metrics import codes, mmd, two_sample_test
from vaejax.training.runs import grid

LATENTS, LAYERS = 8, (400, 400)
DISCRIMINATOR = 200
STEPS = 18_000
BATCH = 100
SEEDS = 5
ADVERSARIAL = 10.0


def rows(setting: Setting) -> list[Row]:
    """Both models, and what the AAE gains."""
    train, test = setting.mnist("train"), setting.mnist("test", "+binarized")
    grey = setting.mnist("test")
    distance, accuracy = {}, {}
    for name in ("vae", "adversarial_autoencoder"):
        method = built(setting, name, train)
        runs = grid(method.hyper, SEEDS, learning_rate=1e-3, **arms(name))
        result = setting.fit(name, method, train, runs, steps=setting.steps(STEPS), batch_size=BATCH)
        of_runs = [result.params_of(run) for run in range(runs.count)]
        images = np.arange(200 if setting.quick else test.size)
        z = codes(method, grey, result.params, images, key=jax.random.key(0))
        distance[name] = np.array([mmd(z[run], drawn(z.shape[1:], run))["mmd"] for run in range(runs.count)])
        accuracy[name] = np.array([told_apart(setting, method, params, test, images) for params in of_runs])
    vae, aae = distance["vae"], distance["adversarial_autoencoder"]
    return [
        row("VAE, MMD^2 of codes and prior", vae),
        row("AAE, MMD^2 of codes and prior", aae),
        row("VAE - AAE, MMD^2", vae - aae, low=0.0),
        row("VAE, generated images told from real ones, %", 100 * accuracy["vae"]),
        row("AAE, generated images told from real ones, %", 100 * accuracy["adversarial_autoencoder"]),
    ]


def built(setting: Setting, name: str, train: Source) -> Method:
    """The method of this name."""
    layers = (16, 16) if setting.quick else LAYERS
    adversary = {"discriminator_width": 16 if setting.quick else DISCRIMINATOR}
    structure: dict[str, Any] = adversary if name == "adversarial_autoencoder" else {}
    return build(name, train.shape, "mlp_relu", latents=LATENTS, width=layers, **structure)


def arms(name: str) -> dict[str, Any]:
    """Its hyperparameters beside the learning rate."""
    return {"lambda_adversarial": ADVERSARIAL} if name == "adversarial_autoencoder" else {}


def drawn(shape: tuple[int, ...], run: int) -> Float[np.ndarray, "n D"]:
    """Codes of the prior; those of a seed are the same for both models."""
    return np.asarray(jax.random.normal(jax.random.fold_in(jax.random.key(1), run), shape))


def told_apart(setting: Setting, method: Method, params: Params, test: Source, images: np.ndarray) -> float:
    """The accuracy of a classifier of binarised test images and binary ones of the model."""
    real = np.asarray(test.at(test.data, jnp.asarray(images)).x)
    made = _images(method, params, jnp.zeros_like(real), jax.random.key(2))
    return two_sample_test(real, np.asarray(made), steps=20 if setting.quick else 2000)["accuracy"]


@partial(jax.jit, static_argnames="method")
def _images(method: Method, params: Params, like: Array, key: Array) -> Float[Array, "n H W C"]:
    """Draws of p(x | z) with z from the prior."""
    assert method.prior is not None
    code, pixels = jax.random.split(key)
    likelihood = method.decode(params, method.prior(params, Batch(like)).sample(code))
    return likelihood.sample(pixels)


def row(what: str, values: Float[np.ndarray, " seeds"], low: float = -np.inf) -> Row:
    """The mean over seeds, with its interval."""
    found = bootstrap(partial(mean, values), len(values))
    return Row(what, None, float(found.value), low, interval=(float(found.low), float(found.high)))
