"""Sources of images: `load(name)` for any of them; see `SOURCES` for what there is.

Nothing here imports TensorFlow, and tensorflow-datasets and scikit-learn only when a source of theirs is loaded, and
grain only when one is streamed.
"""

from collections.abc import Callable
from typing import Any, overload

from vaejax.data.arrays import SPLITS, arrays, check_split, check_text
from vaejax.data.binarized import binarized
from vaejax.data.codes import code_grids
from vaejax.data.correlated import correlated
from vaejax.data.digits import digits
from vaejax.data.dsprites import dsprites
from vaejax.data.excluding import excluding
from vaejax.data.names import changed, split_name
from vaejax.data.npz import npz
from vaejax.data.nuisance import color_sprites, noisy_sprites
from vaejax.data.partly_labelled import partly_labelled
from vaejax.data.paths import shown
from vaejax.data.rectangles import rectangles
from vaejax.data.shapes3d import shapes3d
from vaejax.data.source import Arrays, Data, Factors, Joint, Source, Streamed, example
from vaejax.data.sprites import sprites
from vaejax.data.static_mnist import static_mnist
from vaejax.data.stream import stream_npz, stream_tfds
from vaejax.data.tfds import check_folder, tfds
from vaejax.errors import InputError
from vaejax.method import Batch

RENDERED: dict[str, Callable[..., Factors]] = {  # (size) -> source; no files, no splits
    "sprites": sprites,
    "color_sprites": color_sprites,
    "noisy_sprites": noisy_sprites,
    "shapes3d": shapes3d,
    "rectangles": rectangles,
}
BUNDLED: dict[str, Callable[[str], Source]] = {"digits": digits}  # (split) -> source
FILES: dict[str, Callable[[str, str], Source]] = {  # (path, split) -> source
    "dsprites:": dsprites,
    "npz:": npz,
    "static_mnist:": static_mnist,
}
STREAMS: dict[str, Callable[[str, str, int], Streamed]] = {"npz:": stream_npz}  # (path, split, window) -> source
SOURCES: dict[str, Callable[..., Any]] = {**RENDERED, **BUNDLED, **FILES}  # any other name is tensorflow-datasets'

__all__ = [
    "RENDERED", "SOURCES", "SPLITS", "Arrays", "Batch", "Data", "Factors", "Joint", "Source", "Streamed",
    "arrays", "binarized", "code_grids", "color_sprites", "correlated", "digits", "dsprites", "example", "excluding",
    "is_rendered", "load", "noisy_sprites",
    "npz", "partly_labelled", "rectangles", "shapes3d", "sprites", "static_mnist", "tfds",
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
        `vaejax.data.npz` for the format), `static_mnist:DIR` (see `vaejax.data.static_mnist`), or a data set of
        tensorflow-datasets by its own name (`mnist`, `cifar10`, `smallnorb`, ..., or `shapes3d:2.0.0` for the published
        images; see `vaejax.data.tfds`). After any of them, `+binarized` makes images black and white at random (see
        `vaejax.data.binarized`).
        After a source with factors, `+correlated:x,y,0.2` draws two factors together, with this sigma (see
        `vaejax.data.correlated`), and `+excluding:shape=2,x=16-31` removes the combinations in which all of these
        factors have such values (see `vaejax.data.excluding`); both may be repeated (see `vaejax.data.names`).
      split: `train` or `test`, or `valid` of `static_mnist:`; tensorflow-datasets' own names for theirs. The whole
        population of a rendered source and of `dsprites:` is in both, but what `+excluding` removes is the test split.
      data_dir: where tensorflow-datasets' data sets are prepared; None is its own default. Others don't need it.
      size: height and width of rendered images in pixels; None is the source's own.
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
    base, changes = split_name(name, RENDERED)
    check_text("split", split)
    check_folder(data_dir)
    if size is not None and base not in RENDERED:
        raise InputError(f"{shown(name)}: only rendered sources take a size ({', '.join(RENDERED)}); leave it out")
    if changes:
        if window is not None:
            raise InputError(f"{shown(name)} takes no window, because images are changed on the device; leave it out")
        return changed(load(base, split, data_dir, size), changes, split)
    if window is not None:
        return load_streamed(name, split, data_dir, window)
    if name in RENDERED:
        check_split(name, split)
        return RENDERED[name]() if size is None else RENDERED[name](size)
    if name in BUNDLED:
        return BUNDLED[name](split)
    prefix, colon, path = name.partition(":")
    if prefix + colon in FILES:
        return FILES[prefix + colon](path, split)
    return tfds(name, split, data_dir)


def is_rendered(name: str) -> bool:
    """Whether this source draws its images, in any size; the name may have changes, as in `load`."""
    return split_name(name, RENDERED)[0] in RENDERED


def load_streamed(name: str, split: str, data_dir: str | None, window: int) -> Streamed:
    """A source that stays on the disk; the arguments are those of `load`.

    Raises:
      InputError: as in `load`.
    """
    prefix, colon, path = name.partition(":")
    if name in RENDERED or name in BUNDLED:
        raise InputError(f"{name} takes no window, because nothing is read from the disk; leave it out")
    if prefix + colon in STREAMS:
        return STREAMS[prefix + colon](path, split, window)
    if prefix + colon in FILES:
        raise InputError(f"{shown(name)} takes no window, because it is small on the device; leave it out")
    return stream_tfds(name, split, data_dir, window)
