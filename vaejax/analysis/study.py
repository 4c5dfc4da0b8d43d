"""Tables of a disentanglement study: what its runs are called, and the statistics of methods × strengths × seeds.

A study's `table` has a row per (run, metric): `run`, `source`, `method`, `strength_name`, `strength` (NaN for methods
without one), `seed`, `metric`, `value` (NaN where a run diverged). `scores` turns the part of one source into arrays;
all tables here are computed from those, with intervals from a bootstrap over seeds (vaejax/analysis/statistics.py).
"""
# pyright: reportCallIssue=false, reportArgumentType=false, reportReturnType=false, reportGeneralTypeIssues=false
# pyright: reportAttributeAccessIssue=false
# (what pandas declares is wider than what it returns)

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from vaejax.analysis.statistics import (
    RESAMPLES,
    Estimate,
    bootstrap,
    chance,
    held_out,
    mean,
    selected,
    spearman,
    variance_shares,
    weighted,
    wins,
)
from vaejax.analysis.tables import VITAL, check_columns, runs_text, with_error
from vaejax.errors import InputError

COLUMNS = ("run", "source", "method", "strength_name", "strength", "seed", "metric", "value")
METHODS = {  # in the order of figures; others follow under their own names
    "vae": "VAE",
    "beta_vae": "β-VAE",
    "annealed_beta": "Annealed β",
    "annealed_capacity": "Annealed C",
    "factor_vae": "FactorVAE",
    "beta_tcvae": "β-TCVAE",
    "dip_vae_i": "DIP-VAE-I",
    "dip_vae_ii": "DIP-VAE-II",
    "autoencoder": "Autoencoder",
    "sparse_autoencoder": "Sparse AE",
    "pca": "PCA",
    "ica": "ICA",
    "pixels": "Pixels",
    "random_encoder": "Random encoder",
    "true_factors": "True factors",
}
BASELINES = ("autoencoder", "sparse_autoencoder", "pca", "ica", "pixels", "random_encoder", "true_factors")
REFERENCE = "vae"  # what the others are compared with
SYMBOLS = {"beta": "β", "gamma": "γ", "c_max": "C", "lambda_od": "λ", "lambda_l1": "λ", "l1": "λ"}
SCORES = {  # of codes against the true factors: higher is better, 1 is perfect
    "mig": "MIG",
    "mig_sup": "MIG-sup",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
    "factor_vae_score": "FactorVAE score",
    "beta_vae_score": "BetaVAE score",
    "sap": "SAP",
    "modularity": "Modularity",
    "explicitness": "Explicitness",
    "irs": "IRS",
    "infom": "InfoM",
    "infoc": "InfoC",
    "infoe": "InfoE",
    "info_mec_infom": "InfoM",
    "info_mec_infoc": "InfoC",
    "info_mec_infoe": "InfoE",
}
MEASURES = {  # without the true factors; in nats per example where they have a unit
    "elbo": "ELBO",
    "reconstruction": "Reconstruction (nats)",
    "kl": "KL (nats)",
    "squared_error": "Squared error",
    "active_units": "Active units",
    "sampled_gaussian_total_correlation": "Gaussian TC, sampled",
    "gaussian_total_correlation": "Gaussian TC",
    "gaussian_total_correlation_wasserstein": "Wasserstein correlation",
    "gaussian_total_correlation_wasserstein_norm": "Wasserstein, normalised",
    "mutual_info_score": "MI between codes",
    "udr": "UDR",
}
CRITERIA = {  # what could select a run without the true factors, and whether higher (1) or lower (-1) is taken
    "udr": 1,
    "elbo": 1,
    "reconstruction": -1,
    "kl": -1,
    "gaussian_total_correlation": -1,
    "mutual_info_score": -1,
}
HIDDEN = (  # metrics that answer no question of a study
    r"kl_latent_\d+|samples_.*|.*_train_accuracy|.*_train|.*_active|downstream_labels"
)
HEADLINE = ("mig", "dci_disentanglement", "factor_vae_score", "beta_vae_score", "sap", "dci_informativeness")
RANKED = 8  # runs: the ranks of fewer are too coarse for an interval of their correlation
CHOSEN_FROM = 2  # runs, at least: one alone is no choice
FEW = 6  # seeds: with fewer, an interval on one side of zero isn't rare even where there is no difference


class Setting(NamedTuple):
    """A method at a strength; None for a method without one."""

    method: str
    strength_name: str
    strength: float | None

    def __str__(self) -> str:
        return method_name(self.method) + ("" if self.strength is None else f" ({self.symbol} = {self.strength:g})")

    @property
    def symbol(self) -> str:
        """How the strength is written."""
        return SYMBOLS.get(self.strength_name, self.strength_name.replace("_", " "))


