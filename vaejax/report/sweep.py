"""The page of a sweep over one hyperparameter, or over settings that have names, made from its folder alone."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import figure as mpl

from vaejax import plots
from vaejax.analysis import pairs
from vaejax.analysis.answers import answered, asked
from vaejax.analysis.tables import SEPARATION, finished, label, ordered, summary_table
from vaejax.errors import InputError, choose
from vaejax.method import Space
from vaejax.report import Block, Figure, Section, Table, Tabs, media, write
from vaejax.report.facts import facts as facts_of
from vaejax.report.pictures import Pictures, matrix, median_runs, pictures, traversal
from vaejax.storage.disk import attempt
from vaejax.storage.marker import record, sha256
from vaejax.storage.run import Run

MEASURES = ("accuracy", "elbo", "reconstruction", "kl", "active_units", "squared_error", *SEPARATION)
LEAD = ("accuracy", "mig", "dci_disentanglement", "reconstruction", "kl", "elbo")  # the first three that there are
CURVES = 9  # losses drawn, at most
INTERVAL = "Line: mean over seeds; band: its 95 % t-interval, cut where a measure ends; dots: runs."
LOSSES = "Line: mean over seeds; faint: runs."
CARRIES = "A row says which factor the latent carries most of, and how much of its entropy; – where it carries none."


def tidy(run: Run, by: str) -> pd.DataFrame:
    """`results` with the columns that figures need: run, `by`, seed, metric, value.

    Values of runs that diverged are NaN: what was measured there is what they were before.
    """
    lost = run.results["run"].isin(run.table.loc[run.table["status"] == "diverged", "run"])
    values = run.results["value"].mask(lost)
    return run.results.assign(value=values).merge(run.table[["run", by, "seed"]], on="run")


def named(run: Run) -> Run:
    """The run with the column `setting`: the hyperparameters in which its runs differ, or the method's name."""
    differ, method = varied(run), run.config["model"]["method"]
    rows = run.table.to_dict("records")
    settings = [", ".join(label(name, row[name]) for name in differ) or method for row in rows]
    return run._replace(table=run.table.assign(setting=settings))


def varied(run: Run) -> list[str]:
    """The hyperparameters in which its runs differ."""
    return [name for name in run.method.hyper._fields if run.table[name].nunique() > 1]


def page_of(
    run: Run,
    path: Path | None = None,
    *,
    by: str | None = None,
    question: str | None = None,
    answer: str | None = None,
    facts: Mapping[str, str] | None = None,
    more: Mapping[str, tuple[mpl.Figure, str]] | None = None,
) -> Path:
    """`write_sweep`; what the question, the answer and the facts are, the run itself says where no others are given."""
    by, run = axis_of(run, by)
    config = run.config
    for needed in ("command", "model", "source", "shape", "steps", "batch_size"):
        if needed not in config:
            raise InputError(f"a page says how its numbers came about, and this run's config.json has no {needed!r}")
    asks = asked(config["model"]["method"], config["source"]["name"], None if by == "setting" else by)
    return write_sweep(
        run, by, question=question or config.get("question") or asks,
        answer=answer or answered(tidy(run, by), by, config["steps"], example_of(run)),
        facts=facts_of(run) if facts is None else facts, more=more, path=path,
    )  # fmt: skip


def axis_of(run: Run, by: str | None) -> tuple[str, Run]:
    """What figures have along their axis: the one hyperparameter that was varied, or else the column `setting`."""
    differ = varied(run)
    by = by or (differ[0] if len(differ) == 1 else "setting")
    run = named(run) if by == "setting" else run
    choose(dict.fromkeys(run.table.columns), by, "column of the runs' table")
    return by, run


def example_of(run: Run) -> str:
    """What one of its examples is called."""
    return Space(tuple(run.config["shape"])).example


def means(by: str, run: Run) -> pd.DataFrame:
    """The summary over seeds as text, a row for each value of `by`."""
    table = tidy(run, by)
    return summary_table(table, by, present(table), example_of(run)).reset_index()


