"""Sources of examples: `load(name)` for any of them; see `SOURCES` for what there is.

Nothing here imports TensorFlow, and tensorflow-datasets and scikit-learn only when a source of theirs is loaded, and
grain only when one is streamed.
"""

# pyright: reportUnsupportedDunderAll=false

from typing import overload

from vaejax.data.arrays import SPLITS, arrays, check_split, check_text
from vaejax.data.binarized import binarized
from vaejax.data.codes import code_grids
from vaejax.data.correlated import correlated
from vaejax.data.excluding import excluding
from vaejax.data.names import changed, split_name
from vaejax.data.partly_labelled import partly_labelled
from vaejax.data.paths import shown
from vaejax.data.record import Named
from vaejax.data.records import *  # noqa: F403 (every source)
from vaejax.data.records import RECORDS, RENDERED, SOURCES, known
from vaejax.data.source import Arrays, Column, Data, Factors, Joint, Source, Streamed, example
from vaejax.data.stream_tfds import stream_tfds
from vaejax.data.table import as_frame, table
from vaejax.data.tfds import check_folder, tfds
from vaejax.errors import InputError
from vaejax.method import Batch

__all__ = [
    "RENDERED", "SOURCES", "SPLITS", "Arrays", "Batch", "Column", "Data", "Factors", "Joint", "Named", "Source",
    "Streamed", "arrays", "as_frame", "binarized", "code_grids", "correlated", "example", "excluding", "is_rendered",
    "load", "partly_labelled", "table", "tfds", *(record.make.__name__ for record in RECORDS.values()),
]  # fmt: skip


@overload
def load(name: str, split: str = "train", data_dir: str | None = None, size: int | None = None) -> Source: ...
@overload
def load(name: str, split: str = "train", data_dir: str | None = None, *, window: int) -> Streamed: ...
@overload
def load(
    name: str, split: str = "train", data_dir: str | None = None, size: int | None = None, window: int | None = None
) -> Source | Streamed: ...


def load(
    name: str, split: str = "train", data_dir: str | None = None, size: int | None = None, window: int | None = None
) -> Source | Streamed:
    """A source by its name.

    Args:
      name: one of `RENDERED` (`sprites`, `color_sprites`, `noisy_sprites`, `shapes3d`, `rectangles`), `digits`
        (scikit-learn's), `dsprites:PATH.npz` (see `vaejax.data.dsprites`), `npz:PATH` (your own images; see
        `vaejax.data.npz` for the format), `csv:PATH` and `parquet:PATH` (tables, with options behind a `+`; see
        `vaejax.data.table`), `images:FOLDER` (see `vaejax.data.image_folder`), `iris`, `wine`, `breast_cancer`,
        `diabetes` (see `vaejax.data.measured`), `static_mnist:DIR` (see `vaejax.data.static_mnist`), or a data set of
        tensorflow-datasets by its own name (`mnist`, `cifar10`, `smallnorb`, ..., or `shapes3d:2.0.0` for the published
        images; see `vaejax.data.tfds`). After any of them, `+binarized` makes images black and white at random (see
        `vaejax.data.binarized`).
        After a source with factors, `+correlated:x,y,0.2` draws two factors together, with this sigma (see
        `vaejax.data.correlated`), and `+excluding:shape=2,x=16-31` removes the combinations in which all of these
        factors have such values (see `vaejax.data.excluding`); both may be repeated (see `vaejax.data.names`).
      split: `train` or `test`, or `valid` of `static_mnist:`; tensorflow-datasets' own names for theirs. The whole
        population of a rendered source and of `dsprites:` is in both, but what `+excluding` removes is the test split.
      data_dir: where tensorflow-datasets' data sets are prepared; None is its own default. Others don't need it.
      size: height and width in pixels of rendered images, and of those of a folder, which are resized and cropped; None
        is the source's own.
      window: None puts all images on the device. A number leaves them on the disk, for data that is larger than the
        device, and reads so many at a time, always others, in random order (see `Streamed`); for `npz:PATH`, if
        `numpy.savez` wrote the file, and data sets of tensorflow-datasets.

    Pixels of files in whole numbers are divided by 255, or by 1 where none of the file's (or data set's) is above 1:
    one scale for its train and test, held or streamed. The logger "vaejax" says which it is (INFO).

    Raises:
      InputError: something of the wrong type; an unknown name or split, a size where nothing is rendered, a file or
        data set that can't be used, a window where nothing is read from the disk, or of no images, or of all; a change
        that can't be read, or that the source can't take.
    """
    base, options, changes = split_name(name)
    check_text("split", split)
    check_folder(data_dir)
    record = known(base)
    if size is not None and not (record and (record.rendered or record.sized)):
        others = ", ".join(each.name for each in RECORDS.values() if each.sized)
        drawn = ", ".join(RENDERED)
        raise InputError(f"{shown(name)}: only rendered sources take a size ({drawn}), and {others}; leave it out")
    if changes:
        if window is not None:
            raise InputError(f"{shown(name)} takes no window, because images are changed on the device; leave it out")
        return changed(_made(base, record, options, split, data_dir, size), changes, split)
    if window is not None:
        return _streamed(base, record, options, split, data_dir, size, window)
    return _made(base, record, options, split, data_dir, size)


def is_rendered(name: str) -> bool:
    """Whether this source draws its images, in any size; the name may have changes, as in `load`."""
    return split_name(name)[0] in RENDERED


def _made(
    name: str, record: Named | None, options: dict[str, str], split: str, data_dir: str | None, size: int | None
) -> Source:
    """The source of this name, held on the device; errors as in `load`."""
    if record is None:
        return tfds(name, split, data_dir)
    if record.rendered:
        check_split(name, split)
        return record.make() if size is None else record.make(size)
    return record.make(*_path(name), split, **options, **({} if size is None else {"size": size}))


def _streamed(
    name: str,
    record: Named | None,
    options: dict[str, str],
    split: str,
    data_dir: str | None,
    size: int | None,
    window: int,
) -> Streamed:
    """The source of this name, which stays on the disk; errors as in `load`."""
    if record is None:
        return stream_tfds(name, split, data_dir, window)
    if record.stream is None:
        small = "it is small on the device" if _path(name) else "nothing is read from the disk"
        raise InputError(f"{shown(name)} takes no window, because {small}; leave it out")
    return record.stream(*_path(name), split, window, **options, **({} if size is None else {"size": size}))


def _path(name: str) -> list[str]:
    """What stands behind the colon, if there is one."""
    return name.split(":", 1)[1:]