class Scores(NamedTuple):
    """One source's runs as arrays.

    Fields:
      source: its name.
      settings: S of them, methods in the order of METHODS and strengths ascending.
      seeds: Int[n].
      values: metric -> Float[S, n], NaN where a run diverged or wasn't made; metrics in the order of figures.
      made, lost: Bool[S, n], which runs there are, and which of them diverged.
    """

    source: str
    settings: tuple[Setting, ...]
    seeds: Int[np.ndarray, " n"]
    values: dict[str, Float[np.ndarray, "S n"]]
    made: Bool[np.ndarray, "S n"]
    lost: Bool[np.ndarray, "S n"]

    @property
    def methods(self) -> list[str]:
        """The distinct methods, in order."""
        return list(dict.fromkeys(setting.method for setting in self.settings))

    @property
    def number(self) -> Int[np.ndarray, " S"]:
        """Which of `methods` each setting belongs to."""
        return np.array([self.methods.index(setting.method) for setting in self.settings])

    def of(self, keep: Callable[[Setting], bool]) -> "Scores":
        """The settings that are kept."""
        index = [i for i, setting in enumerate(self.settings) if keep(setting)]
        values = {metric: value[index] for metric, value in self.values.items()}
        return self._replace(
            settings=tuple(self.settings[i] for i in index), values=values, made=self.made[index], lost=self.lost[index]
        )

    def variational(self) -> "Scores":
        """The VAE and its relatives: those with an ELBO, which differ in their regulariser only."""
        return self.of(lambda setting: setting.method not in BASELINES)


def scores(table: pd.DataFrame, source: str) -> Scores:
    """The runs of this source.

    Raises:
      InputError: a column is missing, there is no such source, or two runs share method, strength and seed.
    """
    check_columns(table, COLUMNS)
    rows = table[(table["source"] == source) & ~table["metric"].str.fullmatch(HIDDEN)]
    if rows.empty:
        known = ", ".join(map(str, table["source"].unique()))
        raise InputError(f"the study has no runs on {source!r}; its sources are: {known}")
    key = ["method", "strength_name", "strength"]
    rows = rows.assign(strength_name=rows["strength_name"].fillna("").astype(str))
    if rows.duplicated([*key, "seed", "metric"]).any():
        twice = rows[rows.duplicated([*key, "seed", "metric"])].iloc[0]
        raise InputError(f"two runs of {twice['method']!r} on {source!r} share strength and seed {twice['seed']}")
    order = {method: index for index, method in enumerate([*METHODS, *rows["method"].unique()][::-1])}
    found = rows[key].drop_duplicates().assign(order=lambda frame: -frame["method"].map(order))
    found = found.sort_values(["order", "strength_name", "strength"], kind="stable")
    settings = tuple(
        Setting(method, name, None if strength != strength else float(strength))
        for method, name, strength in found[key].itertuples(index=False)
    )
    seeds = np.sort(rows["seed"].unique())
    at = {setting: index for index, setting in enumerate(settings)}
    row = [at[Setting(m, n, None if s != s else float(s))] for m, n, s in rows[key].itertuples(index=False)]
    column = np.searchsorted(seeds, rows["seed"])
    place, shape = np.array(row) * len(seeds) + column, (len(settings), len(seeds))
    values = {}
    for metric in _in_order(rows["metric"].unique()):
        mine = (rows["metric"] == metric).to_numpy()
        values[metric] = np.full(shape, np.nan)
        values[metric].flat[place[mine]] = rows["value"].to_numpy(np.float64)[mine]
        values[metric][~np.isfinite(values[metric])] = np.nan
    made = np.zeros(shape, bool)
    made.flat[place] = True
    lost = made & _lost(values, np.array([setting.method for setting in settings]))
    values = {metric: np.where(lost, np.nan, value) for metric, value in values.items()}
    values = {metric: value for metric, value in values.items() if np.isfinite(value).any()}
    return Scores(source, settings, seeds, values, made, lost)


def _lost(values: dict[str, np.ndarray], methods: np.ndarray) -> np.ndarray:
    """Runs without any finite value but counts, or without one of VITAL that others of their method have."""
    counts = [value for metric, value in values.items() if metric != "active_units"]
    lost = ~np.any([np.isfinite(value) for value in counts] or [np.isfinite(values["active_units"])], axis=0)
    for metric in set(VITAL) & set(values):
        finite = np.isfinite(values[metric])
        has = np.array([finite[methods == method].any() for method in methods])
        lost |= has[:, None] & ~finite
    return lost


