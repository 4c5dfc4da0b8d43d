"""Images of tensorflow-datasets that stay on the disk."""

from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Int

from vaejax.data.arrays import guessed_white
from vaejax.data.source import Data, Streamed
from vaejax.data.stream import Reader, block_of, one_by_one, streamed
from vaejax.data.tfds import blocks, column, elsewhere, images, mark, opened, parsed, size_of, targets


def stream_tfds(name: str, split: str, data_dir: str | None, window: int) -> Streamed:
    """The images of `vaejax.data.tfds`, with their labels and factors.

    All images are looked at before the first window where they are binary, and all labels where none is there. A file
    that is open can be read to the end, also where it has been deleted.

    Raises:
      InputError: as in `tfds`, except for memory, and as in `streamed`.
    """
    found = opened(name, split, data_dir)
    records, columns = found.records, list(found.columns)
    block = block_of(found.shape)
    shape = size_of(name, parsed(name, records, [0]), found.shape)
    if "label" in columns and all(column(name, part, "label").max() < 0 for _, part in blocks(name, records, block)):
        columns.remove("label")
    parts = (images(name, part, shape, range(start, start + len(part))) for start, part in blocks(name, records, block))
    white = guessed_white(name, chain(parts, elsewhere(found)))
    read = partial(read_records, name, records, shape, tuple(columns), white)
    return streamed(Reader(name, shape, len(records), block, read), window, f"{mark(found)}, white {white:g}")


def read_records(
    name: str,
    records: Any,
    shape: tuple[int, int, int],
    columns: tuple[str, ...],
    white: float,
    index: Int[np.ndarray, " n"],
) -> Data:
    """`read` of a `Reader`: the examples of a data set with these numbers.

    Raises:
      InputError: they can't be read, or aren't as they should be.
    """
    numbers = index.tolist()
    features = parsed(name, records, numbers)
    label, factors = targets({key: column(name, features, key) for key in columns})
    given = {"x": images(name, features, shape, numbers), "label": label, "factors": factors}
    return one_by_one(name, index, white, {key: values for key, values in given.items() if values is not None})
