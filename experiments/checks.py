"""What a script asks of its config before anything else: every field of its type, and numbers of runs that can be."""

import dataclasses
import math
import numbers
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from vaejax.errors import LARGEST, InputError, choose, shortened

Config = TypeVar("Config")
MOST_RUNS = 1_000_000
NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "True or False", Path: "a path"}


def checked(config: Config, kind: type[Config]) -> Config:
    """The config with every field of its type: lists as tuples, NumPy's numbers as Python's, paths as Path.

    Raises:
      InputError: it is another kind's, or a field can't be of its type.
    """
    if not isinstance(config, kind):
        raise InputError(f"this takes a {kind.__module__}.Config, not {shortened(config)}")
    fields = {name: field(name, getattr(config, name), hint) for name, hint in get_type_hints(kind).items()}
    return dataclasses.replace(config, **fields)  # pyright: ignore[reportArgumentType, reportReturnType]


def field(name: str, value: Any, hint: Any) -> Any:
    """The value as what the hint asks for.

    Raises:
      InputError: it isn't.
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return None
    kind = kinds[0]
    if get_origin(kind) is Literal:
        return choose(dict(zip(get_args(kind), get_args(kind), strict=True)), value, name)  # pyright: ignore[reportArgumentType]
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple | list | np.ndarray):
            raise InputError(f"{name} takes several values in a tuple, not {shortened(value)}")
        return tuple(field(f"each of {name}", item, get_args(kind)[0]) for item in value)
    value = value.item() if isinstance(value, np.generic) else value
    value = Path(value) if kind is Path and isinstance(value, str) else value
    wanted = {int: numbers.Integral, float: numbers.Real}.get(kind, kind)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{name} has to be {NAMES[kind]}, not {shortened(value)}")
    if isinstance(value, str | Path) and not str(value).isprintable():
        raise InputError(f"{name} has a character that can't be printed: {shortened(str(value))}")
    return value


def check_seconds(save_every: float) -> None:
    """Seconds between checkpoints.

    Raises:
      InputError: they are negative, or no number.
    """
    if not (math.isfinite(save_every) and save_every >= 0):
        raise InputError(f"save_every has to be a number of seconds, 0 or more, not {shortened(save_every)}")


def check_prior(steps: int) -> None:
    """Steps of a prior over codes; 0 for none.

    Raises:
      InputError: they are negative, or too many.
    """
    if not 0 <= steps <= LARGEST:
        raise InputError(f"--prior-steps has to be 0 (for none) or more, up to {LARGEST:,}, not {steps}")


def check_sweep(name: str, values: Sequence[float], seeds: int, save_every: float) -> None:
    """A sweep over the values of one hyperparameter.

    Raises:
      InputError: no value, one twice, no seed, too many runs, or no number of seconds between checkpoints.
    """
    if seeds < 1 or not values:
        raise InputError(f"a sweep needs at least one {name} and one seed, not {len(values)} and {seeds}")
    check_count(seeds, len(values))
    check_distinct(name, values)
    check_seconds(save_every)


def seeds_from(first: int, count: int) -> list[int]:
    """So many seeds, from the first on.

    Raises:
      InputError: one of them is negative or larger than a seed can be.
    """
    if not 0 <= first <= LARGEST - count:
        raise InputError(f"--first-seed has to be from 0 to {LARGEST - count:,} with {count} seeds, not {first}")
    return list(range(first, first + count))


def check_distinct(what: str, values: Sequence[float], where: str = "") -> None:
    """Every value once, as float32, in which models compute.

    Raises:
      InputError: two are equal.
    """
    with np.errstate(over="ignore"):  # what is too large is refused by `grid`
        found = np.asarray(values, np.float32)
    if np.unique(found).size < found.size:
        shown = ", ".join(map(str, values))
        raise InputError(f"{where}every {what} once, please, also as float32: {shown}; to repeat a run, raise --seeds")


def check_count(seeds: int, settings: int) -> None:
    """The number of runs, before they are laid out.

    Raises:
      InputError: none, or more than can be.
    """
    if seeds < 1 or settings < 1:
        raise InputError(f"a sweep needs at least one seed and one value, not {seeds} seeds and {settings} settings")
    if seeds * settings > MOST_RUNS:
        raise InputError(f"{seeds} seeds and {settings} settings are more than {MOST_RUNS:,} runs; give fewer --seeds")
