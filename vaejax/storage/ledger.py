"""What is known of every run of a sweep, on the host, and how it is kept: `checkpoints/`, `runs.csv`, `history.csv`."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float, Int

from vaejax.method import Metrics, State
from vaejax.storage.checkpoint import Block, Checkpoints, to_host, unflat
from vaejax.storage.files import write_table
from vaejax.storage.marker import identify

if TYPE_CHECKING:
    import pandas as pd

Means = dict[str, Float[np.ndarray, " g"]]
SAVING = 0.05  # of the time at most
log = logging.getLogger("vaejax")


class Ledger:
    """The books of R runs, each trained for T segments that end at the steps `ends`.

    Fields:
      history: metric name -> Float[R, T], NaN where a run hasn't come yet, and from where it diverged.
      done: Int[R], segments that a run has behind it.
      taken: Int[R], steps that a finished run has taken: fewer than all if it diverged.
      params: parameters of the finished runs, every leaf with a leading axis [R].
    """

    def __init__(self, count: int, ends: Int[np.ndarray, " T"], names: Iterable[str], like: State):
        self.ends, self.like = ends, like
        self.history = {name: np.full((count, ends.size), np.nan, np.float32) for name in names}
        self.done = np.zeros(count, np.int32)
        self.taken = np.zeros(count, np.int32)
        self.params = jax.tree.map(lambda leaf: np.zeros((count, *leaf.shape[1:]), leaf.dtype), like.params)

    def groups(self, size: int) -> list[Int[np.ndarray, " g"]]:
        """The runs that are not finished, in groups of those that have come equally far; the farthest first."""
        levels = sorted(set(self.done.tolist()) - {self.ends.size}, reverse=True)
        equal = [np.flatnonzero(self.done == level) for level in levels]
        return [index[start : start + size] for index in equal for start in range(0, index.size, size)]

    def record(self, index: Int[np.ndarray, " g"], segment: int, metrics: Metrics) -> Means:
        """Enters the means of these runs over a segment, and gives them back without those of padding."""
        found = {name: np.asarray(values)[: index.size] for name, values in metrics.items()}
        for name, values in found.items():
            self.history[name][index, segment] = values
        self.done[index] = segment + 1
        return found

    def block(self, index: Int[np.ndarray, " g"], states: State) -> Block:
        """These runs as they are, for a checkpoint.

        Padding is cut off on the host: on the devices it would be a program with a collective for every leaf, and
        XLA's CPU devices have been seen to wait for each other there for ever.
        """
        here = jax.tree.map(lambda leaf: leaf[: index.size], to_host(states))
        history = {name: rows[index] for name, rows in self.history.items()}
        return Block(index, int(self.done[index[0]]), {"states": here, "history": history})

    def finish(self, index: Int[np.ndarray, " g"], states: State) -> Block:
        """Enters final states, also of runs that have diverged before their time."""
        self.done[index] = self.ends.size
        block = self.block(index, states)
        final = block.tree["states"]
        self.taken[index] = final.step
        for rows, leaf in zip(jax.tree.leaves(self.params), jax.tree.leaves(final.params), strict=True):
            rows[index] = leaf
        return block

    def shapes(self, count: int) -> dict[str, Any]:
        """What a block of so many runs looks like."""
        states = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), self.like)
        return {"states": states, "history": {name: rows[:count] for name, rows in self.history.items()}}

    def restore(self, block: Block) -> dict[int, State]:
        """Enters what was saved of runs that are new here; gives the states of those that are not finished.

        Raises:
          InputError: what was saved has other arrays.
        """
        fresh = np.flatnonzero(self.done[block.runs] == 0)
        if not fresh.size:
            return {}
        saved = unflat(self.shapes(block.runs.size), block.tree)
        index, tree = block.runs[fresh], jax.tree.map(lambda leaf: leaf[fresh], saved)
        for name, rows in tree["history"].items():
            self.history[name][index] = rows
        self.done[index] = block.segments
        if block.segments == self.ends.size:
            self.finish(index, tree["states"])
            return {}
        return {int(run): jax.tree.map(lambda leaf, k=k: leaf[k], tree["states"]) for k, run in enumerate(index)}

    def status(self) -> list[str]:
        """`waiting`, `training`, `finished` or `diverged` (a loss or gradient that was not finite), for every run."""
        lost = (self._seen() & ~np.isfinite(self.history["loss"])).any(axis=1)
        known = {"diverged": lost, "finished": self.done == self.ends.size, "training": self.done > 0}
        return np.select(list(known.values()), list(known), "waiting").tolist()

    def table(self) -> "pd.DataFrame":
        """`history` in tidy form, as far as it goes: `run`, `step` and a column per metric."""
        import pandas as pd

        run, segment = np.nonzero(self._seen())
        columns = {name: rows[run, segment] for name, rows in self.history.items()}
        return pd.DataFrame({"run": run, "step": self.ends[segment], **columns})

    def _seen(self) -> np.ndarray:
        return np.arange(self.ends.size) < self.done[:, None]


class Keeper:
    """Keeps a ledger in a folder: every `pause` seconds, or less often where that would take too much of the time.

    A pause of 0 is after every segment.
    """

    def __init__(self, workdir: Path, sweep: dict[str, Any], runs: "pd.DataFrame", ledger: Ledger, pause: float):
        self.workdir, self.sweep, self.runs, self.ledger, self.pause = workdir, sweep, runs, ledger, pause
        self.checkpoints = Checkpoints(workdir / "checkpoints", sweep)
        self.finished: list[Block] = []  # since the last save
        self.saved = time.monotonic()

    def load(self) -> dict[int, State]:
        """Enters what an earlier call has saved; gives the states of runs that were begun.

        What is damaged is put aside, with a line that says how it goes on.

        Raises:
          InputError: the folder holds another sweep.
        """
        identify(self.workdir, self.sweep)
        blocks, damaged = self.checkpoints.load()
        begun: dict[int, State] = {}
        for block in blocks:
            begun |= self.ledger.restore(block)
        for save in damaged:
            self.checkpoints.put_aside(save)
            log.warning(
                "the checkpoint %s is damaged (%s) and was put aside; its runs go on from the one before, or from the "
                "start where there is none", save.path, save.reason,
            )  # fmt: skip
        return begun

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self.saved > self.pause

    def save(self, current: Block | None = None) -> None:
        """Writes what has been finished since the last time, as one block, and the runs that are being trained."""
        start = time.monotonic()
        if self.finished:
            index = np.concatenate([block.runs for block in self.finished])
            trees = [block.tree for block in self.finished]
            tree = jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees)
            self.checkpoints.save(Block(index, self.ledger.ends.size, tree))
            self.finished = []
        if current is not None:
            self.checkpoints.save(current)
        write_table(self.workdir / "runs.csv", self.runs.assign(status=self.ledger.status()))
        write_table(self.workdir / "history.csv", self.ledger.table())
        self.saved = time.monotonic()
        if self.pause > 0:
            self.pause = max(self.pause, (self.saved - start) / SAVING)
