"""Tidy tables of a sweep: what is checked, which runs count, and their means with errors, as numbers and as text.

A `table` has one row per (run, metric): `run`, hyperparameter columns, `seed`, `metric`, `value`; a `history` one row
per (run, step). A run whose loss, ELBO, reconstruction or KL isn't finite has diverged: it is left out of every mean,
and every summary says so. Intervals are 95 % t-intervals over seeds.
"""
# pyright: reportCallIssue=false, reportArgumentType=false, reportReturnType=false, reportGeneralTypeIssues=false
# (what pandas and matplotlib declare is wider than what they return)

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import stdtrit

from vaejax.errors import InputError, choose

SYMBOLS = {"beta": "β", "gamma": "γ", "lambda_": "λ", "learning_rate": "learning rate"}
LABELS = {  # what a metric is called in figures and tables, with its unit
    "accuracy": "Accuracy (0 to 1)",
    "elbo": "ELBO (nats/{})",
    "loss": "Loss (nats/{})",
    "reconstruction": "Reconstruction (nats/{})",
    "kl": "KL (nats/{})",
    "active_units": "Active units (count)",
    "squared_error": "Squared error (per {})",
    "mig": "Mutual information gap (0 to 1)",
}
VITAL = ("loss", "elbo", "reconstruction", "kl")  # not finite: the run has diverged


def name(column: str) -> str:
    """How a hyperparameter is written: `beta` as β."""
    return SYMBOLS.get(column, column.replace("_", " "))


def label(column: str, value: Any) -> str:
    """One setting, as in "β = 4"; what is a text already stays as it is."""
    return f"{name(column)} = {short(value)}" if is_number(value) else str(value)


def title(metric: str, example: str = "image") -> str:
    """What a metric is called, with its unit where that is known: nats for each `example`, as its space calls it."""
    return LABELS[metric].format(example) if metric in LABELS else metric.replace("_", " ")


