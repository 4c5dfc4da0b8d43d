"""A marker, `.vaejax.json`, makes a folder a sweep's: what determines the sweep, and the SHA-256 of every file of it.

So a file that was cut or changed is not taken for what it was, and `--overwrite` deletes nothing else.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vaejax.errors import InputError, shortened
from vaejax.storage.disk import replace

MARKER = ".vaejax.json"
FORMAT = 1  # of the folder; raised where an older vaejax could not read what is written
DEPTH = 3  # how far below its marker a file may lie
WORDS = {  # for what is only a checksum
    "runs": "its hyperparameters or seeds are others",
    "program": "its program is another: method, network, likelihood or options, or the version of jax or vaejax",
    "data": "its data are others",
}
AGAIN = "put it back from a copy, or train again with --overwrite"
_COPY = "put it back from a copy, or delete it to open the folder without its checks"


def is_marked(path: Path) -> bool:
    """Whether a sweep of ours made this folder."""
    return (path / MARKER).is_file()


def mark(path: Path) -> None:
    """Makes it the folder of a sweep, if it isn't one."""
    if not is_marked(path):
        _write_marker(path, {"format": FORMAT, "vaejax": version("vaejax"), "sweep": {}, "files": {}})


def identity(path: Path) -> dict[str, Any]:
    """What determines the sweep that is trained in this folder; empty if that hasn't begun."""
    return read_marker(path)["sweep"] if is_marked(path) else {}


def identify(path: Path, sweep: dict[str, Any]) -> None:
    """Writes down what determines the sweep that is trained here, or sees that it is this one.

    Raises:
      InputError: it is another, or the folder can't be written.
    """
    mark(path)
    about = read_marker(path)
    if about["sweep"] and about["sweep"] != sweep:
        how = difference(about["sweep"], sweep, WORDS)
        raise InputError(
            f"{path} holds another sweep ({how}); continue with the same settings or choose another folder"
        )
    if not about["sweep"]:
        _write_marker(path, {**about, "sweep": sweep})


def difference(there: dict[str, Any], here: dict[str, Any], words: Mapping[str, str] | None = None) -> str:
    """The first setting in which two sweeps differ, in words; `words` of those whose values say nothing."""
    for name in (*there, *here):
        old, new = there.get(name), here.get(name)
        if old != new and name in (words or {}):
            return (words or {})[name]
        if isinstance(old, dict) and isinstance(new, dict) and old != new:
            return f"{name}: {difference(old, new)}"
        if old != new:
            return f"{name} is {_value(old)} there, {_value(new)} here"
    return "the same settings"


def _value(value: Any) -> str:
    return shortened(value).removesuffix(f" ({type(value).__name__})")


def read_marker(path: Path) -> dict[str, Any]:
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


def _write_marker(path: Path, content: dict[str, Any]) -> None:
    replace(path / MARKER, json.dumps({"content": content, "sha256": checksum(content)}, indent=1) + "\n")


def checksum(content: Any) -> str:
    """Of anything that JSON can hold, whatever the order of its names."""
    return sha256(json.dumps(content, sort_keys=True).encode())


def sha256(content: bytes | memoryview) -> str:
    """The checksum, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def record(*files: Path) -> None:
    """Enters files that were written otherwise, such as pictures, into the marker above them."""
    for file in files:
        enter(file, file.read_bytes(), keep=0)


def enter(file: Path, content: bytes, keep: int) -> None:
    """Enters what a file holds, or is about to; `keep` of its earlier checksums stay valid.

    A process may end between this and the writing of the file, which is then still the one before.
    """
    root = _root(file)
    if root is None:
        return
    about = read_marker(root)
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
    return [] if root is None else read_marker(root)["files"].get(file.relative_to(root).as_posix(), [])


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
        raise InputError(f"{file} can't be read ({error.strerror}); {AGAIN}") from error
    if found not in known:
        raise InputError(f"{file} was cut or changed since it was written; {AGAIN}")
