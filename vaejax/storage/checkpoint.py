"""Checkpoints of a sweep: a thin layer over Orbax that keeps the newest and says clearly when it can't.

Runs are saved in blocks of those that have come equally far, each in a folder of its own with the newest of its saves,
so that what is finished is written once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int
from orbax.checkpoint import v1 as ocp

from vaejax.errors import InputError

NEWEST: Any = ocp.training.preservation_policies.LatestN(1)


class Block(NamedTuple):
    """Runs that have come equally far.

    Fields:
      runs: Int[g], which.
      segments: how many segments of training they have behind them.
      tree: what was saved, every leaf with a leading axis [g], on the host.
    """

    runs: Int[np.ndarray, " g"]
    segments: int
    tree: Any


class Checkpoints(NamedTuple):
    """Where checkpoints are (`save`, `load`), and what they belong to.

    Fields:
      folder: one subfolder per block, and in it one for its newest save.
      signature: JSON that has to be equal for a checkpoint to be continued.
    """

    folder: Path
    signature: dict[str, Any]

    def save(self, block: Block) -> None:
        """Writes the block, then deletes older saves of it. A crash at any moment leaves a whole checkpoint.

        Raises:
          InputError: it can't be written (no space, no permission).
        """
        about = {**self.signature, "block": block.runs.tolist()}
        name = f"{block.runs[0]:05d}-{block.runs[-1]:05d}-{block.runs.size}"
        with _open(self.folder / name) as checkpointer:
            tree = to_host(block.tree)
            checkpointer.save(block.segments, tree, overwrite=True, custom_metadata=about)

    def load(self, like: Callable[[int], Any] | None = None) -> list[Block]:
        """All blocks, those that have come farthest first.

        Args:
          like: from a number of runs to the structure, shapes and types of a block's tree. Without it trees are nested
            dictionaries of arrays.

        Raises:
          InputError: a checkpoint belongs to something else, or can't be read.
        """
        found = [self._block(path, like) for path in sorted(self.folder.glob("*-*-*"))]
        return sorted((block for block in found if block is not None), key=lambda block: -block.segments)

    def _block(self, path: Path, like: Callable[[int], Any] | None) -> Block | None:
        with _open(path) as checkpointer:
            if checkpointer.latest is None:
                return None
            about: Any = checkpointer.metadata().custom_metadata
            for name, value in self.signature.items():
                if about.get(name) != value:
                    raise InputError(
                        f"{self.folder} holds another sweep ({name} is {about.get(name)} there, {value} here); "
                        "continue with the same settings or choose another folder"
                    )
            runs, segments = np.array(about["block"]), checkpointer.latest.step
            if like is None:
                return Block(runs, segments, checkpointer.load())
            shapes = like(runs.size)
            tree: Any = checkpointer.load(None, jax.tree.map(_abstract, shapes))
            return Block(runs, segments, jax.tree.map(_restored, shapes, tree))


@contextmanager
def _open(folder: Path) -> Iterator[ocp.training.Checkpointer]:
    try:
        with ocp.training.Checkpointer(
            str(folder.absolute()), preservation_policy=NEWEST, cleanup_tmp_directories=True
        ) as checkpointer:
            yield checkpointer
    except InputError:
        raise
    except Exception as error:  # Orbax and TensorStore raise many kinds; the user needs the cause in one line
        cause = str(error).strip().split("\n")[0][:300]
        raise InputError(f"the checkpoint in {folder} can't be written or read: {cause}") from error


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def to_host(tree: Any) -> Any:
    """NumPy arrays, so that what is saved on two devices can be opened on one; keys as their data."""
    return jax.tree.map(lambda leaf: np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf), tree)


def _abstract(leaf: Any) -> np.ndarray:
    """An array that has the saved shape and type but takes no memory."""
    found = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    return np.broadcast_to(np.zeros((), found.dtype), found.shape)


def _restored(like: Any, leaf: np.ndarray) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(leaf)) if _is_key(like) else leaf
