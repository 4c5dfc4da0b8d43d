"""What a disentanglement study found, as sentences computed from its scores; they say so where nothing is certain.

Every function takes the scores of one source (vaejax/analysis/study.py) and gives a sentence, or an empty text
where the study lacks what it would be about.
"""
# pyright: reportArgumentType=false
# (what pandas declares is wider than what it returns)

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vaejax.analysis import study as tables
from vaejax.analysis.pairs import ENOUGH
from vaejax.analysis.statistics import RESAMPLES, bootstrap, spearman
from vaejax.analysis.study import BASELINES, FEW, REFERENCE, Scores, method_name, metric_name, spread

MAIN = ("mig", "dci_disentanglement")  # a method is called better than another if it is in all of these
CORRELATIONS = {
    "sampled_gaussian_total_correlation": "sampled codes",
    "gaussian_total_correlation": "the codes' means",
}
FIXED = ("pca", "ica", "pixels", "random_encoder", "true_factors")
SMALL = 0.015  # of scores that end at 1: less is no headline, however sure it is
NONE = {"beta": 1.0, "gamma": 0.0, "lambda_od": 0.0}  # the strength at which a method is the VAE


def answers(table: pd.DataFrame, source: str | None = None, resamples: int = RESAMPLES) -> list[str]:
    """The findings on one source (the first that isn't correlated if not given), the most important first.

    Raises:
      InputError: as `scores`.
    """
    chosen = independent(table)[0] if source is None else source
    study = tables.scores(table, chosen)
    found = [
        untrained(study) or beats_reference(study, resamples),
        ranking(study, resamples),
        strength_and_correlation(study, resamples),
        ends(study),
        explained(study, resamples),
        decided(study, resamples),
        selection(study, resamples),
    ]
    for other in correlated(table, chosen):
        found.append(shift(study, tables.scores(table, other), resamples))
    if study.lost.any() and not trained(study).values:
        found = [lost(study), "A lower learning rate may help.", *found, caution(study)]
        return [text for text in found if text]
    return [text for text in (*found, lost(study), caution(study)) if text]


def independent(table: pd.DataFrame) -> list[str]:
    """The sources that are compared by themselves: all but the correlated variants of another."""
    sources = [str(source) for source in table["source"].unique()]
    return [source for source in sources if source == base_of(source) or base_of(source) not in sources]


def correlated(table: pd.DataFrame, base: str) -> list[str]:
    """The correlated variants of this source."""
    return [str(source) for source in table["source"].unique() if base_of(str(source)) == base and source != base]


def base_of(source: str) -> str:
    """`sprites` of `sprites+correlated:x,y,0.2`."""
    return source.split("+correlated", 1)[0]


def caution(study: Scores) -> str:
    """How far intervals from so few seeds can be trusted."""
    n = int((study.made & ~study.lost).any(axis=0).sum())
    if n == 0:
        return "No seed has a run that is left."
    if n == 1:
        return "There is one seed: no interval, and no difference here can be told from chance."
    if 0 < n < FEW:
        return (
            f"With {n} seeds, even where there is no difference an interval lies wholly on one side of zero in about 1 "
            f"of {2 ** (n - 1)} cases: take single findings as hints."
        )
    return ""


def lost(study: Scores) -> str:
    """How many runs diverged, and of which methods."""
    count = {method: int(study.lost[study.number == index].sum()) for index, method in enumerate(study.methods)}
    where = [f"{number} of {method_name(method)}" for method, number in count.items() if number]
    total = sum(count.values())
    made = int(trained(study).made.sum())
    if 0 < made == int(trained(study).lost.sum()):
        runs = "The only run" if made == 1 else f"All {made} trained runs"
        return f"{runs} diverged: there is nothing to compare."
    what = "run diverged and is" if total == 1 else "runs diverged and are"
    return f"{total} {what} left out: {_listed(where)}." if where else ""


def trained(study: Scores) -> Scores:
    """The methods that were trained: all but those of FIXED."""
    part = study.of(lambda setting: setting.method not in FIXED)
    return part._replace(values={name: value for name, value in part.values.items() if np.isfinite(value).any()})


def main_metrics(study: Scores) -> list[str]:
    """The scores by which a method is called better."""
    return [metric for metric in MAIN if metric in study.values] or tables.headline(study, 2)


