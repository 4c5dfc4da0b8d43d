"""The page of a disentanglement study, made from one tidy table and the pictures that are handed in.

Each part needs something of the study: several seeds, methods or strengths, or a correlated source. Where that is
missing, one line says so in its place.
"""

import datetime
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from vaejax.analysis import findings
from vaejax.analysis import study as tables
from vaejax.analysis.statistics import RESAMPLES, Estimate
from vaejax.analysis.study import REFERENCE, Scores, method_name, metric_name, spread
from vaejax.plots import study as plots
from vaejax.report import Block, Code, Figure, Section, Table, Tabs, Text, write
from vaejax.storage.disk import attempt
from vaejax.storage.marker import record

READ = "Dots: means; lines: 95 % bootstrap intervals over seeds."
ANSWERS = 2  # findings at the top of the page
COLUMNS = 4  # scores in a table: more than that don't fit a page
Pictures = Mapping[str, Block | Sequence[Block]]


def write_study(
    folder: Path,
    table: pd.DataFrame,
    *,
    traversals: Pictures,
    mixing: Pictures,
    question: str,
    command: str,
    facts: Mapping[str, str],
    resamples: int = RESAMPLES,
) -> Path:
    """Writes `figures/*.png` and `report.html` of a measured study into `folder`, and returns the page's path.

    Args:
      table: a row per (run, metric), as vaejax/analysis/study.py says; several sources at once.
      traversals: a tab's label (a method) -> its figures, for example of the best, median and worst run.
      mixing: the same for the sprites whose factors are width, height, size and angle.
      resamples: of the bootstrap over seeds.

    Raises:
      InputError: a column is missing, two runs share source, method, strength and seed, or a file can't be written.
    """
    sources = findings.independent(table)
    found = {source: findings.answers(table, source, resamples) for source in sources}
    told = found if len(sources) > 1 else {sources[0]: found[sources[0]][ANSWERS:]}  # the first are above already
    parts = sections(table, told, traversals=traversals, mixing=mixing, resamples=resamples)
    attempt(folder / "figures", lambda: _save(folder / "figures", parts))
    lead = next((block for block in parts[1].blocks if isinstance(block, Figure)), None)  # of several sources, none
    seeds = table["seed"].nunique()
    counted = {"Runs": str(table["run"].nunique()), "Seeds": str(seeds), "Resamples": str(resamples)}
    return write(
        folder / "report.html",
        title=f"Disentanglement study on {', '.join(sources)}",
        question=question,
        answer="\n\n".join(found[sources[0]][:ANSWERS]) or "The study has too few runs to compare anything.",
        command=command,
        facts={**counted, **facts, "Date": datetime.date.today().isoformat()},
        lead=lead,
        sections=[part._replace(blocks=[block for block in part.blocks if block is not lead]) for part in parts],
    )


def sections(
    table: pd.DataFrame,
    found: Mapping[str, Sequence[str]],
    *,
    traversals: Pictures,
    mixing: Pictures,
    resamples: int = RESAMPLES,
) -> list[Section]:
    """The page's sections, in the order of the question; `found` are the findings per source, in tabs if several."""
    studies = {source: tables.scores(table, source) for source in found}

    def each(title: str, lead: str, make: Callable[[Scores, int], Sequence[Block]]) -> Section:
        blocks = {source: make(study, resamples) for source, study in studies.items()}
        return Section(title, [Tabs(blocks)] if len(blocks) > 1 else next(iter(blocks.values())), lead, closed=True)

    def sentences(study: Scores, _: int) -> list[Block]:
        return [Text(text) for text in found[study.source]] or [_left_out("there is nothing more to compare")]

    def shifts(study: Scores, resamples: int) -> list[Block]:
        others = findings.correlated(table, study.source)
        return shift(study, [tables.scores(table, source) for source in others], resamples)

    return [
        each("Findings", "Computed from the runs, with 95 % intervals.", sentences),
        each("Methods", "Autoencoder, VAE and relatives, PCA and ICA, between a random encoder and the true factors.",
             comparison),
        each("Every run", "How every metric is distributed, for each method and strength.", distributions),
        each("Variance", "How much is the method, how much its strength, and how much the seed?", variance),
        each("Seed or choice", "Does a better strength, or a better method, win if the seed is random?", chances),
        each("Selection", "Can a good run be chosen without knowing the true factors?", selection),
        each("Metrics", "Do the metrics agree, and do they cost reconstruction?", agreement),
        each("Correlated factors", "Real factors are not independent: what does that change?", shifts),
        Section("Traversals", _tabs(traversals, "no run was handed in"), "One code moves and the others stay.",
                closed=True),
        Section("Mixing", _tabs(mixing, "no runs on width, height, size and angle were handed in"),
                "Width, height, size and angle: which codes mix them?", closed=True),
    ]  # fmt: skip


