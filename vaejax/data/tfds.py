"""The image data sets of tensorflow-datasets, read without TensorFlow once they are prepared.

Preparing one (downloading it and writing it as array_record files) does need TensorFlow; see `HOW`. `tfds.data_source`
would try to prepare a missing data set, so this asks for a builder instead, and takes raw records: its own decoding
costs a millisecond an image, and its undecoded form imports TensorFlow.
"""

import difflib
import io
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from vaejax.data.arrays import arrays
from vaejax.data.npz import one_line
from vaejax.data.source import Arrays
from vaejax.errors import InputError

HOW = "needs TensorFlow, once: pip install 'vaejax[tfds-prepare]', then: tfds build {name} --file_format=array_record"
DRAWN = ("sprites", "color_sprites", "noisy_sprites", "shapes3d", "rectangles")
OWN = (*DRAWN, "digits", "dsprites:PATH.npz", "npz:PATH", "static_mnist:DIR")
NAME = re.compile(r"[A-Za-z]\w*(/[\w.,=+-]+)*(:[\d.*]+)?")  # NAME, NAME/CONFIG, NAME:VERSION; no other hosts
BLOCK = 2**24  # pixels read and decoded together, in at most MOST images
MOST = 16384
PATIENCE = 3.0  # seconds before a progress bar shows
MODES = {1: "L", 3: "RGB"}  # what Pillow calls a number of channels


def tfds(name: str, split: str = "train", data_dir: str | None = None) -> Arrays:
    """The feature `image` of a tensorflow-datasets data set, with its labels.

    Batches have the integer feature `label` where there is one (not where some images are unlabelled, which is -1),
    and as factors the integer features `label_*` in alphabetical order (`smallnorb`, `shapes3d`, `dsprites` have them).

    Args:
      name: as tensorflow-datasets has it: `NAME`, `NAME/CONFIG`, `NAME:VERSION`.
      split: one that the data set has, or a part of one: `train`, `test`, `train[:10%]`.
      data_dir: where data sets are prepared; None is tensorflow-datasets' own default, usually ~/tensorflow_datasets.

    Raises:
      InputError: an unknown name or split, a data set that isn't prepared or can't be read, one without images of one
        size with 1 or 3 channels of 8 bits, or one larger than the machine's memory.
    """
    records, shape, columns = opened(name, split, data_dir)
    x, values = read(name, records, shape, columns)
    label, factors = targets(values)
    return arrays(name, x, None if label is None or label.min() < 0 else label, factors)


def opened(name: str, split: str, data_dir: str | None) -> tuple[Any, tuple[int | None, int | None, int], list[str]]:
    """The records of a split by index, the shape of an image as in `image_shape`, and the columns of integers to read.

    Raises:
      InputError: as in `tfds`, for what can be told without reading a record.
    """
    builder = prepared(name, data_dir)
    features = dict(builder.info.features.items()) if hasattr(builder.info.features, "items") else {}
    shape = image_shape(name, features)
    columns = [key for key in sorted(features) if f"{key}_".startswith("label_") and integer(features[key])]
    records = raw_records(name, builder, split)
    if len(records) == 0:
        raise InputError(f"{name}: this split has no examples; choose a larger part")
    return records, shape, columns


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
        raise InputError(f"{name} has no feature 'image'; it has: {', '.join(sorted(features)) or 'none'}")
    image = features["image"]
    shape = tuple(image.shape)
    if len(shape) != 3 or shape[-1] not in MODES or image.np_dtype != np.uint8:
        kind = np.dtype(image.np_dtype).name
        raise InputError(f"{name}: images of {kind} {shape} can't be read; they must be uint8 with 1 or 3 channels")
    return shape


def prepared(name: str, data_dir: str | None) -> Any:
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
    except library.core.DatasetNotFoundError as error:
        raise unknown(name, known) from error
    except Exception as error:  # asserts, import errors and ValueErrors of the data set's own code
        raise InputError(f"{name}: tensorflow-datasets can't open it: {one_line(error)}") from error
    if not builder.info.splits:
        folder = f" --data_dir={data_dir}" if data_dir else ""
        where = os.path.dirname(os.fspath(builder.data_path))
        raise InputError(f"{name} is not prepared in {where}; preparing it {HOW.format(name=name)}{folder}")
    return builder


