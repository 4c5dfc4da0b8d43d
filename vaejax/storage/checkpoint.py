"""Checkpoints of a sweep: a thin layer over Orbax that keeps the last two, checks them, and says clearly when it can't.

Runs are saved in blocks of those that have come equally far, each in a folder of its own, so that what is finished is
written once. A save has the SHA-256 of every array, and of all that is said of it. One that is damaged is never used:
the one before takes its place, with a line that says so.
"""

import errno
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int
from orbax.checkpoint import v1 as ocp

from vaejax.errors import InputError
from vaejax.storage.disk import attempt
from vaejax.storage.files import write_text
from vaejax.storage.folder import BLOCK, DAMAGED, SUMS
from vaejax.storage.marker import checksum, sha256

KEPT: Any = ocp.training.preservation_policies.LatestN(2)
ALL: Any = ocp.training.preservation_policies.PreserveAll()
Arrays = dict[str, np.ndarray]  # by the path in the tree, `states/params/decoder/...`
log = logging.getLogger("vaejax")


class Block(NamedTuple):
    """Runs that have come equally far.

    Fields:
      runs: Int[g], which.
      segments: how many segments of training they have behind them.
      tree: what is saved, every leaf with a leading axis [g], on the host.
      sweep: what determined it, of a block that was read.
    """

    runs: Int[np.ndarray, " g"]
    segments: int
    tree: Any
    sweep: Any = None


class Unsound(Exception):
    """A save isn't what was saved; says why."""


class Damaged(NamedTuple):
    """A save that can't be used: its folder, and why."""

    path: Path
    reason: str


class Checkpoints(NamedTuple):
    """Where checkpoints are (`save`, `load`), and what they belong to.

    Fields:
      folder: one subfolder per block, and in it one for each of its last two saves, named by the segments behind it.
      sweep: what determines the sweep; one of another is refused. Not looked at where it is empty.
    """

    folder: Path
    sweep: dict[str, Any]

    def save(self, block: Block) -> None:
        """Writes the block, then deletes all saves of it but the last two. A crash at any moment leaves a whole one.

        Raises:
          InputError: it can't be written (no space, no permission).
        """
        arrays = flat(block.tree)
        about = {"block": block.runs.tolist(), "segments": block.segments, "sweep": self.sweep}
        about["arrays"] = {name: array_sha256(array) for name, array in arrays.items()}
        about["whole"] = checksum(about)
        name = f"{block.runs[0]:05d}-{block.runs[-1]:05d}-{block.runs.size}"
        attempt(self.folder / name, lambda: _check_room(self.folder / name, arrays))
        with _open(self.folder / name, KEPT) as checkpointer:
            checkpointer.save(block.segments, to_host(block.tree), overwrite=True, custom_metadata=about)
        save = self.folder / name / str(block.segments)
        write_text(save / SUMS, json.dumps(_sums(save), indent=1) + "\n")

    def load(self) -> tuple[list[Block], list[Damaged]]:
        """The newest sound save of every block, those that have come farthest first; and those that are damaged.

        The tree of a block is flat: arrays by their paths.

        Raises:
          InputError: a checkpoint belongs to another sweep.
        """
        blocks, damaged = [], []
        for path in sorted(self.folder.glob("*")):
            if BLOCK.fullmatch(path.name) and path.is_dir():
                blocks += self._newest(path, damaged)
        return sorted(blocks, key=lambda block: -block.segments), damaged

    def _newest(self, path: Path, damaged: list[Damaged]) -> list[Block]:
        saves = [save for save in path.iterdir() if save.name.isdecimal() and save.is_dir()]
        for save in sorted(saves, key=lambda save: -int(save.name)):
            try:
                return [self._sound(path, int(save.name))]
            except Unsound as error:
                damaged.append(Damaged(save, str(error)))
        return []

    def _sound(self, path: Path, segments: int) -> Block:
        """The block as it was saved after so many segments.

        Raises:
          Unsound: it is damaged.
          InputError: it belongs to another sweep.
        """
        _check_files(path / str(segments))
        with _open(path, ALL, "read") as checkpointer:
            about: Any = checkpointer.metadata(segments).custom_metadata
            if not isinstance(about, dict) or "whole" not in about:
                raise Unsound("it has no checksums")
            said = {name: value for name, value in about.items() if name != "whole"}
            if checksum(said) != about["whole"] or said["segments"] != segments:
                raise Unsound("what it says of itself was changed")
            if self.sweep and about["sweep"] != self.sweep:
                raise InputError(f"{path.parent} holds checkpoints of another sweep; choose another folder")
            arrays = flat(checkpointer.load(segments))
        if set(arrays) != set(about["arrays"]):
            raise Unsound("it lacks arrays")
        for name, array in arrays.items():
            if array_sha256(array) != about["arrays"][name]:
                raise Unsound(f"{name} was changed")
        return Block(np.array(about["block"]), segments, arrays, about["sweep"])

    def put_aside(self, damaged: Damaged) -> None:
        """Moves a damaged save out of the way, into `checkpoints/damaged/`, so that it may be looked at."""
        aside = self.folder / DAMAGED / f"{damaged.path.parent.name}_{damaged.path.name}"
        attempt(self.folder, lambda: (aside.parent.mkdir(exist_ok=True), damaged.path.rename(_free(aside))))