def glance(run: Run) -> str:
    """The means and the main figure of a measured sweep as a piece of HTML, for a notebook."""
    by, run = axis_of(run, None)
    table = tidy(run, by)
    figure = media(
        plots.curves(table, by, present(table), example_of(run)),
        "Metrics",
        f"run-{sha256(table.to_csv().encode())[:8]}",
    )
    return f"{means(by, run).to_html(index=False, border=0)}{figure}"


def write_sweep(
    run: Run,
    by: str,
    *,
    question: str,
    answer: str,
    facts: Mapping[str, str],
    more: Mapping[str, tuple[mpl.Figure, str]] | None = None,
    path: Path | None = None,
) -> Path:
    """Writes the page of a measured sweep over `by`, and returns its path.

    The answer and one figure come first; all else opens on demand. One setting alone has a table and pictures, and no
    curves of single dots.

    Args:
      more: further figures of what it looks like, with captions, by the names of their files; they come first there.
      path: of the page; `report.html` in the run's folder if not given, with the figures as files in `figures/`.

    Raises:
      InputError: the sweep has not been measured, it has no folder and there is no path, or it can't be written.
    """
    if run.results.empty:
        raise InputError(f"{run.path or 'this run'} has no results.csv yet; run the sweep to its end first")
    page_path, folder = path, None
    if page_path is None:
        if run.path is None:
            raise InputError(
                "this run was trained in memory, without a folder; say where to write its page: report(path)"
            )
        page_path, folder = run.path / "report.html", run.path / "figures"
    table, more = tidy(run, by), more or {}
    chosen = median_runs(table, by)
    drawings = measures(table, by, example_of(run)) | trained(run, table, by)
    shown = pictures(run, by, chosen, pair(table, by))
    drawings |= shown.figures | {name: drawing for name, (drawing, _) in more.items()}
    if folder is not None:
        attempt(folder, lambda: _save(folder, drawings))
    blocks = {name: Figure(*each) for name, each in more.items()}
    found = sections(Pictures(drawings, shown.tables), table, by, chosen, blocks, example_of(run))
    return write(
        page_path,
        title=f"{run.config['model']['method']} on {run.config['source']['name']}",
        question=question,
        answer=answer,
        command=run.config["command"],
        facts={**facts, "Date": datetime.date.today().isoformat()},
        lead=lead(drawings, example_of(run)),
        sections=found,
    )


def measures(table: pd.DataFrame, by: str, example: str) -> dict[str, mpl.Figure]:
    """What changes from one setting to another; nothing of a single one, which a table tells."""
    measured = set(table["metric"])
    if table[by].nunique() < 2:
        return {}
    drawings = {"metrics": plots.curves(table, by, present(table), example)}
    first = [name for name in LEAD if name in measured]
    drawings["trade_off"] = plots.curves(table, by, first[:3], example)
    if "kl" in measured:
        drawings["rate_distortion"] = plots.rate_distortion(table, by, example)
    if "kl_latent_0" in measured:
        drawings["kl_per_latent"] = plots.kl_per_latent(table, by, example)
    return drawings


def trained(run: Run, table: pd.DataFrame, by: str) -> dict[str, mpl.Figure]:
    """The losses over the steps."""
    history = run.history.merge(run.table[["run", by, "seed"]], on="run")
    losses = [column for column in run.history.columns if column not in ("run", "step")]
    return {"learning_curves": plots.learning_curves(history, by, losses[:CURVES], example_of(run))}


def pair(table: pd.DataFrame, by: str) -> tuple[Any, ...]:
    """The two settings that are shown side by side: what all are compared with, and the one that is best by MIG."""
    settings = ordered(finished(table)[by])
    first = pairs.reference(settings) if settings else None
    found = pairs.best(table, by, "mig", first)
    return () if found is None else (first, found.setting)


def lead(drawings: Mapping[str, mpl.Figure], example: str) -> Figure:
    """The figure that comes with the answer."""
    if "trade_off" in drawings:
        return Figure(drawings["trade_off"], INTERVAL)
    if "reconstructions" in drawings:
        return Figure(
            drawings["reconstructions"], f"{example.capitalize()}s that were measured on, and what is made of them."
        )
    return Figure(drawings["learning_curves"], LOSSES)


