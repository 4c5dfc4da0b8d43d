"""The folder of a sweep, `runs/NAME/`: claimed once, never deleted silently, every file replaced whole."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaejax.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def claim(path: Path, config: dict[str, Any], *, overwrite: bool = False) -> bool:
    """Makes the folder and writes `config.json`; True if it holds an unfinished sweep of the same config to continue.

    A sweep is finished when `report.html` is there. `overwrite` deletes what an earlier sweep left in the folder.

    Raises:
      InputError: the folder is in use by something else, or can't be written.
    """
    found = read_config(path) if (path / "config.json").exists() else None
    config = json.loads(json.dumps(config))  # as it will be read back: lists for tuples
    if overwrite and found is not None:
        attempt(path, lambda: shutil.rmtree(path))
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        if found is not None and not (path / "report.html").exists() and _identity(found) == _identity(config):
            return True
        kind = "holds another sweep" if found is not None else "exists and is not a sweep's folder"
        hint = "--overwrite to replace it, or " if found is not None else ""
        raise InputError(f"{path} {kind}; give {hint}another --name")
    attempt(path, lambda: path.mkdir(parents=True, exist_ok=True))
    write_text(path / "config.json", json.dumps(config, indent=2) + "\n")
    return False


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in ("command", "versions", "date")}


def read_config(path: Path) -> dict[str, Any]:
    """`config.json` of a sweep's folder.

    Raises:
      InputError: it is missing or is not JSON.
    """
    try:
        return json.loads((path / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not the folder of a sweep: config.json can't be read ({error})") from error


def write_text(path: Path, text: str) -> None:
    """Replaces the file whole, or leaves it as it was.

    Raises:
      InputError: it can't be written (no space, no permission).
    """
    draft = path.with_name(path.name + ".part")
    try:
        attempt(path, lambda: (draft.write_text(text, encoding="utf-8", errors="replace"), os.replace(draft, path)))
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
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path} can't be written ({reason}); free some space or choose another folder") from error