def unknown(name: str, builders: Sequence[str]) -> InputError:
    """The error for a name that is neither a source of this package nor a data set, with the nearest that is."""
    near = difflib.get_close_matches(name.split(":")[0].split("/")[0], [*OWN, *builders], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    choices = f"choose one of: {', '.join(OWN)}, or an image data set of tensorflow-datasets (mnist, cifar10, ...)"
    return InputError(f"unknown source {name!r}{hint} {choices}")


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
        raise InputError(f"{name} is prepared as {form}, not array_record; prepare it anew; it {again}") from error
    except Exception as error:
        splits = ", ".join(builder.info.splits)
        raise InputError(f"{name}: split {split!r} can't be read ({one_line(error)}); it has: {splits}") from error


def read(
    name: str, records: Any, shape: tuple[int | None, int | None, int], columns: Sequence[str]
) -> tuple[UInt8[np.ndarray, "N H W C"], dict[str, np.ndarray]]:
    """All images, and the values of these integer features; a progress bar shows if it takes long.

    Raises:
      InputError: images that can't be decoded or differ in size, or more of them than memory holds.
    """
    total = len(records)
    x: np.ndarray | None = None
    values = {key: np.empty(total, np.int64) for key in columns}
    with tqdm(total=total, desc=f"reading {name}", unit="image", delay=PATIENCE, leave=False) as bar:
        for start, features in blocks(name, records, block_of(shape)):
            end = start + len(features)
            if x is None:
                x = room(name, total, size_of(name, features[0], shape))
            x[start:end] = images(name, features, x.shape[1:], range(start, end))
            for key in columns:
                values[key][start:end] = column(features, key)
            bar.update(end - start)
    assert x is not None
    return x, values


def block_of(shape: tuple[int | None, int | None, int]) -> int:
    """How many images of this shape to read together; few where their size isn't known."""
    height, width, channels = shape
    return max(1, min(MOST, BLOCK // ((height or 512) * (width or 512) * channels)))


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
        raise InputError(f"{name}: its files are broken ({one_line(error)}); prepare it again") from error
    return [example.features.feature for example in examples]


def column(features: Sequence[Any], key: str) -> Int[np.ndarray, " n"]:
    """The integer of this name in each example."""
    return np.array([feature[key].int64_list.value[0] for feature in features], np.int64)


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


def size_of(name: str, first: Any, shape: tuple[int | None, int | None, int]) -> tuple[int, int, int]:
    """The shape of an image, from the first example where the data set doesn't say."""
    height, width, channels = shape
    if height is None or width is None:
        height, width = pillow(name, first["image"].bytes_list.value[0], channels, 0).shape[:2]
    return height, width, channels


def images(
    name: str, features: Sequence[Any], shape: tuple[int, int, int], index: Sequence[int]
) -> UInt8[np.ndarray, "n H W C"]:
    """The decoded images of these examples, whose numbers in the data set are `index`.

    Raises:
      InputError: one can't be decoded, or isn't of this shape.
    """
    files = [feature["image"].bytes_list.value[0] for feature in features]
    found = [pillow(name, file, shape[-1], k) for k, file in zip(index, files, strict=True)]
    for k, image in zip(index, found, strict=True):
        if image.shape != shape:
            sizes = f"image 0 is {shape}, image {k} is {image.shape}"
            raise InputError(f"{name}: images differ in size ({sizes}); resize them to one and use npz:PATH")
    return np.stack(found)


def pillow(name: str, file: bytes, channels: int, index: int) -> UInt8[np.ndarray, "H W C"]:
    """One image of any format that Pillow reads.

    Raises:
      InputError: it can't be decoded.
    """
    try:
        with Image.open(io.BytesIO(file)) as image:
            return np.asarray(image.convert(MODES[channels])).reshape(image.height, image.width, channels)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{name}: image {index} can't be decoded ({one_line(error)}); prepare it again") from error
