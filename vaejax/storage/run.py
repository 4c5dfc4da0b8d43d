"""Opening what a sweep left in `runs/NAME/`, for notebooks and further experiments."""

import inspect
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.data import Arrays, Column, Factors, Source, Streamed, load
from vaejax.data.source import called
from vaejax.errors import InputError, one_line, shortened
from vaejax.method import Batch, Method, Space
from vaejax.methods import build
from vaejax.storage.checkpoint import Block, Checkpoints, Damaged, unflat
from vaejax.storage.config import check_config
from vaejax.storage.files import read_config, read_table
from vaejax.storage.lock import check_free
from vaejax.storage.marker import identity, is_marked, is_recorded, sha256
from vaejax.storage.traced import about_method, is_method

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("run", "metric", "value")  # of results.csv
log = logging.getLogger("vaejax")


class Run(NamedTuple):
    """A finished or interrupted sweep.

    Fields:
      path: its folder; None where it was trained in memory.
      config: `config.json`: everything that the sweep was started with.
      method: rebuilt from the config, or what was given.
      params: the newest parameters, every leaf with a leading run axis; NaN for runs that wait.
      table: one row per run: hyperparameters, seed, status.
      history: one row per run and segment of training.
      results: one row per run and metric; empty if the sweep was interrupted before it was measured.
      sources: split -> what was trained or measured on, where it is at hand; `source` gives it.

    `vaejax.experiment` adds `report(path)`, and how a notebook shows it.
    """

    path: Path | None
    config: dict[str, Any]
    method: Method
    params: Any
    table: "pd.DataFrame"
    history: "pd.DataFrame"
    results: "pd.DataFrame"
    sources: Mapping[str, Source | Streamed] | None = None

    def params_of(self, run: int) -> Any:
        """The parameters of one run."""
        return jax.tree.map(lambda leaf: leaf[run], self.params)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the columns of the table are that it was trained on, for `vaejax.data.as_frame`; () of no table."""
        return tuple(
            Column(**{**each, "levels": each["levels"] and tuple(each["levels"])})
            for each in self.config.get("columns", ())
        )

    def source(self, split: str = "test") -> Any:
        """The data that the sweep was trained on (`train`) or measured on (`test`).

        Raises:
          InputError: there is no such split, or it was a source of one's own that isn't at hand.
        """
        if self.sources and split in self.sources:
            return self.sources[split]
        about = self.config.get("source", {})
        if about.get("own") or "name" not in about:
            named = f" ({about['name']})" if "name" in about else ""
            raise InputError(
                f"the split {shortened(split)} of what this was trained on{named} isn't at hand; "
                "open it with vaejax.load_run(path, source=...)"
            )
        return load(split=split, **about)


def load_run(
    path: str | Path,
    method: Method | None = None,
    *,
    source: Source | Streamed | None = None,
    test: Source | Streamed | None = None,
) -> Run:
    """Opens `runs/NAME`, or what `fit(workdir=...)` left; nothing in it is changed.

    Args:
      method, source: what was trained, and on what, where `config.json` can't say it because it was one's own.
      test: what it was measured on; `source` if not given.

    Raises:
      InputError: it is not the folder of a sweep, nothing was saved there yet, a file can't be read, was cut or
        changed, or files don't fit each other; a method or a source that is none.
    """
    path = _folder(path)
    sources = _given(source, test)
    config = read_config(path)
    check_config(path / "config.json", config)
    for given in (sources or {}).values():
        if "shape" in config and tuple(config["shape"]) != tuple(given.shape):
            raise InputError(
                f"{path} was trained on examples of shape {tuple(config['shape'])}, and those of {called(given)} are "
                f"{tuple(given.shape)}; give what it was trained on"
            )
    if method is not None and not isinstance(method, Method):
        raise InputError(f"method has to be what was trained, a vaejax.Method, not {shortened(method)}")
    method = _built(path, config) if method is None else _checked(path, config, method)
    table = read_table(path / "runs.csv", ("run", "status"))
    if table["run"].tolist() != list(range(len(table))):
        raise InputError(f"{path / 'runs.csv'} doesn't list the runs 0 to {len(table) - 1}; put it back from a copy")
    history, measured = _history(path / "history.csv", len(table)), _measured(path / "results.csv", len(table))
    blocks, damaged = Checkpoints(path / "checkpoints", identity(path)).load()
    _check_saved(path, table, blocks, damaged)
    _check_fitting(path, blocks)
    params = _params(path, method, config, blocks, len(table))
    return Run(path, config, method, params, table, history, measured, sources)


def _checked(path: Path, config: dict[str, Any], method: Method) -> Method:
    """The method that the user gives, where `config.json` doesn't describe another one.

    Raises:
      InputError: it does.
    """
    if not isinstance(method, Method):
        raise InputError(f"a method is what vaejax.build or a constructor gives, not {shortened(method)}")
    model = config.get("model") or {}
    if model.get("own") and "traced" in config:
        with one_line(f"{path / 'config.json'} can't be used"):
            same = is_method(method, config["traced"])
        if same is None:
            log.warning("%s was written with other versions: whether this method was trained isn't known", path)
        elif not same:
            raise InputError(
                f"{path} was trained with another method ({model['method']}): its loss, networks, likelihood or prior "
                "are others; give the one that was trained"
            )
    elif model and not model.get("own"):
        built = _built(path, config)
        own = method.recipe is None or built.recipe is None or described(method) != described(built)
        if own and method != built:
            raise InputError(f"{path} was trained with another method ({model['method']}); leave method out to open it")
    return method


def _given(source: Any, test: Any) -> dict[str, Source | Streamed] | None:
    for name, value in {"source": source, "test": test}.items():
        if value is not None and not isinstance(value, Arrays | Factors | Streamed):
            raise InputError(f"{name} has to be a source, such as vaejax.data.load gives, not {shortened(value)}")
    sources = {"train": source, "test": source if test is None else test}
    return {split: value for split, value in sources.items() if value is not None} or None


def described(method: Method) -> dict[str, Any]:
    """What `config.json` says of a method: all that `build` needs but the shape, or its name and that it is one's own.

    A method whose functions were replaced since it was built is one's own.
    """
    recipe = method.recipe
    if recipe is None:
        loss = getattr(method.loss, "loss", method.loss)
        where = getattr(loss, "__qualname__", "").split(".<locals>")
        return {"method": where[0] if len(where) > 1 else "method", "own": True}
    if recipe.call is not build or any(a is not b for a, b in zip(method, recipe.made, strict=False)):
        name = recipe.arguments[0] if recipe.call is build else getattr(recipe.call, "__name__", "method")
        return {"method": name, "own": True}
    given = inspect.signature(build).bind(*recipe.arguments, **recipe.keywords).arguments
    structure = given.pop("structure", {})
    return {name: value for name, value in {**given, **structure}.items() if name not in ("shape", "space")}


def about_own(method: Method, example: Batch) -> dict[str, Any]:
    """What `config.json` says besides of a method of one's own, trained on such examples."""
    return {"traced": about_method(method, example)} if described(method).get("own") else {}


