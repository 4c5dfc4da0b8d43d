"""A table in a CSV file: its first line names the columns; fields are separated by commas, semicolons or tabs.

An empty field is a missing value, and so is what pandas takes for one (NA, NaN, null, ...). A first column without a
name, which pandas writes for the index, is left out. The file may be compressed (.gz, .zip, .xz, ...).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaejax.data.arrays import check_split
from vaejax.data.paths import one_line, regular_file, shown
from vaejax.data.record import Named
from vaejax.data.source import Arrays
from vaejax.data.table import OPTIONS, table
from vaejax.errors import InputError
from vaejax.method import Kind

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ",;\t"


def csv(
    path: str,
    split: str = "train",
    label: str | None = None,
    kinds: Mapping[str, Kind] | str | None = None,
    without: Sequence[str] | str = (),
    split_by: str | None = None,
    test: float | str | None = None,
) -> Arrays:
    """The rows of a CSV file; the arguments are those of `vaejax.data.table`.

    Raises:
      InputError: a file that can't be read, two columns of a name, and as `table`.
    """
    name = f"csv:{path}"
    check_split(name, split)
    frame = _read(regular_file(path, "csv:table.csv"), path)
    return table(frame, split, label, kinds, without, split_by, test, name)


def _read(file: Path, path: str) -> "pd.DataFrame":
    """The table in a file.

    Raises:
      InputError: it can't be read, or two columns have one name.
    """
    import pandas as pd

    reading: Any = {"header": None, "nrows": 1, "dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    try:
        first = str(pd.read_csv(file, sep="\x1f", quoting=3, **reading).iat[0, 0])
        separator = max(SEPARATORS, key=first.count)
        header = [str(field).strip() for field in pd.read_csv(file, sep=separator, **reading).iloc[0]]
        frame = pd.read_csv(
            file, sep=separator, header=None, skiprows=1, names=range(len(header)), dtype_backend="numpy_nullable",
            index_col=False, encoding="utf-8-sig", on_bad_lines="error",
        )  # fmt: skip
    except Exception as error:  # decoders, decompressors and the parser each raise their own
        raise InputError(
            f"{shown(path)} can't be read as CSV ({one_line(error)}); its first line has to name the columns"
        ) from error
    for number, column in enumerate(header):
        if not column and number:
            raise InputError(f"{shown(path)}: column {number} has no name in the first line; give it one")
        if column in header[:number]:
            raise InputError(f"{shown(path)} has two columns {shown(column, 60)!r}; rename one")
    frame = frame.set_axis(header, axis=1)
    return frame if header[0] else frame.iloc[:, 1:]


CSV = Named("csv:PATH", csv, options=OPTIONS)
