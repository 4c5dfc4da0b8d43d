"""The runs of a study that one program can train: one method on one source, at all strengths and seeds.

Every group has a folder of its own, as a sweep has (`vaejax.load_run` opens it), so a study that was stopped goes on
where it was: finished groups are read, the one that was being trained is continued.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from tqdm import tqdm

from experiments import script
from vaejax import metrics
from vaejax.data import Factors, example, is_rendered, load
from vaejax.errors import InputError
from vaejax.method import Method
from vaejax.methods import build
from vaejax.metrics.checks import triangle
from vaejax.metrics.gaussian_total_correlation import gaussian_correlations
from vaejax.metrics.measure import examples, measure
from vaejax.metrics.suite import Sizes, evaluate
from vaejax.metrics.udr import udr_scores
from vaejax.storage.files import write_table
from vaejax.storage.folder import claim
from vaejax.training.runs import Result, grid
from vaejax.training.strategy import plan
from vaejax.training.sweep import Progress, fit

TC = "gaussian_total_correlation"
UDR_IMAGES = 1000  # as in Locatello et al. 2019


class Group(NamedTuple):
    """What is trained at once.

    Fields:
      source: what `vaejax.data.load` takes: name and size.
      model: what `vaejax.build` takes, without the shape.
      strength: the hyperparameter that is varied, or None.
      values: of it.
      fixed: other hyperparameters.
      measured_on: the name of the source that metrics are taken on; its factors are independent.
    """

    source: dict[str, Any]
    model: dict[str, Any]
    strength: str | None
    values: tuple[float, ...]
    fixed: dict[str, float]
    measured_on: str

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{script.portable(self.source['name'])}-{self.model['method']}"

    @property
    def axes(self) -> dict[str, Any]:
        """What `vaejax.grid` takes."""
        return {**self.fixed, **({self.strength: self.values} if self.strength else {})}

    def runs(self, seeds: int) -> int:
        """How many runs it has."""
        return seeds * max(1, len(self.values))


class Training(NamedTuple):
    """What all groups share."""

    steps: int
    batch_size: int
    seeds: int
    chunk: int | None
    save_every: float


def with_factors(name: str, size: int | None) -> Factors:
    """A source with ground-truth factors; `size` is for those that are rendered.

    Raises:
      InputError: there is no such source, or it can't draw any combination of its factors.
    """
    source = load(name, size=size if is_rendered(name) else None)
    if not isinstance(source, Factors):
        raise InputError(f"the study needs a source that draws any combination of factors, not {name}; use sprites")
    return source


def built(group: Group) -> tuple[Method, Factors]:
    """Its method and the source that it is trained on.

    Raises:
      InputError: a name or a size that there isn't.
    """
    source = with_factors(**group.source)
    return build(shape=source.shape, **group.model), source


def train(
    group: Group, training: Training, folder: Path, tell: Callable[[Progress], None]
) -> tuple[Result, pd.DataFrame]:
    """Trains the group in its folder, or reads what was trained there; `tell` is called after every segment.

    Raises:
      InputError: the folder holds something else, or can't be written.
    """
    method, source = built(group)
    runs = grid(method.hyper, training.seeds, **group.axes)
    sizes = {"steps": training.steps, "batch_size": training.batch_size, "chunk": training.chunk}
    settings = {"command": script.command(), "source": group.source, "model": group.model, "shape": source.shape}
    claim(folder, {**settings, **sizes, "seeds": training.seeds, **group.axes})
    tqdm.write(f"{group.name}: {plan(method, example(source), runs.count, training.batch_size, chunk=training.chunk)}")
    with script.Bar(runs.count) as bar:

        def told(progress: Progress) -> None:
            bar(progress)
            tell(progress)

        result = fit(method, source, runs, **sizes, workdir=folder, on_progress=told, save_every=training.save_every)
    return result, runs.table().assign(status=result.status)


def scored(
    group: Group, training: Training, result: Result, folder: Path, sizes: Sizes, names: Iterable[str]
) -> pd.DataFrame:
    """The tidy table (`run`, `metric`, `value`) of the group; kept in `results.csv`, so it is measured once.

    ELBO and its terms, these disentanglement metrics, and what needs no factors.
    """
    path = folder / "results.csv"
    if path.exists():
        return kept(path)
    source = with_factors(group.measured_on, group.source["size"])
    with tqdm(desc=f"measuring {result.runs.count} runs", unit=" metrics", dynamic_ncols=True) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        basic = measure(result.method, source, result.params, images=sizes.train, chunk=training.chunk)
        found = evaluate(
            result.method, source, result.params, jax.random.key(0), sizes=sizes, metrics=names,
            chunk=training.chunk, on_progress=on_progress,
        )  # fmt: skip
    basic = basic[basic["metric"] != "mig"]  # the suite has it, from the images of the others
    more = unsupervised(group, training, result, source, basic, sizes.train)
    table = pd.concat([basic, found, *more], ignore_index=True)
    write_table(path, table)
    return table


def kept(path: Path) -> pd.DataFrame:
    """The table that was measured earlier.

    Raises:
      InputError: the file is cut, or is no such table.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} can't be read ({' '.join(str(error).split())}); delete it to measure again"
        ) from error
    if not {"run", "metric", "value"} <= set(table) or table[["run", "metric"]].isna().any(axis=None):
        raise InputError(f"{path} is cut, or no table of results; delete it to measure again")
    return table


