"""What came out of a sweep, as a sentence or two from its tidy table: `run`, seed, what was varied, metric, value."""

import pandas as pd

from vaejax.analysis.tables import diverged_text, finished, is_number, label, name

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
    """`effect` of a hyperparameter on the terms of an ELBO, or else what is `best`."""
    several = table[by].nunique() > 1 and all(map(is_number, table[by].unique()))
    if several and "kl" in set(table["metric"]):
        return effect(table, by, example)
    return best(table, by, steps, example)


def asked(method: str, source: str, by: str | None = None) -> str:
    """The question that a sweep is an answer to: of what is varied, or of the method."""
    return f"What does {name(by)} do to {method} on {source}?" if by else f"What does {method} make of {source}?"
