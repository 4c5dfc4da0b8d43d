"""Which metrics there are: their records, and the functions of NumPy arrays by name.

A line per metric, in the order in which they are listed: a new one is its file and a line here.
"""
# ruff: noqa: F401
# pyright: reportUnsupportedDunderAll=false

import copyreg
from collections.abc import Callable
from typing import Any

from vaejax.metrics.record import Metric

# isort: off
from vaejax.metrics.annealed_importance_sampling import ANNEALED_IMPORTANCE_SAMPLING, annealed_importance_sampling
from vaejax.metrics.beta_vae_score import BETA_VAE_SCORE, beta_vae_score
from vaejax.metrics.factor_vae_score import FACTOR_VAE_SCORE, factor_vae_score
from vaejax.metrics.mig import MIG, mig
from vaejax.metrics.mig_sup import MIG_SUP, mig_sup
from vaejax.metrics.modularity import MODULARITY, modularity
from vaejax.metrics.irs import IRS, irs
from vaejax.metrics.info_mec import INFO_MEC, info_mec
from vaejax.metrics.gaussian_total_correlation import GAUSSIAN_TOTAL_CORRELATION, gaussian_total_correlation
from vaejax.metrics.mutual_info_score import MUTUAL_INFO_SCORE, mutual_info_score
from vaejax.metrics.sap import SAP, sap
from vaejax.metrics.explicitness import EXPLICITNESS, explicitness
from vaejax.metrics.dci import DCI, dci
from vaejax.metrics.downstream import DOWNSTREAM, downstream
from vaejax.metrics.log_likelihood import LOG_LIKELIHOOD, log_likelihood
from vaejax.metrics.mmd import MMD, mmd
from vaejax.metrics.two_sample import TWO_SAMPLE_TEST, two_sample_test
from vaejax.metrics.udr import UDR, udr
# isort: on

RECORDS: dict[str, Metric] = {
    record.name: record for record in list(globals().values()) if isinstance(record, Metric) and record.arrays
}
METRICS: dict[str, Callable[..., dict[str, float]]] = {
    name: record.arrays for name, record in RECORDS.items() if record.arrays
}
SUITE = {name: record for name, record in RECORDS.items() if record.function is not None}  # what `evaluate` gives


def _reduced(metric: Metric) -> tuple[Any, ...]:
    """How a record is pickled: one of these by its name, since compiled functions can't be."""
    return (_by_name, (metric.name,)) if RECORDS.get(metric.name) is metric else (Metric, tuple(metric))


def _by_name(name: str) -> Metric:
    return RECORDS[name]


copyreg.pickle(Metric, _reduced)  # pyright: ignore[reportArgumentType]

__all__ = ["METRICS", "RECORDS", "SUITE", *METRICS]
