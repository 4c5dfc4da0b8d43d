"""A whole sweep (hyperparameters x seeds) as one compiled program: `grid` lays out the runs, `fit` trains them.

The runs lie along one flat axis. `chunk` of them are vmapped at once, the rest follow by `lax.map`, and the axis is
split over the devices of a mesh. Host code runs only between segments of steps: progress, history, checkpoints.
"""

import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int

from vaejax import train
from vaejax.checkpoint import Checkpoints
from vaejax.data.source import Data, Source
from vaejax.errors import InputError, choose
from vaejax.folder import write_table
from vaejax.method import Batch, Hyper, Method, Metrics, State

if TYPE_CHECKING:
    import pandas as pd

Tree = TypeVar("Tree")
SEGMENTS = 100  # how often at least the host looks at a sweep: history points, progress
LONGEST_SEGMENT = 1000  # steps


class Runs(NamedTuple):
    """R runs along one axis.

    Fields:
      hyper: the method's hyperparameters, every leaf float32 [R].
      seeds: Int[R].
      streams: Int[R], folded into the seed's key; all 0 where runs of one seed share their randomness.
    """

    hyper: Hyper
    seeds: Int[np.ndarray, " R"]
    streams: Int[np.ndarray, " R"]

    @property
    def count(self) -> int:
        """R."""
        return self.seeds.size

    def table(self) -> "pd.DataFrame":
        """One row per run: `run`, every hyperparameter, `seed`, `stream`."""
        import pandas as pd

        # float32 0.1 is written as 0.1 and not as 0.10000000149: the shortest text that reads back as the same float32
        hyper = {name: [float(str(value)) for value in column] for name, column in self.hyper._asdict().items()}
        return pd.DataFrame({"run": range(self.count), **hyper, "seed": self.seeds, "stream": self.streams})

    def select(self, index: Any) -> "Runs":
        """The runs at this index, slice or mask."""
        return jax.tree.map(lambda leaf: leaf[index], self)


class Result(NamedTuple):
    """What `fit` gives.

    Fields:
      method, runs: what was trained.
      states: the final states, every leaf with a leading run axis.
      steps: Int[T], the step at the end of every segment.
      history: metric name -> Float[R, T], means over each segment in nats per image.
    """

    method: Method
    runs: Runs
    states: State
    steps: Int[np.ndarray, " T"]
    history: dict[str, Float[np.ndarray, "R T"]]

    @property
    def status(self) -> list[str]:
        """`finished` or `diverged` (a loss that is not finite) for every run."""
        fine = np.isfinite(self.history["loss"]).all(axis=1)
        return np.where(fine, "finished", "diverged").tolist()

    def params(self, run: int) -> Any:
        """The parameters of one run."""
        return jax.tree.map(lambda leaf: leaf[run], self.states.params)

    def table(self) -> "pd.DataFrame":
        """`history` in tidy form: `run`, `step` and a column per metric."""
        import pandas as pd

        runs, segments = self.history["loss"].shape
        index = {"run": np.repeat(np.arange(runs), segments), "step": np.tile(self.steps, runs)}
        return pd.DataFrame({**index, **{name: values.ravel() for name, values in self.history.items()}})


class Progress(NamedTuple):
    """What `on_progress` is given after every segment: the step, of how many, and metrics as Float[R]."""

    step: int
    steps: int
    metrics: dict[str, Float[np.ndarray, " R"]]


def grid(
    hyper: Hyper, seeds: int | Iterable[int], *, common_random_numbers: bool = True, **axes: float | Iterable[float]
) -> Runs:
    """Every combination of the values in `axes` with every seed; the seeds vary fastest.

    Runs of the same seed start from the same weights and see the same data and noise, so that a hyperparameter is
    compared on equal terms; `common_random_numbers=False` gives every run its own.

    Args:
      hyper: the defaults, for example `method.hyper`.
      seeds: a number of seeds (0, 1, ...) or the seeds themselves.
      **axes: hyperparameter name -> value or values.

    Raises:
      InputError: a name that the method lacks, no value, or a value that is negative or not finite.
    """
    seeds = range(seeds) if isinstance(seeds, int) else list(seeds)
    columns = {}
    for name, values in axes.items():
        choose(hyper._asdict(), name, "hyperparameter")
        columns[name] = np.atleast_1d(np.asarray(list(values) if isinstance(values, Iterable) else values, np.float32))
    for name, values in {**hyper._asdict(), **columns}.items():
        if not np.all(np.isfinite(values) & (np.asarray(values) >= 0)):
            raise InputError(
                f"{name} has to be a finite number that is not negative, not {np.asarray(values).tolist()}"
            )
    sizes = [*(column.size for column in columns.values()), len(seeds)]
    if 0 in sizes:
        raise InputError(f"a sweep needs at least one seed and one value for each of: {', '.join(columns) or 'seeds'}")
    *index, seed = (part.ravel() for part in np.indices(sizes))
    count = seed.size
    swept = {name: column[i] for (name, column), i in zip(columns.items(), index, strict=True)}
    leaves = {name: swept.get(name, np.full(count, value, np.float32)) for name, value in hyper._asdict().items()}
    streams = np.zeros(count, np.int32) if common_random_numbers else np.arange(count, dtype=np.int32)
    return Runs(type(hyper)(**leaves), np.asarray(seeds, np.int32)[seed], streams)


