"""Tidy tables of a sweep: what is checked, which runs count, and their means with errors, as numbers and as text.

A `table` has one row per (run, metric): `run`, hyperparameter columns, `seed`, `metric`, `value`; a `history` one row
per (run, step). A run whose loss, ELBO, reconstruction or KL isn't finite has diverged: it is left out of every mean,
and every summary says so. Intervals are 95 % t-intervals over seeds, cut at the bounds of what is measured. No mean
lies beyond these, so no coverage is lost; a bootstrap, which would not need the cut, covers 75 % with 3 seeds.
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
    "dci_disentanglement": "DCI disentanglement (0 to 1)",
    "factor_vae_score": "FactorVAE score (0 to 1)",
}
SEPARATION = {  # of codes against the true factors: more is better, 1 is perfect
    "mig": "MIG",
    "dci_disentanglement": "DCI disentanglement",
    "factor_vae_score": "FactorVAE score",
}
BOUNDS = {  # between which a measure lies
    "accuracy": (0.0, 1.0),
    "kl": (0.0, np.inf),
    "active_units": (0.0, np.inf),
    "squared_error": (0.0, np.inf),
    **dict.fromkeys(SEPARATION, (0.0, 1.0)),
}
NO_BOUNDS = (-np.inf, np.inf)
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
    """Mean over seeds, ends of its 95 % interval, and numbers of runs, per hyperparameter value and metric.

    Returns:
      columns `by`, `metric`, `mean`, `low`, `high` (NaN for a single run), `runs` (in the mean), `diverged` (left out),
      `text` ("12.3 ± 0.4", "0.04 [0, 0.20]" where a bound cuts the interval; with "(n = 2)" if the metric isn't finite
      in some run; "diverged" if every run did).
    Raises:
      InputError: no such metric or column, or runs that differ in more than `by` and `seed`.
    """
    metrics = check_metrics(table, by, metrics)
    samples = {key: group.to_numpy(np.float64) for key, group in finished(table).groupby([by, "metric"])["value"]}
    rows, between = [], bounds(table)
    for value in ordered(table[by]):
        lost, total = counts(table, by, value)
        for metric in metrics:
            sample = samples.get((value, metric), np.empty(0))
            mean, low, high = within(*interval(sample), between.get(metric, NO_BOUNDS))
            few = f" (n = {len(sample)})" if 0 < len(sample) < total - lost else ""
            text = "diverged" if lost == total else with_interval(mean, low, high) + few
            rows.append((value, metric, mean, low, high, len(sample), lost, text))
    return pd.DataFrame(rows, columns=[by, "metric", "mean", "low", "high", "runs", "diverged", "text"])


def bounds(table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Between which the measures of a table lie: BOUNDS, and no more active units than there are latents."""
    latents = int(table["metric"].astype(str).str.fullmatch(r"kl_latent_\d+").groupby(table["run"]).sum().max())
    return BOUNDS | ({"active_units": (0.0, float(latents))} if latents else {})


def within(mean: float, half_width: float, between: tuple[float, float]) -> tuple[float, float, float]:
    """The mean and the ends of its interval, cut at the bounds; a mean that lies beyond them itself is let alone."""
    low, high = between if between[0] <= mean <= between[1] else NO_BOUNDS
    return mean, max(mean - half_width, low), min(mean + half_width, high)


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


def with_interval(mean: float, low: float, high: float) -> str:
    """`with_error` of an interval whose ends are equally far, or else "0.04 [0.00, 0.20]"."""
    if not np.isfinite(low) or np.isclose(mean - low, high - mean, rtol=1e-6, atol=1e-12):
        return with_error(mean, (high - low) / 2)
    decimals = _decimals((high - low) / 2, 2)
    return f"{mean:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]".replace("-", "−")


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
