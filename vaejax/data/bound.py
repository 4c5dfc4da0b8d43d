"""Functions with some of their arguments given, which are the same where these are, so that nothing retraces."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True)
class Bound:
    """`function(*given, ...)`; see `bound`."""

    function: Callable[..., Any]
    given: tuple[Any, ...]

    def __call__(self, *rest: Any) -> Any:
        return self.function(*self.given, *rest)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return bound, (self.function, *self.given)


@lru_cache(maxsize=256)
def bound(function: Callable[..., Any], *given: Any) -> Bound:
    """`function` with its first arguments given.

    Unlike `functools.partial` it is known by what it holds: two of the same function and arguments are one key for
    `jax.jit` and for caches, and so is what pickle makes of one, in this process or in another.

    Args:
      function: one of a module (and not jitted itself, since pickle couldn't find it).
      given: hashable, so no arrays.
    """
    return Bound(function, given)
