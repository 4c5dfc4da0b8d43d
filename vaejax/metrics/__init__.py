"""Disentanglement and likelihood metrics: pure functions of codes and factors, and the table of their names."""

from collections.abc import Callable

from vaejax.metrics.annealed_importance_sampling import annealed_importance_sampling
from vaejax.metrics.beta_vae_score import beta_vae_score
from vaejax.metrics.codes import codes
from vaejax.metrics.dci import dci
from vaejax.metrics.downstream import downstream
from vaejax.metrics.explicitness import explicitness
from vaejax.metrics.factor_vae_score import factor_vae_score
from vaejax.metrics.gaussian_total_correlation import gaussian_total_correlation
from vaejax.metrics.info_mec import info_mec
from vaejax.metrics.interventions import subgrid, table
from vaejax.metrics.irs import irs
from vaejax.metrics.log_likelihood import log_likelihood, log_likelihood_of_runs
from vaejax.metrics.mig import mig
from vaejax.metrics.mig_sup import mig_sup
from vaejax.metrics.mmd import mmd
from vaejax.metrics.modularity import modularity
from vaejax.metrics.mutual_info_score import mutual_info_score
from vaejax.metrics.sap import sap
from vaejax.metrics.suite import LAPTOP, STUDY, Sizes, evaluate, scores
from vaejax.metrics.two_sample import Neighbours, nearest_neighbours, two_sample_test
from vaejax.metrics.udr import udr

METRICS: dict[str, Callable[..., dict[str, float]]] = {
    "annealed_importance_sampling": annealed_importance_sampling,
    "beta_vae_score": beta_vae_score,
    "dci": dci,
    "downstream": downstream,
    "explicitness": explicitness,
    "factor_vae_score": factor_vae_score,
    "gaussian_total_correlation": gaussian_total_correlation,
    "info_mec": info_mec,
    "irs": irs,
    "log_likelihood": log_likelihood,
    "mig": mig,
    "mig_sup": mig_sup,
    "mmd": mmd,
    "modularity": modularity,
    "mutual_info_score": mutual_info_score,
    "sap": sap,
    "two_sample_test": two_sample_test,
    "udr": udr,
}

__all__ = [
    "LAPTOP",
    "METRICS",
    "STUDY",
    "Neighbours",
    "Sizes",
    "annealed_importance_sampling",
    "beta_vae_score",
    "codes",
    "dci",
    "downstream",
    "evaluate",
    "explicitness",
    "factor_vae_score",
    "gaussian_total_correlation",
    "info_mec",
    "irs",
    "log_likelihood",
    "log_likelihood_of_runs",
    "mig",
    "mig_sup",
    "mmd",
    "modularity",
    "mutual_info_score",
    "nearest_neighbours",
    "sap",
    "scores",
    "subgrid",
    "table",
    "two_sample_test",
    "udr",
]
