"""What one setting of a sweep changes against another, seed by seed.

Runs of one seed share weights, data and noise: the difference of two settings is taken within each seed, and its
interval is the 95 % t-interval of these differences. The best of several settings is chosen for each seed by the means
over the other seeds: one that is chosen and judged by the same seeds looks better than it is.

A `table` has one row per (run, metric): `run`, `by`, `seed`, `metric`, `value` (vaejax/analysis/tables.py).
"""
# pyright: reportCallIssue=false, reportArgumentType=false, reportReturnType=false, reportGeneralTypeIssues=false
# pyright: reportAttributeAccessIssue=false
# (what pandas declares is wider than what it returns)

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from vaejax.analysis.statistics import held_out
from vaejax.analysis.tables import finished, interval, ordered

ENOUGH = 5  # seeds: a difference of fewer is shown, and nothing is claimed of it


class Change(NamedTuple):
    """What a setting changes in a metric.

    Fields:
      metric: which.
      setting, against: the two values of what was varied; `setting` is of the highest mean over all seeds, where it
        was chosen.
      mean, base: over the seeds that both settings have finished.
      difference, low, high: mean - base with the ends of its interval; of a chosen setting, that of the setting which
        the other seeds choose.
      agree: how many seeds have a difference of the same sign.
      seeds: how many there are.
      settings: that were chosen from; 1 if it was given.
    """

    metric: str
    setting: Any
    against: Any
    mean: float
    base: float
    difference: float
    low: float
    high: float
    agree: int
    seeds: int
    settings: int = 1

    @property
    def decided(self) -> bool:
        """Whether the interval lies on one side of zero, of enough seeds."""
        return self.seeds >= ENOUGH and (self.low > 0 or self.high < 0)


def change(table: pd.DataFrame, by: str, metric: str, setting: Any, against: Any) -> Change | None:
    """What a setting changes against another; None where no seed has both."""
    values = by_seed(table, by, metric)
    if not {setting, against} <= set(values.index):
        return None
    return _change(metric, values.loc[[against, setting]].dropna(axis=1), against, [setting])


def best(table: pd.DataFrame, by: str, metric: str, against: Any) -> Change | None:
    """What the setting of the highest mean changes against another one; None where no seed has all of them."""
    values = by_seed(table, by, metric)
    others = [value for value in values.index if value != against]
    if not others or against not in values.index:
        return None
    return _change(metric, values.dropna(axis=1), against, others)


def by_seed(table: pd.DataFrame, by: str, metric: str) -> pd.DataFrame:
    """The metric of the runs that finished: a row for each setting, a column for each seed, NaN where there is none."""
    rows = finished(table)
    wide = rows[rows["metric"] == metric].pivot(index=by, columns="seed", values="value")
    return wide.reindex([value for value in ordered(table[by]) if value in wide.index])


def reference(settings: Iterable[Any]) -> Any:
    """What the others are compared with: 1, where it is among them, which makes a VAE of a beta-VAE; or the first."""
    listed = list(settings)
    return 1 if 1 in listed else listed[0]


def _change(metric: str, values: pd.DataFrame, against: Any, others: list[Any]) -> Change | None:
    """Of seeds that have every one of these settings."""
    base = values.loc[against].to_numpy(np.float64)
    rows: Float[np.ndarray, "S n"] = values.loc[others].to_numpy(np.float64)
    seeds = base.size
    if not seeds:
        return None
    setting = int(rows.mean(axis=1).argmax())
    judged = held_out(rows, np.ones((1, seeds)))[0][0] if len(others) > 1 and seeds > 1 else rows[setting]
    differences = judged - base
    difference, half = interval(differences)
    agree = int((np.sign(differences) == np.sign(difference)).sum())
    return Change(
        metric, others[setting], against, float(rows[setting].mean()), float(base.mean()),
        difference, difference - half, difference + half, agree, seeds, len(others),
    )  # fmt: skip