def summary(table: pd.DataFrame, by: str = "beta", metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """Mean over seeds, half-width of the 95 % t-interval, and numbers of runs, per hyperparameter value and metric.

    Returns:
      columns `by`, `metric`, `mean`, `half_width` (NaN for a single run), `runs` (in the mean), `diverged` (left out),
      `text` ("12.3 ± 0.4"; with "(n = 2)" if the metric isn't finite in some run; "diverged" if every run did).
    Raises:
      InputError: no such metric or column, or runs that differ in more than `by` and `seed`.
    """
    metrics = check_metrics(table, by, metrics)
    samples = {key: group.to_numpy(np.float64) for key, group in finished(table).groupby([by, "metric"])["value"]}
    rows = []
    for value in ordered(table[by]):
        lost, total = counts(table, by, value)
        for metric in metrics:
            sample = samples.get((value, metric), np.empty(0))
            mean, half_width = interval(sample)
            few = f" (n = {len(sample)})" if 0 < len(sample) < total - lost else ""
            text = "diverged" if lost == total else with_error(mean, half_width) + few
            rows.append((value, metric, mean, half_width, len(sample), lost, text))
    return pd.DataFrame(rows, columns=[by, "metric", "mean", "half_width", "runs", "diverged", "text"])


def summary_table(
    table: pd.DataFrame, by: str = "beta", metrics: Sequence[str] | None = None, example: str = "image"
) -> pd.DataFrame:
    """The summary as text for a page or a terminal: a row per hyperparameter value, a column per metric."""
    metrics = check_metrics(table, by, metrics)
    wide = summary(table, by, metrics).pivot(index=by, columns="metric", values="text")
    wide = wide.loc[ordered(table[by]), list(metrics)].rename(columns=lambda metric: title(metric, example))
    wide["Runs"] = [runs_text(*counts(table, by, value)) for value in wide.index]
    return wide.set_axis(pd.Index([short(value) for value in wide.index], name=name(by))).rename_axis(columns=None)


def interval(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Mean and half-width of its 95 % t-interval; NaN where there are too few values."""
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return (float(values[0]) if len(values) else np.nan), np.nan
    return float(values.mean()), float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values)))


def with_error(mean: float, half_width: float) -> str:
    """ "12.3 ± 0.4": the half-width to one significant digit (two after a leading 1); without one, just the mean."""
    if not np.isfinite(mean):
        return "–"
    if not half_width > 0 or not np.isfinite(half_width):
        alone = f"{mean:.{0 if mean == round(mean) else _decimals(mean, 4)}f}".replace("-", "−")
        return f"{alone} ± 0" if half_width == 0 else alone
    decimals = _decimals(half_width, 2 if f"{half_width:e}"[0] == "1" else 1)
    return f"{mean:.{decimals}f} ± {half_width:.{decimals}f}".replace("-", "−")


def diverged(frame: pd.DataFrame) -> set[Any]:
    """Runs whose vital metrics, in a table or a history, aren't all finite."""
    if "metric" in frame:
        vital = frame["metric"].isin(VITAL)
        return set(frame.loc[vital & ~np.isfinite(frame["value"].astype(float)), "run"])
    vital = frame[[column for column in VITAL if column in frame]].astype(float)
    return set(frame.loc[~np.isfinite(vital).all(axis=1), "run"])


def finished(table: pd.DataFrame) -> pd.DataFrame:
    """The finite values of the runs that didn't diverge."""
    return table[~table["run"].isin(diverged(table)) & np.isfinite(table["value"].astype(float))]


def counts(frame: pd.DataFrame, by: str, value: Any) -> tuple[int, int]:
    """Diverged runs and all runs of one setting."""
    runs = set(frame.loc[frame[by] == value, "run"])
    return len(runs & diverged(frame)), len(runs)


def runs_text(lost: int, total: int) -> str:
    """ "3", or "1 of 3 runs diverged"."""
    return f"{lost} of {total} runs diverged" if lost else str(total)


def diverged_text(frame: pd.DataFrame, by: str) -> str:
    """How many runs diverged, of which settings, and what helps; empty where none did."""
    count = {value: counts(frame, by, value) for value in ordered(frame[by])}
    lost, total = (sum(pair[index] for pair in count.values()) for index in range(2))
    if not lost:
        return ""
    helps = "A lower learning rate may help."
    if lost == total:
        return f"{'The run' if total == 1 else f'All {total} runs'} diverged: there is nothing to compare. {helps}"
    where = ", ".join(f"{gone} of {made} at {label(by, value)}" for value, (gone, made) in count.items() if gone)
    left = [label(by, value) for value, (gone, made) in count.items() if gone < made]
    alone = f" Only {left[0]} is left, and one setting alone shows no effect." if len(left) == 1 < len(count) else ""
    return f"{lost} of {total} runs diverged and {'is' if lost == 1 else 'are'} left out ({where}).{alone} {helps}"


def check_metrics(table: pd.DataFrame, by: str, metrics: Sequence[str] | None) -> list[str]:
    """The metrics asked for, checked; without any, those of LABELS that the table has."""
    check_columns(table, ("run", "seed", "metric", "value", by))
    check_seeds(table, by, "metric")
    present = {metric: metric for metric in table["metric"].unique()}
    if metrics is not None:
        return [choose(present, metric, "metric") for metric in metrics]
    return [metric for metric in LABELS if metric in present] or list(present)


def check_columns(frame: pd.DataFrame, needed: Iterable[str]) -> None:
    """Refuses a frame without one of the columns, or without rows."""
    for column in needed:
        choose({column: None for column in frame.columns}, column, "column")
    if not len(frame):
        raise InputError("there is nothing to show: the table has no rows")


def check_seeds(frame: pd.DataFrame, by: str, per: str) -> None:
    """Runs that differ in something else too would be averaged as if they were seeds: refuse."""
    if frame[by].isna().any():
        raise InputError(f"some runs have no {by!r}: leave them out before grouping by it")
    if frame.duplicated([by, "seed", per]).any():
        known = {by, "run", "seed", "step", "metric", "value", *VITAL}
        others = [str(c) for c in frame.columns if c not in known and frame[c].nunique() > 1]
        what = ", ".join(others) or "run"
        raise InputError(f"several runs share one seed and {by}: choose one value of {what} first")


def ordered(values: Iterable[Hashable]) -> list[Any]:
    """The distinct values: numbers in order, anything else as it comes."""
    distinct = list(dict.fromkeys(values))
    return sorted(distinct) if all(map(is_number, distinct)) else distinct


def short(value: Any) -> str:
    """A hyperparameter's value as text."""
    return f"{value:g}" if is_number(value) else str(value)


def is_number(value: Any) -> bool:
    """Whether the value has a place on a numeric axis."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _decimals(value: float, digits: int) -> int:
    """Decimals that show `digits` significant digits of `value`."""
    return max(0, digits - 1 - int(f"{value:.{digits - 1}e}".split("e")[1])) if value else digits - 1
