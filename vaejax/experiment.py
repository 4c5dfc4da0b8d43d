"""The whole way from data to measured runs in one call: `vaejax.run(vaejax.Experiment(...))`; see there.

run = vaejax.run(vaejax.Experiment("digits", "beta_vae", {"beta": [1, 4, 16]}, network="mlp", width=64))
run.results          # one row per run and metric
run.report("page.html")
"""

import inspect
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from vaejax.data import Arrays, Factors, Source, Streamed, example, load
from vaejax.data.table import described as table_described
from vaejax.errors import InputError, check_sizes, choose, one_line, plain, shortened
from vaejax.hyper import listed
from vaejax.method import Batch, Method, as_space
from vaejax.methods import build
from vaejax.metrics.measure import measure
from vaejax.metrics.suite import GLANCE, USUAL, Sizes, check_names, check_suite_sizes, evaluate
from vaejax.storage.files import write_table
from vaejax.storage.folder import claimed, finished, is_finished
from vaejax.storage.lock import held
from vaejax.storage.run import Run, about_columns, about_own, about_space, described, load_run
from vaejax.training.beforehand import check_training
from vaejax.training.runs import Runs, grid
from vaejax.training.strategy import Strategy, plan
from vaejax.training.sweep import PRECISIONS, Progress, check_pause, fit

if TYPE_CHECKING:
    import pandas as pd

Values = float | Iterable[float]


class Experiment(NamedTuple):
    """What is trained on what, and measured; nothing of it has happened yet.

    Fields:
      source: a name for `vaejax.data.load`, or a source of your own. data_dir, size, window: as in `load`, of a name.
      test: what is measured on; if not given, the test split of a name, or the source of your own itself.
      method: a name for `vaejax.build`, or a method of your own. network, latents, width, likelihood, options: as in
        `build`, of a name; `options` is what else its constructor takes.
      axes: hyperparameter -> a value, or several to sweep over; those that aren't there have the method's defaults.
      seeds: a number of runs for every setting, or the seeds themselves.
      steps, batch_size, chunk, save_every, precision: as in `vaejax.fit`.
      common_random_numbers: whether the runs of a seed share weights, data and noise, as in `vaejax.grid`.
      images: how many images to measure on. metrics: disentanglement metrics that are measured beside what
        `vaejax.measure` gives, as in `vaejax.metrics.evaluate`, of a source with factors (DCI and the FactorVAE score
        if not given, and the codes are vectors; () for none); sizes: how many samples they take, half as many as those
        of Locatello et al. 2019 if not given, and codes of at most 10,000 combinations of factors.
      question: of the page; made from the names if not given.
      command: how it was started, for the page; the call itself if not given.
      notes: what else `config.json` is to say.
    """

    source: str | Source | Streamed = "sprites"
    method: str | Method = "vae"
    axes: Mapping[str, Values] | None = None
    seeds: int | Iterable[int] = 3
    steps: int = 2000
    batch_size: int = 64
    network: str | None = None
    latents: int | None = None
    width: int | tuple[int, ...] | None = None
    likelihood: str | None = None
    options: Mapping[str, Any] | None = None
    data_dir: str | os.PathLike[str] | None = None
    size: int | None = None
    window: int | None = None
    test: Source | Streamed | None = None
    images: int = 10_000
    metrics: tuple[Any, ...] | list[Any] | None = None
    sizes: Sizes = GLANCE
    chunk: int | None = None
    save_every: float = 60.0
    common_random_numbers: bool = True
    precision: str = "float32"
    question: str | None = None
    command: str | None = None
    notes: Mapping[str, Any] | None = None


class Prepared(NamedTuple):
    """An experiment whose data are loaded and whose method is built, and that can be trained.

    Fields:
      train, test: the sources.
      method, runs, layout: what is trained, and where.
      metrics: what is measured beside what `vaejax.measure` gives.
      config: what `config.json` says.
    """

    train: Source | Streamed
    test: Source | Streamed
    method: Method
    runs: Runs
    layout: Strategy
    metrics: tuple[Any, ...]
    config: dict[str, Any]


class Event(NamedTuple):
    """What `on_event` is given: `continuing`, `finished` (it was before), `data` (what a table was taken for),
    `training`, `measuring`; and a line."""

    stage: str
    text: str
    runs: int


OF_SOURCE = ("data_dir", "size", "window")  # fields that go with a name
OF_METHOD = ("network", "latents", "width", "likelihood", "options")