def _in_order(metrics: Sequence[str]) -> list[str]:
    """Known scores, then accuracies by their labels, then known measures, then anything else."""
    accuracies = [metric for metric in metrics if _labels(metric)]
    accuracies.sort(key=lambda metric: _labels(metric) or 0)
    known = [*(m for m in SCORES if m in set(metrics)), *accuracies, *(m for m in MEASURES if m in set(metrics))]
    return [*known, *(metric for metric in metrics if metric not in known)]


def _labels(metric: str) -> int | None:
    found = re.fullmatch(r"downstream_(?:\w+_)?(\d+)", metric)
    return int(found[1]) if found else None


def is_score(metric: str) -> bool:
    """Whether it is known to compare codes with the true factors, and higher to be better."""
    return metric in SCORES or _labels(metric) is not None


def method_name(method: str) -> str:
    """What a method is called."""
    return METHODS.get(method, method.replace("_", " "))


def metric_name(metric: str) -> str:
    """What a metric is called."""
    if labels := _labels(metric):
        return f"Accuracy, {labels} labels"
    return SCORES.get(metric) or MEASURES.get(metric) or metric.replace("_", " ")


def headline(study: Scores, most: int = 6) -> list[str]:
    """The scores that the comparisons are made with: those of HEADLINE that are there, or any other."""
    present = [metric for metric in HEADLINE if metric in study.values]
    return present[:most] or [metric for metric in study.values if is_score(metric)][:most]