def default_chunk(backend: str, runs: int) -> int:
    """How many runs to vmap at once: all on an accelerator, whose units they fill.

    One on CPU, where vmapped convolutions are 6 times slower than one model after the other.
    """
    return 1 if backend == "cpu" else runs


def default_mesh() -> Mesh:
    """All devices along the run axis."""
    return jax.make_mesh((jax.device_count(),), ("runs",), axis_types=(AxisType.Auto,))


def map_runs(function: Callable[..., Tree], per_run: Any, shared: Any, *, chunk: int, mesh: Mesh) -> Tree:
    """`function(per_run[i], shared)` for every run i: split over the mesh, `chunk` at a time. Call it under `jit`.

    The number of runs has to be a multiple of the number of devices; see `pad`.
    """

    def local(per_run, shared):
        runs = jax.tree.leaves(per_run)[0].shape[0]
        one = partial(_swap, function, shared)
        if chunk >= runs:
            return jax.vmap(one)(per_run)
        return jax.lax.map(one, per_run, batch_size=chunk if chunk > 1 else None)

    axis = PartitionSpec("runs")
    specs = {"in_specs": (axis, PartitionSpec()), "out_specs": axis}
    return jax.shard_map(local, mesh=mesh, **specs, check_vma=False)(per_run, shared)


def _swap(function, shared, per_run):
    return function(per_run, shared)


def pad(tree: Tree, multiple: int) -> Tree:
    """The last run repeated until the run axis is a multiple of the number of devices."""

    def one(leaf):
        return leaf[np.minimum(np.arange(len(leaf) + -len(leaf) % multiple), len(leaf) - 1)]

    return jax.tree.map(one, tree)


@cache
def _sampler(sample, batch_size: int) -> train.Sample:
    """One function object per sampler and batch size, so that a second `fit` finds the compiled program."""
    return lambda data, key: sample(data, key, batch_size)


# Weights are drawn once, in milliseconds; at full effort LLVM compiles the many draws for 16 s, at this one for 2 s.
QUICK_COMPILE = {"xla_backend_optimization_level": 1}


@partial(jax.jit, static_argnames=("method", "sample", "chunk", "mesh"), compiler_options=QUICK_COMPILE)
def _init(method, sample, chunk, mesh, runs: Runs, data: Data) -> State:
    def one(run: Runs, data: Data) -> State:
        key = jax.random.fold_in(jax.random.key(run.seeds), run.streams)
        return train.init(method, run.hyper, key, sample(data, key))

    return map_runs(one, runs, data, chunk=chunk, mesh=mesh)


@partial(jax.jit, static_argnames=("method", "sample", "steps", "chunk", "mesh"), donate_argnames="states")
def _advance(method, sample, steps, chunk, mesh, hyper, data, states) -> tuple[State, Metrics]:
    def one(run: tuple[Hyper, State], data: Data) -> tuple[State, Metrics]:
        state, metrics = train.train(method, sample, steps, run[0], data, run[1])
        return state, jax.tree.map(jnp.mean, metrics)

    return map_runs(one, (hyper, states), data, chunk=chunk, mesh=mesh)


