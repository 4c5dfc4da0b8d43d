"""Checkpoints of a sweep: a thin layer over Orbax that keeps the newest and says clearly when it can't."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from vaejax.errors import InputError

NEWEST: Any = ocp.training.preservation_policies.LatestN(1)


class Checkpoints(NamedTuple):
    """Where checkpoints are (`save`, `load`), and what they belong to.

    Fields:
      folder: one subfolder per saved step.
      signature: JSON that has to be equal for a checkpoint to be continued.
    """

    folder: Path
    signature: dict[str, Any]

    def save(self, step: int, tree: Any) -> None:
        """Writes the tree, then deletes older steps. A crash at any moment leaves a whole checkpoint.

        Raises:
          InputError: it can't be written (no space, no permission).
        """
        with self._open() as checkpointer:
            checkpointer.save(step, jax.tree.map(_to_host, tree), overwrite=True, custom_metadata=self.signature)

    def load(self, like: Any = None) -> Any | None:
        """The newest checkpoint in the structure, shapes and types of `like`, on the host; None if there is none.

        Without `like`: nested dictionaries of arrays.

        Raises:
          InputError: the checkpoint belongs to something else, or can't be read.
        """
        if not self.folder.exists():
            return None
        with self._open() as checkpointer:
            if checkpointer.latest is None:
                return None
            found: Any = checkpointer.metadata().custom_metadata
            for name, value in self.signature.items():
                if found.get(name) != value:
                    raise InputError(
                        f"{self.folder} holds another sweep ({name} is {found.get(name)} there, {value} here); "
                        "continue with the same settings or choose another folder"
                    )
            if like is None:
                return checkpointer.load()
            return jax.tree.map(_restored, like, checkpointer.load(None, jax.tree.map(_abstract, like)))

    @contextmanager
    def _open(self) -> Iterator[ocp.training.Checkpointer]:
        try:
            with ocp.training.Checkpointer(
                str(self.folder.absolute()), preservation_policy=NEWEST, cleanup_tmp_directories=True
            ) as checkpointer:
                yield checkpointer
        except InputError:
            raise
        except Exception as error:  # Orbax and TensorStore raise many kinds; the user needs the cause in one line
            cause = str(error).strip().split("\n")[0][:300]
            raise InputError(f"the checkpoint in {self.folder} can't be written or read: {cause}") from error


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_host(leaf: Any) -> np.ndarray:
    """NumPy, so that what is saved on two devices can be opened on one."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _abstract(leaf: Any) -> np.ndarray:
    """An array that has the saved shape and type but takes no memory."""
    found = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    return np.broadcast_to(np.zeros((), found.dtype), found.shape)


def _restored(like: Any, leaf: np.ndarray) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(leaf)) if _is_key(like) else leaf