def unsupervised(
    group: Group, training: Training, result: Result, source: Factors, basic: pd.DataFrame, images: int
) -> list[pd.DataFrame]:
    """What needs no factors, of methods with a posterior.

    The Gaussian total correlation of sampled codes, which the objectives are about (that of their means is among the
    metrics, and may do the opposite: Locatello et al. 2019, section 5.1); and the UDR of every run among those that
    differ from it by the seed only, from 1,000 images (`samples_udr`).
    """
    wide = basic.pivot(index="run", columns="metric", values="value")
    if "kl_latent_0" not in wide:
        return []
    encode = partial(metrics.codes, result.method, source, result.params, chunk=training.chunk)
    sampled = encode(examples(source, images), key=jax.random.key(0))
    found = {"sampled_gaussian_total_correlation": [gaussian_correlations(*triangle(z))[TC] for z in sampled]}
    if training.seeds > 1:
        z = encode(examples(source, UDR_IMAGES))
        kls = wide[[f"kl_latent_{j}" for j in range(group.model["latents"])]].to_numpy()
        settings = np.arange(result.runs.count).reshape(-1, training.seeds)  # seeds vary fastest
        found["udr"] = np.concatenate([np.asarray(udr_scores(z[rows], kls[rows])) for rows in settings]).tolist()
        found["samples_udr"] = [z.shape[1]] * result.runs.count
    runs = range(result.runs.count)
    return [pd.DataFrame({"run": runs, "metric": name, "value": map(float, value)}) for name, value in found.items()]


def tidy(group: Group, runs: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """What the report needs of a group; a beta-VAE with beta = 1 is called a VAE there.

    `group` and `number` say where a run is kept. A run that diverged has NaN, whatever was measured of it.
    """
    lost = results["run"].isin(runs.loc[runs["status"] == "diverged", "run"])
    strength = runs[group.strength] if group.strength else np.nan
    about = pd.DataFrame(
        {
            "source": group.source["name"],
            "method": group.model["method"],
            "strength_name": group.strength or "",
            "strength": strength,
            "seed": runs["seed"],
            "group": group.name,
            "number": runs["run"],
        }
    )
    plain = (about["method"] == "beta_vae") & (about["strength"] == 1)
    about.loc[plain, ["method", "strength_name", "strength"]] = ["vae", "", np.nan]
    values = results["value"].mask(lost & ~results["metric"].str.startswith("samples_"))
    return results.assign(value=values).merge(about.assign(run=runs["run"]), on="run")


def numbered(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """All parts in one table, with runs numbered through."""
    table = pd.concat(parts, ignore_index=True)
    table["run"] = table.groupby(["source", "group", "number"], sort=False).ngroup()
    return table


class Projection:
    """Says once, after the first segments of the first group, how long all groups will be trained."""

    def __init__(self, model_steps: int):
        self.model_steps, self.first, self.said = model_steps, None, False

    def __call__(self, progress: Progress) -> None:
        """To be called after every segment."""
        now = time.monotonic()
        if self.first is None or progress.done <= self.first[1]:  # compiling is over, in this group or in the next
            self.first = (now, progress.done)
        elif not self.said and now - self.first[0] > 3:
            self.said = True
            rate = (progress.done - self.first[1]) / (now - self.first[0])
            tqdm.write(
                f"projected: {duration(self.model_steps / rate)} for {self.model_steps:,} model-steps at {rate:,.0f} "
                "a second, if the other methods take as long as this one, and the measuring"
            )


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, whichever suits."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