def _free(path: Path) -> Path:
    """This path, or with a number behind it where there is such a one."""
    number = 1
    while (found := path if number == 1 else path.with_name(f"{path.name}_{number}")).exists():
        number += 1
    return found


def _check_room(folder: Path, arrays: Arrays) -> None:
    """Nothing, where so much can be written; Orbax's threads, once begun, would complain by themselves or wait.

    Raises:
      OSError: it can't.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trial = folder / ".trial"
    trial.write_bytes(b"")
    trial.unlink()
    needed = 2 * sum(array.nbytes for array in arrays.values()) + 2**16
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sums(save: Path) -> dict[str, str]:
    """The checksum of every file of a save."""
    files = sorted(file for file in save.rglob("*") if file.is_file() and file.name != SUMS)
    return {file.relative_to(save).as_posix(): sha256(file.read_bytes()) for file in files}


def _check_files(save: Path) -> None:
    """Every file is as it was written, so that Orbax, whose threads complain by themselves, never meets another.

    Nothing is known where a process ended between the save and its checksums; those of the arrays are left then.

    Raises:
      Unsound: one isn't.
    """
    try:
        known = json.loads((save / SUMS).read_text())
        found = _sums(save)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise Unsound(f"its files can't be read: {_cause(error)}") from error
    for name in (*known, *found):
        if known.get(name) != found.get(name):
            raise Unsound(f"{name} was {'changed' if name in known and name in found else 'added or removed'}")


@contextmanager
def _open(folder: Path, kept: Any, verb: str = "write") -> Iterator[ocp.training.Checkpointer]:
    """Orbax's checkpointer; whatever it raises becomes one line, and what it logs on the way is not shown.

    Only who writes clears away what an interrupted save has left: another process may be saving.
    """
    with _quiet():
        try:
            with ocp.training.Checkpointer(
                str(folder.absolute()), preservation_policy=kept, cleanup_tmp_directories=verb == "write"
            ) as checkpointer:
                yield checkpointer
        except (InputError, Unsound):
            raise
        except Exception as error:  # Orbax and TensorStore raise many kinds; the user needs the cause in one line
            for cause in _chain(error):
                if not isinstance(cause, Exception):  # Ctrl-C, which Orbax has taken for a failure of its own
                    raise cause from None
            reason = _cause(error)
            if verb == "read":
                raise Unsound(reason) from error
            what = "free some space or choose" if "space" in reason else "choose"
            raise InputError(f"{folder} can't be written ({reason}); {what} another folder") from error


def _cause(error: BaseException) -> str:
    """The reason that the operating system gave, or else the first line of the error."""
    for seen in _chain(error):
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
    for known in ("No space left on device", "Read-only file system", "Permission denied", "File too large"):
        if known.lower() in str(error).lower():
            return known
    return " ".join(str(error).split("\n")[0].split())[:200] or type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what caused it, what caused that, ..."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Orbax's own log, which prints tracebacks of what is raised anyway."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def to_host(tree: Any) -> Any:
    """NumPy arrays, so that what is saved on two devices can be opened on one; keys as their data."""
    return jax.tree.map(lambda leaf: np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf), tree)


def flat(tree: Any) -> Arrays:
    """The leaves on the host by their paths, equal for a NamedTuple and for the dictionary that is read back of it."""

    def name(path: Any) -> str:
        return "/".join(str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in path)

    return {name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(to_host(tree))[0]}


def unflat(like: Any, arrays: Arrays) -> Any:
    """The tree of this structure, its leaves from `flat`; keys are keys again.

    Raises:
      InputError: arrays are missing or have other shapes or types.
    """
    expected = flat(jax.tree.map(_placeholder, like))
    for name, leaf in expected.items():
        there = arrays.get(name)
        if there is None or (there.shape, there.dtype) != (leaf.shape, leaf.dtype):
            found = "missing" if there is None else f"{there.dtype}{list(there.shape)}"
            raise InputError(f"the checkpoint's {name} is {found}, but the method's is {leaf.dtype}{list(leaf.shape)}")
    if len(arrays) > len(expected):
        raise InputError(f"the checkpoint has {min(set(arrays) - set(expected))}, which the method lacks")
    leaves = [arrays[name] for name in expected]
    kinds, structure = jax.tree.flatten(like)
    return structure.unflatten([_restored(kind, leaf) for kind, leaf in zip(kinds, leaves, strict=True)])


def _placeholder(leaf: Any) -> np.ndarray:
    """An array that has the saved shape and type but takes no memory."""
    found = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    return np.broadcast_to(np.zeros((), found.dtype), found.shape)


def _restored(like: Any, leaf: np.ndarray) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(leaf)) if _is_key(like) else leaf


def array_sha256(array: np.ndarray) -> str:
    """The checksum of an array: of its type, shape and bytes."""
    head = f"{array.dtype.str}{array.shape}".encode()
    return sha256(head + np.ascontiguousarray(array).tobytes())
