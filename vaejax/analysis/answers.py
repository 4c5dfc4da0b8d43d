"""What came out of a sweep, in a few sentences, from its tidy table: `run`, seed, what was varied, metric, value."""

import numpy as np
import pandas as pd

from vaejax.analysis import pairs
from vaejax.analysis.pairs import Change
from vaejax.analysis.tables import SEPARATION, diverged_text, finished, is_number, label, name, ordered

HEADLINES = {  # metric -> 1 where more is better, -1 where less is; what it is called, and its unit
    "accuracy": (1, "accuracy", ""),
    "elbo": (1, "ELBO", " nats per {}"),
    "reconstruction": (-1, "reconstruction term", " nats per {}"),
}
CHANGES = {  # metric -> how its change is told, and with how many decimals
    "kl": ("the KL goes {} nats per {}", 1),
    "active_units": ("the active units {}", 1),
    "reconstruction": ("the reconstruction term {} nats", 1),
    "mig": ("MIG goes {}", 2),
}
COSTS = {"reconstruction": "the reconstruction term", "elbo": "the ELBO"}


def trade_off(table: pd.DataFrame, by: str, example: str = "image") -> str:
    """How much better the best value of a hyperparameter separates the factors than the first, and what that costs.

    Nothing is claimed where an interval contains zero, or of few seeds (vaejax/analysis/pairs.py). `effect`, where no
    factors are known or only one value is left.
    """
    metric = next((metric for metric in SEPARATION if metric in set(table["metric"])), None)
    settings = ordered(finished(table)[by])
    first = pairs.reference(settings) if settings else None
    found = pairs.best(table, by, metric, first) if metric and len(settings) > 1 else None
    if found is None:
        return effect(table, by, example)
    others = [pairs.change(table, by, other, found.setting, first) for other in SEPARATION if other != metric]
    scores = [found, *(score for score in others if score is not None)]
    return " ".join(filter(None, [*_separated(by, scores), _cost(table, by, found), diverged_text(table, by)]))


def _separated(by: str, scores: list[Change]) -> list[str]:
    """What is known of the scores, and what isn't."""
    best, first = (label(by, value) for value in (scores[0].setting, scores[0].against))
    told = {True: [], False: [], None: []}  # better, worse, undecided
    for score in scores:
        told[score.low > 0 if score.decided else None].append(score_text(score))
    if scores[0].seeds < pairs.ENOUGH:
        count = f"{scores[0].seeds} seed{'s are' if scores[0].seeds > 1 else ' is'} too few"
        return [
            f"{count} to say whether a larger {name(by)} separates the factors better than {first}; at {best}: "
            f"{_listed(told[None])}. Give {pairs.ENOUGH} seeds or more."
        ]
    if not told[True] and not told[False]:
        return [f"Whether {best} separates the factors better than {first} is undecided: {_listed(told[None])}."]
    verdicts = {True: "better", False: "worse"}
    said = [
        f"{best} separates the factors {verdicts[verdict]} than {first}: {_listed(told[verdict])}."
        for verdict in (True, False)
        if told[verdict]
    ]
    return [*said, f"Undecided: {_listed(told[None])}."] if told[None] else said


def score_text(score: Change) -> str:
    """ "MIG 0.31 against 0.05 (+0.26 [+0.19, +0.33], 6 of 6 seeds)"; without an interval from one seed."""
    ends = f" [{score.low:+.2f}, {score.high:+.2f}], {score.agree} of {score.seeds} seeds"
    gap = f"{score.difference:+.2f}{ends if np.isfinite(score.low) else ''}"
    return f"{SEPARATION[score.metric]} {score.mean:.2f} against {score.base:.2f} ({gap})".replace("-", "−")


def _cost(table: pd.DataFrame, by: str, found: Change) -> str:
    """What the better setting pays: reconstruction, ELBO, and the latents that it switches off."""
    best, first, parts = label(by, found.setting), label(by, found.against), []
    for metric, what in COSTS.items():
        cost = pairs.change(table, by, metric, found.setting, found.against)
        if cost is None:
            continue
        sign = -1 if cost.difference < 0 else 1
        low, high = sorted((sign * cost.low, sign * cost.high))
        ends = "" if np.isnan(low) else f" [{low:.1f}, {high:.1f}]".replace("-", "−")
        parts.append(f"{what} is {abs(cost.difference):.1f}{ends} nats {'lower' if sign < 0 else 'higher'}")
    units = pairs.change(table, by, "active_units", found.setting, found.against)
    if units is not None:
        latents = table["metric"].str.fullmatch(r"kl_latent_\d+")
        of = f" of {table.loc[latents, 'metric'].nunique()}" if latents.any() else ""
        parts.append(f"{units.mean:.1f}{of} latents are active units, where {first} has {units.base:.1f}")
    return f"At {best} {_listed(parts)}." if parts else ""


def effect(table: pd.DataFrame, by: str, example: str = "image") -> str:
    """What the largest value of a hyperparameter changes against the smallest; and which runs diverged."""
    means = finished(table).groupby([by, "metric"])["value"].mean().unstack()
    lost = diverged_text(table, by)
    if len(means) < 2:
        alone = f"One {by} alone shows no effect: give several, such as 1, 4 and 16."
        return lost if lost and (means.empty or table[by].nunique() > 1) else f"{lost} {alone}".strip()
    low, high = means.index[0], means.index[-1]

    def change(metric: str) -> str:
        text, digits = CHANGES[metric]
        values = means[metric].loc[[low, high]]
        return text.format(f"from {values[low]:.{digits}f} to {values[high]:.{digits}f}", example)

    *parts, last = [change(metric) for metric in CHANGES if metric in means and metric != "mig"]
    told = f"{', '.join(parts)}, and {last}" if parts else last
    gap = f"; {change('mig')}" if "mig" in means else ""
    return f"As {by} grows from {low:g} to {high:g}, {told}{gap}. {lost}".strip()


def best(table: pd.DataFrame, by: str, steps: int, example: str = "image") -> str:
    """What was reached at the setting with the best accuracy, ELBO or reconstruction; and which runs diverged."""
    whole, lost = finished(table), diverged_text(table, by)
    metric = next((metric for metric in HEADLINES if metric in set(whole["metric"])), None)
    if metric is None:
        return lost or "Nothing that was measured is a number."
    sign, what, unit = HEADLINES[metric]
    rows = whole[whole["metric"] == metric]
    means = rows.groupby(by)["value"].mean()
    setting = (sign * means).idxmax()
    seeds = rows.loc[rows[by] == setting, "seed"].nunique()
    others = f", the best of {len(means)} settings" if len(means) > 1 else ""
    return (
        f"After {steps:,} steps the {what} is {means[setting]:{'.1f' if unit else '.3f'}}{unit.format(example)} "
        f"({label(by, setting)}{others}), mean over {seeds} seed{'s' if seeds > 1 else ''}. {lost}"
    ).strip()


def answered(table: pd.DataFrame, by: str, steps: int, example: str = "image") -> str:
    """`trade_off` of a hyperparameter on the terms of an ELBO, or else what is `best`."""
    several = table[by].nunique() > 1 and all(map(is_number, table[by].unique()))
    if several and "kl" in set(table["metric"]):
        return trade_off(table, by, example)
    return best(table, by, steps, example)


def asked(method: str, source: str, by: str | None = None) -> str:
    """The question that a sweep is an answer to: of what is varied, or of the method."""
    return f"What does {name(by)} do to {method} on {source}?" if by else f"What does {method} make of {source}?"


def _listed(texts: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
