"""Images from an autoregressive prior over the codes of a quantising autoencoder, trained once that is trained."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array
from matplotlib.figure import Figure
from tqdm import tqdm

from experiments import script
from vaejax import plots
from vaejax.apply import generate_codes
from vaejax.data import code_grids
from vaejax.method import Batch, Method, Params
from vaejax.methods.code_prior import code_prior
from vaejax.report.pictures import median_runs
from vaejax.storage.run import Run
from vaejax.training.runs import grid
from vaejax.training.sweep import fit

WIDTH, DEPTH = 64, 3  # of the transformer
IMAGES = 60_000  # whose codes it is trained on, at most
ROWS, COLUMNS = 2, 10  # of images drawn from it
BLOCK = 500  # grids at a time


def code_samples(run: Run, table: pd.DataFrame, *, steps: int, batch_size: int) -> dict[str, tuple[Figure, str]]:
    """For the median run of every setting, a prior over its codes and images from it, as a figure with its caption.

    Nothing where no steps are wanted, and for methods without codes. Priors are kept in the run's folder, and go on
    where they were stopped.
    """
    assert run.path is not None
    codebook = run.method.codebook
    if codebook is None:
        return {}
    train, test = run.source("train"), run.source("test")
    black = Batch(jnp.zeros((ROWS * COLUMNS, *train.shape)))
    made = {}
    for label, number in median_runs(table, "setting").items() if steps else ():
        params = run.params_of(number)
        codes = len(codebook(params))
        grids, measured = (code_grids(run.method, params, source, IMAGES) for source in (train, test))
        prior = code_prior(codes, (grids.shape[0], grids.shape[1]), WIDTH, DEPTH)
        tqdm.write(f"a prior over the codes of run {number}: {steps:,} steps")
        with script.Bar(1) as bar:
            result = fit(
                prior, grids, grid(prior.hyper, 1), steps=steps, batch_size=batch_size,
                workdir=run.path / "code_prior" / str(number), on_progress=bar,
            )  # fmt: skip
        found = result.params_of(0)
        blocks = (jnp.arange(start, min(start + BLOCK, measured.size)) for start in range(0, measured.size, BLOCK))
        nats = np.concatenate([_nats(prior, found, measured.at(measured.data, block).x) for block in blocks])
        drawn = generate_codes(run.method, params, prior, found, jax.random.key(0), black)
        uniformly = math.prod(grids.shape) * math.log(codes)
        caption = (
            f"Images of codes from an autoregressive prior, trained afterwards ({label}). It needs {nats.mean():.1f} "
            f"nats for the codes of an image that was measured on, as the mean over images; all codes equally likely "
            f"would take {uniformly:.1f} nats."
        )
        rows = np.asarray(drawn).reshape(ROWS, COLUMNS, *drawn.shape[1:])
        made[f"code_prior_{number}"] = plots.image_grid(rows), caption
    return made


@partial(jax.jit, static_argnames="prior")
def _nats(prior: Method, params: Params, grids: Array) -> Array:
    assert prior.prior is not None
    return -prior.prior(params, Batch(grids)).log_prob(grids)
