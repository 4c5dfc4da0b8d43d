"""The page of a sweep over one hyperparameter, or over settings that have names, made from its folder alone."""

import datetime
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib import figure as mpl

from vaejax import plots
from vaejax.analysis.answers import answered, asked
from vaejax.analysis.tables import label, short, summary_table
from vaejax.apply import generate, reconstruct, traverse
from vaejax.data import Streamed
from vaejax.errors import InputError, choose
from vaejax.method import Batch, Method, Params, Space
from vaejax.metrics.measure import examples
from vaejax.report import Block, Figure, Section, Table, Tabs, media, write
from vaejax.report.facts import facts as facts_of
from vaejax.storage.folder import attempt, record, sha256
from vaejax.storage.run import Run

MEASURES = ("accuracy", "elbo", "reconstruction", "kl", "active_units", "squared_error", "mig")
PICTURES = 10  # images a row
CURVES = 9  # losses drawn, at most
RANGE = np.linspace(-2, 2, 9)  # of a traversal, in standard deviations of the prior


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


def median_runs(table: pd.DataFrame, by: str) -> dict[Any, int]:
    """For every value of `by`, the run whose ELBO is nearest the median over seeds; none where all diverged.

    Without an ELBO it is the reconstruction term.
    """
    metric = "elbo" if "elbo" in set(table["metric"]) else "reconstruction"
    elbo = table[(table["metric"] == metric) & np.isfinite(table["value"])]
    distance = (elbo["value"] - elbo.groupby(by)["value"].transform("median")).abs()
    nearest = elbo.assign(distance=distance).sort_values(["distance", "seed"]).groupby(by)["run"].first()
    return dict(zip(nearest.index.tolist(), nearest.tolist(), strict=True))


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

    Args:
      more: further figures of what it looks like, with captions, by the names of their files.
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
    table = tidy(run, by)
    history = run.history.merge(run.table[["run", by, "seed"]], on="run")
    chosen = median_runs(table, by)
    measured = set(table["metric"])
    losses = [column for column in run.history.columns if column not in ("run", "step")]
    example = example_of(run)
    drawings = {"metrics": plots.curves(table, by, present(table), example)}
    if "kl" in measured:
        drawings["rate_distortion"] = plots.rate_distortion(table, by, example)
    if "kl_latent_0" in measured:
        drawings["kl_per_latent"] = plots.kl_per_latent(table, by, example)
    drawings["learning_curves"] = plots.learning_curves(history, by, losses[:CURVES], example)
    drawings |= pictures(run, table, by, chosen)
    more = more or {}
    drawings |= {name: drawing for name, (drawing, _) in more.items()}
    if folder is not None:
        attempt(folder, lambda: _save(folder, drawings))
    page = {
        "title": f"{run.config['model']['method']} on {run.config['source']['name']}",
        "question": question,
        "answer": answer,
        "command": run.config["command"],
        "facts": {**facts, "Date": datetime.date.today().isoformat()},
        "sections": sections(drawings, table, by, chosen, [Figure(*pair) for pair in more.values()], example),
    }
    return write(page_path, **page)


def _save(folder: Path, drawings: Mapping[str, mpl.Figure]) -> None:
    folder.mkdir(exist_ok=True)
    for name, drawing in drawings.items():
        drawing.savefig(folder / f"{name}.png", dpi=160)
        record(folder / f"{name}.png")


