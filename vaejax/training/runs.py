"""The runs of a sweep: `grid` lays them out along one axis, and `Result` is what becomes of them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from vaejax.errors import InputError, choose
from vaejax.method import Hyper, Method, Params

if TYPE_CHECKING:
    import pandas as pd


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
      params: the final parameters on the host, every leaf with a leading run axis; those of a run that diverged are
        from before it did.
      steps: Int[T], the step at the end of every segment.
      history: metric name -> Float[R, T], means over each segment in nats per image; the loss of a run is NaN from the
        segment on in which it diverged.
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
        """The parameters of one run."""
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
