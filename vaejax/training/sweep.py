"""A whole sweep (hyperparameters x seeds) as one compiled program: `fit` trains the runs that `grid` has laid out.

The runs lie along one flat axis. As many as `vaejax.plan` says are trained at once, the next follow when those are
done, through the same program. Host code runs only between segments of steps: progress, history, checkpoints.
"""

import json
import logging
import numbers
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from vaejax.data.source import Arrays, Data, Factors, Sample, Source, Streamed, example, stored_labels
from vaejax.distributions.conditions import check_classes
from vaejax.errors import InputError, check_memory, check_sizes, choose, plain, shortened
from vaejax.method import Hyper, Method, Metrics, State, as_space
from vaejax.storage.files import write_text
from vaejax.storage.ledger import Keeper, Ledger, Means
from vaejax.storage.lock import held
from vaejax.storage.marker import sha256
from vaejax.storage.run import about_columns, about_own, about_space, described
from vaejax.training import step as train
from vaejax.training.beforehand import check_room
from vaejax.training.contract import check_method, check_runs
from vaejax.training.fingerprint import contents, program
from vaejax.training.runs import Result, Runs
from vaejax.training.signals import deferred
from vaejax.training.strategy import callable_here, over_runs, pad, place, plan, split_batches, split_gradient

Tree = TypeVar("Tree")
SEGMENTS = 100  # how often at least the host looks at a group of runs: history points, progress
LONGEST_SEGMENT = 1000  # steps
SHORTEST_SEGMENT = 10  # every call pays for the pages of its memory anew: 446 ms a step instead of 323 in calls of one
PRECISIONS = {"float32": "float32", "tf32": "tensorfloat32", "bf16": "bfloat16"}  # of the factors in a matrix product
log = logging.getLogger("vaejax")


class Progress(NamedTuple):
    """What `on_progress` is given after every segment.

    Fields:
      done, total: run-steps, of all runs together.
      runs: Int[g], those that are being trained.
      step: how far these are.
      metrics: means over the segment, Float[g].
      diverged: how many runs have diverged so far.
    """

    done: int
    total: int
    runs: Int[np.ndarray, " g"]
    step: int
    metrics: Means
    diverged: int


# Weights are drawn once, in milliseconds; at full effort LLVM compiles the many draws for 16 s, at this one for 2 s.
QUICK_COMPILE = {"xla_backend_optimization_level": 1}


@lru_cache(maxsize=8)  # of the last few methods: what a program takes is freed with it
def programs(method: Method, sample: Sample, batch_size: int, mesh: Mesh) -> tuple[Any, Any]:
    """Training of a group by some steps, and its states at step 0, both compiled when they are first called.

    Equal arguments give the same two, so that a second `fit` compiles nothing.
    """
    drawn = split_batches(sample, batch_size, mesh)

    @partial(jax.jit, static_argnames="steps", donate_argnames="states")
    def advance(hyper: Hyper, data: Data, states: State, steps: int) -> tuple[State, Metrics]:
        def one(run: tuple[Hyper, State], data: Data) -> tuple[State, Metrics]:
            state, metrics = train.train(method, drawn, steps, run[0], data, run[1], split_gradient(mesh))
            return state, jax.tree.map(jnp.mean, metrics)

        return over_runs(one, (hyper, states), data, mesh)

    @partial(jax.jit, compiler_options=QUICK_COMPILE)
    def begin(runs: Runs, data: Data) -> State:
        def one(run: Runs, data: Data) -> State:
            key = jax.random.fold_in(jax.random.key(run.seeds), run.streams)
            return train.init(method, run.hyper, key, drawn(data, key))

        return over_runs(one, runs, data, mesh)

    return advance, begin


