"""The image data sets of tensorflow-datasets, read without TensorFlow once they are prepared.

Preparing one (downloading it and writing it as array_record files) does need TensorFlow; see `HOW`. `tfds.data_source`
would try to prepare a missing data set, so this asks for a builder instead, and takes raw records: its own decoding
costs a millisecond an image, and its undecoded form imports TensorFlow.

Pixels are bytes, and 255 is white, unless no image of any split has a value above 1 (as in `binarized_mnist`): then 1
is. So all splits and parts of a data set have one scale, and the logger "vaejax" says which (INFO).
"""

import difflib
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image
from tqdm import tqdm

from vaejax.data.arrays import arrays, check_text, guessed_white
from vaejax.data.paths import one_line, reason, shown
from vaejax.data.records import RECORDS
from vaejax.data.source import Arrays
from vaejax.data.stream import block_of
from vaejax.errors import InputError, shortened

HOW = "needs TensorFlow, once: pip install 'vaejax[tfds-prepare]', then: tfds build {name} --file_format=array_record"
NAME = re.compile(r"[A-Za-z]\w*(/[\w.,=+-]+)*(:[\d.*]+)?")  # NAME, NAME/CONFIG, NAME:VERSION; no other hosts
PREFIX = re.compile(r"^Failed to construct dataset .*?}\": ", re.DOTALL)  # of what tensorflow-datasets says
MOST = 16384  # images read and decoded together
ENDS = 2**14  # bytes of either end of a file that tell it from another
PATIENCE = 3.0  # seconds before a progress bar shows
MODES = {1: "L", 3: "RGB"}  # what Pillow calls a number of channels


def tfds(name: str, split: str = "train", data_dir: str | None = None) -> Arrays:
    """The feature `image` of a tensorflow-datasets data set, with its labels.

    Batches have the integer feature `label` where there is one, -1 for an image without a label (where none has one,
    there is no label at all), and as factors the integer features `label_*` in alphabetical order (`smallnorb`,
    `shapes3d`, `dsprites` have them).

    Args:
      name: as tensorflow-datasets has it: `NAME`, `NAME/CONFIG`, `NAME:VERSION`.
      split: one that the data set has, or a part of one: `train`, `test`, `train[:10%]`.
      data_dir: where data sets are prepared; None is tensorflow-datasets' own default, usually ~/tensorflow_datasets.

    Raises:
      InputError: an unknown name or split, a data set that isn't prepared or can't be read, one without images of one
        size with 1 or 3 channels of 8 bits, or one larger than the machine's memory.
    """
    found = opened(name, split, data_dir)
    x, values = read(found)
    label, factors = targets(values)
    white = guessed_white(name, chain([x], elsewhere(found)))
    return arrays(name, x, None if label is None or label.max() < 0 else label, factors, white)


class Opened(NamedTuple):
    """A split of a data set.

    Fields:
      name, split: what the user calls them.
      builder: tensorflow-datasets' own object for the data set.
      records: the serialised examples by index.
      shape: of an image, as in `image_shape`.
      columns: the features that are integers to read: label and factors.
    """

    name: str
    split: str
    builder: Any
    records: Any
    shape: tuple[int | None, int | None, int]
    columns: list[str]


def opened(name: str, split: str, data_dir: str | os.PathLike[str] | None) -> Opened:
    """A split, before a record of it is read.

    Raises:
      InputError: as in `tfds`, for what can be told without reading a record.
    """
    check_text("name", name)
    check_text("split", split)
    check_folder(data_dir)
    builder = prepared(name, data_dir)
    features = dict(builder.info.features.items()) if hasattr(builder.info.features, "items") else {}
    shape = image_shape(name, features)
    columns = [key for key in sorted(features) if f"{key}_".startswith("label_") and integer(features[key])]
    records = raw_records(name, builder, split)
    if len(records) == 0:
        raise InputError(f"{shown(name)}: this split has no examples; choose a larger part")
    return Opened(name, split, builder, records, shape, columns)


def elsewhere(found: Opened) -> Iterator[UInt8[np.ndarray, "H W C"]]:
    """The images of all other splits of the data set, which have the same scale."""
    for split in found.builder.info.splits:
        if split != found.split:
            records = raw_records(found.name, found.builder, split)
            for start, features in blocks(found.name, records, block_of(found.shape, MOST)):
                for k, file in enumerate(files_of(found.name, features), start):
                    yield pillow(found.name, file, found.shape[-1], k)


