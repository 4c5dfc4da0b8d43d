"""Autoencoders in JAX and Flax: a whole sweep of hyperparameters and seeds as one compiled program."""

from vaejax import apply, data, distributions, metrics, networks, objectives
from vaejax.distributions import conditions, priors
from vaejax.errors import InputError
from vaejax.experiment import Experiment, load_run, run
from vaejax.method import Batch, Method, State
from vaejax.methods import (
    METHODS,
    adversarial_autoencoder,
    annealed_beta,
    annealed_capacity,
    autoencoder,
    beta_tcvae,
    beta_vae,
    build,
    conditional_vae,
    contractive_autoencoder,
    denoising_autoencoder,
    denoising_vae,
    dip_vae_i,
    dip_vae_ii,
    factor_vae,
    fsq_vae,
    hierarchical_vae,
    info_vae,
    iwae,
    k_sparse_autoencoder,
    kl_sparse_autoencoder,
    sparse_autoencoder,
    stacked_autoencoder,
    stacked_classifier,
    vae,
    vamp_vae,
    vq_vae,
    wae_mmd,
)
from vaejax.methods.code_prior import code_prior, sample_codes
from vaejax.methods.parts import corruptions, schedules
from vaejax.metrics import baselines
from vaejax.metrics.measure import measure
from vaejax.training import step as train
from vaejax.training.runs import Result, Runs, grid
from vaejax.training.strategy import Strategy, plan
from vaejax.training.sweep import Progress, fit

__all__ = [
    "METHODS", "Batch", "Experiment", "InputError", "Method", "Progress", "Result", "Runs", "State", "Strategy",
    "adversarial_autoencoder", "annealed_beta", "annealed_capacity", "apply", "autoencoder", "baselines",
    "beta_tcvae", "beta_vae", "build", "code_prior", "conditional_vae", "conditions", "contractive_autoencoder",
    "corruptions", "data", "denoising_autoencoder", "denoising_vae", "dip_vae_i", "dip_vae_ii", "distributions",
    "factor_vae", "fit", "fsq_vae", "grid", "hierarchical_vae", "info_vae", "iwae", "k_sparse_autoencoder",
    "kl_sparse_autoencoder", "load_run", "measure", "metrics", "networks", "objectives", "plan", "priors",
    "run", "sample_codes", "schedules", "sparse_autoencoder", "stacked_autoencoder", "stacked_classifier", "train",
    "vae", "vamp_vae", "vq_vae", "wae_mmd",
]  # fmt: skip
