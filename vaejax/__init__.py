"""Autoencoders in JAX and Flax: a whole sweep of hyperparameters and seeds as one compiled program."""

from vaejax import apply, data, distributions, metrics, networks, objectives, testing
from vaejax.distributions import conditions, priors
from vaejax.errors import InputError
from vaejax.experiment import Experiment, load_run, run
from vaejax.method import Batch, Method, Space, State
from vaejax.methods import *  # noqa: F403 (every method)
from vaejax.methods import METHODS, build
from vaejax.methods.code_prior import code_prior, sample_codes
from vaejax.methods.parts import corruptions, schedules
from vaejax.metrics import baselines
from vaejax.metrics.measure import measure
from vaejax.training import step as train
from vaejax.training.runs import Result, Runs, grid
from vaejax.training.strategy import Strategy, plan
from vaejax.training.sweep import Progress, fit

# pyright: reportUnsupportedDunderAll=false
__all__ = [
    *METHODS, "METHODS", "Batch", "Experiment", "InputError", "Method", "Progress", "Result", "Runs", "Space", "State",
    "Strategy", "apply", "baselines", "build", "code_prior", "conditions", "corruptions", "data", "distributions",
    "fit", "grid", "load_run", "measure", "metrics", "networks", "objectives", "plan", "priors", "run", "sample_codes",
    "schedules", "testing", "train",
]  # fmt: skip