def pictures(run: Run, table: pd.DataFrame, by: str, chosen: Mapping[Any, int]) -> dict[str, mpl.Figure]:
    """Reconstructions, and what the method has of samples from the prior and traversals, for every chosen run.

    Traversals are drawn of codes that are vectors.
    """
    source = run.source("test")
    index = np.random.default_rng(0).permutation(examples(source, 1000))
    if isinstance(source, Streamed):
        source, index = source.take(np.sort(index)), np.argsort(np.argsort(index))
    index = jnp.asarray(index)
    batch = source.at(source.data, index[:PICTURES])
    several = source.at(source.data, index)
    originals = batch.x
    remade, dreamt, drawings = [originals], [], {}
    for value, number in chosen.items():
        params = run.params_of(number)
        remade.append(_reconstruct(run.method, params, batch))
        if run.method.prior is not None or run.method.generate is not None:
            dreamt.append(_generate(run.method, params, jax.random.key(0), batch))
        codes = _encode(run.method, params, several)
        if codes.ndim == 2:
            kl = table[(table["run"] == number) & table["metric"].str.startswith("kl_latent_")]["value"].to_numpy()
            spread = np.asarray(codes).std(axis=0)
            order = (kl if kl.size else spread).argsort()[::-1][:PICTURES]
            moves = RANGE if run.method.prior is not None else RANGE * spread[:, None]
            moved = _traverse(run.method, params, codes[0], jnp.asarray(moves, codes.dtype), jnp.asarray(order))
            rows = [f"z{j}  {kl[j]:.2f} nats" if kl.size else f"z{j}" for j in order]
            drawings[traversal(value)] = plots.examples(moved, rows, [f"{step:g}" for step in RANGE])
    labels = [plots.label(by, value) for value in chosen]
    drawings["reconstructions"] = plots.examples(np.stack(remade), ["original", *labels])
    if dreamt:
        drawings["samples"] = plots.examples(np.stack(dreamt), labels)
    return drawings


def traversal(value: Any) -> str:
    """What the file of a setting's traversals is called."""
    slug = re.sub(r"[^\w.]+", "_", short(value)).strip("_")
    return f"traversals_{slug}"


_reconstruct = jax.jit(reconstruct, static_argnames="method")
_generate = jax.jit(generate, static_argnames="method")
_traverse = jax.jit(traverse, static_argnames="method")


@partial(jax.jit, static_argnames="method")
def _encode(method: Method, params: Params, batch: Batch) -> jax.Array:
    return method.encode(params, batch).mean


def sections(
    drawings: Mapping[str, mpl.Figure],
    table: pd.DataFrame,
    by: str,
    chosen: Mapping[Any, int],
    more: Sequence[Block] = (),
    example: str = "image",
) -> list[Section]:
    """The page's sections, in the order of the question."""
    seeds = dict(zip(table["run"], table["seed"], strict=True))
    tabs: dict[str, Block] = {
        plots.label(by, value): Figure(
            drawings[traversal(value)],
            f"One code moves from -2 to 2, the others stay (seed {seeds[number]}); codes without a prior move "
            "by as many of their standard deviations. Those of largest KL, or that vary most, come first.",
        )
        for value, number in chosen.items()
        if traversal(value) in drawings
    }
    judged = "ELBO" if "elbo" in set(table["metric"]) else "reconstruction term"
    seed_note = f"For every value, the seed whose {judged} is nearest the median."
    remade = f"{example.capitalize()}s that were measured on, and what is made of them. {seed_note}"
    if "accuracy" in set(table["metric"]):
        remade += " A classifier's decoders stay as pre-training left them, and need not fit its codes."
    blocks: list[Block] = [Figure(drawings["reconstructions"], remade)]
    if tabs:
        blocks.append(Tabs(tabs))
    if "samples" in drawings:
        blocks.append(
            Figure(drawings["samples"], f"Expected {example}s of codes from the method's own prior. {seed_note}")
        )
    blocks += more
    interval = "Line: mean over seeds; band: 95 % t-interval; dots: runs."
    measures: list[Block] = [Figure(drawings["metrics"], interval)]
    if "rate_distortion" in drawings:
        dots = "Small dots: runs; large dots: means. The ELBO is equal along each faint line."
        measures.append(Figure(drawings["rate_distortion"], dots))
    measures.append(
        Table(plots.summary_table(table, by, present(table), example), "Mean and 95 % t-interval over seeds.")
    )
    measured_on = "Measured on the test split; sprites and dSprites have none and are measured on draws of all images."
    found = [Section("What changes", measures, measured_on)]
    if "kl_per_latent" in drawings:
        caption = "KL of every code, sorted within its run, then averaged over seeds."
        lead = f"A code whose KL is near zero says nothing about the {example}."
        found.append(Section("Where the information is", [Figure(drawings["kl_per_latent"], caption)], lead))
    found.append(Section("What it looks like", blocks))
    found.append(Section("Training", [Figure(drawings["learning_curves"], interval)]))
    return found


def present(table: pd.DataFrame) -> list[str]:
    """Which of the headline measures the table has."""
    return [name for name in MEASURES if name in set(table["metric"])]
