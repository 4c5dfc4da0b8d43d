"""Disentanglement and likelihood metrics: pure functions of codes and factors, their records, and their names."""
# pyright: reportUnsupportedDunderAll=false

from vaejax.metrics.codes import codes
from vaejax.metrics.interventions import subgrid, table
from vaejax.metrics.log_likelihood import log_likelihood_of_runs
from vaejax.metrics.record import Metric, Value
from vaejax.metrics.records import *  # noqa: F403 (every metric)
from vaejax.metrics.records import METRICS, RECORDS
from vaejax.metrics.suite import GLANCE, STUDY, Sizes, evaluate, scores
from vaejax.metrics.two_sample import Neighbours, nearest_neighbours

__all__ = [
    *METRICS, "GLANCE", "METRICS", "RECORDS", "STUDY", "Metric", "Neighbours", "Sizes", "Value", "codes", "evaluate",
    "log_likelihood_of_runs", "nearest_neighbours", "scores", "subgrid", "table",
]  # fmt: skip