def untrained(study: Scores) -> str:
    """That the models have learned nothing that the scores see: where an untrained encoder is, and below PCA."""
    metrics = [metric for metric in main_metrics(study) if metric in study.values]
    average = {
        method: [_mean(study.values[metric][study.number == index]) for metric in metrics]
        for index, method in enumerate(study.methods)
    }
    floor, pca = (np.array(average.get(method, ())) for method in ("random_encoder", "pca"))
    part = study.variational()
    best = np.array(
        [max(map(_mean, part.values[metric]), default=np.nan) for metric in metrics if metric in part.values]
    )
    if not metrics or not floor.size or not pca.size or best.size != len(metrics) or not np.isfinite(best).all():
        return ""
    if not ((best < pca) & (best - floor < np.maximum(SMALL, 0.1 * floor))).all():
        return ""
    texts = [
        f"{metric_name(metric)} {tables.number(value)} at best, {tables.number(low)} for an untrained encoder and "
        f"{tables.number(high)} for PCA"
        for metric, value, low, high in zip(metrics, best, floor, pca, strict=True)
    ]
    return (
        f"These models have learned nothing yet that the scores could see: {_listed(texts)}. Train them longer first."
    )


def beats_reference(study: Scores, resamples: int = RESAMPLES) -> str:
    """Which methods are better than the VAE in every main score, the strength chosen by the other seeds."""
    metrics, name = main_metrics(study), method_name(REFERENCE)
    rivals = [method for method in study.methods if method not in (REFERENCE, *BASELINES)]
    if not metrics or not rivals or REFERENCE not in study.methods:
        return ""
    table = tables.best_of_methods(study.of(lambda s: s.method in (REFERENCE, *rivals)), metrics, resamples)
    gaps = {method: rows.set_index("metric") for method, rows in table.groupby("method") if method in rivals}
    both = " and ".join(map(metric_name, metrics))

    def gain(method: str) -> str:
        rows = gaps[method]
        values = [
            spread(*rows.loc[m, ["difference", "difference_low", "difference_high"]], signed=True) for m in metrics
        ]
        return _listed([f"{value} in {metric_name(m)}" for value, m in zip(values, metrics, strict=True)])

    chosen = "strengths chosen by the other seeds, 95 % intervals"
    sure = [method for method in rivals if (gaps[method]["difference_low"] > 0).all()]
    better = [method for method in sure if (gaps[method]["difference"] > SMALL).all()]
    seeds = int((study.made & ~study.lost).any(axis=0).sum())
    if sure and (seeds < ENOUGH or not better):
        few, small = f"{seeds} seeds are too few", f"less than {SMALL:g} is nothing beside the 1 of true factors"
        why = few if seeds < ENOUGH else small
        text = f"No method is called better than the {name} in {both}, since {why}; nearest is"
        nearest = max(sure, key=lambda method: gaps[method]["difference"].mean())
        return f"{text} {method_name(nearest)}, {gain(nearest)} ({chosen})."
    better.sort(key=lambda method: -gaps[method]["difference"].mean())
    if better:
        verb = "separates" if len(better) == 1 else "separate"
        most = (
            f"by {gain(better[0])}" if len(better) == 1 else f"{method_name(better[0])} the most, by {gain(better[0])}"
        )
        text = (
            f"{_listed(list(map(method_name, better)))} {verb} the factors better than the {name}, in {both}: {most} "
        )
        rest = _listed([method_name(method) for method in rivals if method not in better])
        text += f"({chosen})." + (f" For {rest} an interval includes or lies below zero." if rest else "")
        return f"{text} {fixed_strengths(study, resamples)}"
    known = [method for method in rivals if np.isfinite(gaps[method]["difference"]).all()]
    reference = study.of(lambda setting: setting.method == REFERENCE)
    if reference.lost.sum() == reference.made.sum():
        return f"Whether a method beats the {name} can't be said: every run of the {name} diverged."
    if not known:
        return f"Whether a method beats the {name} can't be said: too few runs to choose a strength and to compare it."
    nearest = max(known, key=lambda method: gaps[method]["difference"].mean())
    text = f"No method beats the {name} in {both} with intervals above zero ({chosen}); nearest is "
    return f"{text}{method_name(nearest)}, {gain(nearest)}. {fixed_strengths(study, resamples)}".strip()


def fixed_strengths(study: Scores, resamples: int = RESAMPLES) -> str:
    """How many single settings are better than the VAE in every main score."""
    table = tables.differences(study, main_metrics(study), resamples)
    if table.empty:
        return ""
    above = (table.groupby("setting", sort=False)["low"].min() > 0) & (
        table.groupby("setting", sort=False)["low"].count() == table["metric"].nunique()
    )
    best = [str(setting) for setting in above[above].index]
    some = f": {_listed(best[:4])}" + (f" and {len(best) - 4} more" if len(best) > 4 else "") if best else ""
    beat = "beats" if len(best) == 1 else "beat"
    return f"Without choosing, {len(best)} of {len(above)} single settings {beat} it so{some}."


