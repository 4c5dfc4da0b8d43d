"""Counts of which most are 0, as a compressed sparse row (CSR) matrix that is never made dense: only batches of it are.

Row i has the values `data[indptr[i] : indptr[i + 1]]` in the columns `indices[indptr[i] : indptr[i + 1]]`, as
`scipy.sparse.save_npz` writes it; entries of one place add up. On the device the columns and values are in as few bytes
as they need. A batch [B, D] is made of B rows of at most K entries by one scatter: B x (D + K) numbers, in the step.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from vaejax.data.bound import bound
from vaejax.data.paths import shown
from vaejax.data.source import Arrays, Data, draw
from vaejax.data.vectors import LARGEST_COUNT, narrow
from vaejax.errors import LARGEST, InputError, shortened
from vaejax.method import Batch, Space

PARTS = ("indptr", "indices", "data", "shape")
ADVICE = "write it with scipy.sparse.save_npz"


def at(columns: int, longest: int, data: Data, index: Int[Array, " n"]) -> Batch:
    """The rows of these indices, dense.

    Args:
      columns: how many there are.
      longest: the most entries of a row.
      data: `{"indptr": int32 [N + 1], "indices": [nnz], "values": [nnz]}`, and labels and factors where there are any.
    """
    start, end = data["indptr"][index], data["indptr"][index + 1]
    place = start[:, None] + jnp.arange(longest)[None, :]
    there = place < end[:, None]
    place = jnp.where(there, place, 0)
    column = jnp.where(there, data["indices"][place].astype(jnp.int32), columns)  # beyond the last: dropped
    value = data["values"][place].astype(jnp.float32)
    row = jnp.broadcast_to(jnp.arange(len(index))[:, None], place.shape)
    x = jnp.zeros((len(index), columns)).at[row, column].add(value, mode="drop")
    return Batch(x, *(data[key][index] if key in data else None for key in ("factors", "label")))


def sample(columns: int, longest: int, data: Data, key: Key[Array, ""], n: int) -> Batch:
    """n rows drawn uniformly with replacement, dense."""
    return at(columns, longest, data, draw(key, n, len(data["indptr"]) - 1))


def sparse(name: str, data: Data, columns: int) -> Arrays:
    """A source of this checked data, still in the host's memory, which moves to the device."""
    lengths = np.diff(data["indptr"])
    given = columns, max(1, int(lengths.max()))
    on_device = jax.tree.map(jnp.asarray, data)
    return Arrays(name, Space((columns,), "count"), lengths.size, on_device, bound(at, *given), bound(sample, *given))


def checked_rows(name: str, found: dict[str, np.ndarray], rows: Bool[np.ndarray, " N"]) -> Data:
    """Some rows of a CSR matrix, after a check of all of it.

    Args:
      found: `PARTS` of the matrix; see `size_of` for its shape.
      rows: which of them.

    Raises:
      InputError: parts that don't fit each other, or a value that is no count; the line names its row and column.
    """
    what, (count, columns) = shown(name), size_of(name, found)
    indptr, indices, values = (np.ravel(found[part]) for part in PARTS[:3])
    for part, array in (("indptr", indptr), ("indices", indices)):
        if array.dtype.kind not in "ui":
            raise InputError(f"{what}: {part!r} has dtype {array.dtype}, not whole numbers; {ADVICE}")
    if values.dtype.kind not in "buif":
        raise InputError(f"{what}: 'data' has dtype {values.dtype}; counts are whole numbers from 0")
    if indptr.size != count + 1:
        raise InputError(f"{what}: 'indptr' has {indptr.size} numbers for {count} rows, not {count + 1}; {ADVICE}")
    if values.size != indices.size or indptr[0] != 0 or indptr[-1] != values.size or values.size > LARGEST:
        raise InputError(
            f"{what}: 'indptr' runs from {indptr[0]} to {indptr[-1]}, for {values.size} values in {indices.size} "
            f"columns; these have to be as many, and at most {LARGEST:,}; {ADVICE}"
        )
    lengths = np.diff(indptr.astype(np.int64))
    if lengths.min() < 0:
        raise InputError(f"{what}: 'indptr' falls in row {int(lengths.argmin())}; {ADVICE}")
    if indices.size and not (indices.min() >= 0 and indices.max() < columns):
        entry = int(np.flatnonzero((indices < 0) | (indices >= columns))[0])
        raise InputError(f"{what}: row {_row(indptr, entry)} has a column {indices[entry]}, of {columns}; {ADVICE}")
    if values.size and not _are_counts(values):
        entry = int(np.flatnonzero(~((values >= 0) & (values <= LARGEST_COUNT) & (values == np.floor(values))))[0])
        raise InputError(
            f"{what} has {values[entry]:.6g} in row {_row(indptr, entry)}, column {indices[entry]}; "
            f"a count is a whole number from 0 to {LARGEST_COUNT:,}"
        )
    kept = np.repeat(rows, lengths)
    where = np.append(0, lengths[rows].cumsum()).astype(np.int32)
    room = int(where[-1] == 0)  # of nothing, nothing could be gathered
    return {
        "indptr": where,
        "indices": narrow(np.pad(indices[kept], (0, room))),
        "values": narrow(np.pad(values[kept], (0, room))),
    }


def size_of(name: str, found: dict[str, np.ndarray]) -> tuple[int, int]:
    """How many rows and columns a matrix has.

    Raises:
      InputError: it doesn't say, or has none.
    """
    shape: Any = found["shape"]
    if shape.dtype.kind not in "ui" or shape.shape != (2,) or shape.min() < 1 or shape.max() > LARGEST:
        raise InputError(
            f"{shown(name)}: 'shape' has to be two numbers, of rows and columns, not {shortened(shape.tolist())}"
        )
    return int(shape[0]), int(shape[1])


def _are_counts(values: np.ndarray) -> bool:
    low, high = values.min(), values.max()  # NaN where one is
    return bool(
        low >= 0 and high <= LARGEST_COUNT and (values.dtype.kind in "bui" or (values == np.floor(values)).all())
    )


def _row(indptr: np.ndarray, entry: int) -> int:
    """The row in which an entry stands."""
    return int(np.searchsorted(indptr, entry, side="right")) - 1
