"""The page of a sweep over one hyperparameter, made from its folder alone."""

import datetime
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib import figure as mpl

from vaejax import plots
from vaejax.apply import generate, reconstruct, traverse
from vaejax.errors import InputError
from vaejax.folder import attempt
from vaejax.measure import examples
from vaejax.method import Batch, Method, Params
from vaejax.report import Block, Figure, Section, Table, Tabs, write
from vaejax.run import Run

MEASURES = ("elbo", "reconstruction", "kl", "active_units", "squared_error", "mig")
PICTURES = 10  # images a row
RANGE = np.linspace(-2, 2, 9)  # of a traversal, in standard deviations of the prior


def tidy(run: Run, by: str) -> pd.DataFrame:
    """`results` with the columns that figures need: run, `by`, seed, metric, value."""
    return run.results.merge(run.table[["run", by, "seed"]], on="run")


def median_runs(table: pd.DataFrame, by: str) -> dict[float, int]:
    """For every value of `by`, the run whose ELBO is nearest the median over seeds; none where all diverged."""
    elbo = table[(table["metric"] == "elbo") & np.isfinite(table["value"])]
    distance = (elbo["value"] - elbo.groupby(by)["value"].transform("median")).abs()
    nearest = elbo.assign(distance=distance).sort_values(["distance", "seed"]).groupby(by)["run"].first()
    return dict(zip(nearest.index.tolist(), nearest.tolist(), strict=True))


def write_sweep(run: Run, by: str, *, question: str, answer: str, facts: Mapping[str, str]) -> Path:
    """Writes `figures/` and `report.html` of a measured sweep over `by`, and returns the page's path.

    Raises:
      InputError: the sweep has not been measured, or the folder can't be written.
    """
    if run.results.empty:
        raise InputError(f"{run.path} has no results.csv yet; run the sweep to its end first")
    table = tidy(run, by)
    history = run.history.merge(run.table[["run", by, "seed"]], on="run")
    chosen = median_runs(table, by)
    drawings = {
        "metrics": plots.curves(table, by, present(table)),
        "rate_distortion": plots.rate_distortion(table, by),
        "kl_per_latent": plots.kl_per_latent(table, by),
        "learning_curves": plots.learning_curves(history, by),
        **pictures(run, table, by, chosen),
    }
    attempt(run.path / "figures", lambda: _save(run.path / "figures", drawings))
    page = {
        "title": f"{run.config['model']['method']} on {run.config['source']['name']}",
        "question": question,
        "answer": answer,
        "command": run.config["command"],
        "facts": {**facts, "Date": datetime.date.today().isoformat()},
        "sections": sections(drawings, table, by, chosen),
    }
    return write(run.path / "report.html", **page)


def _save(folder: Path, drawings: Mapping[str, mpl.Figure]) -> None:
    folder.mkdir(exist_ok=True)
    for name, drawing in drawings.items():
        drawing.savefig(folder / f"{name}.png", dpi=160)


def pictures(run: Run, table: pd.DataFrame, by: str, chosen: Mapping[float, int]) -> dict[str, mpl.Figure]:
    """Reconstructions, samples from the prior, and traversals for the chosen run of every value of `by`."""
    source, latents = run.source("test"), run.config["model"]["latents"]
    index = jnp.asarray(np.random.default_rng(0).permutation(examples(source, 1000))[:PICTURES])
    originals = source.at(source.data, index).x
    remade, dreamt, drawings = [originals], [], {}
    for value, number in chosen.items():
        params = run.params_of(number)
        remade.append(_reconstruct(run.method, params, originals))
        dreamt.append(_generate(run.method, params, jax.random.key(0), PICTURES, latents))
        kl = table[(table["run"] == number) & table["metric"].str.startswith("kl_latent_")]
        order = kl["value"].to_numpy().argsort()[::-1][:PICTURES]
        z = _encode(run.method, params, originals[:1])[0]
        moved = _traverse(run.method, params, z, jnp.asarray(RANGE, z.dtype))[order]
        rows = [f"z{j}  {kl['value'].to_numpy()[j]:.2f} nats" for j in order]
        drawings[f"traversals_{value:g}"] = plots.image_grid(moved, rows, [f"{step:g}" for step in RANGE])
    labels = [plots.label(by, value) for value in chosen]
    drawings["reconstructions"] = plots.image_grid(np.stack(remade), ["original", *labels])
    if dreamt:
        drawings["samples"] = plots.image_grid(np.stack(dreamt), labels)
    return drawings


_reconstruct = jax.jit(reconstruct, static_argnames="method")
_generate = jax.jit(generate, static_argnames=("method", "n", "latents"))
_traverse = jax.jit(traverse, static_argnames="method")


@partial(jax.jit, static_argnames="method")
def _encode(method: Method, params: Params, x: jax.Array) -> jax.Array:
    return method.encode(params, Batch(x)).mean


def sections(
    drawings: Mapping[str, mpl.Figure], table: pd.DataFrame, by: str, chosen: Mapping[float, int]
) -> list[Section]:
    """The page's sections, in the order of the question."""
    seeds = dict(zip(table["run"], table["seed"], strict=True))
    tabs: dict[str, Block] = {
        plots.label(by, value): Figure(
            drawings[f"traversals_{value:g}"],
            f"One code moves from -2 to 2, the others stay (seed {seeds[number]}). The codes of largest KL come first.",
        )
        for value, number in chosen.items()
    }
    seed_note = "For every value, the seed whose ELBO is nearest the median."
    blocks: list[Block] = [
        Figure(drawings["reconstructions"], f"Images that were measured on, and what is made of them. {seed_note}")
    ]
    if chosen:
        blocks += [Tabs(tabs), Figure(drawings["samples"], f"Expected images of codes from the prior. {seed_note}")]
    interval = "Line: mean over seeds; band: 95 % t-interval; dots: runs."
    return [
        Section(
            "What changes",
            [
                Figure(drawings["metrics"], interval),
                Figure(
                    drawings["rate_distortion"],
                    "Small dots: runs; large dots: means. The ELBO is equal along each faint line.",
                ),
                Table(plots.summary_table(table, by, present(table)), "Mean and 95 % t-interval over seeds."),
            ],
            "Measured on the test split; sprites and dSprites have none and are measured on draws of all images.",
        ),
        Section(
            "Where the information is",
            [Figure(drawings["kl_per_latent"], "KL of every code, sorted within its run, then averaged over seeds.")],
            "A code whose KL is near zero says nothing about the image.",
        ),
        Section("What it looks like", blocks),
        Section("Training", [Figure(drawings["learning_curves"], interval)]),
    ]


def present(table: pd.DataFrame) -> list[str]:
    """Which of the headline measures the table has."""
    return [name for name in MEASURES if name in set(table["metric"])]
