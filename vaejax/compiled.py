"""Compiled functions of methods, of which only those of the last few are kept.

`jax.jit` keeps what it has compiled for every value of its static arguments as long as the function lives. A program of
a method takes megabytes, so that a loop over architectures would fill the memory.
"""

import inspect
from collections.abc import Callable
from functools import lru_cache, partial, wraps
from typing import Any
from weakref import WeakSet

import jax

KEPT = 8  # programs of a function


def compiled(*static: str, kept: int = KEPT) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`jax.jit` with these static arguments, for each of whose last `kept` values the program is kept.

    @compiled("method")
    def encode(method, params, batch): ...
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)
        living: WeakSet[Any] = WeakSet()

        @lru_cache(maxsize=kept)
        def program(values: tuple[Any, ...]) -> Any:
            made = jax.jit(partial(function, **dict(zip(static, values, strict=True))))
            living.add(made)
            return made

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            values = tuple(given.arguments.pop(name) for name in static)
            return program(values)(**given.arguments)

        vars(call)["_cache_size"] = lambda: sum(made._cache_size() for made in living)
        vars(call)["cache_info"] = program.cache_info
        return call

    return decorate
