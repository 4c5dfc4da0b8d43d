"""A table in a Parquet file, which pyarrow reads."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vaejax.data.arrays import check_split
from vaejax.data.paths import one_line, regular_file, shown
from vaejax.data.record import Named
from vaejax.data.source import Arrays
from vaejax.data.table import OPTIONS, table
from vaejax.errors import InputError
from vaejax.method import Kind

if TYPE_CHECKING:
    import pandas as pd


def parquet(
    path: str,
    split: str = "train",
    label: str | None = None,
    kinds: Mapping[str, Kind] | str | None = None,
    without: Sequence[str] | str = (),
    split_by: str | None = None,
    test: float | str | None = None,
) -> Arrays:
    """The rows of a Parquet file; the arguments are those of `vaejax.data.table`.

    Raises:
      InputError: pyarrow isn't installed, a file that can't be read, and as `table`.
    """
    name = f"parquet:{path}"
    check_split(name, split)
    file = regular_file(path, "parquet:table.parquet")
    if find_spec("pyarrow") is None:
        raise InputError(f"{shown(name)} is read by pyarrow, which isn't installed: pip install 'vaejax[parquet]'")
    return table(_read(file, path), split, label, kinds, without, split_by, test, name)


def _read(file, path: str) -> "pd.DataFrame":
    import pandas as pd

    try:
        return pd.read_parquet(file, engine="pyarrow", dtype_backend="numpy_nullable").reset_index(drop=True)
    except Exception as error:  # pyarrow has many errors of its own
        raise InputError(f"{shown(path)} can't be read as Parquet ({one_line(error)}); write it again") from error


PARQUET = Named("parquet:PATH", parquet, options=OPTIONS)
