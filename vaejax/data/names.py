"""The part of a source's name that changes its images, or how its factors are distributed.

    sprites+correlated:x,y,0.2                     two factors and sigma; see `vaejax.data.correlated`
    sprites+excluding:shape=2,x=16-31              all of these together; see `vaejax.data.excluding`
    shapes3d+excluding:floor_hue=0/5-7             0, 5, 6 and 7
    sprites+excluding:shape=2+excluding:scale=0+correlated:x,y,0.4
    mnist+binarized                                any images; see `vaejax.data.binarized`

Parts may follow one another in any order. Factors are named by their names or numbers, values by their numbers.
"""

import os
import re

from vaejax.data.binarized import binarized
from vaejax.data.correlated import correlated
from vaejax.data.excluding import Where, excluding
from vaejax.data.joint import full_grid
from vaejax.data.paths import shown
from vaejax.data.records import RENDERED, known
from vaejax.data.source import Factors, Source
from vaejax.errors import InputError, choose, shortened

HOW = {
    "binarized": "write +binarized, and once only",
    "correlated": "write +correlated:FACTOR,FACTOR,SIGMA, for example +correlated:x,y,0.2",
    "excluding": "write +excluding:FACTOR=VALUES,..., for example +excluding:shape=2,x=16-31",
}
PART = re.compile(r"\+(?=[a-z_]+(?:[:+]|$))")
RUN = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")  # a value, or the first and the last of several
Pair = tuple[str | int, str | int, float]


def split_name(name: str) -> tuple[str, dict[str, str], list[str]]:
    """The name of a source, its options, and what is to be changed of it.

    A `+` may also belong to a path, or to another's name.

    Raises:
      InputError: the name is no text, or an option can't be read or is there twice.
    """
    if not isinstance(name, str):
        hint = f"; for a file write npz:{shown(name)}" if isinstance(name, os.PathLike) else ", such as sprites"
        raise InputError(f"a source is loaded by its name{hint}; not by {shortened(name)}")
    first, *parts = PART.split(name)
    record = known(first)
    takes = {} if record is None else record.options
    if first not in RENDERED and not any(part.partition(":")[0] in {*HOW, *takes} for part in parts):
        return name, {}, []
    options: dict[str, str] = {}
    for part in parts:
        kind, _, text = part.partition(":")
        if kind in takes:
            if not text or kind in options:
                raise InputError(f"+{shown(part)} can't be read; write it once, as {takes[kind]}")
            options[kind] = text
    changes = [part for part in parts if part.partition(":")[0] not in takes]
    for part in changes if takes else ():  # others are told by `changed`
        choose({**HOW, **takes}, part.partition(":")[0], "change of a source")
    return first, options, changes


def changed(source: Source, parts: list[str], split: str) -> Source:
    """The source after the changes; what `excluding` removes is the test split.

    Raises:
      InputError: a change that can't be read, or that the source can't take.
    """
    pairs, where, draws = [], [], 0
    for part in parts:
        kind, colon, text = part.partition(":")
        choose(HOW, kind, "change of a source")
        if kind == "excluding":
            where.append(_where(part, text))
        elif kind == "correlated":
            pairs.append(_pair(part, text))
        else:
            draws += 1
            if colon or draws > 1:
                raise unreadable(part, kind)
    if where or pairs:
        source = _redistributed(source, where, pairs, split)
    return binarized(source) if draws else source


def unreadable(part: str, kind: str) -> InputError:
    """The error for a change of a known kind that isn't written as it has to be."""
    return InputError(f"+{shown(part)} can't be read; {HOW[kind]}")


def _redistributed(source: Source, where: list[Where], pairs: list[Pair], split: str) -> Factors:
    """The source with some combinations removed and some factors correlated.

    Raises:
      InputError: it is no full grid of factors, or can't take a change.
    """
    grid = full_grid(source)
    grid = excluding(grid, *where, split=split) if where else grid
    for first, second, sigma in pairs:
        grid = correlated(grid, (first, second), sigma)
    return grid


def _pair(part: str, text: str) -> Pair:
    """`x,y,0.2`.

    Raises:
      InputError: it isn't two factors and a number.
    """
    try:
        first, second, sigma = text.split(",")
        return _factor(first), _factor(second), float(sigma)
    except ValueError as error:
        raise unreadable(part, "correlated") from error


def _where(part: str, text: str) -> Where:
    """`shape=2,x=16-31`.

    Raises:
      InputError: it isn't factors with whole numbers, or a factor is there twice.
    """
    where: dict[str | int, list[int]] = {}
    for item in text.split(","):
        factor, _, values = item.partition("=")
        runs = [RUN.fullmatch(run) for run in values.split("/")]
        if not factor or _factor(factor) in where or not all(runs):
            raise unreadable(part, "excluding")
        spans = [range(int(run[1]), int(run[2] or run[1]) + 1) for run in runs if run]
        where[_factor(factor)] = [value for span in spans for value in span]
    return where


def _factor(text: str) -> str | int:
    """A factor's number where it is one, else its name."""
    return int(text) if text.isdigit() else text
