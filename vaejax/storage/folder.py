"""The folder of a sweep, `runs/NAME/`: who trains in it, what we wrote there, and every file replaced whole.

A marker, `.vaejax.json`, makes a folder a sweep's. It has the SHA-256 of every file that was written here, so that one
that was cut or changed is not taken for what it was, and `--overwrite` deletes nothing else.
"""

import contextlib
import datetime
import errno
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from vaejax.errors import InputError, shortened

if TYPE_CHECKING:
    import pandas as pd

MARKER, LOCK, OWNER = ".vaejax.json", ".lock", ".owner.json"
FORMAT = 1  # of the folder; raised where an older vaejax could not read what is written
FILES = ("config.json", "runs.csv", "history.csv", "results.csv", "report.html")
FOLDERS = ("checkpoints", "figures", "groups", "code_prior")
BLOCK = re.compile(r"\d+-\d+-\d+")  # a folder of checkpoints
SUMS = "sha256.json"  # in the folder of a save: the checksum of every other file
TEMPORARY = "orbax-checkpoint-tmp"  # in the name of a save that isn't whole
DAMAGED = "damaged"  # where those that can't be used are put
WORDS = {  # for what is only a checksum
    "runs": "its hyperparameters or seeds are others",
    "program": "its program is another: method, network, likelihood or options, or the version of jax or vaejax",
    "data": "its data are others",
}
UNBINDING = ("command", "question", "traced")  # of a config: another makes no other sweep
ANOTHER = "give another --name (or path), or --overwrite (overwrite=True) to replace it"
DEPTH = 3  # how far below its marker a file may lie


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


def difference(there: dict[str, Any], here: dict[str, Any], words: Mapping[str, str] | None = None) -> str:
    """The first setting in which two sweeps differ, in words; `words` of those whose values say nothing."""
    for name in (*there, *here):
        old, new = there.get(name), here.get(name)
        if old != new and name in (words or {}):
            return (words or {})[name]
        if isinstance(old, dict) and isinstance(new, dict) and old != new:
            return f"{name}: {difference(old, new)}"
        if old != new:
            return f"{name} is {_plain(old)} there, {_plain(new)} here"
    return "the same settings"


def _plain(value: Any) -> str:
    return shortened(value).removesuffix(f" ({type(value).__name__})")


def check_free(path: Path) -> None:
    """Nothing of ours is in the way of what a sweep writes.

    Raises:
      InputError: the path is a file or can't be looked at, or a file lies where a folder is to be, or the reverse.
    """
    check_characters(path)
    try:
        there = path.exists()
        if not there and path.is_symlink():
            raise InputError(f"{_shown(path)} is a link to what isn't there ({os.readlink(path)}); remove it")
        wrong = there and not path.is_dir()
        files = [name for name in FILES if there and (path / name).is_dir()]
        folders = [name for name in FOLDERS if there and (path / name).is_file()]
        if there and not wrong:
            next(path.iterdir(), None)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{_shown(path)} can't be a folder ({reason}); choose another") from error
    if wrong:
        raise InputError(f"{path} is a file; a sweep needs a folder: choose another")
    for name in (*files, *folders):
        found, needed = ("folder", "file") if name in files else ("file", "folder")
        raise InputError(f"{path / name} is a {found}, but a sweep's is a {needed}; remove it or choose another folder")


def check_characters(path: Path) -> None:
    """Nothing, where the system can have such a path.

    Raises:
      InputError: there is a NUL in it.
    """
    if "\0" in str(path):
        raise InputError(f"{_shown(path)} has a NUL in it, which no path can have; give another")


def _shown(path: Path) -> str:
    """The path in a line: not too long, and no character that isn't one."""
    text = str(path)
    if text.isprintable() and len(text) <= 200:
        return text
    return repr(text) if len(text) <= 200 else f"{text[:97]!r}...{text[-97:]!r}"


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Nobody else trains in this folder meanwhile; the same process may hold it more than once.

    Raises:
      InputError: somebody does, or the folder can't be written.
    """
    check_free(path)
    attempt(path, lambda: path.mkdir(parents=True, exist_ok=True))
    lock = FileLock(path / LOCK, is_singleton=True)
    owner = path / OWNER
    try:
        attempt(path, lambda: lock.acquire(timeout=0))
    except Timeout:
        raise InputError(f"{path} is in use by {_owner(owner)}; wait for it, or choose another folder") from None
    try:
        if lock.lock_counter == 1:
            since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
            text = json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since})
            attempt(path, lambda: owner.write_text(text))
        yield
    finally:
        if lock.lock_counter == 1:
            with contextlib.suppress(OSError):  # of a disk that can't be written any more, which has been said
                owner.unlink(missing_ok=True)
        lock.release()


def _owner(file: Path) -> str:
    try:
        about = json.loads(file.read_text())
        return f"process {about['process']} on {about['host']} since {about['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # not written yet
        return "another process"


# --- the marker ------------------------------------------------------------------------------------------------------


def is_marked(path: Path) -> bool:
    """Whether a sweep of ours made this folder."""
    return (path / MARKER).is_file()


def mark(path: Path) -> None:
    """Makes it the folder of a sweep, if it isn't one."""
    if not is_marked(path):
        _write_marker(path, {"format": FORMAT, "vaejax": version("vaejax"), "sweep": {}, "files": {}})


def identity(path: Path) -> dict[str, Any]:
    """What determines the sweep that is trained in this folder; empty if that hasn't begun."""
    return _read_marker(path)["sweep"] if is_marked(path) else {}


