"""Autoencoders in JAX and Flax: a whole sweep of hyperparameters and seeds as one compiled program."""

from vaejax import apply, data, distributions, metrics, networks, objectives, train
from vaejax.errors import InputError
from vaejax.measure import measure
from vaejax.method import Batch, Method, State
from vaejax.methods import METHODS, autoencoder, beta_vae, build, vae
from vaejax.run import load_run
from vaejax.strategy import Strategy, plan
from vaejax.sweep import Progress, Result, Runs, fit, grid

__all__ = [
    "METHODS",
    "Batch",
    "InputError",
    "Method",
    "Progress",
    "Result",
    "Runs",
    "State",
    "Strategy",
    "apply",
    "autoencoder",
    "beta_vae",
    "build",
    "data",
    "distributions",
    "fit",
    "grid",
    "load_run",
    "measure",
    "metrics",
    "networks",
    "objectives",
    "plan",
    "train",
    "vae",
]
