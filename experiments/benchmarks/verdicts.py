"""What is the verdict on a sweep that something was done to? Compared are all bits of its parameters and history."""

import hashlib
import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from vaejax.errors import InputError
from vaejax.storage.run import load_run

SURVIVED, DETECTED, UNCLEAR, LOST, WRONG = VERDICTS = ("survived", "detected", "unclear", "lost", "silently wrong")
SKIPPED = "skipped"
ONE = Lock()  # what is printed belongs to one call at a time
PASSING = ("orbax-checkpoint-tmp", ".part", "lock", "owner")  # in the names of drafts, and of who holds a folder


class Found(NamedTuple):
    """A verdict, and its reason."""

    verdict: str
    why: str = ""


class Seen(NamedTuple):
    """What a call gave: a digest or an error, and the lines about the folder that it said on the way."""

    given: str | None
    error: Exception | None
    lines: list[str]


class Ended(NamedTuple):
    """How a process ended: its exit code, negative if by a signal, None if it had to be killed; its stderr."""

    code: int | None
    err: str

    @property
    def last(self) -> str:
        """The last line of stderr."""
        return next((line.strip() for line in reversed(re.split(r"[\r\n]", self.err)) if line.strip()), "")


def worst(*found: Found) -> Found:
    """The worst of some verdicts, with its reason."""
    return max(found, key=lambda each: VERDICTS.index(each.verdict))


def verdict(seen: Seen, expected: str, changed: Sequence[str] = (), again: bool = False, older: bool = False) -> Found:
    """Of a call.

    Args:
      seen: what it gave.
      expected: the digest that it has to give.
      changed: files that are no longer what they were.
      again: whether it trained again what had been saved, which has to be said in a line.
      older: whether a line excuses other numbers: those of the checkpoint before.
    """
    if isinstance(seen.error, InputError):
        said = str(seen.error)
        if changed:
            return Found(LOST, f"{', '.join(changed[:3])} changed or gone, after: {said}")
        return Found(DETECTED if "\n" not in said and len(said) <= 500 else UNCLEAR, said)
    if seen.error is not None:
        return Found(UNCLEAR, f"{type(seen.error).__name__}: {' '.join(str(seen.error).split())[:200]}")
    if again and not seen.lines:
        return Found(LOST, "trained again, and no line says so")
    if seen.given != expected and not (older and seen.lines):
        return Found(WRONG, "other numbers, and no line says so")
    return Found(SURVIVED, " ".join(seen.lines))


def exits(ended: Ended, code: int) -> Found:
    """Whether a process ended as promised: with this code, without a traceback, and with one line if the code is 2."""
    traced = "Traceback" in ended.err
    if traced or ended.code != code or (code == 2 and not ended.last.startswith("error: ")):
        how = "it didn't end" if ended.code is None else f"exit code {ended.code}"
        return Found(UNCLEAR, f"{how}{', a traceback' * traced}: {ended.last[:400]}")
    return Found(SURVIVED, ended.last)


def digest(*trees: Any) -> str:
    """Of every bit of every leaf, and of the text of a table."""
    content = hashlib.sha256()
    for leaf in jax.tree.leaves(trees):
        array = np.asarray(leaf.to_csv() if isinstance(leaf, pd.DataFrame) else leaf)
        content.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return content.hexdigest()


def of_run(path: Path) -> str:
    """Digest of what `load_run` gives, but for who started it and when."""
    run = load_run(path)
    config = {name: value for name, value in run.config.items() if name not in ("command", "versions", "date")}
    return digest(run.params, run.history, run.table, run.results, json.dumps(config, sort_keys=True))


def saved(path: Path) -> int:
    """The run-steps that a folder holds, by its history."""
    history = path / "history.csv"
    return int(pd.read_csv(history).groupby("run")["step"].max().sum()) if history.exists() else 0


def everything(path: Path) -> list[Path]:
    """What is below a folder, which may change meanwhile."""
    return [Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files)]


def whole(path: Path) -> dict[str, bytes]:
    """The content of every file but drafts."""
    files = {str(file.relative_to(path)): file for file in everything(path) if file.is_file()}
    return {name: file.read_bytes() for name, file in files.items() if not any(part in name for part in PASSING)}


def watch(path: Path, call: Callable[[], str]) -> Seen:
    """Calls, and keeps what is printed, logged or warned of about this folder or its checkpoints."""
    lines, printed, given, error = [], StringIO(), None, None
    handler, logger = logging.Handler(logging.WARNING), logging.getLogger("vaejax")
    handler.emit = lambda record: lines.append(record.getMessage())
    with ONE, redirect_stdout(printed), redirect_stderr(printed), warnings.catch_warnings(record=True) as warned:
        logger.addHandler(handler)
        logger.propagate = False
        try:
            given = call()
        except Exception as raised:  # of any kind: it is judged
            error = raised
        finally:
            logger.propagate = True
            logger.removeHandler(handler)
    lines += [*printed.getvalue().splitlines(), *(str(warning.message) for warning in warned)]
    return Seen(given, error, [line for line in lines if "checkpoint" in line or str(path) in line])


def changed_by(path: Path, call: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What the call gives, and the files whose content is nowhere in the folder any more."""
    before = whole(path)
    given, after = call(), set(whole(path).values())
    return given, [name for name, content in before.items() if content not in after]
