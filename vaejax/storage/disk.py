"""Files that are replaced whole or not at all, and one line where the disk says no."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import Timeout

from vaejax.errors import InputError


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
        raise InputError(f"{shown(path)} can't be written ({reason}); {what} another folder") from error


def replace(path: Path, text: str) -> None:
    """Writes the file beside its place and moves it there.

    Raises:
      InputError: it can't be written.
    """
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


def check_characters(path: Path) -> None:
    """Nothing, where the system can have such a path.

    Raises:
      InputError: there is a NUL in it.
    """
    if "\0" in str(path):
        raise InputError(f"{shown(path)} has a NUL in it, which no path can have; give another")


def shown(path: Path) -> str:
    """The path in a line: not too long, and no character that isn't one."""
    text = str(path)
    if text.isprintable() and len(text) <= 200:
        return text
    return repr(text) if len(text) <= 200 else f"{text[:97]!r}...{text[-97:]!r}"
