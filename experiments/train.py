"""Trains any method on any source, over seeds and values of its hyperparameters, and writes a report.

python -m experiments.train --method vq_vae --source mnist --data-dir DIR
python -m experiments.train --method denoising_autoencoder --options corruption=masking --hyper level=0,0.25,0.5
python -m experiments.train --method conditional_vae --source digits --options condition=label classes=10

`--hyper` takes numbers that the program is given (several of one name are a sweep, all of it one program); `--options`
what the method's constructor takes. A name that the method doesn't know is answered with those that it does.
"""

import ast
import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from experiments import checks, script
from experiments.code_samples import code_samples
from vaejax.analysis.tables import diverged_text, finished, label, short, summary_table
from vaejax.data import example, is_rendered, load
from vaejax.errors import LARGEST, InputError, check_sizes
from vaejax.methods import build
from vaejax.metrics.measure import measure
from vaejax.report.sweep import median_runs, present, tidy, write_sweep
from vaejax.storage.folder import write_table
from vaejax.storage.run import Run, load_run
from vaejax.training.runs import Runs, grid
from vaejax.training.strategy import plan
from vaejax.training.sweep import fit

OWN = ("method", "shape", "network", "latents", "width", "likelihood")  # what `build` is given beside the options


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the training depends on; it is written to `config.json`."""

    method: str = "vae"
    """any method; docs/methods.md lists them"""
    source: str = "sprites"
    """sprites, digits, npz:PATH, an image data set of tensorflow-datasets (mnist, ...), ...; see vaejax.data.load"""
    data_dir: str | None = None
    """where tensorflow-datasets' data sets are prepared"""
    window: int | None = None
    """leave the images on the disk and hold only so many at a time, for data that is larger than the device"""
    size: int | None = None
    """height and width of rendered images, a power of two; 32 if not given"""
    network: str | None = None
    """conv, conv_k2, mlp, mlp_relu, ...; the method's own, or conv, if not given"""
    width: tuple[int, ...] = ()
    """channels of the first convolution, or units of an mlp's layers; the network's own if not given"""
    latents: int = 10
    """dimensions of the code"""
    likelihood: str = "bernoulli"
    """p(x | z) of a pixel: bernoulli, gaussian, gaussian_learned, ..."""
    options: tuple[str, ...] = ()
    """NAME=VALUE ... of the method's constructor: codes=64 corruption=masking layers=500,250"""
    hyper: tuple[str, ...] = ()
    """NAME=NUMBER[,NUMBER...] ...: hyperparameters, the method's defaults if not given"""
    seeds: int = 2
    """runs of every setting"""
    steps: int = 2000
    """training steps of every run"""
    batch_size: int = 64
    """images per step"""
    prior_steps: int = 2000
    """for vq_vae and fsq_vae: steps of the autoregressive prior over their codes, to draw images from; 0 for none"""
    images: int = 10_000
    """how many images to measure on, of the test split where there is one"""
    chunk: int | None = None
    """runs that each device vmaps at once; chosen by backend if not given"""
    save_every: float = 60.0
    """seconds between checkpoints; 0 for one after every segment of steps"""
    name: str | None = None
    """the folder under --out; METHOD-SOURCE if not given"""
    out: Path = Path("runs")
    """where the folders of runs are"""
    overwrite: bool = False
    """delete what an earlier training of this name left"""


def main(config: Config) -> None:
    """Trains, measures, and writes `runs/NAME/`."""
    config = checks.checked(config, Config)
    default = f"{script.portable(config.method)}-{script.portable(config.source)}"
    path = script.folder(config.out, default if config.name is None else config.name)
    options = {name: option(value) for name, value in pairs(config.options, "options").items()}
    for name in set(options) & set(OWN):
        raise InputError(f"--options can't have {name}, which is an argument of its own: --{name}")
    axes = {name: numbers(name, value) for name, value in pairs(config.hyper, "hyper").items()}
    checks.check_count(config.seeds, math.prod(map(len, axes.values())))
    sizes = {"steps": config.steps, "batch_size": config.batch_size, "chunk": config.chunk}
    check_sizes(**sizes, images=config.images)
    if not 0 <= config.prior_steps <= LARGEST:
        raise InputError(f"--prior-steps has to be 0 (for none) or more, up to {LARGEST:,}, not {config.prior_steps}")
    checks.check_seconds(config.save_every)
    script.use_devices()
    size = 32 if config.size is None and is_rendered(config.source) else config.size
    source = {"name": config.source, "data_dir": config.data_dir, "size": size}
    train, test = load(split="train", window=config.window, **source), load(split="test", **source)
    model: dict[str, Any] = {name: getattr(config, name) for name in ("method", "network", "latents", "likelihood")}
    model["width"] = config.width[0] if len(config.width) == 1 else config.width or None
    model |= options
    given = " ".join(config.options) or "these sizes"
    with checks.one_line(f"the method {config.method!r} can't be built with {given}"):
        method = build(shape=train.shape, **model)
    runs = grid(method.hyper, config.seeds, common_random_numbers=True, **axes)
    checks.check_training(method, train, test, runs.count, config.batch_size, chunk=config.chunk)
    layout = plan(method, example(train), runs.count, config.batch_size, chunk=config.chunk)

    settings = {"command": script.command(), "source": source, "model": model, "shape": train.shape, **sizes}
    settings |= {
        "window": config.window,
        "prior_steps": config.prior_steps,
        "images": config.images,
        "seeds": config.seeds,
        "hyper": axes,
    }
    script.claimed(path, settings, "training", overwrite=config.overwrite)
    print(layout)
    with script.Bar(runs.count) as bar:
        result = fit(method, train, runs, **sizes, workdir=path, on_progress=bar, save_every=config.save_every)
    print(f"measuring {runs.count} runs on {min(test.size, config.images):,} images")
    write_table(path / "results.csv", measure(method, test, result.params, images=config.images, chunk=config.chunk))

    run = named(load_run(path), runs)
    table = tidy(run, "setting")
    summary = summary_table(table, "setting", present(table))
    drawn = {}
    if config.prior_steps:
        chosen = median_runs(table, "setting")
        drawn = code_samples(run, train, test, chosen, steps=config.prior_steps, batch_size=config.batch_size)
    page = write_sweep(
        run, "setting", question=f"What does {config.method} make of {config.source}?", answer=answer(table, run),
        facts=facts(config, run), more=drawn,
    )  # fmt: skip
    print(summary.reset_index().to_string(index=False))
    print(f"\nreport: {page}")