def comparison(study: Scores, resamples: int) -> list[Block]:
    """Every method at its best strength, and its difference from the VAE."""
    metrics = tables.headline(study)
    if not metrics:
        return [_left_out("none of the known scores was measured")]
    if len(study.methods) < 2:
        return [_left_out("there is one method")]
    table = tables.best_of_methods(study, metrics, resamples)
    if table["mean"].isna().all():
        return [_left_out("with one seed, a strength would be judged by the very run that it is chosen by")]
    chosen = (
        "The strength of each seed is the one of highest mean over the other seeds, since to choose and to report on "
        "the same seeds would be too favourable."
    )
    if len(study.seeds) == 1:
        chosen = "With one seed no strength can be chosen: methods with strengths have no mean here."
    answer = findings.beats_reference(study, resamples) or findings.ranking(study, resamples)
    band = f" Grey: the {method_name(REFERENCE)}." if REFERENCE in study.methods else ""
    blocks: list[Block] = [Figure(plots.best_scores(table), _join(answer, READ + band, chosen))]
    words = table.assign(metric=table["metric"].map(metric_name), method=table["method"].map(method_name))
    words["text"] = [spread(*row) for row in table[["mean", "low", "high"]].itertuples(index=False)]
    words["gap"] = [
        _gap(value, low, high)
        for value, low, high in table[["difference", "difference_low", "difference_high"]].itertuples(index=False)
    ]
    names, order = list(dict.fromkeys(words["metric"]))[:COLUMNS], list(dict.fromkeys(words["method"]))
    first = words[words["metric"] == names[0]].set_index("method")["strengths"].reindex(order).rename("Strength")
    scores = pd.concat([first, words.pivot(index="method", columns="metric", values="text").loc[order, names]], axis=1)
    strength = f"Strength: as chosen for {names[0]}, the commonest first."
    tabs: dict[str, Block] = {"Means": Table(scores.rename_axis("Method"), f"Means and intervals. {strength}")}
    if REFERENCE in study.methods:
        name = method_name(REFERENCE)
        gaps = words.pivot(index="method", columns="metric", values="gap").loc[order, names].drop(index=name)
        arrows = "↑ and ↓: the interval excludes zero. Paired by seed; a method with one run is taken as fixed."
        what = f"Difference from the {name}"
        tabs[what] = Table(gaps.rename_axis("Method"), f"{what}. {arrows}")
        tabs |= _every_setting(study, metrics[:COLUMNS], resamples)
    return [*blocks, Tabs(tabs)]


def _every_setting(study: Scores, metrics: Sequence[str], resamples: int) -> dict[str, Block]:
    """The tab of single settings, where there are any."""
    table = tables.differences(study, metrics, resamples)
    rows = {}
    for setting, metric, value, low, high in table.itertuples(index=False):
        rows.setdefault(str(setting), {})[metric_name(metric)] = _gap(value, low, high)
    if not rows:
        return {}
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("Setting")
    looks = f"{len(frame)} settings are compared: about one in twenty intervals would exclude zero by chance."
    caption = f"Difference of every single setting from the {method_name(REFERENCE)}. {looks}"
    return {"Every setting": Table(frame, caption)}


def distributions(study: Scores, resamples: int) -> list[Block]:
    """Every run in every metric, and the summary."""
    means = tables.means(study, resamples)
    known = [metric for metric in study.values if tables.is_score(metric)]
    rest = [metric for metric in study.values if metric not in known]
    blocks: list[Block] = []
    for metrics, what in ((known, "Scores against the true factors"), (rest, "Measures without the true factors")):
        if metrics:
            drawing = plots.distributions(study, metrics, means)
            runs = int(study.made.sum())
            read = f"{runs} runs: a dot each; dashes and lines: means and 95 % bootstrap intervals over seeds."
            blocks.append(Figure(drawing, _join(f"{what}.", read, findings.lost(study))))
    shown = [*tables.headline(study, 3), *(metric for metric in ("elbo", "reconstruction") if metric in study.values)]
    if shown:
        blocks.append(Table(tables.summary(study, shown, resamples), "Mean ± half the width of the interval."))
    return blocks or [_left_out("no run has a finite value")]


