"""Factors that are not independent: any source of factors, redistributed by a table of probabilities.

The factors in the table are drawn with the alias method (Walker 1977; Vose 1991): one of its cells uniformly, then
either that cell or its alias, by one comparison. So a draw costs the same whatever the table's size, and every cell has
its probability to float32 precision, where summed probabilities would lose a digit for every factor of ten in cells.
"""

from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vaejax.data.bound import bound
from vaejax.data.source import Data, Factors, Joint, called, factors_of, index_of
from vaejax.errors import InputError, choose
from vaejax.method import Batch


def weighted(source: Factors, name: str, columns: tuple[int, ...], weights: Float[np.ndarray, "..."]) -> Factors:
    """The source with the probabilities of its combinations multiplied by these weights, and normalised.

    Args:
      source: any, also one that was redistributed before.
      name: what the new one is called.
      columns: the numbers of the factors that the weights depend on, ascending.
      weights: not negative, an axis for each of `columns`; a combination of weight 0 is removed from `at` and `size`.

    Raises:
      InputError: nothing is left.
    """
    before = source.joint or Joint(source, (), np.ones(()))
    every = tuple(sorted({*before.columns, *columns}))
    table = _spread(before.weights, before.columns, every) * _spread(weights, columns, every)
    if not table.any():
        raise InputError(f"{name}: no combination of factors is left; exclude less")
    base, table = before.source, table / table.sum()
    cells = np.flatnonzero(table)
    data = {"source": base.data, "draw": _alias(table.ravel()[cells]) | {"cell": jnp.asarray(cells, jnp.int32)}}
    size = base.size
    if cells.size < table.size:
        shape = [n if column in every else 1 for column, n in enumerate(base.sizes)]
        kept = np.flatnonzero(np.broadcast_to(table.reshape(shape) > 0, base.sizes))
        data["kept"], size = jnp.asarray(kept, jnp.int32), kept.size
    at, draw = bound(_at, base.at), bound(_draw, base.sizes, every)
    sample, drawn = bound(_sample, base.at, base.sizes, draw), jax.tree_util.Partial(draw, data["draw"])
    return Factors(
        name, base.space, size, data, at, sample, base.sizes, base.names, base.render, drawn, Joint(base, every, table)
    )


def full_grid(source: Any) -> Factors:
    """The source, if it has a full grid of factors.

    Raises:
      InputError: it hasn't.
    """
    if isinstance(source, Factors):
        return source
    raise InputError(f"{called(source)} is no full grid of factors, so their distribution can't be changed")


def column(source: Factors, factor: Any) -> int:
    """The number of a factor, given its name or its number.

    Raises:
      InputError: there is none.
    """
    if isinstance(factor, bool) or not isinstance(factor, int | np.integer):
        table = {name: k for k, name in enumerate(source.names)}
        return choose(table, factor, f"factor of {source.name}")  # pyright: ignore[reportArgumentType]
    if not 0 <= factor < len(source.sizes):
        names = ", ".join(source.names)
        raise InputError(f"{source.name} has factors 0 to {len(source.sizes) - 1} ({names}), and no {factor}")
    return int(factor)


def _at(base_at, data: Data, index: Int[Array, " n"]) -> Batch:
    """`at` of a redistributed source.

    `data` is {"source": the data of the uniform source, "draw": as in `_draw`, "kept": the indices that are left}, the
    last only where some were removed.
    """
    return base_at(data["source"], data["kept"][index] if "kept" in data else index)


def _sample(base_at, sizes: tuple[int, ...], draw, data: Data, key: Key[Array, ""], n: int) -> Batch:
    """`sample` of a redistributed source; `data` as in `_at`."""
    return base_at(data["source"], index_of(draw(data["draw"], key, n), sizes))


def _draw(
    sizes: tuple[int, ...], columns: tuple[int, ...], data: Data, key: Key[Array, ""], n: int
) -> Int[Array, "n K"]:
    """n combinations; `data` is {"cell": Int[m], "accept": Float[m], "alias": Int[m]}."""
    rest = tuple(k for k in range(len(sizes)) if k not in columns)
    inverse = np.argsort([*columns, *rest])
    slot_key, coin_key, rest_key = jax.random.split(key, 3)
    slot = jax.random.randint(slot_key, (n,), 0, data["cell"].shape[0])
    stay = jax.random.uniform(coin_key, (n,)) < data["accept"][slot]
    cell = data["cell"][jnp.where(stay, slot, data["alias"][slot])]
    others = jax.random.randint(rest_key, (n,), 0, int(np.prod([sizes[k] for k in rest])))
    parts = [factors_of(i, tuple(sizes[k] for k in some)) for i, some in ((cell, columns), (others, rest)) if some]
    return jax.lax.optimization_barrier(jnp.concatenate(parts, axis=-1)[:, inverse])


def _spread(weights: Float[np.ndarray, "..."], columns: tuple[int, ...], every: tuple[int, ...]) -> np.ndarray:
    """Weights with an axis of length 1 for each of the factors they don't depend on."""
    return np.expand_dims(weights, tuple(k for k, column in enumerate(every) if column not in columns))


def _alias(p: Float[np.ndarray, " m"]) -> dict[str, Array]:
    """Vose's table: slot k stays k with probability `accept[k]`, and else is `alias[k]`; `p` sums to 1."""
    accept, alias = p * p.size, np.arange(p.size)
    small, large = list(np.flatnonzero(accept < 1)), list(np.flatnonzero(accept >= 1))
    while small and large:
        low, high = small.pop(), large[-1]
        alias[low] = high
        accept[high] -= 1 - accept[low]
        if accept[high] < 1:
            small.append(large.pop())
    accept[list(chain(small, large))] = 1  # what rounding errors leave over
    return {"accept": jnp.asarray(accept, jnp.float32), "alias": jnp.asarray(alias, jnp.int32)}
