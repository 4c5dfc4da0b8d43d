"""What a user is told when the input is wrong: one line that says what, and what to do."""

import contextlib
import difflib
import math
import numbers
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

Value = TypeVar("Value")
LARGEST = 2**31 - 1  # of what is counted: JAX's whole numbers have 32 bits


class InputError(ValueError):
    """Something the user gave can't be used. The message is one clear line; a script prints it and exits with 2."""


def choose(table: Mapping[str, Value], name: str, what: str, shown: Callable[[str], str] = str) -> Value:
    """`table[name]`, or an InputError that names the nearest entry and the choices, each as it is `shown`.

    Raises:
      InputError: `name` is not in `table`.
    """
    if not isinstance(name, str):
        raise InputError(f"{what} has to be a name, not {shortened(name)}; choose one of: {_listed(table, shown)}")
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise InputError(f"unknown {what} {name[:60]!r}{hint} choose one of: {_listed(table, shown)}")


def _listed(table: Mapping[str, Value], shown: Callable[[str], str], most: int = 260) -> str:
    """The names in order, as far as a line has room for them."""
    text = ", ".join(map(shown, sorted(table)))
    return text if len(text) <= most else f"{text[: text.rindex(', ', 0, most)]}, ... ({len(table)} in all)"


def check_sizes(least: int = 1, **sizes: int | None) -> None:
    """Every size has to be a whole number that is at least this (or None: not given); NumPy's whole numbers are, too.

    Raises:
      InputError: the first that is not.
    """
    for name, value in sizes.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise InputError(f"{name} has to be a whole number, not {shortened(value)}")
        if not least <= value <= LARGEST:
            bound = f"at least {least}" if value < least else f"at most {LARGEST:,}"
            raise InputError(f"{name} has to be {bound}, not {shortened(value)}")


def check_memory(what: str, needed: float, advice: str = "give fewer") -> None:
    """Nothing, where so many bytes, which have to be held at once, are less than the memory of this machine.

    Raises:
      InputError: they aren't.
    """
    if exceeds_memory(needed):
        raise InputError(f"{what} take {needed / 1e9:,.1f} GB, and this machine has {_memory() / 1e9:,.1f}; {advice}")


def exceeds_memory(needed: float) -> bool:
    """Whether so many bytes are more than the memory of this machine."""
    return needed > _memory()


def _memory() -> float:
    """Bytes, infinite where it isn't known."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf


def plain(value: Any) -> Any:
    """NumPy's and JAX's numbers and truth values, also as arrays without axes, as Python's; anything else as it is."""
    alone = getattr(value, "ndim", None) == 0 and hasattr(value, "item") and not is_masked(value)
    return value.item() if alone else value


def is_masked(values: Any) -> bool:
    """Whether an array, or one in lists of them, has masked values, which NumPy and JAX would take for numbers."""
    if isinstance(values, list | tuple):
        return any(map(is_masked, values))
    return isinstance(values, np.ma.MaskedArray) and bool(np.ma.is_masked(values))


def shortened(value: object, most: int = 60) -> str:
    """The value as Python writes it, on one line and not longer than this, with the type of what is no number."""
    text = " ".join(repr(value).split())
    text = text if len(text) <= most else f"{text[: most - 3]}..."
    return text if isinstance(value, numbers.Number) else f"{text} ({type(value).__name__})"


@contextlib.contextmanager
def one_line(what: str) -> Iterator[None]:
    """What Python and JAX raise inside of sizes and types that don't meet becomes one line.

    Raises:
      InputError: that they don't.
    """
    try:
        yield
    except InputError:
        raise
    except (TypeError, ValueError, ArithmeticError, AttributeError, IndexError, AssertionError) as error:
        cause = " ".join(str(error).split("\n")[0].split())[:150]
        raise InputError(f"{what} ({type(error).__name__}: {cause})") from error