def ranking(study: Scores, resamples: int = RESAMPLES) -> str:
    """Autoencoder, VAE, beta-VAE, PCA and ICA in the first main score, from the best down."""
    metrics = main_metrics(study)[:1]
    asked = ("vae", "beta_vae", "autoencoder", "pca", "ica")
    part = study.of(lambda setting: setting.method in asked)
    if not metrics or len(part.methods) < 2:
        return ""
    table = tables.best_of_methods(part, metrics, resamples).dropna(subset="mean")
    table = table.sort_values("mean", ascending=False, kind="stable")
    listed = [
        f"{method_name(row['method'])} {spread(row['mean'], row['low'], row['high'])}" for _, row in table.iterrows()
    ]
    return f"In {metric_name(metrics[0])}: {', '.join(listed)}." if len(listed) > 1 else ""


def strength_and_correlation(study: Scores, resamples: int = RESAMPLES) -> str:
    """Whether the Gaussian total correlation of sampled codes, and of their means, falls as the strength rises."""
    texts = [trends(study, metric, codes, resamples) for metric, codes in CORRELATIONS.items()]
    return " ".join(text for text in texts if text)


def trends(study: Scores, metric: str, codes: str, resamples: int = RESAMPLES) -> str:
    """For each method, whether this metric falls or rises with the strength; a VAE has the strength that is none."""
    if metric not in study.values:
        return ""
    falls, rises, unclear, seeds = [], [], [], np.arange(len(study.seeds))
    for method in study.variational().methods:
        own = study.of(lambda setting, name=method: setting.method == name and setting.strength is not None)
        if not own.settings:
            continue
        none = NONE.get(own.settings[0].strength_name)
        plain = study.of(lambda setting, none=none: setting.method == REFERENCE and none is not None)
        strengths = [none] * len(plain.settings) + [setting.strength or 0.0 for setting in own.settings]
        y = np.concatenate([plain.values[metric], own.values[metric]])
        if len(strengths) < 2 or not np.isfinite(y).any(axis=1).all():
            continue
        x, index = np.repeat(np.array(strengths, float), len(seeds)), np.tile(seeds, len(strengths))
        rho = bootstrap(lambda w, x=x, y=y, i=index: spearman(x, y.ravel(), w[:, i]), len(seeds), resamples)
        steps = np.diff(np.nanmean(y[np.argsort(strengths)], axis=1))
        always = "; at every step" if len(steps) > 1 and ((steps < 0).all() or (steps > 0).all()) else ""
        kind = unclear if not (rho.high < 0 or rho.low > 0) else falls if rho.value < 0 else rises
        text = f"{method_name(method)} (ρ = {spread(*map(float, rho))}{'' if kind is unclear else always})"
        kind.append(text)
    if len(seeds) == 1 and unclear:
        return f"Of one seed, the Gaussian total correlation of {codes} goes with the strength in {_listed(unclear)}."
    parts = [
        f"{verb} with {_listed(texts)}"
        for verb, texts in (("falls", falls), ("rises", rises), ("has no clear trend", unclear))
        if texts
    ]
    return f"As the strength grows, the Gaussian total correlation of {codes} {'; it '.join(parts)}." if parts else ""


def ends(study: Scores) -> str:
    """Whether the true factors score 0.99 or more, and the random encoder the lowest."""
    metrics = [metric for metric in study.values if tables.is_score(metric)]
    average = {
        method: {metric: _mean(study.values[metric][study.number == index]) for metric in metrics}
        for index, method in enumerate(study.methods)
    }
    sentences = []
    known = {metric: value for metric, value in average.get("true_factors", {}).items() if np.isfinite(value)}
    if known:
        below = [f"{metric_name(metric)} {value:.3f}" for metric, value in known.items() if value < 0.99]
        sentences.append(f"The true factors score at least 0.99 in {len(known) - len(below)} of {len(known)} scores"
                         + (f" (below: {', '.join(below)})." if below else "."))  # fmt: skip
    known = {metric: value for metric, value in average.get("random_encoder", {}).items() if np.isfinite(value)}
    if known:
        lower = {}
        for metric, value in known.items():
            others = {m: scores[metric] for m, scores in average.items() if m != "random_encoder"}
            others = {method: score for method, score in others.items() if score < value}
            if others:
                lower[metric] = min(others, key=lambda method: others[method])
        some = [f"{metric_name(metric)} ({method_name(method)})" for metric, method in lower.items()]
        sentences.append(f"The random encoder is the lowest in {len(known) - len(lower)} of {len(known)} scores"
                         + (f"; something else is lower in {_listed(some)}." if some else "."))  # fmt: skip
    return " ".join(sentences)


