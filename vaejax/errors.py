"""What a user is told when the input is wrong: one line that says what, and what to do."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")


class InputError(ValueError):
    """Something the user gave can't be used. The message is one clear line; a script prints it and exits with 2."""


def choose(table: Mapping[str, Value], name: str, what: str) -> Value:
    """`table[name]`, or an InputError that names the nearest entry and the choices.

    Raises:
      InputError: `name` is not in `table`.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise InputError(f"unknown {what} {name!r}{hint} choose one of: {', '.join(sorted(table))}")


def check_sizes(**sizes: int | None) -> None:
    """Every size has to be at least 1 (or None: not given).

    Raises:
      InputError: the first that is not.
    """
    for name, value in sizes.items():
        if value is not None and value < 1:
            raise InputError(f"{name} has to be at least 1, not {value}")