def pairs(items: tuple[str, ...], what: str) -> dict[str, str]:
    """NAME=VALUE ... as a dictionary.

    Raises:
      InputError: one isn't of this form, or a name is there twice.
    """
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (name and equals and value) or name in found:
            raise InputError(f"--{what} takes NAME=VALUE once for every name, not {item!r}")
        found[name] = value
    return found


def option(text: str) -> Any:
    """An option's value: a number, several (8,5,5), a truth value, or the text itself."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    value = tuple(value) if isinstance(value, list) else value
    plain = value if isinstance(value, tuple) else (value,)
    return value if all(isinstance(part, bool | int | float | str) for part in plain) else text


def numbers(name: str, text: str) -> list[float]:
    """The values of a hyperparameter.

    Raises:
      InputError: they aren't numbers, or one is there twice.
    """
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError as error:
        raise InputError(f"--hyper {name} takes numbers, as in {name}=1,4,16, not {text!r}") from error
    checks.check_distinct("value", values, f"--hyper {name}: ")
    return values


def named(run: Run, runs: Runs) -> Run:
    """The run with the column `setting`: the hyperparameters in which its runs differ, or the method's name."""
    varied = [name for name, values in runs.hyper._asdict().items() if np.unique(values).size > 1]
    method = run.config["model"]["method"]
    rows = run.table.to_dict("records")
    settings = [", ".join(label(name, row[name]) for name in varied) or method for row in rows]
    return run._replace(table=run.table.assign(setting=settings))


HEADLINES = {  # metric -> 1 where more is better, -1 where less is; what it is called, and its unit
    "accuracy": (1, "accuracy", ""),
    "elbo": (1, "ELBO", " nats per image"),
    "reconstruction": (-1, "reconstruction term", " nats per image"),
}


def answer(table: pd.DataFrame, run: Run) -> str:
    """What came out, at the setting with the best accuracy, ELBO or reconstruction; and which runs diverged."""
    whole, lost = finished(table), diverged_text(table, "setting")
    metric = next((name for name in HEADLINES if name in set(whole["metric"])), None)
    if metric is None:
        return lost or "Nothing that was measured is a number."
    sign, what, unit = HEADLINES[metric]
    rows = whole[whole["metric"] == metric]
    means = rows.groupby("setting")["value"].mean()
    best = (sign * means).idxmax()
    seeds = rows.loc[rows["setting"] == best, "seed"].nunique()
    others = f", the best of {len(means)} settings" if len(means) > 1 else ""
    return (
        f"After {run.config['steps']:,} steps the {what} is {means[best]:{'.1f' if unit else '.3f'}}{unit} ({best}"
        f"{others}), mean over {seeds} seed{'s' if seeds > 1 else ''}. {lost}"
    ).strip()


def facts(config: Config, run: Run) -> dict[str, str]:
    """What was trained on what, for the page."""
    height, width, channels = run.config["shape"]
    shown = " ".join(config.options)
    hyper = {name: run.table[name].unique() for name in run.method.hyper._fields}
    values = ", ".join(f"{name} {'/'.join(map(short, value))}" for name, value in hyper.items())
    parameters = sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(run.params))
    return {
        "Data": f"{config.source}, {height} x {width} x {channels}",
        "Model": f"{config.method} {shown}".strip() + f", {config.likelihood} likelihood, {parameters:,} parameters",
        "Hyperparameters": values,
        "Training": f"{len(run.table)} runs of {config.steps:,} steps, batch {config.batch_size}",
        **script.facts(),
    }


if __name__ == "__main__":
    script.run(main, {"": Config()}, __doc__)