def about_space(space: Space) -> dict[str, Any]:
    """What `config.json` says of a space; of images from 0 to 1 their shape alone."""
    more = {name: value for name, value in space._asdict().items() if name != "shape"}
    return {"shape": space.shape} | ({} if space == Space(space.shape) else {"space": more})


def about_columns(source: Source | Streamed) -> dict[str, Any]:
    """What `config.json` says of the columns and classes of a table; nothing of another source."""
    if not isinstance(source, Arrays):
        return {}
    about = {"columns": [column._asdict() for column in source.columns], "classes": list(source.classes)}
    return {name: value for name, value in about.items() if value}


def space_of(config: Mapping[str, Any]) -> Space:
    """The space that `about_space` has described."""
    about = config.get("space") or {}
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in about.items()}
    return Space(tuple(config["shape"]), **plain)


def _measured(file: Path, runs: int) -> "pd.DataFrame":
    """The results, or none where nothing was measured yet.

    Raises:
      InputError: they aren't one number for every run and metric.
    """
    import pandas as pd

    if not file.exists() and not is_recorded(file):
        return pd.DataFrame(columns=list(COLUMNS))
    table = read_table(file, COLUMNS)
    _check_columns(file, table, runs, ("value",))
    if table.duplicated(["run", "metric"]).any():
        raise InputError(f"{file} has a metric of a run twice; put it back from a copy")
    return table


def _history(file: Path, runs: int) -> "pd.DataFrame":
    """The history.

    Raises:
      InputError: something in it is no number.
    """
    table = read_table(file, ("run", "step"))
    _check_columns(file, table, runs, tuple(str(name) for name in table if name != "run"))
    return table


def _check_columns(file: Path, table: "pd.DataFrame", runs: int, numbers: tuple[str, ...]) -> None:
    """Nothing, where the column `run` is of these runs, and the others are numbers.

    Raises:
      InputError: they aren't.
    """
    for name in ("run", *numbers):
        kinds = "iu" if name == "run" else "iuf"
        if len(table) and table[name].dtype.kind not in kinds:
            raise InputError(f"{file}: the column {name!r} has something that is no number; put it back from a copy")
    if len(table) and not 0 <= table["run"].min() <= table["run"].max() < runs:
        raise InputError(f"{file} has other runs than runs.csv, 0 to {runs - 1}; put it back from a copy")