def means(study: Scores, resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """metric -> the mean over seeds of every setting, [S]; no interval where fewer than two runs have a value."""
    found = {}
    for metric, values in study.values.items():
        estimate = bootstrap(lambda weights, values=values: mean(values, weights), len(study.seeds), resamples)
        enough = np.isfinite(values).sum(axis=1) > 1
        bounds = (np.where(enough, bound, np.nan) for bound in estimate[1:])
        found[metric] = Estimate(estimate.value, *bounds)
    return found


def summary(study: Scores, metrics: Sequence[str], resamples: int = RESAMPLES) -> pd.DataFrame:
    """A row per setting: mean ± half the interval of each metric, and how many runs."""
    found = means(study._replace(values={metric: study.values[metric] for metric in metrics}), resamples)
    rows = []
    for index, setting in enumerate(study.settings):
        lost, total = int(study.lost[index].sum()), int(study.made[index].sum())
        row = {"Method": method_name(setting.method)}
        row["Strength"] = "" if setting.strength is None else f"{setting.symbol} = {setting.strength:g}"
        for metric in metrics:
            value, low, high = (float(part[index]) for part in found[metric])
            text = with_error(value, (high - low) / 2) if np.isfinite(low) else number(value)
            row[metric_name(metric)] = "diverged" if lost == total else text
        rows.append({**row, "Runs": runs_text(lost, total)})
    return pd.DataFrame(rows)


def shares(study: Scores, metrics: Sequence[str], resamples: int = RESAMPLES) -> dict[str, Estimate]:
    """metric -> what method, strength and seed explain of its variance, [3]; without metrics that don't vary."""
    found = {}
    for metric in metrics:
        values = study.values[metric]
        if np.isfinite(values).any(axis=1).sum() < 2:  # of one setting, all is the seed
            continue
        estimate = _over_seeds(
            lambda weights, values=values: variance_shares(values, study.number, weights), values, resamples, True
        )
        if np.isfinite(estimate.value).all():
            found[metric] = Estimate(estimate.value, *(np.clip(bound, 0.0, 1.0) for bound in estimate[1:]))
    return found


def correlations(study: Scores, metrics: Sequence[str], resamples: int = RESAMPLES) -> Estimate:
    """Spearman's correlation over runs of every metric with every other, [M, M]."""
    found = np.full((3, len(metrics), len(metrics)), np.nan)
    for row, first in enumerate(metrics):
        for column, second in enumerate(metrics[:row]):
            pair = _correlation(study, study.values[first], study.values[second], resamples)
            found[:, row, column] = found[:, column, row] = pair
        found[0, row, row] = 1.0
    return Estimate(*found)


def _correlation(study: Scores, x: np.ndarray, y: np.ndarray, resamples: int) -> Estimate:
    seed = np.tile(np.arange(len(study.seeds)), len(study.settings))
    return _over_seeds(lambda weights: spearman(x.ravel(), y.ravel(), weights[:, seed]), x + y, resamples)


def _over_seeds(
    statistic: Callable[[np.ndarray], np.ndarray], values: np.ndarray, resamples: int, recentre: bool = False
) -> Estimate:
    """`bootstrap` of values [S, n]; no interval where fewer than two seeds have a value."""
    found = bootstrap(statistic, values.shape[1], resamples, recentre=recentre)
    if np.isfinite(values).any(axis=0).sum() > 1:
        return found
    return Estimate(found.value, *(np.full_like(bound, np.nan) for bound in found[1:]))


def selection(
    study: Scores, score: str, criteria: Sequence[str] | None = None, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """How well each criterion finds runs of a high score, within every method and among all runs.

    Returns:
      a row per `criterion` and `method` ("all" for all): `rho`, Spearman's correlation of the score with the criterion
      (turned so that 1 is right; no interval below RANKED runs), and `chosen`, the score of the run that it selects,
      each with `_low` and `_high`; the `mean` and the `best` score of all runs, and how many `runs` both are known of.
    """
    criteria = [metric for metric in CRITERIA if metric in study.values] if criteria is None else criteria
    seed_of, rows = np.arange(len(study.seeds)), []
    for method in ["all", *study.methods]:
        part = study.of(lambda setting, method=method: method in ("all", setting.method))
        index, y = np.tile(seed_of, len(part.settings)), part.values[score].ravel()
        for criterion in criteria:
            x = CRITERIA[criterion] * part.values[criterion].ravel()
            runs = int((np.isfinite(x) & np.isfinite(y)).sum())
            both = part.values[criterion] + part.values[score]
            rho = _over_seeds(lambda w, x=x, y=y, i=index: spearman(x, y, w[:, i]), both, resamples)
            picked = _over_seeds(lambda w, x=x, y=y, i=index: selected(x, y, w[:, i]), both, resamples)
            if runs < RANKED:
                rho = Estimate(rho.value, np.nan, np.nan)
            rows.append((criterion, method, *rho, *(bound[0] for bound in picked), *picked.value[1:], runs))
    names = ["criterion", "method", "rho", "rho_low", "rho_high", "chosen", "chosen_low", "chosen_high"]
    return pd.DataFrame(rows, columns=[*names, "mean", "best", "runs"])


def chances(study: Scores, metrics: Sequence[str], resamples: int = RESAMPLES) -> pd.DataFrame:
    """How often a run of the best choice is better than a run of another, by another seed (`statistics.chance`).

    Returns:
      a row per `choice` (a method, whose strength is chosen, or "method", where the strength is random) and `metric`:
      `chance`, `low`, `high`.
    """
    rows = []
    for choice in ["method", *study.methods]:
        part = study if choice == "method" else study.of(lambda setting, name=choice: setting.method == name)
        groups = part.number if choice == "method" else np.arange(len(part.settings))
        if len(np.unique(groups)) < 2:
            continue
        for metric in metrics:
            values = part.values[metric]
            won = wins(values, groups)
            found = bootstrap(lambda w, v=values, g=groups, won=won: chance(v, g, won, w), len(study.seeds), resamples)
            rows.append((choice, metric, *(float(part) for part in found)))
    return pd.DataFrame(rows, columns=["choice", "metric", "chance", "low", "high"])


def best_of_methods(study: Scores, metrics: Sequence[str], resamples: int = RESAMPLES) -> pd.DataFrame:
    """Every method at its best strength, where a seed's strength is chosen by the other seeds.

    Returns:
      a row per `method` and `metric`: `mean`, `low`, `high`; `strengths` ("β = 4" or "β = 4, 6", the commonest first);
      `difference`, `difference_low`, `difference_high` from the reference, paired by seed (NaN for itself).
    """
    rows = []
    for metric in metrics:
        reference = study.of(lambda setting: setting.method == REFERENCE).values[metric]
        for method in study.methods:
            part = study.of(lambda setting, method=method: setting.method == method)
            values, gap = part.values[metric], Estimate(np.nan, np.nan, np.nan)
            found = _chosen_mean(values, resamples)
            if len(reference) == 1 and method != REFERENCE:
                one = len(values) == 1
                gap = difference(values[0], reference[0], resamples) if one else _chosen_mean(
                    values - reference, resamples, choose_by=values
                )  # fmt: skip
            rows.append((method, metric, *map(float, found), _strengths(part, values), *map(float, gap)))
    gaps = ["difference", "difference_low", "difference_high"]
    return pd.DataFrame(rows, columns=["method", "metric", "mean", "low", "high", "strengths", *gaps])


def _chosen_mean(values: np.ndarray, resamples: int, choose_by: np.ndarray | None = None) -> Estimate:
    """The mean over seeds of the setting that the other seeds choose, by `choose_by` if given."""
    keep = np.isfinite(values).any(axis=0)
    values, by = values[:, keep], (values if choose_by is None else choose_by)[:, keep]
    if not keep.any():
        return Estimate(np.nan, np.nan, np.nan)

    def statistic(weights: np.ndarray) -> np.ndarray:
        chosen = held_out(by, weights)
        picked = values[chosen[1], np.arange(values.shape[1])]
        return weighted(np.where(np.isfinite(chosen[0]), picked, np.nan), weights)

    return bootstrap(statistic, int(keep.sum()), resamples)


def _strengths(part: Scores, values: np.ndarray) -> str:
    """The strengths that the seeds' others choose, the commonest first."""
    found, chosen = held_out(values, np.ones((1, values.shape[1])))
    known = chosen[np.isfinite(found)].tolist()
    common = sorted(set(known), key=lambda index: (-known.count(index), index))
    used = [part.settings[index].strength for index in common]
    texts = [f"{strength:g}" for strength in used if strength is not None]
    return f"{part.settings[0].symbol} = {', '.join(texts)}" if texts else ""


def differences(study: Scores, metrics: Sequence[str], resamples: int = RESAMPLES) -> pd.DataFrame:
    """Every setting of the variational methods less the reference: `setting`, `metric`, `value`, `low`, `high`."""
    rows = []
    for metric in metrics:
        reference = study.of(lambda setting: setting.method == REFERENCE).values[metric]
        for setting, values in zip(study.settings, study.values[metric], strict=True):
            if len(reference) == 1 and setting.method not in (REFERENCE, *BASELINES):
                found = difference(values, reference[0], resamples)
                rows.append((setting, metric, *(float(part) for part in found)))
    return pd.DataFrame(rows, columns=["setting", "metric", "value", "low", "high"])


def difference(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], resamples: int = RESAMPLES) -> Estimate:
    """Mean of a less mean of b, paired by seed.

    Where one has a single run, that is taken as fixed. No interval without two seeds that both have.
    """
    single = np.isfinite(a).sum() == 1, np.isfinite(b).sum() == 1
    if single[0] != single[1]:
        a, b = (np.full_like(x, np.nanmean(x)) if one else x for x, one in zip((a, b), single, strict=True))
    gap = (a - b)[np.isfinite(a - b)]
    if gap.size == 0:
        return Estimate(np.nan, np.nan, np.nan)
    return bootstrap(lambda weights: mean(gap, weights), gap.size, resamples)


def effect_of_source(
    study: Scores, other: Scores, metrics: Sequence[str], resamples: int = RESAMPLES
) -> tuple[pd.DataFrame, list[str]]:
    """Each metric per method on two sources, over the settings that both have, averaged within a seed.

    Returns:
      a row per `method` and `metric`: `first`, `second` (means on `study` and `other`), each with `_low` and `_high`;
      `difference` (second less first, paired by seed) with `_low`, `_high`. And the metrics that both have.
    """
    shared = set(study.settings) & set(other.settings)
    seeds = np.intersect1d(study.seeds, other.seeds)
    metrics = [metric for metric in metrics if metric in study.values and metric in other.values]
    rows = []
    for method in [name for name in study.methods if any(setting.method == name for setting in shared)]:
        keep = [part.of(lambda s, name=method: s in shared and s.method == name) for part in (study, other)]
        for metric in metrics:
            both = [part.values[metric][:, np.isin(part.seeds, seeds)] for part in keep]
            known = np.isfinite(both[0]) & np.isfinite(both[1])
            averages = [mean(np.where(known, values, np.nan).T, np.ones((1, len(values))))[0] for values in both]
            found = [_mean(average, resamples) for average in averages]
            gap = difference(averages[1], averages[0], resamples)
            rows.append((method, metric, *found[0], *found[1], *(float(part) for part in gap)))
    names = [name + end for name in ("first", "second", "difference") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["method", "metric", *names]), metrics


def _mean(values: Float[np.ndarray, " n"], resamples: int) -> tuple[float, float, float]:
    known = values[np.isfinite(values)]
    if not known.size:
        return (np.nan,) * 3
    found = bootstrap(lambda weights: mean(known, weights), known.size, resamples)
    return float(found.value), float(found.low), float(found.high)


def number(value: float, signed: bool = False) -> str:
    """Two decimals for scores, fewer for what is large; "–" for NaN."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:{'+' if signed else ''}.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2}f}"
    return text.replace("-", "−")


def spread(value: float, low: float, high: float, *, signed: bool = False) -> str:
    """ "0.31 [0.24, 0.38]", or just the value where there is no interval."""
    interval = f" [{number(low, signed)}, {number(high, signed)}]" if np.isfinite(low) else ""
    return number(value, signed) + interval
