"""Paths as a user gives them, and what a message shows of them: one line, whatever the system makes of a path."""

import os
import stat
from pathlib import Path
from typing import Any

from vaejax.errors import InputError, shortened


def expanded(path: Any, what: str, example: str) -> Path:
    """A path with `~` as the home folder; `what` and `example` are for messages: "file", "npz:images.npz".

    Raises:
      InputError: no text, an empty one, or the home folder of nobody.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(text, str):
        raise InputError(f"the path of a {what} has to be a text, not {shortened(path)}; as in {example}")
    if not text:
        raise InputError(f"no {what} given; put its path behind the colon, as in {example}")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{shown(path)}: no home folder is known for its ~; write the path in full") from error


def regular_file(path: Any, example: str) -> Path:
    """The file at a path, if there is one.

    Raises:
      InputError: there is none, or a folder; the path can't be looked up; and as in `expanded`.
    """
    file = expanded(path, "file", example)
    try:
        mode = file.stat().st_mode
    except FileNotFoundError as error:
        raise InputError(f"{shown(path)}: no such file; check the path") from error
    except (OSError, ValueError) as error:  # too long, a NUL in it, a file for a folder, a folder that is locked
        raise InputError(f"{shown(path)} can't be read ({reason(error)}); check the path") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{shown(path)} is a folder or device; give the path of a file")
    return file


def reason(error: Exception) -> str:
    """Why a file can't be read: what the system says, without the path."""
    return (isinstance(error, OSError) and error.strerror) or one_line(error)


def one_line(error: Exception | str) -> str:
    """What an error says, or else its type, on one line of at most 160 characters."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def shown(text: object, most: int = 120) -> str:
    """A path or a name for a message: on one line, printable, and without its middle where it is longer than this."""
    whole = str(text)
    whole = whole if whole.isprintable() else repr(whole)[1:-1]
    half = (most - 3) // 2
    return whole if len(whole) <= most else f"{whole[:half]}...{whole[-half:]}"