def variance(study: Scores, resamples: int) -> list[Block]:
    """Shares of the variance."""
    part = study.variational()
    if len(study.seeds) < 2:
        return [_left_out("with one seed, nothing is known of what the seed does")]
    if len(part.settings) < 2:
        return [_left_out("there are less than two settings of VAEs")]
    metrics = [metric for metric in part.values if tables.is_score(metric) or metric in tables.MEASURES]
    found = tables.shares(part, metrics, resamples)
    if not found:
        return [_left_out("no metric varies")]
    names = ", ".join(map(method_name, part.methods))
    how = (
        f"Nested analysis of variance over the runs of {names}. What noise is expected to add to the differences "
        "between methods and between strengths is counted as the seed's (ε²)."
    )
    return [Figure(plots.explained(found), _join(findings.explained(study, resamples), how))]


def chances(study: Scores, resamples: int) -> list[Block]:
    """How often the better choice wins."""
    part = study.variational()
    metrics = tables.headline(part)
    if len(study.seeds) < 3:
        return [_left_out("it takes three seeds: two to compare, and others to choose by")]
    table = tables.chances(part, metrics, resamples) if metrics else pd.DataFrame({"chance": []})
    if table["chance"].isna().all():
        return [_left_out("there is no score of two methods, or of two strengths of a method")]
    how = (
        "How often a run of the best method (its strength random) or of the best strength scores higher than a run of "
        "another and of another seed; the best is chosen by seeds that neither run has. 0.5: the seed decides; 1: the "
        "choice does. Below: 95 % intervals; faint where they include 0.5."
    )
    return [Figure(plots.chance_map(table), _join(findings.decided(study, resamples), how))]


def selection(study: Scores, resamples: int) -> list[Block]:
    """What unsupervised criteria select."""
    part = study.variational()
    criteria = [metric for metric in tables.CRITERIA if metric in part.values]
    metrics = tables.headline(part, 4)
    if not criteria or not metrics:
        return [_left_out("no score, or no measure that could select a run, was taken of VAEs")]
    found = {metric: tables.selection(part, metric, criteria, resamples) for metric in metrics}
    few = int(part.made.sum()) < 3 or found[metrics[0]]["runs"].max() < tables.CHOSEN_FROM
    if few or found[metrics[0]]["chosen"].isna().all():
        return [_left_out("there are less than three runs of VAEs to choose from")]
    how = (
        "Spearman's correlation of each criterion with the score, turned so that 1 means the criterion is right (↑: "
        f"high is taken, ↓: low is). Faint: the interval includes zero, or there are less than {tables.RANKED} runs."
    )
    sure = [(row["criterion"], metric) for metric, rows in found.items() for _, row in rows.iterrows()
            if row["method"] == "all" and row["rho_low"] > 0]  # fmt: skip
    wrong = [(row["criterion"], metric) for metric, rows in found.items() for _, row in rows.iterrows()
             if row["method"] == "all" and row["rho_high"] < 0]  # fmt: skip
    told = (
        f"Among all runs, {len(sure)} of {len(criteria) * len(metrics)} correlations are above zero and {len(wrong)} "
        "below it, where the criterion misleads."
    )
    blocks: list[Block] = [
        Figure(plots.selection_map(found), _join(told, how)),
        Figure(
            plots.selected_scores(found),
            _join(findings.selection(study, resamples), "The run that each criterion selects among all VAEs. " + READ),
        ),
    ]
    rows = found[metrics[0]]
    wide = rows.pivot(index="method", columns="criterion", values="chosen").reindex(columns=criteria)
    ends = rows.groupby("method", sort=False)[["mean", "best"]].max()
    frame = ends.rename(columns={"mean": "Mean run", "best": "Best run"}).join(wide.rename(columns=metric_name))
    frame = frame.map(tables.number)
    frame.index = pd.Index(["All runs" if m == "all" else method_name(m) for m in frame.index], name="Among")
    what = f"{metric_name(metrics[0])} of the run that each criterion selects, beside the mean and the best run."
    return [*blocks, Table(frame, what)]


def agreement(study: Scores, resamples: int) -> list[Block]:
    """Rank correlation between metrics, and scores against reconstruction."""
    part = study.variational()
    metrics = [metric for metric, values in part.values.items() if np.isfinite(values).sum() > 2]
    if len(metrics) < 2:
        return [_left_out("less than two metrics, or less than three runs of VAEs")]
    found = tables.correlations(part, metrics, resamples)
    how = (
        f"Spearman's correlation over {int((part.made & ~part.lost).sum())} runs of VAEs and their relatives; scores "
        "first, then measures without the true factors. Faint: the 95 % interval includes zero."
    )
    blocks: list[Block] = [Figure(plots.correlation_map(metrics, found), _join(_agreement(metrics, found), how))]
    scores = [metric for metric in tables.headline(part) if metric in metrics]
    if "reconstruction" not in metrics or not scores:
        return [*blocks, _left_out("reconstruction against scores needs both")]
    column = metrics.index("reconstruction")
    rho = [f"{metric_name(m)} {spread(*(float(p[metrics.index(m), column]) for p in found))}" for m in scores]
    told = f"Spearman's correlation with the reconstruction error: {', '.join(rho)}."
    read = "A dot per run; larger dots: greater strengths of the method. The left is the better reconstruction."
    return [*blocks, Figure(plots.against(part, "reconstruction", scores), _join(told, read))]


