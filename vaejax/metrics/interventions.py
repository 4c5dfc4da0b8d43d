"""Batches of codes in which one factor is held: what the interventional metrics are made of.

`represent` maps factor values Int[B, K] to codes Float[B, D]: it renders and encodes, or, as `table` does, looks the
codes up where those of every combination are known. Whatever follows the batch axis of the codes is kept, so that
codes [B, R, D] of R runs go through at once and see the same draws.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vaejax.data.source import draw, factors_of
from vaejax.errors import InputError, check_memory, shortened
from vaejax.metrics.checks import as_numbers, check_counts, check_finite
from vaejax.target import target

Tree = TypeVar("Tree")
Represent = Callable[[Int[Array, "B K"]], Any]
IMAGES = 4096  # about how many are represented at once


def table(codes: Float[Array, "G ..."], sizes: tuple[int, ...]) -> Represent:
    """`represent` that looks codes up in those of all combinations of factor values, the last factor fastest.

    It is a pytree, so that under jit the codes are an argument and no constant of the program. The median of every code
    is taken off, which no interventional metric sees, so that float32 has the digits of what varies.

    Raises:
      InputError: another number of codes than of combinations, or sizes or codes that are no numbers.
    """
    sizes, found = check_grid_sizes(sizes), as_numbers("table", codes)
    if not found.ndim or found.shape[0] != np.prod(sizes):
        raise InputError(
            f"a table of codes for factors of sizes {tuple(sizes)} needs {np.prod(sizes)} rows, one for each "
            f"combination, not {found.shape[0] if found.ndim else 1}"
        )
    strides = [int(np.prod(sizes[k + 1 :])) for k in range(len(sizes))]
    some = found[:: max(1, len(found) // 1000)]
    with np.errstate(over="ignore"):  # what overflows is infinite, and its scores NaN
        centred = (found - np.median(some, axis=0).astype(found.dtype)).astype(np.float32)
    return jax.tree_util.Partial(
        _look_up, jnp.asarray(centred), jnp.asarray(strides, jnp.int32), jnp.asarray(sizes, jnp.int32)
    )


def _look_up(
    codes: Array, strides: Int[Array, " K"], sizes: Int[Array, " K"], factors: Int[Array, "B K"]
) -> Float[Array, "B ..."]:
    """The codes of these factors; NaN of values that the table hasn't."""
    found = codes[(factors * strides[None]).sum(axis=-1)]
    there = ((factors >= 0) & (factors < sizes[None])).all(axis=-1)
    return jnp.where(there.reshape(-1, *[1] * (found.ndim - 1)), found, jnp.nan)


def in_units(represent: Represent, unit: Float[np.ndarray, "..."]) -> Represent:
    """`represent` with codes in these units; a pytree if it was one."""
    kind = jax.tree_util.Partial if isinstance(represent, jax.tree_util.Partial) else partial
    return kind(_in_units, represent, unit.astype(np.float32))


def _in_units(represent: Represent, unit: Any, factors: Int[Array, "B K"]) -> Any:
    return represent(factors) / unit


