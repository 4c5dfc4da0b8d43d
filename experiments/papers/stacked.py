"""What greedy pre-training is worth to a classifier with few labels (Vincent et al. 2010, "Stacked Denoising
Autoencoders", section 5; Bengio et al. 2007).

python -m experiments.papers stacked --data-dir DIR

Protocol: MNIST of which 1,000 training images, 100 of each digit, have a label. Three layers of sigmoids and a softmax.
The layers are pre-trained on all 60,000 images as denoising autoencoders (a quarter of the elements masked), or as
plain ones, or not at all; then all are trained on the labels. Test error in percent, and the differences within seeds,
which share weights, images and noise. Three arms x 5 seeds are one program: level and length of the pre-training are
traced.

Departures: the paper has all 60,000 labels (1.28 % and 1.40 % there), where the difference is as small as the intervals
of a laptop's five seeds; three layers of 500, where it chose 1,000 to 3,000 by validation; one level of corruption
and one learning rate for all layers; Adam; no early stopping. Half of each batch are labelled images, also in
pre-training. Without pre-training all 8,000 steps go into the classifier, 6,000 more than in the other arms. All seeds
have the same labels, so the intervals (95 %, bootstrap over seeds) leave out what the choice of labels does.

It gave (2026-11-26, 2 cores, 25 minutes beside other work): 8.70 % [8.54, 8.85] with denoising, 10.04 % [9.83, 10.19]
with plain pre-training, 11.51 % [11.36, 11.70] with none; plain - denoising 1.34 points [1.17, 1.45], none - plain 1.47
[1.24, 1.71].
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from experiments.papers.table import Row, Setting
from vaejax.analysis.statistics import bootstrap, mean
from vaejax.apply import classify
from vaejax.data import Arrays, Source, partly_labelled
from vaejax.method import Batch, Method, Params
from vaejax.methods import build
from vaejax.training.runs import Runs, grid

LABELS = 1000
LEVEL = 0.25
UNITS = 500
PRETRAIN = 2000  # steps of each layer
FINE = 2000  # steps of the joined network
BATCH = 100
SEEDS = 5
BLOCK = 1000  # test images at a time
ARMS = ("stacked denoising", "stacked plain", "no pre-training")


def rows(setting: Setting) -> list[Row]:
    """The error of each arm, and what denoising and pre-training gain."""
    train, test = setting.mnist("train"), setting.mnist("test")
    assert isinstance(train, Arrays)
    source = partly_labelled(train, LABELS)
    units, pretrain = (16, 5) if setting.quick else (UNITS, PRETRAIN)
    method = build("stacked_classifier", train.shape, "mlp_sigmoid", latents=units, width=(units, units))
    runs = arms(method, pretrain)
    result = setting.fit("classifier", method, source, runs, steps=setting.steps(3 * PRETRAIN + FINE), batch_size=BATCH)
    error = errors(method, test, [result.params_of(run) for run in range(runs.count)]).reshape(len(ARMS), SEEDS)
    denoising, plain, none = error
    return [
        *(row(f"{arm}, error in %", values) for arm, values in zip(ARMS, error, strict=True)),
        row("plain - denoising, points", plain - denoising, low=0.0),
        row("none - plain, points", none - plain, low=0.0),
    ]


def arms(method: Method, pretrain: int) -> Runs:
    """The runs of all arms, in the order of `ARMS`, the seeds fastest."""
    runs = grid(method.hyper, SEEDS, level=[LEVEL, 0], pretrain_steps=[pretrain, 0])
    return runs.select((runs.hyper.level == 0) | (runs.hyper.pretrain_steps > 0))  # one without pre-training is enough


def errors(method: Method, test: Source, of_runs: list[Params]) -> Float[np.ndarray, " R"]:
    """The share of test images that each run gets wrong, in percent."""
    blocks = np.array_split(np.arange(test.size), max(1, test.size // BLOCK))
    found = [
        np.concatenate([_wrong(method, test.at, params, test.data, jnp.asarray(block)) for block in blocks])
        for params in of_runs
    ]
    return 100 * np.mean(found, axis=1)


@partial(jax.jit, static_argnames=("method", "at"))
def _wrong(method, at, params, data, index) -> Bool[Array, " n"]:
    batch: Batch = at(data, index)
    return classify(method, params, batch).argmax(axis=-1) != batch.label


def row(what: str, values: Float[np.ndarray, " seeds"], low: float = -np.inf) -> Row:
    """The mean over seeds, with its interval."""
    found = bootstrap(partial(mean, values), len(values))
    return Row(what, None, float(found.value), low, interval=(float(found.low), float(found.high)))
