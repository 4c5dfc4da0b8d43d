"""The runs of a sweep: `grid` lays them out along one axis, and `Result` is what becomes of them."""

import itertools
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from vaejax.errors import InputError, check_sizes, choose, is_masked, plain, shortened
from vaejax.hyper import Range, ranges, shown
from vaejax.method import Hyper, Method, Params
from vaejax.networks.sizes import whole_number

if TYPE_CHECKING:
    import pandas as pd

MOST = 1_000_000  # runs of a sweep
LARGEST, SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)


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
        """The runs with these numbers, of a slice or of a mask; one by its number, whose leaves are scalars then.

        Raises:
          InputError: there is no run of such a number, a mask of another length, or something else.
        """
        rows = _rows(index, self.count)
        return jax.tree.map(lambda leaf: leaf[rows], self)


class Result(NamedTuple):
    """What `fit` gives.

    Fields:
      method, runs: what was trained.
      params: the final parameters on the host, every leaf with a leading run axis; those of a run that diverged are
        from before it did.
      steps: Int[T], the step at the end of every segment.
      history: metric name -> Float[R, T], means over each segment in nats per example; the loss of a run is NaN from
        the segment on in which it diverged.
      taken: Int[R], the steps that every run has taken; fewer than all if it diverged.
      status: `finished` or `diverged`, for every run.
    """

    method: Method
    runs: Runs
    params: Params
    steps: Int[np.ndarray, " T"]
    history: dict[str, Float[np.ndarray, "R T"]]
    taken: Int[np.ndarray, " R"]
    status: list[str]

    def params_of(self, run: int) -> Params:
        """The parameters of one run.

        Raises:
          InputError: there is none of this number.
        """
        check_sizes(0, run=run)
        if run is None or run >= self.runs.count:
            raise InputError(f"there are {self.runs.count} runs, 0 to {self.runs.count - 1}; not {shortened(run)}")
        return jax.tree.map(lambda leaf: leaf[run], self.params)

    def table(self) -> "pd.DataFrame":
        """`history` in tidy form: `run`, `step` and a column per metric."""
        import pandas as pd

        runs, segments = self.history["loss"].shape
        index = {"run": np.repeat(np.arange(runs), segments), "step": np.tile(self.steps, runs)}
        return pd.DataFrame({**index, **{name: values.ravel() for name, values in self.history.items()}})


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
      InputError: `hyper` is no NamedTuple of numbers; a name that it lacks, no value, one that comes twice, that lies
        outside its range (`vaejax.hyper`) or is not a finite number of float32; seeds that are no whole numbers from 0
        to 2^31 - 1, or come twice.
    """
    check_hyper(hyper)
    for name in axes:
        choose(hyper._asdict(), name, "hyperparameter", shown(hyper))
    common_random_numbers = plain(common_random_numbers)
    if not isinstance(common_random_numbers, bool):
        raise InputError(f"common_random_numbers has to be True or False, not {shortened(common_random_numbers)}")
    numbered = _seeds(seeds)
    within = ranges(hyper)
    columns = {name: _column(name, values, within[name]) for name, values in axes.items()}
    sizes = [*(column.size for column in columns.values()), len(numbered)]
    if 0 in sizes:
        raise InputError(f"a sweep needs at least one seed and one value for each of: {', '.join(columns) or 'seeds'}")
    if (total := math.prod(sizes)) > MOST:
        raise InputError(f"{' x '.join(map(str, sizes))} values and seeds are {total:,} runs; {MOST:,} at most")
    *index, seed = (part.ravel() for part in np.indices(sizes))
    count = seed.size
    swept = {name: column[i] for (name, column), i in zip(columns.items(), index, strict=True)}
    leaves = {name: swept.get(name, np.full(count, value, np.float32)) for name, value in hyper._asdict().items()}
    streams = np.zeros(count, np.int32) if common_random_numbers else np.arange(count, dtype=np.int32)
    return Runs(type(hyper)(**leaves), np.asarray(numbered, np.int32)[seed], streams)


def check_hyper(hyper: Any) -> None:
    """Hyperparameters have to be a NamedTuple of numbers that float32 can hold, each in its range.

    Raises:
      InputError: they are not.
    """
    what = "hyperparameters have to be a NamedTuple of numbers, such as method.hyper"
    if isinstance(hyper, Method):
        raise InputError(f"{what}, not the method itself")
    names = getattr(hyper, "_fields", None)
    if names is None or isinstance(hyper, type):
        hint = "; give an instance" if isinstance(hyper, type) else ""
        raise InputError(f"{what}, not {shortened(hyper)}{hint}")
    within = ranges(hyper)
    for name, value in zip(names, hyper, strict=True):
        if not _is_number(value):
            raise InputError(f"{what}; {name} is {shortened(value)}")
        _check_values(name, [value], within[name])


def _rows(index: Any, count: int) -> Any:
    """What selects of so many runs, as NumPy takes it.

    Raises:
      InputError: it can't.
    """
    what = f"runs are selected by numbers from 0 to {count - 1}, a slice, or a mask of {count}, not {shortened(index)}"
    try:
        if isinstance(index, slice):
            return slice(*index.indices(count))
        found = np.asarray(index)
    except Exception as error:  # whatever an object says that is neither
        raise InputError(what) from error
    if is_masked(index) or (found.dtype.kind == "b" and found.shape != (count,)):
        raise InputError(what)
    whole = found.dtype.kind in "iu" and found.ndim < 2
    if found.dtype.kind != "b" and not (whole and (found >= 0).all() and (found < count).all()):
        raise InputError(what)
    return found


def _seeds(seeds: Any) -> list[int]:
    """The seeds themselves, given these or how many."""
    each = _each(seeds)
    if each is None:
        count = whole_number("seeds", plain(seeds), least=0)
        if count > MOST:
            raise InputError(f"{count:,} seeds are too many runs; {MOST:,} at most")
        return list(range(count))
    found = [whole_number("a seed", seed, least=0) for seed in each]
    if (twice := _twice(found)) is not None:
        raise InputError(f"the seed {twice} is given twice, which is the same run again; give every seed once")
    return found


def _column(name: str, values: Any, within: Range) -> Float[np.ndarray, " n"]:
    """One value or several, as float32."""
    each = _each(values)
    each = [plain(values)] if each is None else each
    for value in each:
        if not _is_number(value):
            raise InputError(f"{name} has to be a number, or several as in {name}=[1, 4], not {shortened(value)}")
    _check_values(name, each, within)
    column = np.asarray(each, np.float32)
    if (twice := _twice(column.tolist())) is not None:
        same = " and ".join(str(value) for value in each if np.float32(value) == twice)
        raise InputError(f"{name} is given as {same[:60]}, which float32 takes for the same; give every value once")
    return column


def _each(values: Any) -> list[Any] | None:
    """Several values, no more than a sweep can have and one; None for what is not several."""
    text_or_table = isinstance(values, (str, bytes, Mapping))
    if text_or_table or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        return None
    return [plain(value) for value in itertools.islice(values, MOST + 1)]


def _check_values(name: str, values: list[Any], within: Range) -> None:
    for value in values:
        if value not in within or not abs(value) <= LARGEST:  # nor NaN
            most = f"at most {LARGEST:.3g}{' in size' if value < 0 else ''}"
            what = f"{within.words} and {most}" if LARGEST < abs(value) < math.inf else within.words
            raise InputError(f"{name} has to be {what}, not {shortened(value if len(values) == 1 else values)}")
        if 0 < abs(value) < SMALLEST:
            raise InputError(f"{name} can't be as small as {value}, which float32 takes for 0; give 0 to mean it")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _twice(values: list[Any]) -> Any:
    """The first value that was there before."""
    seen = set()
    return next((value for value in values if value in seen or seen.add(value)), None)
