"""The folder of a sweep, `runs/NAME/`: who may begin or go on there, and what is deleted to begin anew."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaejax.errors import InputError
from vaejax.storage.disk import attempt
from vaejax.storage.files import read_config, write_text
from vaejax.storage.lock import FOLDERS, LOCK, OWNER, check_free, held
from vaejax.storage.marker import MARKER, difference, is_marked, mark, read_marker

BLOCK = re.compile(r"\d+-\d+-\d+")  # a folder of checkpoints
SUMS = "sha256.json"  # in the folder of a save: the checksum of every other file
TEMPORARY = "orbax-checkpoint-tmp"  # in the name of a save that isn't whole
DAMAGED = "damaged"  # where those that can't be used are put
UNBINDING = ("command", "question", "traced")  # of a config: another makes no other sweep
ANOTHER = "give another --name (or path), or --overwrite (overwrite=True) to replace it"


@contextlib.contextmanager
def claimed(path: Path, config: dict[str, Any], *, overwrite: bool = False) -> Iterator[bool]:
    """`claim`, and nobody else trains in the folder meanwhile; gives what `claim` gives."""
    _check_claim(path, _as_json(config), overwrite)  # before anything is written
    with held(path):
        yield claim(path, config, overwrite=overwrite)


def claim(path: Path, config: dict[str, Any], *, overwrite: bool = False) -> bool:
    """Makes the folder and writes `config.json`; True if it holds an unfinished sweep of the same config to continue.

    A sweep is finished when `report.html` is there. One that was stopped before its first save gives way to any other.
    `overwrite` deletes what an earlier sweep wrote in the folder, and nothing else.

    Raises:
      InputError: the folder is finished, in use, or another's, or it can't be written.
    """
    config = _as_json(config)
    _check_claim(path, config, overwrite)
    if is_marked(path) and not overwrite and has_saved(path):
        return True
    with held(path):
        attempt(path, lambda: _clear(path) if is_marked(path) else None)
        mark(path)
        write_text(path / "config.json", json.dumps(config, indent=2) + "\n")
    return False


def has_saved(path: Path) -> bool:
    """Whether anything was saved in the folder of a sweep or study; if not, any other may begin there."""
    return next(path.rglob("runs.csv"), None) is not None


def _as_json(config: dict[str, Any]) -> dict[str, Any]:
    """As it will be read back: lists for tuples."""
    return json.loads(json.dumps(config))


def _check_claim(path: Path, config: dict[str, Any], overwrite: bool) -> None:
    """Nothing, where a sweep of this config may begin or go on here.

    Raises:
      InputError: it may not.
    """
    check_free(path)
    if not path.exists():
        return
    if not is_marked(path):
        if any(item.name not in (LOCK, OWNER) for item in path.iterdir()):
            raise InputError(
                f"{path} exists, and no sweep of ours has marked it as its own, so nothing in it is overwritten; "
                "give another --name, or remove it yourself"
            )
    elif not overwrite and has_saved(path):
        _check_same(path, config)


def _check_same(path: Path, config: dict[str, Any]) -> None:
    """Nothing, where the folder holds an unfinished sweep of this config.

    Raises:
      InputError: it is finished, or another.
    """
    there, here = _binding(read_config(path)), _binding(config)
    if there == here and not (path / "report.html").exists():
        return
    if there == here:
        raise InputError(finished(path))
    raise InputError(f"{path} holds another sweep ({difference(there, here)}); {ANOTHER}")


def _binding(config: dict[str, Any]) -> dict[str, Any]:
    """What makes it this sweep and no other."""
    return {name: value for name, value in config.items() if name not in UNBINDING}


def is_finished(path: Path, config: dict[str, Any]) -> bool:
    """Whether the folder holds a sweep of this config, and its page.

    Raises:
      InputError: it can't be read.
    """
    check_free(path)
    if not (is_marked(path) and (path / "report.html").exists() and (path / "config.json").exists()):
        return False
    return _binding(read_config(path)) == _binding(_as_json(config))


def finished(path: Path) -> str:
    """What is said where it is."""
    return f"{path} is finished, and its page is {path / 'report.html'}; to train more (seeds, steps), {ANOTHER}"


def _clear(path: Path) -> None:
    """Deletes what sweeps wrote here, and the folders of theirs that are empty then."""
    for name in read_marker(path)["files"]:
        (path / name).unlink(missing_ok=True)
    for inner in sorted([*path.glob("groups/*/"), *path.glob("code_prior/*/")]):
        if is_marked(inner):
            with held(inner):
                _clear(inner)
            (inner / LOCK).unlink(missing_ok=True)
            _remove_empty(inner)
    for block in sorted((path / "checkpoints").glob("*")):
        if (BLOCK.fullmatch(block.name) or block.name == DAMAGED) and block.is_dir() and not block.is_symlink():
            for save in sorted(block.iterdir()):
                _clear_save(save)
            _remove_empty(block)
    for name in FOLDERS:
        _remove_empty(path / name)
    (path / MARKER).unlink()


def _clear_save(save: Path) -> None:
    """Deletes what Orbax wrote of a save; what its list of files doesn't name is somebody's own, and stays."""
    try:
        known = set(json.loads((save / SUMS).read_text())) | {SUMS}
    except (OSError, ValueError):
        if TEMPORARY in save.name:  # of a save that was cut off
            shutil.rmtree(save)
        return
    for file in sorted(save.rglob("*"), reverse=True):
        if file.is_dir() and not file.is_symlink():
            _remove_empty(file)
        elif file.relative_to(save).as_posix() in known:
            file.unlink()
    _remove_empty(save)


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it isn't there, or holds something of the user's
        folder.rmdir()