def identify(path: Path, sweep: dict[str, Any]) -> None:
    """Writes down what determines the sweep that is trained here, or sees that it is this one.

    Raises:
      InputError: it is another, or the folder can't be written.
    """
    mark(path)
    about = _read_marker(path)
    if about["sweep"] and about["sweep"] != sweep:
        how = difference(about["sweep"], sweep, WORDS)
        raise InputError(
            f"{path} holds another sweep ({how}); continue with the same settings or choose another folder"
        )
    if not about["sweep"]:
        _write_marker(path, {**about, "sweep": sweep})


def _read_marker(path: Path) -> dict[str, Any]:
    """What the marker says.

    Raises:
      InputError: it can't be read, is damaged, or of a later format.
    """
    try:
        found = json.loads((path / MARKER).read_text())
        content = found["content"]
        whole = found["sha256"] == checksum(content)
        whole = whole and isinstance(content, dict) and {"format", "sweep", "files"} <= set(content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path / MARKER} can't be read ({error}); {_COPY}") from error
    if not whole:
        raise InputError(f"{path / MARKER} is damaged: its checksum is another; {_COPY}")
    if content["format"] > FORMAT:
        raise InputError(f"{path} was written by vaejax {content['vaejax']}, which is newer than this; update vaejax")
    return content


_COPY = "put it back from a copy, or delete it to open the folder without its checks"


def _write_marker(path: Path, content: dict[str, Any]) -> None:
    _replace(path / MARKER, json.dumps({"content": content, "sha256": checksum(content)}, indent=1) + "\n")


def checksum(content: Any) -> str:
    """Of anything that JSON can hold, whatever the order of its names."""
    return sha256(json.dumps(content, sort_keys=True).encode())


def sha256(content: bytes | memoryview) -> str:
    """The checksum, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def record(*files: Path) -> None:
    """Enters files that were written otherwise, such as pictures, into the marker above them."""
    for file in files:
        _record(file, file.read_bytes(), keep=0)


def _record(file: Path, content: bytes, keep: int) -> None:
    """Enters what a file holds, or is about to; `keep` of its earlier checksums stay valid.

    A process may end between this and the writing of the file, which is then still the one before.
    """
    root = _root(file)
    if root is None:
        return
    about = _read_marker(root)
    name = file.relative_to(root).as_posix()
    before = about["files"].get(name, [])
    about["files"][name] = [*before[len(before) - keep :], sha256(content)]
    _write_marker(root, about)


def _root(file: Path) -> Path | None:
    """The folder of the sweep that this file belongs to."""
    return next((folder for folder in list(file.parents)[:DEPTH] if is_marked(folder)), None)


def is_recorded(file: Path) -> bool:
    """Whether a marker names this file."""
    return bool(_known(file))


def _known(file: Path) -> list[str]:
    """The checksums that the file may have; none where no marker names it."""
    root = _root(file)
    return [] if root is None else _read_marker(root)["files"].get(file.relative_to(root).as_posix(), [])


def check_whole(file: Path) -> None:
    """The file is what was last written there; nothing is known where no marker names it.

    Raises:
      InputError: it was cut, changed or removed since.
    """
    known = _known(file)
    if not known:
        return
    try:
        found = sha256(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file} can't be read ({error.strerror}); {_COPY_OF_TABLE}") from error
    if found not in known:
        raise InputError(f"{file} was cut or changed since it was written; {_COPY_OF_TABLE}")


_COPY_OF_TABLE = "put it back from a copy, or train again with --overwrite"


def _clear(path: Path) -> None:
    """Deletes what sweeps wrote here, and the folders of theirs that are empty then."""
    for name in _read_marker(path)["files"]:
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


# --- files -----------------------------------------------------------------------------------------------------------


def read_config(path: Path) -> dict[str, Any]:
    """`config.json` of a sweep's folder.

    Raises:
      InputError: it is missing, is not JSON, or was changed.
    """
    file = path / "config.json"
    try:
        text = file.read_text()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} is not the folder of a sweep: config.json can't be read ({reason})") from error
    check_whole(file)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not the folder of a sweep: config.json can't be read ({error})") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} is not the folder of a sweep: config.json holds {type(config).__name__}, no settings")
    return config


def read_table(file: Path, needed: tuple[str, ...] = ()) -> "pd.DataFrame":
    """A CSV file of a sweep, with at least these columns.

    Raises:
      InputError: it is missing, cut, changed, or no table with these columns.
    """
    import pandas as pd

    check_whole(file)
    try:
        table = pd.read_csv(file)
    except FileNotFoundError as error:
        raise InputError(f"{file} is missing; was the sweep stopped before its first save?") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file} can't be read ({' '.join(str(error).split())[:200]}); {_COPY_OF_TABLE}") from error
    for name in needed:
        if name not in table:
            raise InputError(f"{file} has no column {name!r}; {_COPY_OF_TABLE}")
    return table


def write_text(path: Path, text: str) -> None:
    """Replaces the file whole, or leaves it as it was, and enters its checksum into the sweep's marker.

    Raises:
      InputError: it can't be written (no space, no permission, no such path).
    """
    check_characters(path)
    _record(path, text.encode("utf-8", errors="replace"), keep=1)
    _replace(path, text)


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".part")

    def write() -> None:
        with open(draft, "wb") as file:
            file.write(text.encode("utf-8", errors="replace"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)

    try:
        attempt(path, write)
    except InputError:
        with contextlib.suppress(OSError):  # the write has failed already, and says why
            draft.unlink()
        raise


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """`write_text` of a table as CSV."""
    write_text(path, table.to_csv(index=False))


def attempt(path: Path, action: Callable[[], Any]) -> None:
    """Runs `action`; an OSError becomes one line about `path`."""
    try:
        action()
    except Timeout:
        raise
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        what = "free some space or choose" if full else "choose"
        raise InputError(f"{_shown(path)} can't be written ({reason}); {what} another folder") from error
