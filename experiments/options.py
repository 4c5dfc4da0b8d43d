"""NAME=VALUE on a command line: options of a method's constructor, and values of its hyperparameters."""

import ast
from typing import Any

from experiments import checks
from vaejax.errors import InputError

OWN = ("method", "shape", "network", "latents", "width", "likelihood")  # what `build` is given beside the options


def options(items: tuple[str, ...]) -> dict[str, Any]:
    """What a method's constructor takes.

    Raises:
      InputError: one isn't of this form, is there twice, or has an argument of its own.
    """
    found = {name: option(value) for name, value in pairs(items, "options").items()}
    for name in set(found) & set(OWN):
        raise InputError(f"--options can't have {name}, which is an argument of its own: --{name}")
    return found


def hyper(items: tuple[str, ...]) -> dict[str, list[float]]:
    """Hyperparameters and their values.

    Raises:
      InputError: one isn't of this form, is there twice, or isn't a number.
    """
    return {name: numbers(name, value) for name, value in pairs(items, "hyper").items()}


def pairs(items: tuple[str, ...], what: str) -> dict[str, str]:
    """NAME=VALUE ... as a dictionary.

    Raises:
      InputError: one isn't of this form, or a name is there twice.
    """
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (name and equals and value) or name in found:
            raise InputError(f"--{what} takes NAME=VALUE once for every name, not {item!r}")
        found[name] = value
    return found


def option(text: str) -> Any:
    """An option's value: a number, several (8,5,5), a truth value, or the text itself."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    value = tuple(value) if isinstance(value, list) else value
    plain = value if isinstance(value, tuple) else (value,)
    return value if all(isinstance(part, bool | int | float | str) for part in plain) else text


def numbers(name: str, text: str) -> list[float]:
    """The values of a hyperparameter.

    Raises:
      InputError: they aren't numbers, or one is there twice.
    """
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError as error:
        raise InputError(f"--hyper {name} takes numbers, as in {name}=1,4,16, not {text!r}") from error
    checks.check_distinct("value", values, f"--hyper {name}: ")
    return values
