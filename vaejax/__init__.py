"""Autoencoders in JAX and Flax: a whole sweep of hyperparameters and seeds as one compiled program."""

from vaejax import apply, baselines, data, distributions, metrics, networks, objectives, schedules, train
from vaejax.errors import InputError
from vaejax.measure import measure
from vaejax.method import Batch, Method, State
from vaejax.methods import (
    METHODS,
    annealed_beta,
    annealed_capacity,
    autoencoder,
    beta_tcvae,
    beta_vae,
    build,
    dip_vae_i,
    dip_vae_ii,
    factor_vae,
    sparse_autoencoder,
    vae,
)
from vaejax.run import load_run
from vaejax.strategy import Strategy, plan
from vaejax.sweep import Progress, Result, Runs, fit, grid

__all__ = [
    "METHODS", "Batch", "InputError", "Method", "Progress", "Result", "Runs", "State", "Strategy",
    "annealed_beta", "annealed_capacity", "apply", "autoencoder", "baselines", "beta_tcvae", "beta_vae", "build",
    "data", "dip_vae_i", "dip_vae_ii", "distributions", "factor_vae", "fit", "grid", "load_run", "measure", "metrics",
    "networks", "objectives", "plan", "schedules", "sparse_autoencoder", "train", "vae",
]  # fmt: skip
