"""What a sweep's folder holds as text: its settings and tables, whole and as they were written."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaejax.errors import InputError
from vaejax.storage.disk import check_characters, replace
from vaejax.storage.marker import AGAIN, check_whole, enter

if TYPE_CHECKING:
    import pandas as pd


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
        raise InputError(f"{file} can't be read ({' '.join(str(error).split())[:200]}); {AGAIN}") from error
    for name in needed:
        if name not in table:
            raise InputError(f"{file} has no column {name!r}; {AGAIN}")
    return table


def write_text(path: Path, text: str) -> None:
    """Replaces the file whole, or leaves it as it was, and enters its checksum into the sweep's marker.

    Raises:
      InputError: it can't be written (no space, no permission, no such path).
    """
    check_characters(path)
    enter(path, text.encode("utf-8", errors="replace"), keep=1)
    replace(path, text)


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """`write_text` of a table as CSV."""
    write_text(path, table.to_csv(index=False))
