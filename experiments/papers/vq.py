"""VQ-VAE: how much of the data's variance its reconstructions miss, and how many of its codes are in use.

python -m experiments.papers vq --data-dir DIR

Protocol: the residual network of van den Oord et al. 2017 (`vaejax.networks.residual`), a codebook of moving averages
with decay 0.99, commitment 0.25, Adam 3e-4, batches of 32 for 10,000 steps. The error is that of a pixel, squared,
mean over test images, divided by the variance of the pixels of all training images. The perplexity is that of the
codes of all test images. CIFAR-10 (K 512, D 64, width 128) where tensorflow-datasets has prepared `cifar10` in DIR:
published are the numbers of the example that the authors gave out with their library, on training batches. MNIST with
K 64, D 16 and width 64, for which the paper has no number.

As in that example, the reconstruction term is the squared error over the data's variance (a Gaussian likelihood of
that scale), and both terms are means over their elements there: here they are sums, so the commitment is 0.25 times
the number of pixels over that of latents.

Departures: dead codes are moved (`vaejax.methods.vq_vae`), and the codebook begins at outputs of the encoder.

It gave (2026-11-26, 2 cores, 4 minutes) for MNIST: 0.034 and 0.032 of the variance missed, perplexity 47.5 and
48.5 of 64. CIFAR-10 was not at hand.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from experiments.papers.table import Row, Setting
from vaejax.data import Source, code_grids, load
from vaejax.distributions.basic import FixedGaussian
from vaejax.errors import InputError
from vaejax.method import Method
from vaejax.methods import vq_vae
from vaejax.metrics.measure import measure
from vaejax.networks import network
from vaejax.networks.quantizer import counted, perplexity
from vaejax.training.runs import grid

STEPS = 10_000
BATCH = 32
SEEDS = 2
COMMITMENT = 0.25


class Model(NamedTuple):
    """Sizes: K, D, channels, and what was published of the error and of the perplexity."""

    codes: int
    latents: int
    width: int
    error: float | None = None
    perplexity: float | None = None
    most: float = math.inf
    least: float = -math.inf


MODELS = {
    "mnist": Model(64, 16, 64, least=32),
    "cifar10": Model(512, 64, 128, 0.056, 326, most=0.065, least=256),
}


def rows(setting: Setting) -> list[Row]:
    """Two rows for every data set that is there."""
    found = []
    for name, model in MODELS.items():
        try:
            train, test = (load(name, split, setting.data_dir) for split in ("train", "test"))
        except InputError as error:
            if name == "mnist":
                raise
            tqdm.write(f"no rows of {name}: {error}")
            continue
        found += rows_of(setting, name, model, train, test)
    return found


def rows_of(setting: Setting, name: str, model: Model, train: Source, test: Source) -> list[Row]:
    """Error and perplexity, means over seeds."""
    if setting.quick:
        model, test = model._replace(width=8), test._replace(size=200)
    spread = variance(train)
    method = built(model, train.shape, spread)
    places = math.prod(train.shape) / (train.shape[0] * train.shape[1] / 16 * model.latents)
    runs = grid(method.hyper, SEEDS, learning_rate=3e-4, commitment=COMMITMENT * places)
    result = setting.fit(name, method, train, runs, steps=setting.steps(STEPS), batch_size=BATCH)
    table = measure(method, test, result.params, images=test.size)
    squared = table.loc[table["metric"] == "squared_error", "value"].to_numpy(np.float64)
    errors = squared / math.prod(train.shape) / spread
    used = [used_codes(method, result.params_of(run), test, model.codes) for run in range(SEEDS)]
    label = f"{name}, K = {model.codes}"
    return [
        Row(f"{label}: squared error / variance", model.error, errors.mean(), high=model.most, note=seeds(errors)),
        Row(f"{label}: perplexity", model.perplexity, float(np.mean(used)), low=model.least, note=seeds(used)),
    ]


def built(model: Model, shape: tuple[int, ...], spread: float) -> Method:
    """The model, whose reconstruction term is the squared error over the data's variance, and a constant."""
    networks = network("residual", shape, model.latents, model.width)
    return vq_vae(*networks, FixedGaussian(math.sqrt(spread / 2)), codes=model.codes)


def variance(source: Source) -> float:
    """Of all pixels of all images."""
    sums = np.zeros(2)
    for start in range(0, source.size, 1000):
        x = np.asarray(source.at(source.data, jnp.arange(start, min(start + 1000, source.size))).x, np.float64)
        sums += x.sum(), (x**2).sum()
    mean, square = sums / (source.size * math.prod(source.shape))
    return square - mean**2


def used_codes(method: Method, params: jax.Array, source: Source, codes: int) -> float:
    """The perplexity of the codes of all images."""
    grids = code_grids(method, params, source)
    return float(perplexity(counted(grids.data["x"], codes)))


def seeds(values: Float[np.ndarray, " seeds"] | list[float]) -> str:
    """A note of what each seed gave."""
    return "seeds: " + " and ".join(f"{value:.4g}" for value in values)