def _save(folder: Path, drawings: Mapping[str, mpl.Figure]) -> None:
    folder.mkdir(exist_ok=True)
    for name, drawing in drawings.items():
        drawing.savefig(folder / f"{name}.png", dpi=160)
        record(folder / f"{name}.png")


def sections(
    seen: Pictures, table: pd.DataFrame, by: str, chosen: Mapping[Any, int], more: Mapping[str, Block], example: str
) -> list[Section]:
    """The page's sections, in the order of the question."""
    drawings = seen.figures
    found = [Section("What it looks like", _looks(seen, table, by, chosen, more, example), closed=True)]
    told: list[Block] = [Figure(drawings["metrics"], INTERVAL)] if "metrics" in drawings else []
    if "rate_distortion" in drawings:
        dots = "Small dots: runs; large dots: means. The ELBO is equal along each faint line."
        told.append(Figure(drawings["rate_distortion"], dots))
    means = "Mean over seeds and its 95 % t-interval, cut where a measure ends."
    told.append(Table(plots.summary_table(table, by, present(table), example), means))
    measured_on = (
        "Measured on the test split; sources that are drawn have none and are measured on draws of all examples."
    )
    several = table[by].nunique() > 1
    found.insert(
        several, Section("What changes" if several else "What was measured", told, measured_on, closed=several)
    )
    if "kl_per_latent" in drawings:
        caption = "KL of every code, sorted within its run, then averaged over seeds."
        says = f"A code whose KL is near zero says nothing about the {example}."
        found.append(
            Section("Where the information is", [Figure(drawings["kl_per_latent"], caption)], says, closed=True)
        )
    found.append(Section("Training", [Figure(drawings["learning_curves"], LOSSES)], closed=True))
    return found


def _looks(
    seen: Pictures, table: pd.DataFrame, by: str, chosen: Mapping[Any, int], more: Mapping[str, Block], example: str
) -> list[Block]:
    """Pictures and their captions."""
    drawings = seen.figures

    def block(name: str, caption: str) -> Block:
        return Table(seen.tables[name], caption) if name in seen.tables else Figure(drawings[name], caption)

    seeds = dict(zip(table["run"], table["seed"], strict=True))
    judged = "ELBO" if "elbo" in set(table["metric"]) else "reconstruction term"
    note = f"Of every setting, the seed whose {judged} is nearest the median."
    remade = f"{example.capitalize()}s that were measured on, and what is made of them. {note}"
    if "accuracy" in set(table["metric"]):
        remade += " A classifier's decoders stay as pre-training left them, and need not fit its codes."
    blocks: list[Block] = [*more.values()]
    if "latents" in drawings:
        beside = "One latent moves from -2 to 2 in each row, the others stay; rows in the order of the factors."
        blocks.append(Figure(drawings["latents"], f"{beside} {CARRIES} {note}"))
    blocks.append(block("reconstructions", remade))
    tabs: dict[str, Block | Sequence[Block]] = {}
    for value, number in chosen.items():
        if traversal(value) not in drawings:
            continue
        known = matrix(value) in drawings
        which = f"Rows in the order of the factors. {CARRIES}" if known else "Those of largest KL, or variance, first."
        rows = "One latent moves from -2 to 2, the others stay; without a prior by as many standard deviations of it."
        shown: list[Block] = [Figure(drawings[traversal(value)], f"{rows} {which} Seed {seeds[number]}.")]
        if known:
            shares = "What each of these latents tells of each factor; framed: the most that any tells."
            shown.append(Figure(drawings[matrix(value)], shares))
        tabs[plots.label(by, value)] = shown
    blocks += [Tabs(tabs)] if tabs else []
    if "samples" in drawings or "samples" in seen.tables:
        prior = f"Expected {example}s of codes from the method's own prior."
        if any(name.startswith("code_prior") for name in more):
            prior = "Codes drawn uniformly and one by one: these have no trained prior, as those above have."
        blocks.append(block("samples", f"{prior} {note}"))
    return blocks


def present(table: pd.DataFrame) -> list[str]:
    """Which of the headline measures the table has."""
    return [name for name in MEASURES if name in set(table["metric"])]