def _check_fitting(path: Path, blocks: list[Block]) -> None:
    """The checkpoints are of one sweep, and runs.csv lists its runs; what no checksum is known of is said.

    Raises:
      InputError: they aren't, or it doesn't.
    """
    import pandas as pd

    sweeps = [block.sweep for block in blocks]
    if any(sweep != sweeps[0] for sweep in sweeps):
        raise InputError(f"{path / 'checkpoints'} has checkpoints of several sweeps; put it back from a copy")
    text = pd.read_csv(path / "runs.csv", dtype=str, keep_default_na=False).drop(columns="status").to_csv()
    if sweeps[0].get("runs") not in (None, sha256(text.encode())):
        raise InputError(
            f"{path / 'runs.csv'} doesn't fit the checkpoints: hyperparameters or seeds were changed; put it back from "
            "a copy"
        )
    if not is_marked(path):
        log.warning("%s has lost its .vaejax.json: whether config, history and results were changed isn't known", path)


def _folder(path: str | Path) -> Path:
    """The path of a folder that is there.

    Raises:
      InputError: it is none.
    """
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise InputError(f"load_run takes the path of a folder, not {shortened(path)}")
    found = Path(path)
    check_free(found)
    if not found.is_dir():
        raise InputError(f"{found} is not the folder of a sweep: there is no such folder")
    return found


def _built(path: Path, config: dict[str, Any]) -> Method:
    """The method that `config.json` describes.

    Raises:
      InputError: it describes none.
    """
    if not {"shape", "model"} <= set(config):
        raise InputError(f"{path / 'config.json'} has no 'shape' or 'model'; a study has its runs in {path}/groups/")
    if config["model"].get("own"):
        raise InputError(
            f"{path} was trained with a method of one's own ({config['model'].get('method')}); open it with "
            "vaejax.load_run(path, method=...)"
        )
    try:
        model: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config["model"].items()
        }
        return build(shape=space_of(config), **model)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path / 'config.json'}: its 'model' is none: {error}; put it back from a copy") from error


def _check_saved(path: Path, table: "pd.DataFrame", blocks: list[Block], damaged: list[Damaged]) -> None:
    """Every run that is listed as done has its last parameters in a sound checkpoint.

    Raises:
      InputError: one hasn't, or there is no checkpoint.
    """
    if not blocks and not damaged:
        raise InputError(f"{path} holds no checkpoint yet; wait for the first save, or train it to the end")
    last = identity(path).get("segments") or max((block.segments for block in blocks), default=0)
    final = {int(run) for block in blocks if block.segments == last for run in block.runs}
    begun = {int(run) for block in blocks for run in block.runs}
    done = table.loc[table["status"].isin(["finished", "diverged"]), "run"].tolist()
    lost = sorted((set(done) - final) | (set(table.loc[table["status"] == "training", "run"]) - begun))
    if lost or not blocks:
        why = f" ({damaged[0].path} is damaged: {damaged[0].reason})" if damaged else ""
        raise InputError(f"{path} lacks the checkpoint of {_named(lost)}{why}; train it again with the same command")
    if begun and max(begun) >= len(table):
        raise InputError(f"{path} has checkpoints of run {max(begun)}, but runs.csv lists only {len(table)} runs")
    for save in damaged:
        log.warning("the checkpoint %s is damaged (%s); the one before is used", save.path, save.reason)


def _named(runs: list[int]) -> str:
    shown = ", ".join(map(str, runs[:10])) + (", ..." if len(runs) > 10 else "")
    return f"run{'s' * (len(runs) > 1)} {shown}" if runs else "every run"


def _params(path: Path, method: Method, config: dict[str, Any], blocks: list[Block], runs: int) -> Any:
    """The newest parameters of all runs, NaN for those that wait.

    Raises:
      InputError: they are of another model.
    """
    shape = space_of(config).shape
    with one_line(f"this method can't be that of {path}, whose examples have the shape {shape}"):
        like = jax.eval_shape(
            lambda key: method.init(key, Batch(jnp.zeros((1, *shape)), label=jnp.zeros(1, jnp.int32))),
            jax.random.key(0),
        )
    prefix, newest = "states/params/", {}
    for block in reversed(blocks):
        count = block.runs.size
        shapes = jax.tree.map(lambda leaf, n=count: jax.ShapeDtypeStruct((n, *leaf.shape), leaf.dtype), like)
        arrays = {name[len(prefix) :]: leaf for name, leaf in block.tree.items() if name.startswith(prefix)}
        try:
            params = unflat(shapes, arrays)
        except InputError as error:
            raise InputError(f"{path}: config.json and the checkpoints don't fit each other: {error}") from error
        newest = newest or jax.tree.map(
            lambda leaf: np.full((runs, *leaf.shape), np.nan if leaf.dtype.kind == "f" else 0, leaf.dtype), like
        )
        for rows, leaf in zip(jax.tree.leaves(newest), jax.tree.leaves(params), strict=True):
            rows[block.runs] = leaf
    return newest
