"""Disentanglement and likelihood metrics: pure functions of codes and factors, and the table of their names."""

from collections.abc import Callable

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
from vaejax.metrics.mig import mig
from vaejax.metrics.mig_sup import mig_sup
from vaejax.metrics.modularity import modularity
from vaejax.metrics.mutual_info_score import mutual_info_score
from vaejax.metrics.sap import sap
from vaejax.metrics.suite import LAPTOP, STUDY, Sizes, evaluate, scores
from vaejax.metrics.udr import udr

METRICS: dict[str, Callable[..., dict[str, float]]] = {
    "beta_vae_score": beta_vae_score,
    "dci": dci,
    "downstream": downstream,
    "explicitness": explicitness,
    "factor_vae_score": factor_vae_score,
    "gaussian_total_correlation": gaussian_total_correlation,
    "info_mec": info_mec,
    "irs": irs,
    "mig": mig,
    "mig_sup": mig_sup,
    "modularity": modularity,
    "mutual_info_score": mutual_info_score,
    "sap": sap,
    "udr": udr,
}

__all__ = [
    "LAPTOP",
    "METRICS",
    "STUDY",
    "Sizes",
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
    "mig",
    "mig_sup",
    "modularity",
    "mutual_info_score",
    "sap",
    "scores",
    "subgrid",
    "table",
    "udr",
]
