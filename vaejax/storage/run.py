"""Opening what a sweep left in `runs/NAME/`, for notebooks and further experiments."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from vaejax.data import Source, load
from vaejax.errors import InputError
from vaejax.method import Method
from vaejax.methods import build
from vaejax.storage import folder
from vaejax.storage.checkpoint import Block, Checkpoints

if TYPE_CHECKING:
    import pandas as pd


class Run(NamedTuple):
    """A finished or interrupted sweep.

    Fields:
      path: its folder.
      config: `config.json`: everything that the sweep was started with.
      method: rebuilt from the config.
      params: the newest parameters, every leaf with a leading run axis; NaN for runs that wait.
      table: one row per run: hyperparameters, seed, status.
      history: one row per run and segment of training.
      results: one row per run and metric; empty if the sweep was interrupted before it was measured.
    """

    path: Path
    config: dict[str, Any]
    method: Method
    params: Any
    table: "pd.DataFrame"
    history: "pd.DataFrame"
    results: "pd.DataFrame"

    def params_of(self, run: int) -> Any:
        """The parameters of one run."""
        return jax.tree.map(lambda leaf: leaf[run], self.params)

    def source(self, split: str = "test") -> Source:
        """The data that the sweep was trained on (`train`) or measured on (`test`)."""
        return load(split=split, **self.config["source"])


def load_run(path: str | Path) -> Run:
    """Opens `runs/NAME`.

    Raises:
      InputError: it is not the folder of a sweep, nothing was saved there yet, or a file can't be read.
    """
    import pandas as pd

    path = Path(path)
    config = folder.read_config(path)
    try:
        shape = tuple(config["shape"])
        model: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config["model"].items()
        }
        method = build(shape=shape, **model)
        table = pd.read_csv(path / "runs.csv")
        history = pd.read_csv(path / "history.csv")
        results = path / "results.csv"
        measured = pd.read_csv(results) if results.exists() else pd.DataFrame(columns=["run", "metric", "value"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} can't be opened: {error}; was the sweep stopped before its first save?") from error
    blocks = Checkpoints(path / "checkpoints", {}).load()
    if not blocks:
        raise InputError(f"{path} holds no checkpoint yet; wait for the first save, or train it to the end")
    return Run(path, config, method, _params(blocks, len(table)), table, history, measured)


def _params(blocks: list[Block], runs: int) -> Any:
    """The newest parameters of all runs, NaN for those that wait."""

    def joined(*leaves: np.ndarray) -> np.ndarray:
        rows = np.full((runs, *leaves[0].shape[1:]), np.nan, leaves[0].dtype)
        for block, leaf in reversed(list(zip(blocks, leaves, strict=True))):
            rows[block.runs] = leaf
        return rows

    return jax.tree.map(joined, *[block.tree["states"]["params"] for block in blocks])