def subgrid(sizes: tuple[int, ...], most: int) -> tuple[Int[np.ndarray, " n"], tuple[int, ...]]:
    """A regular part of the grid of factor values with at most so many combinations, which is a grid again.

    Of the factor that has most values left, every second (third, ...) is kept, until few enough combinations are
    left; by numbers that divide how many there are, unless that would more than halve it. At least two values remain.

    Args:
      sizes: how many values each factor has.

    Returns:
      The indices of the combinations in the whole grid, the last factor fastest, and the sizes of the part.

    Raises:
      InputError: it can't be made as small as that.
    """
    sizes = check_grid_sizes(sizes)
    check_counts(most=most)
    steps = [1] * len(sizes)

    def left() -> list[int]:
        return [-(-size // step) for size, step in zip(sizes, steps, strict=True)]

    while np.prod(left(), dtype=float) > most:
        k = int(np.argmax(left()))
        even = [step for step in range(steps[k] + 1, 2 * steps[k] + 1) if sizes[k] % step == 0]
        steps[k] = min(even, default=steps[k] + 1)
        if left()[k] < 2:
            raise InputError(f"a grid of factors of sizes {tuple(sizes)} can't be thinned to {most} combinations")
    index = np.ravel_multi_index(
        np.ix_(*(np.arange(0, size, step) for size, step in zip(sizes, steps, strict=True))), sizes
    )
    return index.ravel(), tuple(left())


def check_grid_sizes(sizes: Any) -> tuple[int, ...]:
    """How many values each factor has, as a tuple.

    Raises:
      InputError: something else than whole numbers of at least 1.
    """
    if isinstance(sizes, str) or not isinstance(sizes, Iterable) or not (sizes := list(sizes)):
        raise InputError(f"sizes has to be a list of how many values each factor has, not {shortened(sizes)}")
    for size in sizes:
        check_counts(sizes=size)
    return tuple(int(size) for size in sizes)


def check_grid(name: str, represent: Represent, sizes: tuple[int, ...]) -> tuple[Represent, tuple[int, ...]]:
    """`represent` without the codes' offset, as `table` does, and which factors vary.

    Raises:
      InputError: none does, or `represent` is no function, or fails, or gives no codes [B, D], now or later.
    """
    if not callable(represent):
        raise InputError(
            f"{name} needs a function from factors [B, K] to codes [B, D], not {shortened(represent)}; "
            "vaejax.metrics.table(codes, sizes) makes one of the codes of all combinations"
        )
    varying = tuple(k for k, size in enumerate(sizes) if size > 1)
    if not varying:
        raise InputError(f"{name} needs at least one factor that varies, but sizes are {tuple(sizes)}")
    if np.prod(sizes, dtype=float) >= 2**31:
        raise InputError(f"{name} takes fewer than 2^31 combinations of factor values; thin the sizes {tuple(sizes)}")
    codes = _codes_of(name, represent, None, combinations(jax.random.key(0), (2,), tuple(sizes)))
    if isinstance(represent, jax.tree_util.Partial):
        more = jax.ShapeDtypeStruct((3, len(sizes)), jnp.int32)
        _check_rows(name, jax.eval_shape(represent, more).shape, 3, codes.shape[1])
        _codes_of(name, represent, codes.shape[1], jnp.asarray(sizes, jnp.int32)[None] - 1)  # those of the last values
        return represent, varying
    return partial(_less, partial(_codes_of, name, represent, codes.shape[1]), codes[0]), varying


def _less(represent: Represent, centre: Float[np.ndarray, " D"], factors: Int[Array, "B K"]) -> np.ndarray:
    return represent(factors) - centre


def _codes_of(name: str, represent: Represent, width: int | None, factors: Int[Array, "B K"]) -> np.ndarray:
    """The codes of these factors, of so many latents where that is known.

    Raises:
      InputError: the function fails, with its own error as the cause, or gives something else.
    """
    try:
        found = represent(factors)
    except InputError:
        raise
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:150]
        raise InputError(
            f"{name} needs a function from factors [B, K] to codes [B, D]; this one fails for {len(factors)} rows: "
            f"{why}"
        ) from error
    codes = as_numbers(name, found)
    _check_rows(name, codes.shape, len(factors), width)
    check_finite(name, codes)
    return codes


def _check_rows(name: str, shape: tuple[int, ...], rows: int, width: int | None) -> None:
    if len(shape) != 2 or shape[0] != rows or not shape[1] or shape[1] != (width or shape[1]):
        before = f", after codes of {width} before" if width else ""
        needs = f"{name} needs a function from factors [B, K] to codes [B, D]"
        raise InputError(f"{needs}; {rows} rows gave {shape}{before}")


def gather(
    of_chunk: Callable[..., Any], represent: Represent, key: Key[Array, ""], points: int, each: int, **static: Any
) -> Any:
    """`of_chunk(represent, key, chunk, **static)` of `chunk` points at a time, joined to so many points.

    It is compiled where `represent` is a pytree (`jax.tree_util.Partial`, such as `table` gives); else `represent` is
    called as it is, so it may be any function, of NumPy too.

    Args:
      each: images of a point.

    Raises:
      InputError: they need more than the memory of this machine.
    """
    needed = max(16.0 * points, 8.0 * each * len(static["sizes"]))  # what is joined; factor values, drawn and held
    check_memory(f"{points:,} points of {each:,} images", needed, "give smaller sizes")
    chunk = min(points, max(1, IMAGES // each))
    call = partial(_compiled if isinstance(represent, jax.tree_util.Partial) else _called, of_chunk)
    parts = [
        call(represent, jax.random.fold_in(key, number), chunk, tuple(static.items()))
        for number in range(-(-points // chunk))
    ]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:points], *parts)


def _called(of_chunk, represent, key, chunk, static):
    return of_chunk(represent, key, chunk, **dict(static))


_compiled = jax.jit(_called, static_argnums=(0, 3, 4))


def which(key: Key[Array, ""], points: int, varying: tuple[int, ...]) -> Int[Array, " points"]:
    """The factor that is held in every point."""
    return jnp.asarray(varying)[jax.random.randint(key, (points,), 0, len(varying))]


@partial(jax.jit, static_argnames=("shape", "sizes"))
def combinations(key: Key[Array, ""], shape: tuple[int, ...], sizes: tuple[int, ...]) -> Int[Array, "*shape K"]:
    """Independent and uniform factor values."""
    index = draw(key, int(np.prod(shape)), int(np.prod(sizes)))
    return factors_of(index, sizes).reshape(*shape, len(sizes))


def hold(
    factor: Int[Array, " points"], values: Int[Array, "points batch K"], at: Int[Array, "points batch K"]
) -> Int[Array, "points batch K"]:
    """`values`, but those of each point's factor are taken from `at`."""
    return jnp.where(jnp.arange(values.shape[-1])[None, None] == factor[:, None, None], at, values)


def per_run(function: Callable[..., Tree], *arrays: Float[Array, "... R D"]) -> Tree:
    """`function` of every run's part of the arrays: one after another on a CPU, else all at once. Call it under jit."""
    parts = tuple(jnp.moveaxis(array, -2, 0) for array in arrays)
    if target() == "cpu":
        return jax.lax.map(lambda part: function(*part), parts)
    return jax.vmap(function)(*parts)
