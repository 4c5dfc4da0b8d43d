"""What a published protocol is given and what it gives; training that goes on where it was stopped."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, Float
from tqdm import tqdm

from experiments import script
from vaejax.data import Source, load
from vaejax.errors import InputError
from vaejax.method import Method, Params
from vaejax.metrics import log_likelihood_of_runs
from vaejax.training.runs import Result, Runs
from vaejax.training.sweep import fit


class Row(NamedTuple):
    """One number of a table.

    Fields:
      what: the model and the measure, with its unit.
      published: as printed; None where the paper has no such number.
      measured: what came out.
      low, high: the acceptance band, both ends included; infinite where it is open.
      interval: 95 % over seeds, where there are several.
      note: what has to be known to read it.
    """

    what: str
    published: float | None
    measured: float
    low: float = -math.inf
    high: float = math.inf
    interval: tuple[float, float] | None = None
    note: str = ""

    @property
    def inside(self) -> bool:
        """Whether it is in its band."""
        return self.low <= self.measured <= self.high


class Setting(NamedTuple):
    """What every table is given.

    Fields:
      folder: of this table, for the folders of its training.
      data_dir: where tensorflow-datasets has prepared mnist; None is its own default.
      static_mnist: the folder of the binarized_mnist_*.amat files, or None.
      quick: a few steps of small networks: to try it out, and to test it.
      overwrite: train anew what was trained, and delete that when its turn has come.
    """

    folder: Path
    data_dir: str | None = None
    static_mnist: Path | None = None
    quick: bool = False
    overwrite: bool = False

    def steps(self, full: int) -> int:
        """So many steps, or 20 where it has to be quick."""
        return 20 if self.quick else full

    def samples(self, full: int) -> int:
        """So many samples of an estimate, or 10 where it has to be quick."""
        return 10 if self.quick else full

    def mnist(self, split: str, change: str = "") -> Source:
        """MNIST as tensorflow-datasets has it; `change` is a part of a source's name, such as `+binarized`."""
        return load(f"mnist{change}", split, self.data_dir)

    def fit(self, name: str, method: Method, source: Source, runs: Runs, *, steps: int, batch_size: int) -> Result:
        """`vaejax.fit` in the folder `name`, with a progress bar; goes on where it was stopped.

        Raises:
          InputError: as `vaejax.fit`, or the folder holds something else.
        """
        folder = self.folder / name
        settings = {"name": name, "steps": steps, "batch_size": batch_size, "runs": runs.table().to_csv(index=False)}
        script.claimed(folder, settings, "training", overwrite=self.overwrite)
        tqdm.write(f"{name}: {runs.count} runs of {steps:,} steps")
        with script.Bar(runs.count) as bar:
            result = fit(method, source, runs, steps=steps, batch_size=batch_size, workdir=folder, on_progress=bar)
        lost = result.status.count("diverged")
        if lost:
            raise InputError(f"{lost} of {runs.count} runs of {name} diverged, so there is nothing to compare")
        return result

    def log_likelihood(
        self, method: Method, params: Params, test: Source, samples: int
    ) -> dict[str, Float[np.ndarray, " runs"]]:
        """`vaejax.metrics.log_likelihood_of_runs` with a progress bar; of all images, or 50 where it is quick."""
        images, samples = 50 if self.quick else test.size, self.samples(samples)
        with script.Images(f"log p(x), {samples:,} samples") as bar:
            return log_likelihood_of_runs(
                method, params, test, jax.random.key(0), samples=samples, images=images, on_progress=bar
            )


def scheduled(method: Method, schedule: Callable[[Array], optax.Schedule]) -> Method:
    """The method with the rate `schedule(learning_rate)(step)` at each step."""

    def optimizer(hyper):
        return method.optimizer(hyper._replace(learning_rate=schedule(hyper.learning_rate)))

    return method._replace(optimizer=optimizer)


def falling(method: Method, steps: int) -> Method:
    """The method with a learning rate that falls to 0 along half a cosine."""
    return scheduled(method, lambda rate: optax.cosine_decay_schedule(rate, steps))


Protocol = Callable[[Setting], list[Row]]


def read_rows(path: Path) -> list[Row]:
    """What `write_rows` wrote.

    Raises:
      InputError: the file can't be read.
    """
    try:
        rows = [Row(**row) for row in json.loads(path.read_text())["rows"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} can't be read ({error}); delete it to measure again") from error
    return [row._replace(interval=tuple(row.interval) if row.interval else None) for row in rows]