def segments(steps: int) -> Int[np.ndarray, " T"]:
    """The steps at which the host looks at a sweep: equal segments, and what is left over at the end."""
    length = max(1, min(steps // SEGMENTS, LONGEST_SEGMENT))
    return np.append(np.arange(length, steps, length), steps)


def fit(
    method: Method,
    source: Source,
    runs: Runs,
    *,
    steps: int,
    batch_size: int = 64,
    chunk: int | None = None,
    workdir: str | Path | None = None,
    mesh: Mesh | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    save_every: float = 60.0,
) -> Result:
    """Trains all runs for `steps` steps. New hyperparameters or seeds compile nothing new.

    Args:
      chunk: how many runs each device vmaps at once; chosen by backend if not given. Changes results by
        rounding only.
      workdir: where to keep `runs.csv`, `history.csv` and `checkpoints/`. A sweep that was interrupted there is
        continued, and ends bit for bit as if it had not been.
      mesh: devices along an axis `runs`; all devices if not given.
      on_progress: called on the host after every segment of steps.
      save_every: seconds between checkpoints.

    Raises:
      InputError: less than 1 step, batch or chunk; images of another shape than the method's; a `workdir` that holds
        another sweep or that can't be written.
    """
    check_sizes(steps=steps, batch_size=batch_size, chunk=chunk)
    check_shapes(method, source.shape)
    mesh = default_mesh() if mesh is None else mesh
    chunk = default_chunk(jax.default_backend(), runs.count) if chunk is None else chunk
    sample = _sampler(source.sample, batch_size)
    over_runs, everywhere = (NamedSharding(mesh, spec) for spec in (PartitionSpec("runs"), PartitionSpec()))
    data = jax.device_put(source.data, everywhere)
    padded = jax.device_put(pad(runs, mesh.size), over_runs)
    ends = segments(steps)

    states = _init(method, sample, chunk, mesh, padded, data)
    names = jax.eval_shape(partial(_advance, method, sample, 1, chunk, mesh), padded.hyper, data, states)[1]
    history = {name: np.full((runs.count, ends.size), np.nan, np.float32) for name in names}
    done = np.zeros((), np.int32)
    checkpoints = None
    if workdir is not None:
        workdir = Path(workdir)
        claimed = {"steps": steps, "batch_size": batch_size, "source": source.name, "runs": runs.table().to_csv()}
        checkpoints = Checkpoints(workdir / "checkpoints", claimed)
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((runs.count, *leaf.shape[1:]), leaf.dtype), states)
        if found := checkpoints.load({"states": like, "history": history, "segments": done}):
            states = jax.device_put(pad(found["states"], mesh.size), over_runs)
            history, done = jax.tree.map(np.array, found["history"]), found["segments"]

    saved = time.monotonic()
    for segment in range(int(done), ends.size):
        length = int(ends[segment] - (ends[segment - 1] if segment else 0))
        states, metrics = _advance(method, sample, length, chunk, mesh, padded.hyper, data, states)
        for name, values in metrics.items():
            history[name][:, segment] = np.asarray(values)[: runs.count]
        if on_progress is not None:
            on_progress(Progress(int(ends[segment]), steps, {name: rows[:, segment] for name, rows in history.items()}))
        last = segment == ends.size - 1
        if workdir and checkpoints and (last or time.monotonic() - saved > save_every):
            so_far = {name: rows[:, : segment + 1] for name, rows in history.items()}
            result = Result(method, runs, _first(states, runs.count), ends[: segment + 1], so_far)
            done = np.array(segment + 1, np.int32)
            checkpoints.save(int(ends[segment]), {"states": result.states, "history": history, "segments": done})
            status = [text if last or text == "diverged" else "training" for text in result.status]
            write_table(workdir / "runs.csv", runs.table().assign(status=status))
            write_table(workdir / "history.csv", result.table())
            saved = time.monotonic()
    return Result(method, runs, _first(states, runs.count), ends, history)


def _first(tree: Tree, count: int) -> Tree:
    return jax.tree.map(lambda leaf: leaf[:count], tree)


def check_sizes(**sizes: int | None) -> None:
    """Every size has to be at least 1 (or None: not given).

    Raises:
      InputError: the first that is not.
    """
    for name, value in sizes.items():
        if value is not None and value < 1:
            raise InputError(f"{name} has to be at least 1, not {value}")


def check_shapes(method: Method, shape: tuple[int, int, int]) -> None:
    """Traces one image through the method, without computing anything.

    Raises:
      InputError: the method's images have another shape than these.
    """

    def shape_of_reconstruction(key):
        batch = Batch(jnp.zeros((1, *shape)))
        params = method.init(key, batch)
        return method.decode(params, method.encode(params, batch).mean).mean

    made = jax.eval_shape(shape_of_reconstruction, jax.random.key(0)).shape[1:]
    if made != shape:
        raise InputError(f"the decoder makes images of shape {made}, but those of the source have {shape}")
