"""MNIST in 30 numbers: principal components against a deep autoencoder (Hinton & Salakhutdinov 2006, "Reducing the
Dimensionality of Data with Neural Networks").

python -m experiments.papers reconstruction --data-dir DIR

Protocol: grey values in [0, 1]; both are fitted to the 60,000 training images. The error is the squared distance of a
reconstruction, summed over pixels, mean over the 10,000 test images. PCA-30 by the covariance of the pixels. The
autoencoder is 784-1000-500-250-30 and back.

Departures: ReLU units and Adam from random weights, where the paper has sigmoids, pre-trained as restricted Boltzmann
machines and fine-tuned by conjugate gradients; batches of 64 for 50,000 steps (53 epochs), the learning rate falling
from 1e-3 to 0 along half a cosine. The loss is the paper's, the cross-entropy of grey values: a Bernoulli likelihood.

It gave (2026-11-26, 2 cores, 95 minutes beside other work, at the rate of a quiet machine 16): PCA-30 13.87; the
autoencoder 3.485 and 3.456.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.papers.table import Row, Setting, falling
from vaejax.data import Source
from vaejax.methods import build
from vaejax.metrics.measure import measure
from vaejax.training.runs import grid

CODES = 30
WIDTH = (1000, 500, 250)
STEPS = 50_000
BATCH = 64
SEEDS = 2


def rows(setting: Setting) -> list[Row]:
    """Both errors."""
    train, test = setting.mnist("train"), setting.mnist("test")
    by_pca = pca_error(pixels(train, 2000 if setting.quick else train.size), pixels(test, test.size))
    by_network = network_errors(setting, train, test)
    seeds = " and ".join(f"{error:.3f}" for error in by_network)
    return [
        Row("PCA-30, squared error per image", 13.87, by_pca, 13.57, 14.17),
        Row("784-1000-500-250-30, squared error per image", 3.00, by_network.mean(), high=4.0, note=f"seeds: {seeds}"),
    ]


def pixels(source: Source, count: int) -> Float[np.ndarray, "N D"]:
    """The first images, flat."""
    return np.asarray(source.at(source.data, jnp.arange(count)).x).reshape(count, -1)


def pca_error(train: Float[np.ndarray, "N D"], test: Float[np.ndarray, "M D"]) -> float:
    """The mean over test images of the squared distance from the plane that fits the training images best."""
    from sklearn.decomposition import PCA

    plane = PCA(CODES, svd_solver="covariance_eigh").fit(train)
    rest = test - plane.inverse_transform(plane.transform(test))
    return float((rest.astype(np.float64) ** 2).sum(axis=1).mean())


def network_errors(setting: Setting, train: Source, test: Source) -> Float[np.ndarray, " seeds"]:
    """The error of each seed."""
    steps, width = setting.steps(STEPS), (32, 16) if setting.quick else WIDTH
    method = falling(build("autoencoder", train.shape, "mlp_relu", latents=CODES, width=width), steps)
    runs = grid(method.hyper, SEEDS, learning_rate=1e-3)
    result = setting.fit("autoencoder", method, train, runs, steps=steps, batch_size=BATCH)
    table = measure(method, test, result.params, images=test.size)
    return table.loc[table["metric"] == "squared_error", "value"].to_numpy(np.float64)