def run(
    experiment: Experiment,
    path: str | os.PathLike[str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    overwrite: bool = False,
) -> Run:
    """Loads the data, trains all runs as one program, measures them, and gives what came out.

    The result is the same in memory and in a folder, bit for bit. `.report()` writes its page.

    Args:
      path: a folder that keeps everything, such as `runs/NAME`: the same call goes on there after a stop, and opens
        what is there once that has its page. None trains in memory.
      on_progress: as in `vaejax.fit`.
      on_event: called when a part begins, with a line that says so.
      overwrite: delete what an earlier sweep wrote in the folder.

    Raises:
      InputError: anything in the experiment can't be used, or the folder holds something else, is in use or can't be
        written. Nothing was written then.
    """
    folder = None if path is None else _folder(path)
    overwrite = plain(overwrite)
    if not isinstance(overwrite, bool):
        raise InputError(f"overwrite has to be True or False, not {shortened(overwrite)}")
    for name, function in {"on_progress": on_progress, "on_event": on_event}.items():
        if function is not None and not callable(function):
            raise InputError(f"{name} has to be a function, not {shortened(function)}")
    experiment = _plainly(experiment)
    ready = prepared(experiment)
    method, runs, config = ready.method, ready.runs, ready.config
    sources = {"train": ready.train, "test": ready.test}

    def tell(stage: str, text: str) -> None:
        if on_event is not None:
            on_event(Event(stage, text, runs.count))

    with ExitStack() as stack:
        if folder is not None:
            if not overwrite and is_finished(folder, config):
                tell("finished", finished(folder))
                return load_run(folder, method)._replace(sources=sources)
            if stack.enter_context(claimed(folder, config, overwrite=overwrite)):
                tell("continuing", f"continuing the unfinished sweep in {folder}")
        if isinstance(ready.train, Arrays) and ready.train.columns:
            tell("data", f"{table_described(ready.train)} to train on, {ready.test.size:,} rows to measure on")
        tell("training", str(ready.layout))
        result = fit(
            method, ready.train, runs, steps=experiment.steps, batch_size=experiment.batch_size, workdir=folder,
            chunk=experiment.chunk, on_progress=on_progress, save_every=experiment.save_every,
            precision=experiment.precision,
        )  # fmt: skip
        tell("measuring", f"measuring {runs.count} runs on {min(ready.test.size, experiment.images):,} images")
        results = _measured(experiment, ready, result.params)
        if folder is not None:
            write_table(folder / "results.csv", results)
    tables = (runs.table().assign(status=result.status), result.table(), results)
    return Run(folder, config, method, result.params, *map(_as_read, tables), sources=sources)


def prepared(experiment: Experiment) -> Prepared:
    """The experiment with its data loaded, its method built and everything checked; nothing is trained or written.

    Raises:
      InputError: something in it can't be used.
    """
    experiment = _plainly(experiment)
    _check(experiment)
    train, test, source = _sources(experiment)
    method, model = _method(experiment, train)
    axes = {name: list(each) if isinstance(each, Iterator) else each for name, each in (experiment.axes or {}).items()}
    seeds = list(experiment.seeds) if isinstance(experiment.seeds, Iterator) else experiment.seeds
    for name in axes:
        if name not in method.hyper._fields:
            raise InputError(
                f"unknown hyperparameter {shortened(name)}: the method {model['method']!r} has no {name} to sweep; it "
                f"has {listed(method.hyper) or 'none'}"
            )
    whole = isinstance(test, Factors) and math.prod(test.sizes) == test.size
    if experiment.metrics and not whole:
        raise InputError(f"metrics are measured on all combinations of known factors, which {test.name} lacks")
    runs = grid(method.hyper, seeds, common_random_numbers=experiment.common_random_numbers, **axes)
    check_training(method, train, test, runs.count, experiment.batch_size, chunk=experiment.chunk)
    layout = plan(method, example(train), runs.count, experiment.batch_size, chunk=experiment.chunk)
    config = {"command": experiment.command or _call(experiment), "source": source, "model": model}
    config |= about_space(as_space(train.space)) | about_columns(train)
    config |= about_own(method, example(train)) if "own" in model else {}
    config |= {"steps": experiment.steps, "batch_size": experiment.batch_size}
    config |= {"chunk": experiment.chunk, "window": experiment.window, "images": experiment.images}
    config |= {"seeds": seeds, "hyper": axes}
    unusual = {"common_random_numbers": True, "precision": "float32", "question": None}
    config |= {name: getattr(experiment, name) for name in unusual if getattr(experiment, name) != unusual[name]}
    metrics = experiment.metrics
    if metrics is None:
        metrics = USUAL if whole and has_vectors(method, example(test)) else ()
    config |= {"metrics": list(map(str, metrics)), "sizes": experiment.sizes} if metrics else {}
    with one_line("notes have to be what JSON can hold"):
        config = json.loads(json.dumps({**config, **(experiment.notes or {})}, default=_plain))
    return Prepared(train, test, method, runs, layout, tuple(metrics), config)


def has_vectors(method: Method, batch: Batch) -> bool:
    """Whether the codes of an example are a vector, of which disentanglement is measured."""
    params = jax.eval_shape(method.init, jax.random.key(0), batch)
    return jax.eval_shape(lambda params, batch: method.encode(params, batch).mean, params, batch).ndim == 2


def report(run: Run, path: str | os.PathLike[str] | None = None, **words: Any) -> Path:
    """Writes the page of a measured run, and gives its path.

    Args:
      path: of the page; `report.html` in the run's folder if not given.
      **words: what the page is to say in other words than the run's own: `question`, `answer`, `facts` (what -> text),
        `by` (the hyperparameter along the axis, or "setting"), `more` (figures: name -> figure and caption).

    Raises:
      InputError: the run has not been measured, has no folder and no path is given, or the page can't be written.
    """
    from vaejax.report.sweep import page_of

    page = None if path is None else _folder(path)
    for name in words:
        choose(dict.fromkeys(("question", "answer", "facts", "by", "more")), name, "part of a page")
    with ExitStack() as stack:
        if page is None and run.path is not None:
            stack.enter_context(held(run.path))
        return page_of(run, page, **words)


def shown(run: Run) -> str:
    """The run as HTML, for a notebook: its means over seeds and the main figure, or how far it is."""
    title = f"{run.config.get('model', {}).get('method')} on {run.config.get('source', {}).get('name')}"
    count = f"{len(run.table)} runs{f' in {run.path}' if run.path else ''}"
    if run.results.empty:
        states = ", ".join(f"{n} {status}" for status, n in run.table["status"].value_counts().items())
        return f"<p>{_text(f'{title}: {count}, not measured yet ({states})')}</p>{run.table.to_html(index=False)}"
    from vaejax.report.sweep import glance

    return f"<p>{_text(f'{title}: {count}')}</p>{glance(run)}"


Run.report = report  # pyright: ignore[reportAttributeAccessIssue] (storage lies below what draws)
Run._repr_html_ = shown  # pyright: ignore[reportAttributeAccessIssue]


def _plainly(experiment: Experiment) -> Experiment:
    """The experiment with NumPy's numbers as Python's, and a path as its text.

    Raises:
      InputError: it is none.
    """
    if not isinstance(experiment, Experiment):
        raise InputError(f"run takes a vaejax.Experiment(source, method, ...), not {shortened(experiment)}")
    fields = {name: plain(value) for name, value in experiment._asdict().items()}
    if isinstance(experiment.sizes, Sizes) and experiment.sizes is not GLANCE:
        fields["sizes"] = Sizes(*map(plain, experiment.sizes))
    if isinstance(experiment.data_dir, os.PathLike):
        fields["data_dir"] = os.fspath(experiment.data_dir)
    return Experiment(**fields)


def _check(experiment: Experiment) -> None:
    """Nothing, where every field is of its kind.

    Raises:
      InputError: one isn't.
    """
    for name in ("axes", "options", "notes"):
        value = getattr(experiment, name)
        if value is not None and not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
            raise InputError(f"{name} has to be a dictionary of names and values, not {shortened(value)}")
    for name in ("question", "command"):
        value = getattr(experiment, name)
        if value is not None and not isinstance(value, str):
            raise InputError(f"{name} has to be a text, not {shortened(value)}")
    check_sizes(steps=experiment.steps, batch_size=experiment.batch_size, images=experiment.images)
    if None in (experiment.steps, experiment.batch_size, experiment.images):
        raise InputError("steps, batch_size and images have to be whole numbers, not None")
    check_sizes(chunk=experiment.chunk)
    check_pause(experiment.save_every)
    choose(PRECISIONS, experiment.precision, "precision")
    if not isinstance(experiment.metrics, tuple | list | None):
        raise InputError(
            f"metrics has to be a tuple of metrics, such as ('mig', 'dci'), not {shortened(experiment.metrics)}"
        )
    if experiment.metrics:
        check_names(experiment.metrics)
    check_suite_sizes(experiment.sizes)
    for own, kind, fields in (("source", Arrays | Factors | Streamed, OF_SOURCE), ("method", Method, OF_METHOD)):
        value = getattr(experiment, own)
        if not isinstance(value, str | kind):
            gives = "vaejax.data.load or vaejax.data.arrays" if own == "source" else "vaejax.build or vaejax.Method"
            raise InputError(f"{own} has to be a name, or what {gives} gives, not {shortened(value)}")
        meant = [] if isinstance(value, str) else [name for name in fields if getattr(experiment, name) is not None]
        if meant:
            raise InputError(f"{meant[0]} goes with the name of a {own}; leave it out with one that is made already")
    if experiment.test is not None and not isinstance(experiment.test, Arrays | Factors | Streamed):
        raise InputError(f"test has to be a source, such as vaejax.data.load gives, not {shortened(experiment.test)}")


def _measured(experiment: Experiment, ready: Prepared, params: Any) -> "pd.DataFrame":
    """What `measure` gives, and further metrics, which replace those of the same name."""
    import pandas as pd

    test, chunk = ready.test, experiment.chunk
    results = measure(ready.method, test, params, images=experiment.images, chunk=chunk)
    if not ready.metrics or not isinstance(test, Factors):
        return results
    key, chosen = jax.random.key(0), {"sizes": experiment.sizes, "metrics": ready.metrics}
    found = evaluate(ready.method, test, params, key, **chosen, chunk=chunk)
    return pd.concat([results[~results["metric"].isin(found["metric"])], found], ignore_index=True)


def _sources(experiment: Experiment) -> tuple[Source | Streamed, Source | Streamed, dict[str, Any]]:
    """What is trained on, what is measured on, and what `config.json` says of them."""
    source, test = experiment.source, experiment.test
    if not isinstance(source, str):
        return source, source if test is None else test, {"name": source.name, "own": True}
    about = {"name": source, "data_dir": experiment.data_dir, "size": experiment.size}
    train = load(split="train", window=experiment.window, **about)
    return train, load(split="test", **about) if test is None else test, about


def _method(experiment: Experiment, train: Source | Streamed) -> tuple[Method, dict[str, Any]]:
    """The method, and what `config.json` says of it."""
    if isinstance(experiment.method, Method):
        return experiment.method, described(experiment.method)
    options = dict(experiment.options or {})
    for name in options:
        if name in inspect.signature(build).parameters or name == "options":
            raise InputError(f"options can't have {name}, which is a field of its own")
    usual = {name: inspect.signature(build).parameters[name].default for name in OF_METHOD if name != "options"}
    own = {name: getattr(experiment, name) for name in usual if getattr(experiment, name) is not None}
    structure = {**usual, **own, **options}
    given = " ".join(f"{name}={value}" for name, value in options.items())
    with one_line(f"the method {experiment.method[:60]!r} can't be built with {given[:100] or 'these sizes'}"):
        return build(experiment.method, as_space(train.space), **structure), {"method": experiment.method, **structure}


def _folder(path: Any) -> Path:
    """The path.

    Raises:
      InputError: it is none.
    """
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise InputError(f"path has to be that of a folder, such as 'runs/mine', not {shortened(path)}")
    return Path(path)


def _as_read(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table as it is read from its file, so that it is the same whether there is one or not."""
    import io

    import pandas as pd

    return pd.read_csv(io.StringIO(table.to_csv(index=False)))


def _call(experiment: Experiment) -> str:
    """The experiment as the call that made it; what is one's own by its name."""
    changed = {
        name: value
        for name, value in experiment._asdict().items()
        if value is not Experiment._field_defaults[name] and name != "notes"
    }
    objects = {"source": "name", "test": "name"}
    words = [
        f"{name}={getattr(value, objects[name])}" if name in objects and not isinstance(value, str) else
        f"{name}={described(value)['method']}" if isinstance(value, Method) else f"{name}={value!r}"
        for name, value in changed.items()
    ]  # fmt: skip
    return f"vaejax.run(vaejax.Experiment({', '.join(words)}))"


def _plain(value: Any) -> Any:
    """What JSON has no word for: NumPy's numbers and arrays, ranges, paths."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else list(value)


def _text(text: str) -> str:
    import html

    return html.escape(text)