def explained(study: Scores, resamples: int = RESAMPLES) -> str:
    """What method, strength and seed explain of the variance of the main scores."""
    part = study.variational()
    metrics = [metric for metric in main_metrics(part) if metric in part.values]
    alive = part.of(lambda setting: not part.lost[part.settings.index(setting)].all())
    if len(alive.settings) == 1:
        return spread_over_seeds(alive, metrics)
    listed = [
        f"{metric_name(metric)} {_listed([_percent([part[index] for part in share]) for index in range(3)])}"
        for metric, share in tables.shares(part, metrics, resamples).items()
    ]
    return f"Method, strength and seed explain, of the variance of {'; of '.join(listed)}." if listed else ""


def spread_over_seeds(study: Scores, metrics: Sequence[str]) -> str:
    """How far the seeds of the only setting lie apart in these metrics."""
    known = {metric: values[np.isfinite(values)] for metric in metrics for values in (study.values[metric],)}
    listed = [
        f"{metric_name(metric)} goes from {tables.number(values.min())} to {tables.number(values.max())}"
        for metric, values in known.items()
        if len(values) > 1
    ]
    return f"From seed to seed of {study.settings[0]}, {_listed(listed)}." if listed else ""


def decided(study: Scores, resamples: int = RESAMPLES) -> str:
    """Whether the seed or the choice of strength and method decides which of two runs is better."""
    part = study.variational()
    metrics = [metric for metric in main_metrics(part)[:1] if metric in part.values]
    table = tables.chances(part, metrics, resamples).dropna(subset="chance")
    if table.empty:
        return ""
    cases = {row["choice"]: _percent((row["chance"], row["low"], row["high"])) for _, row in table.iterrows()}
    parts = []
    if "method" in cases:
        parts.append(f"that of the better method wins in {cases.pop('method')} of cases")
    if cases:
        listed = [f"{case} ({method_name(method)})" for method, case in cases.items()]
        parts.append(f"that of the better strength of a method in {_listed(listed)}")
    sure = int((table["low"] > 0.5).sum())
    return (
        f"Of two runs of different seeds, in {metric_name(metrics[0])}, {', and '.join(parts)}. {sure} of {len(table)} "
        "intervals are above 50 %, where the seed alone decides."
    )


def selection(study: Scores, resamples: int = RESAMPLES) -> str:
    """What choosing a run without the true factors would have given, in the first main score."""
    part = study.variational()
    metrics = [metric for metric in main_metrics(part)[:1] if metric in part.values]
    if not metrics:
        return ""
    table = tables.selection(part, metrics[0], resamples=resamples)
    table = table[table["method"] == "all"].dropna(subset="chosen")
    if table.empty or table["runs"].max() < tables.CHOSEN_FROM:
        return ""
    listed = [f"{metric_name(row['criterion'])} {spread(row['chosen'], row['chosen_low'], row['chosen_high'])}"
              for _, row in table.sort_values("chosen", ascending=False).iterrows()]  # fmt: skip
    first = table.iloc[0]
    return (
        f"Chosen without the true factors, a run would have had a {metric_name(metrics[0])} of: {', '.join(listed)}; "
        f"the mean run has {tables.number(first['mean'])}, the best {tables.number(first['best'])}."
    )


def shift(study: Scores, other: Scores, resamples: int = RESAMPLES) -> str:
    """What correlated factors change in the main scores."""
    table, metrics = tables.effect_of_source(study.variational(), other, main_metrics(study), resamples)
    if table.empty or table["difference_low"].isna().all():
        return ""
    listed = []
    for metric in metrics:
        rows = table[table["metric"] == metric]
        down, up = (rows["difference_high"] < 0).sum(), (rows["difference_low"] > 0).sum()
        listed.append(f"{metric_name(metric)} is lower for {down} and higher for {up} of {len(rows)} methods")
    return f"On {other.source} against {study.source}, {_listed(listed)}, by intervals that exclude zero."


def _percent(estimate: Sequence[float]) -> str:
    value, low, high = (100 * float(part) for part in estimate)
    return f"{value:.0f} %" + (f" [{low:.0f}, {high:.0f}]" if np.isfinite(low) else "")


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan


def _listed(texts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
