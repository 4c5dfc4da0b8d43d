"""What can be known to be wrong before a script writes anything: its config, and what it is about to train."""

import contextlib
import dataclasses
import math
import numbers
import os
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.data import Source, Streamed, example
from vaejax.data.source import stored_labels
from vaejax.distributions.conditions import check_classes
from vaejax.errors import InputError, choose, shortened
from vaejax.method import Batch, Method
from vaejax.training.sweep import check_shapes

Config = TypeVar("Config")
MOST_RUNS = 1_000_000
TRACED = 3  # images: of one alone, shapes that don't meet are broadcast
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


def check_training(
    method: Method, train: Source | Streamed, test: Source | Streamed, runs: int, batch_size: int, *, chunk: int | None
) -> None:
    """All that `fit` and `measure` ask for, before anything is written; nothing is computed.

    Raises:
      InputError: images of another shape than the method's, or of another in the test split; labels that are none of
        its classes, or missing; a network that it can't use; more than the memory of this machine.
    """
    if train.shape != test.shape:
        raise InputError(f"images of {train.name} are {train.shape}, but those of its test split {test.shape}")
    images = " x ".join(map(str, train.shape))
    with one_line(f"this method can't be trained with this network and these options on images of {images}"):
        for source in (train, test):
            check_shapes(method, example(source))
            if not isinstance(source, Streamed):
                check_classes(method, stored_labels(source.data))
        parameters = _traced(method, example(train))
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(parameters))
    check_memory(f"{runs} runs of {held / 4:,.0f} parameters", held * max(runs, chunk or 1))
    check_memory(f"{batch_size} images of {images}", 4 * batch_size * math.prod(train.shape))


def _traced(method: Method, one: Batch) -> Any:
    """The shapes of the method's parameters, after its loss was traced on a few images."""

    def loss(key, hyper, batch):
        params = method.init(key, batch)
        method.loss(params, hyper, batch, key, jnp.zeros((), jnp.int32))
        return params

    few = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((TRACED, *leaf.shape[1:]), leaf.dtype), one)
    hyper = jax.tree.map(jnp.float32, method.hyper)
    return jax.eval_shape(loss, jax.random.key(0), hyper, few)


def check_memory(what: str, needed: int) -> None:
    """Whether what has to be held at once is less than the memory of this machine, where that is known.

    Raises:
      InputError: it isn't.
    """
    if not hasattr(os, "sysconf"):
        return
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise InputError(f"{what} take {needed / 1e9:,.1f} GB, and this machine has {there / 1e9:,.1f}; give fewer")
