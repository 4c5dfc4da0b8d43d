"""Hyperparameters are a NamedTuple of numbers, and each says by its annotation between which numbers it lies.

    class Hyper(NamedTuple):
        beta: NotNegative = 4.0
        level: Share = 0.25
        temperature: Annotated[float, Range(0.1, 10)] = 1.0
        log_scale: float = -1.0  # any finite number

The ends belong to it. `vaejax.grid`, experiments and scripts refuse what lies outside, in one line that states the
range.
"""

import math
from functools import cache
from typing import Annotated, Any, NamedTuple, get_type_hints

from vaejax.errors import InputError


class Range(NamedTuple):
    """The numbers from `low` to `high`, with both of them; all finite ones if neither is given."""

    low: float = -math.inf
    high: float = math.inf

    def __contains__(self, value: Any) -> bool:
        return bool(self.low <= value <= self.high)

    @property
    def words(self) -> str:
        """What a value has to be."""
        if self.high < math.inf:
            return f"a number from {self.low:g} to {self.high:g}" if self.low > -math.inf else f"at most {self.high:g}"
        if self.low == 0:
            return "a finite number that is not negative"
        return f"a finite number that is at least {self.low:g}" if self.low > -math.inf else "a finite number"

    @property
    def short(self) -> str:
        """The same for a list, such as "0 to 1"; nothing where any number will do."""
        if self.low > -math.inf:
            return f"{self.low:g} to {self.high:g}" if self.high < math.inf else f"from {self.low:g}"
        return f"to {self.high:g}" if self.high < math.inf else ""


NotNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]


def ranges(hyper: Any) -> dict[str, Range]:
    """The range of every hyperparameter, of a NamedTuple or its class; all finite numbers where none is stated.

    Raises:
      InputError: the annotations can't be read.
    """
    return _ranges(hyper if isinstance(hyper, type) else type(hyper))


@cache  # of the classes there are
def _ranges(kind: Any) -> dict[str, Range]:
    try:
        hints = get_type_hints(kind, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise InputError(f"the ranges of hyperparameters are read from annotations, and there {error}") from None
    notes = {name: getattr(hints.get(name), "__metadata__", ()) for name in kind._fields}
    return {name: next((note for note in own if isinstance(note, Range)), Range()) for name, own in notes.items()}


def listed(hyper: Any) -> str:
    """The hyperparameters with their ranges: "beta (from 0), level (0 to 1), log_scale"."""
    return ", ".join(map(shown(hyper), hyper._fields))


def shown(hyper: Any) -> Any:
    """`name -> the name and its range`, as in `listed`."""
    own = ranges(hyper)
    return lambda name: f"{name} ({own[name].short})" if own[name].short else name
