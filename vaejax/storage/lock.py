"""Nobody else trains in a folder meanwhile, and nothing is in the way of what a sweep writes."""

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from vaejax.errors import InputError
from vaejax.storage.disk import attempt, check_characters, shown

LOCK, OWNER = ".lock", ".owner.json"
FILES = ("config.json", "runs.csv", "history.csv", "results.csv", "report.html")
FOLDERS = ("checkpoints", "figures", "groups", "code_prior")


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


def check_free(path: Path) -> None:
    """Nothing of ours is in the way of what a sweep writes.

    Raises:
      InputError: the path is a file or can't be looked at, or a file lies where a folder is to be, or the reverse.
    """
    check_characters(path)
    try:
        there = path.exists()
        if not there and path.is_symlink():
            raise InputError(f"{shown(path)} is a link to what isn't there ({os.readlink(path)}); remove it")
        wrong = there and not path.is_dir()
        files = [name for name in FILES if there and (path / name).is_dir()]
        folders = [name for name in FOLDERS if there and (path / name).is_file()]
        if there and not wrong:
            next(path.iterdir(), None)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{shown(path)} can't be a folder ({reason}); choose another") from error
    if wrong:
        raise InputError(f"{path} is a file; a sweep needs a folder: choose another")
    for name in (*files, *folders):
        found, needed = ("folder", "file") if name in files else ("file", "folder")
        raise InputError(f"{path / name} is a {found}, but a sweep's is a {needed}; remove it or choose another folder")