def _agreement(metrics: Sequence[str], found: Estimate) -> str:
    """The scores that agree the most and the least."""
    scores = [index for index, metric in enumerate(metrics) if tables.is_score(metric)]
    pairs = [(a, b) for a in scores for b in scores if a < b and np.isfinite(found.value[a, b])]
    if not pairs:
        return ""
    pairs.sort(key=lambda pair: found.value[pair])

    def described(pair: tuple[int, int]) -> str:
        values = (float(part[pair]) for part in found)
        return f"{metric_name(metrics[pair[0]])} and {metric_name(metrics[pair[1]])} ({spread(*values)})"

    middle = float(np.median([found.value[pair] for pair in pairs]))
    most = f"{described(pairs[-1])} agree the most"
    least = f", {described(pairs[0])} the least" if len(pairs) > 1 else ""
    return f"Of the scores, {most}{least}; the median correlation of two is {tables.number(middle)}."


def shift(study: Scores, others: Sequence[Scores], resamples: int) -> list[Block]:
    """What correlated variants of the source change."""
    tabs = {}
    for other in others:
        table, metrics = tables.effect_of_source(study, other, tables.headline(study), resamples)
        if table[["first", "second"]].isna().all(axis=None):
            tabs[other.source] = [_left_out(f"{other.source} shares no method, strength and seed with {study.source}")]
            continue
        star = "★: the interval of the difference, paired by seed, excludes zero. Strengths that both have, averaged."
        drawing = plots.source_shift(table, (study.source, other.source))
        words = table.assign(metric=table["metric"].map(metric_name), method=table["method"].map(method_name))
        gap = ["difference", "difference_low", "difference_high"]
        words["text"] = [_gap(value, low, high) for value, low, high in table[gap].itertuples(index=False)]
        order, names = list(dict.fromkeys(words["method"])), list(map(metric_name, metrics[:COLUMNS]))
        gaps = words.pivot(index="method", columns="metric", values="text").loc[order, names].rename_axis("Method")
        tabs[other.source] = [
            Figure(drawing, _join(findings.shift(study, other, resamples), READ, star)),
            Table(gaps, f"{other.source} less {study.source}. ↑ and ↓: the interval excludes zero."),
        ]
    if not tabs:
        return [_left_out(f"the study has no correlated variant of {study.source}")]
    return [Tabs(tabs)] if len(tabs) > 1 else next(iter(tabs.values()))


def _tabs(pictures: Pictures, missing: str) -> list[Block]:
    return [Tabs(pictures)] if pictures else [_left_out(missing)]


def _left_out(reason: str) -> Text:
    return Text(f"Left out: {reason}.")


def _gap(value: float, low: float, high: float) -> str:
    """A difference as text, with an arrow if its interval excludes zero."""
    return spread(value, low, high, signed=True) + (" ↑" if low > 0 else " ↓" if high < 0 else "")


def _join(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _save(folder: Path, parts: Sequence[Section]) -> None:
    """Every matplotlib figure of the page as `SECTION[_TAB][_NUMBER].png`."""
    folder.mkdir(parents=True, exist_ok=True)
    for section in parts:
        drawn = list(_drawings(section.blocks, (section.title,)))
        names = ["_".join(_slug(part) for part in name) for name, _ in drawn]
        for index, (name, (_, drawing)) in enumerate(zip(names, drawn, strict=True)):
            number = f"_{names[:index].count(name) + 1}" if names.count(name) > 1 else ""
            drawing.savefig(folder / f"{name}{number}.png", dpi=160)
            record(folder / f"{name}{number}.png")
            drawing.set_layout_engine("none")  # it stays as it is laid out now, for the page


def _drawings(blocks: Sequence[Block], name: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Drawing]]:
    for block in blocks:
        if isinstance(block, Figure) and isinstance(block.picture, Drawing):
            yield name, block.picture
        elif isinstance(block, Tabs):
            for label, inside in block.tabs.items():
                several = inside if not isinstance(inside, Figure | Table | Text | Code | Tabs) else [inside]
                yield from _drawings(several, (*name, label))


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower().replace("β", "beta")).strip("-")