def mark(found: Opened) -> str:
    """What tells the split from another of the same name: its version, its size, and a checksum of how files begin
    and end, where array_record keeps its own sums and where every record is.

    Raises:
      InputError: a file can't be read.
    """
    total, crc = 0, 0
    try:
        for part in found.builder.info.splits[found.split].file_instructions:
            with open(part.filename, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                for place in (0, max(0, size - ENDS)):
                    file.seek(place)
                    crc = zlib.crc32(file.read(ENDS), crc)
            total += size
            crc = zlib.crc32(repr((size, part.skip, part.take)).encode(), crc)
    except OSError as error:
        raise broken(found.name, reason(error)) from error
    where = f"{found.builder.info.full_name} {found.split}"
    return f"{where}: {len(found.records)} examples in {total} bytes, {crc:08x}"


def check_folder(data_dir: Any) -> None:
    """Nothing, for what can be the path of a folder, or None.

    Raises:
      InputError: something else.
    """
    if data_dir is not None and not isinstance(data_dir, str | os.PathLike):
        raise InputError(f"data_dir has to be the path of a folder, not {shortened(data_dir)}")


def broken(name: str, why: str) -> InputError:
    """The error for files that can't be read."""
    return InputError(f"{shown(name)}: its files are broken ({why}); prepare it again")


def targets(values: dict[str, np.ndarray]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Labels and factors, each None where there are none, from the values of the columns."""
    factors = [values[key] for key in values if key != "label"]
    return values.get("label"), np.stack(factors, axis=1) if factors else None


def integer(feature: Any) -> bool:
    """Whether a feature is one integer for each example."""
    return getattr(feature, "shape", None) == () and np.issubdtype(feature.np_dtype, np.integer)


def image_shape(name: str, features: dict[str, Any]) -> tuple[int | None, int | None, int]:
    """Height and width, None where the data set doesn't say, and channels of the feature `image`.

    Raises:
      InputError: there is no such feature, or its pixels aren't 1 or 3 bytes.
    """
    if "image" not in features:
        there = shown(", ".join(sorted(features)) or "none")
        raise InputError(f"{shown(name)} has no feature 'image'; it has: {there}")
    image = features["image"]
    shape = tuple(image.shape)
    if len(shape) != 3 or shape[-1] not in MODES or image.np_dtype != np.uint8:
        kind = np.dtype(image.np_dtype).name
        raise InputError(
            f"{shown(name)}: images of {kind} {shape} can't be read; they must be uint8 with 1 or 3 channels"
        )
    return shape


def prepared(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    """The tensorflow-datasets builder of a data set that is on this disk.

    Raises:
      InputError: it is unknown, or not prepared, or there is no such configuration or version.
    """
    import tensorflow_datasets as library

    known = library.list_builders(with_community_datasets=False)
    if not NAME.fullmatch(name):
        raise unknown(name, known)
    try:
        builder = library.builder(name, data_dir=data_dir)
        there = bool(builder.info.splits)
    except library.core.DatasetNotFoundError as error:
        raise unknown(name, known) from error
    except Exception as error:  # asserts, import errors and ValueErrors of the data set's own code
        raise InputError(
            f"{shown(name)}: tensorflow-datasets can't open it: {one_line(PREFIX.sub('', str(error)))}"
        ) from error
    if not there:
        folder = f" --data_dir={shown(data_dir)}" if data_dir else ""
        where = shown(os.path.dirname(os.fspath(builder.data_path)))
        raise InputError(f"{name} is not prepared in {where}; preparing it {HOW.format(name=name)}{folder}")
    return builder


def unknown(name: str, builders: Sequence[str]) -> InputError:
    """The error for a name that is neither a source of this package nor a data set, with the nearest that is."""
    near = difflib.get_close_matches(name[:60].split(":")[0].split("/")[0], [*RECORDS, *builders], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    choices = f"choose one of: {', '.join(RECORDS)}, or an image data set of tensorflow-datasets (mnist, cifar10, ...)"
    return InputError(f"unknown source {name[:60]!r}{hint} {choices}")


def raw_records(name: str, builder: Any, split: str) -> Any:
    """The examples of a split as serialised records, by index.

    Raises:
      InputError: there is no such split, or the files are of another format.
    """
    from tensorflow_datasets import decode

    try:
        return builder.as_data_source(split, deserialize_method=decode.DeserializeMethod.RAW_BYTES)
    except NotImplementedError as error:
        form, again = builder.info.file_format.value, HOW.format(name=name)
        raise InputError(
            f"{shown(name)} is prepared as {form}, not array_record; prepare it anew; it {again}"
        ) from error
    except Exception as error:
        splits = shown(", ".join(builder.info.splits))
        raise InputError(
            f"{shown(name)}: split {split[:60]!r} can't be read ({one_line(error)}); it has: {splits}"
        ) from error


def read(found: Opened) -> tuple[UInt8[np.ndarray, "N H W C"], dict[str, np.ndarray]]:
    """All images, and the values of these integer features; a progress bar shows if it takes long.

    Raises:
      InputError: images that can't be decoded or differ in size, or more of them than memory holds.
    """
    name, records, shape, columns = found.name, found.records, found.shape, found.columns
    total = len(records)
    x: np.ndarray | None = None
    values = {key: np.empty(total, np.int64) for key in columns}
    with tqdm(total=total, desc=f"reading {name}", unit="image", delay=PATIENCE, leave=False) as bar:
        for start, features in blocks(name, records, block_of(shape, MOST)):
            end = start + len(features)
            if x is None:
                x = room(name, total, size_of(name, features, shape))
            x[start:end] = images(name, features, x.shape[1:], range(start, end))
            for key in columns:
                values[key][start:end] = column(name, features, key)
            bar.update(end - start)
    assert x is not None
    return x, values


def blocks(name: str, records: Any, block: int) -> Iterator[tuple[int, list[Any]]]:
    """The parsed examples, `block` at a time, each time with the index of the first; errors as in `parsed`."""
    for start in range(0, len(records), block):
        yield start, parsed(name, records, range(start, min(start + block, len(records))))


def parsed(name: str, records: Any, index: Sequence[int]) -> list[Any]:
    """The features of these examples.

    Raises:
      InputError: a file is missing or broken.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    try:
        raw = records.__getitems__(list(index))
        if not all(raw):
            raise ValueError("some records are empty")  # what array_record gives beyond the end of a file
        examples = [tf_example_pb2.Example.FromString(record) for record in raw]  # pyright: ignore
    except Exception as error:
        raise broken(name, one_line(error)) from error
    return [example.features.feature for example in examples]


def column(name: str, features: Sequence[Any], key: str) -> Int[np.ndarray, " n"]:
    """The integer of this name in each example.

    Raises:
      InputError: an example without it.
    """
    try:
        return np.array([feature[key].int64_list.value[0] for feature in features], np.int64)
    except IndexError as error:
        raise broken(name, f"an example has no {key!r}") from error


def files_of(name: str, features: Sequence[Any]) -> list[bytes]:
    """The image of each example, encoded.

    Raises:
      InputError: an example without one.
    """
    try:
        return [feature["image"].bytes_list.value[0] for feature in features]
    except IndexError as error:
        raise broken(name, "an example has no 'image'") from error


def room(name: str, total: int, shape: tuple[int, int, int]) -> np.ndarray:
    """An empty array for so many images.

    Raises:
      InputError: it is larger than this machine's memory.
    """
    need, have = total * int(np.prod(shape)), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need > have:
        part = f"load a part of the split, such as 'train[:{100 * have // need // 2}%]'"
        raise InputError(f"{name} takes {need / 1e9:.1f} GB and this machine has {have / 1e9:.1f} GB; {part}")
    return np.empty((total, *shape), np.uint8)


def size_of(name: str, features: Sequence[Any], shape: tuple[int | None, int | None, int]) -> tuple[int, int, int]:
    """The shape of an image, from the first of these examples where the data set doesn't say."""
    height, width, channels = shape
    if height is None or width is None:
        height, width = pillow(name, files_of(name, features[:1])[0], channels, 0).shape[:2]
    return height, width, channels


def images(
    name: str, features: Sequence[Any], shape: tuple[int, int, int], index: Sequence[int]
) -> UInt8[np.ndarray, "n H W C"]:
    """The decoded images of these examples, whose numbers in the data set are `index`.

    Raises:
      InputError: one can't be decoded, or isn't of this shape.
    """
    files = files_of(name, features)
    found = [pillow(name, file, shape[-1], k) for k, file in zip(index, files, strict=True)]
    for k, image in zip(index, found, strict=True):
        if image.shape != shape:
            sizes = f"image 0 is {shape}, image {k} is {image.shape}"
            raise InputError(f"{shown(name)}: images differ in size ({sizes}); resize them to one and use npz:PATH")
    return np.stack(found)


def pillow(name: str, file: bytes, channels: int, index: int) -> UInt8[np.ndarray, "H W C"]:
    """One image of any format that Pillow reads.

    Raises:
      InputError: it can't be decoded.
    """
    try:
        with Image.open(io.BytesIO(file)) as image:
            return np.asarray(image.convert(MODES[channels])).reshape(image.height, image.width, channels)
    except Exception as error:  # every format's decoder raises its own
        raise InputError(
            f"{shown(name)}: image {index} can't be decoded ({one_line(error)}); prepare it again"
        ) from error
