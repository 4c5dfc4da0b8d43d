"""Which likelihoods the data of a space can have, and which is the default."""

from typing import Any

from vaejax.distributions.basic import LIKELIHOODS, Family
from vaejax.distributions.mixed import COLUMNS, Mixed
from vaejax.distributions.vectors import Categories
from vaejax.errors import InputError, choose
from vaejax.method import Space

DEFAULT = {"unit": "bernoulli", "real": "gaussian_learned", "count": "negative_binomial", "category": "category"}
NUMBERS = ("gaussian", "gaussian_learned", "student_t")
COUNTS = ("poisson", "negative_binomial", "zero_inflated_negative_binomial", "multinomial")
ALLOWED: dict[str, tuple[str, ...]] = {  # the likelihoods of each kind, by name
    "unit": tuple(name for name in LIKELIHOODS if name not in (*COUNTS,)),
    "real": NUMBERS,
    "count": (*COUNTS, *NUMBERS),
    "category": ("category",),
}
WORDS = {"unit": "values from 0 to 1", "real": "real numbers", "count": "counts", "category": "categories"}


def family_of(space: Space, likelihood: str | None) -> tuple[str, Family]:
    """The likelihood of this name, or the default, for the data of this space; and its name.

    Columns of different kinds have the default of each: `mixed`. `category` has the space's levels.

    Raises:
      InputError: an unknown likelihood, or one that means nothing for such data.
    """
    if isinstance(space.kind, tuple | list):
        for kind in space.kind:
            choose(ALLOWED, kind, "kind of data")
        if likelihood not in (None, "mixed"):
            raise InputError(
                f"columns of different kinds have the likelihood 'mixed', a family for each; leave {likelihood!r} out"
            )
        levels: Any = space.levels if isinstance(space.levels, tuple) else (space.levels,) * len(space.kind)
        return "mixed", Mixed(tuple(map(_column, space.kind, levels)))
    allowed = choose(ALLOWED, space.kind, "kind of data")
    name = DEFAULT[space.kind] if likelihood is None else likelihood
    choose({**LIKELIHOODS, "category": None, "mixed": None}, name, "likelihood")
    if name not in allowed:
        raise InputError(
            f"the likelihood {name!r} is none for {WORDS[space.kind]}; choose one of: {', '.join(allowed)}"
        )
    return name, Categories(_one_level(space)) if name == "category" else LIKELIHOODS[name]


def _column(kind: str, levels: int | None) -> Family:
    return Categories(levels or 2) if kind == "category" else COLUMNS[DEFAULT[kind]]


def _one_level(space: Space) -> int:
    """The number of categories that all columns share: of the column that has most."""
    levels = space.levels if isinstance(space.levels, tuple) else (space.levels,)
    known = [level for level in levels if level is not None]
    if not known:
        raise InputError("a space of categories has to say how many there are: levels=...")
    return max(known)