def segments(steps: int, longest: int = LONGEST_SEGMENT) -> Int[np.ndarray, " T"]:
    """The steps at which the host looks at a group: equal segments, and what is left over at the end."""
    length = max(1, min(max(steps // SEGMENTS, SHORTEST_SEGMENT), longest))
    return np.append(np.arange(length, steps, length), steps)


def fit(
    method: Method,
    source: Source | Streamed,
    runs: Runs,
    *,
    steps: int,
    batch_size: int = 64,
    chunk: int | None = None,
    workdir: str | Path | None = None,
    mesh: Mesh | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    save_every: float = 60.0,
    precision: str = "float32",
) -> Result:
    """Trains all runs for `steps` steps. New hyperparameters, seeds or numbers of runs compile nothing new.

    How runs are laid over the devices is chosen by `vaejax.plan`, and logged in one line. A run whose loss or
    gradient is not finite is frozen as it was before; the others don't notice.

    Args:
      chunk: how many runs each device vmaps at once; chosen by backend and memory if not given. Changes results by
        rounding only.
      workdir: where to keep `runs.csv`, `history.csv` and `checkpoints/`; `vaejax.load_run` opens it. A sweep that was
        interrupted there is continued, and ends bit for bit as if it had not been. Runs that are finished are not
        trained again.
      mesh: devices along an axis `runs`, and perhaps `batch`; all devices if not given.
      on_progress: called on the host after every segment of steps.
      save_every: seconds between checkpoints, 0 for one after every segment; they are farther apart where saving
        would take more than a twentieth of the time.
      precision: `float32`, `tf32` or `bf16`: to what an accelerator rounds the factors of matrix products; sums are
        float32. A CPU computes in float32 always. What it does to ELBO and MIG
        is measured by `experiments/benchmarks/precision.py`.

    With a `workdir`, Ctrl-C and SIGTERM let the segment end and save it first; a second one stops at once. What
    `on_progress` raises is saved for, too.

    Raises:
      InputError: an unknown precision; less than 1 step, batch or chunk; images of another shape than the method's, or
        labels that are none of its classes; a `workdir` that holds another sweep (another method, network, likelihood,
        option, data, hyperparameter or seed), in which another process trains, or that can't be written.
    """
    steps, batch_size, chunk, save_every = map(plain, (steps, batch_size, chunk, save_every))
    check_sizes(steps=steps, batch_size=batch_size, chunk=chunk)
    if steps is None or batch_size is None:
        raise InputError("steps and batch_size have to be whole numbers, not None")
    if not isinstance(source, Arrays | Factors | Streamed):
        raise InputError(f"a source is what vaejax.data.load or vaejax.data.arrays gives, not {shortened(source)}")
    if on_progress is not None and not callable(on_progress):
        raise InputError(f"on_progress has to be a function, not {shortened(on_progress)}")
    check_pause(save_every)
    steps, batch_size = int(steps), int(batch_size)
    rounding = choose(PRECISIONS, precision, "precision")
    one = example(source)
    reported = check_method(method, one)
    check_runs(method, runs)
    if not isinstance(source, Streamed):
        check_classes(method, stored_labels(source.data))
    check_room(method, one, runs.count, batch_size, chunk or 1)
    layout = plan(method, one, runs.count, batch_size, chunk=chunk, mesh=mesh)
    log.info("%s", layout)
    advance, begin = programs(method, source.sample, batch_size, layout.mesh)
    data = source.take(np.arange(1)).data if isinstance(source, Streamed) else place(source.data, layout.mesh)
    like: State = begin.eval_shape(pad(runs, layout.group), data)
    ends = segments(steps, source.window // batch_size if isinstance(source, Streamed) else LONGEST_SEGMENT)
    check_memory(f"{ends.size} segments of {runs.count} runs", 4.0 * ends.size * runs.count * len(reported))
    ledger, keeper, begun = Ledger(runs.count, ends, reported, like), None, {}

    def feed(first: int) -> Generator[Data, None, None]:
        if not isinstance(source, Streamed):
            return _always(data)
        return _windows(method, source, batch_size, ends, first, layout.mesh)

    def progress(index: Int[np.ndarray, " g"], segment: int, means: Means) -> Progress:
        done = int(np.append(0, ends)[ledger.done].sum())
        diverged = ledger.status().count("diverged")
        return Progress(done, runs.count * steps, index, int(ends[segment]), means, diverged)

    with ExitStack() as stack:
        stopping = bool  # False: where nothing is saved, what stops is raised at once
        if workdir is not None:
            folder = work_folder(workdir)
            stack.enter_context(held(folder))
            stopping = stack.enter_context(deferred())
            table = runs.table()
            sweep = {"steps": steps, "batch_size": batch_size, "precision": precision, "source": source.name}
            sweep |= {"runs": sha256(table.to_csv().encode()), "segments": ends.size}
            sweep |= {"window": source.window} if isinstance(source, Streamed) else {}
            sweep |= {"program": program(method, source, data, batch_size), "data": contents(source)}
            keeper = Keeper(folder, sweep, table, ledger, save_every)
            begun = keeper.load()
            if not (folder / "config.json").exists():
                config = {"command": "vaejax.fit", "source": {"name": source.name, "own": True}}
                config |= about_space(as_space(source.space)) | about_columns(source)
                config |= {"model": described(method), "steps": steps, "batch_size": batch_size}
                config |= about_own(method, one)
                write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
        for index in ledger.groups(layout.group):
            first = int(ledger.done[index[0]])
            group = place(pad(runs.select(index), layout.group), layout.mesh, "runs")
            with closing(feed(first)) as windows:
                now = next(windows)
                if first:
                    states = place(
                        pad(_stack([begun.pop(run) for run in index.tolist()]), layout.group), layout.mesh, "runs"
                    )
                else:
                    states = begin(group, now)
                for segment in range(first, ends.size):
                    length = int(ends[segment] - (ends[segment - 1] if segment else 0))
                    with callable_here(), jax.default_matmul_precision(rounding):
                        states, metrics = advance(group.hyper, now, states, length)
                    means = ledger.record(index, segment, metrics)
                    try:
                        if on_progress is not None:
                            on_progress(progress(index, segment, means))
                        if segment == ends.size - 1 or not np.isfinite(means["loss"]).any():
                            break
                        now = next(windows) if not stopping() else now
                    except BaseException:  # of the caller's function, or of the disk: this segment isn't lost
                        if keeper is not None:
                            keeper.save(ledger.block(index, states))
                        raise
                    if keeper is not None and (keeper.due() or stopping()):
                        keeper.save(ledger.block(index, states))
                    if stopping():
                        raise KeyboardInterrupt("stopped and saved; the same call goes on from here")
            finished = ledger.finish(index, states)
            if keeper is not None:
                keeper.finished.append(finished)
            if stopping():
                break
        if keeper is not None:
            keeper.save()
    return Result(method, runs, ledger.params, ends, ledger.history, ledger.taken, ledger.status())


def work_folder(workdir: str | Path) -> Path:
    """The folder of this name.

    Raises:
      InputError: it isn't the name of one.
    """
    if not isinstance(workdir, str | os.PathLike) or not str(workdir):
        raise InputError(f"workdir has to be the path of a folder, not {shortened(workdir)}")
    return Path(workdir).absolute()


def check_pause(save_every: float) -> None:
    """Nothing, where it is a number of seconds.

    Raises:
      InputError: it is none, or negative.
    """
    if isinstance(save_every, bool) or not isinstance(save_every, numbers.Real) or not save_every >= 0:
        raise InputError(f"save_every has to be a number of seconds, 0 or more, not {shortened(save_every)}")


def _always(data: Data) -> Generator[Data, None, None]:
    while True:
        yield data


def _windows(
    method: Method, source: Streamed, batch_size: int, ends: Int[np.ndarray, " T"], first: int, mesh: Mesh
) -> Generator[Data, None, None]:
    """The window of each segment from `first` on: as many images are drawn from one as it holds, then comes the next.

    It depends on the step alone, so every run sees the same windows, and so does one that goes on after a stop.
    """
    starts = np.append(0, ends[:-1])[first:]
    numbers = (starts * batch_size // source.window).tolist()

    def checked(data: Data) -> Data:
        check_classes(method, stored_labels(data))
        return place(data, mesh)

    with closing(source.windows(numbers[0])) as windows:
        at, data = numbers[0], checked(next(windows))
        for number in numbers:
            while at < number:
                at, data = at + 1, checked(next(windows))
            yield data


def _stack(trees: list[Tree]) -> Tree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
