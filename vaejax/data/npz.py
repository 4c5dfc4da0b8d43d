"""Images of your own in one npz file, and the reading of npz files that may be broken.

The format, as `numpy.savez` or `numpy.savez_compressed` writes it:

| key | what |
|---|---|
| `x` (or `imgs`, `images`) | [N, H, W] or [N, H, W, C] with 1 or 3 channels: uint8 0..255, floats in [0, 1], or bool |
| `label` (or `labels`, `y`) | optional, [N] integers from 0, or -1 for an image without a label |
| `factors` | optional, [N, K] integers from 0 |
| `x` | or vectors [N, D]: floats are `real` (NaN is missing), whole numbers from 0 `count`, bools `unit` |
| `kind`, `levels` | optional, of vectors: text, one or D of them; numbers of categories (see `vaejax.data.vectors`) |
| `mask`, `mask_test` | optional, of vectors: bool [N, D], False where a value is missing |
| `indptr`, `indices`, `data`, `shape` | in the place of `x`: counts [N, D] as `scipy.sparse.save_npz` writes CSR |
| `white` | optional, of images in whole numbers: the value of a full pixel, up to 65535 |
| `x_test`, `label_test`, `factors_test` | optional: the held-out split |

Without `x_test` the held-out split is every 10th image, from the first, and the others are for training.
Whole numbers without a value above 1, in `x` and in `x_test`, are binary: 1 is white. With one, 255 is white in both;
the logger "vaejax" says which was taken (INFO). Floats are clipped where they leave [0, 1] by rounding, up to 1e-6.
Other keys are never read.
A file that `numpy.savez` wrote can also be left on the disk (`load(..., window=...)`); a compressed one can't.
"""

import os
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Int

from vaejax.data.arrays import DEEPEST, array_of, check_split, checked, guessed_white, placed, shaped, targets
from vaejax.data.paths import one_line, reason, regular_file, shown
from vaejax.data.source import Arrays, Data
from vaejax.data.sparse import ADVICE, PARTS, checked_rows, size_of, sparse
from vaejax.data.vectors import checked_vectors
from vaejax.errors import InputError, shortened

KEYS = {
    "x": ("x", "imgs", "images"),
    "label": ("label", "labels", "y"),
    "factors": ("factors",),
    "x_test": ("x_test",),
    "label_test": ("label_test",),
    "factors_test": ("factors_test",),
    "mask": ("mask",),
    "mask_test": ("mask_test",),
    "kind": ("kind",),
    "levels": ("levels",),
    "white": ("white",),
}
SPARSE = {key: (key,) for part in PARTS for key in (part, f"{part}_test")} | {"format": ("format",)}
HELD_OUT = 10  # one image in so many, where the file has no test images


def npz(path: str, split: str = "train", name: str | None = None) -> Arrays:
    """The images of an npz file in the format above.

    Raises:
      InputError: an unknown split, a file that can't be read, or arrays that don't fit the format.
    """
    name = name or f"npz:{path}"
    check_split(name, split)
    if is_sparse(path):
        return _sparse(name, path, split)
    found = read(path, KEYS, needed=("x",))
    own = own_test(name, found)
    if found["x"].ndim == 2:
        return _vectors(name, found, own, split)
    images = {key: shaped(found[key], images_of(name, key)) for key in ("x", "x_test") if key in found}
    whole_numbers = [x for x in images.values() if x.dtype.kind in "ui"]
    white = full_pixel(name, found.get("white"))
    white = guessed_white(name, whole_numbers) if whole_numbers and white is None else white

    def data(key: str, label: str, factors: str) -> Data:
        known = white if images[key].dtype.kind in "ui" else None
        return checked(title(name, key), images[key], found.get(label), found.get(factors), known)

    whole = data("x", "label", "factors")
    if not own:
        return placed(name, part(name, whole, split))
    test = data("x_test", "label_test", "factors_test")
    same_shape(name, whole["x"].shape, test["x"].shape)
    return placed(name, test if split == "test" else whole)


def _vectors(name: str, found: Mapping[str, np.ndarray], own: bool, split: str) -> Arrays:
    """Vectors x [N, D], of one kind in both splits.

    Raises:
      InputError: as `checked_vectors`, or test vectors of another length.
    """
    parts = [found[key] for key in ("x", "x_test") if key in found]
    if own and (parts[1].ndim != 2 or parts[0].shape[1:] != parts[1].shape[1:]):
        raise InputError(
            f"{shown(name)}: 'x_test' is {parts[1].shape} but 'x' {parts[0].shape}; make their columns equal"
        )
    masks = [found[key] for key in ("mask", "mask_test") if key in found]
    if masks and len(masks) != len(parts):
        raise InputError(f"{shown(name)} has a mask for one of 'x' and 'x_test' only; add the other")
    kind: Any = [str(value) for value in np.ravel(found["kind"])] if "kind" in found else None
    kind = kind[0] if kind is not None and len(kind) == 1 else kind
    levels: Any = [int(value) for value in np.ravel(found["levels"])] if "levels" in found else None
    levels = levels[0] if levels is not None and len(levels) == 1 else levels
    whole: Any = array_of(np.concatenate(parts), f"{shown(name)}: x")
    given = np.concatenate(masks) if masks else None
    first = len(parts[0])
    data, space = checked_vectors(name, whole, kind, levels, given, first=first)
    rows = np.arange(first, len(whole)) if own and split == "test" else np.arange(first)
    rows = rows if own else chosen(name, first, split)
    suffix = "_test" if own and split == "test" else ""
    data = {key: value if key == "scale" else value[rows] for key, value in data.items()}
    here = {key: found.get(key + suffix) for key in ("label", "factors")}
    if not own:
        here = {key: None if value is None else np.asarray(value)[:first][rows] for key, value in here.items()}
    return placed(name, data | targets(name, len(rows), here["label"], here["factors"]), space)


def full_pixel(name: str, white: np.ndarray | None) -> float | None:
    """What the file says a full pixel is, if it does.

    Raises:
      InputError: something that can be none.
    """
    if white is None:
        return None
    if white.dtype.kind not in "ui" or white.ndim or not 1 <= white <= DEEPEST:
        raise InputError(
            f"{shown(name)}: 'white' has to be a whole number from 1 to {DEEPEST:,}, not {shortened(white.tolist())}"
        )
    return float(white)


def is_sparse(path: str) -> bool:
    """Whether the file holds a sparse matrix; errors as in `members`."""
    _, there = members(path, {"x": KEYS["x"], **SPARSE}, needed=())
    return "x" not in there and bool({"indptr", "format"} & set(there))


def _sparse(name: str, path: str, split: str) -> Arrays:
    """The counts of a CSR matrix.

    Raises:
      InputError: as `checked_rows`, or a matrix of another format, or test rows of another length.
    """
    found = read(path, {**SPARSE, **KEYS}, needed=())
    form = str(found["format"].astype(str)) if "format" in found and found["format"].ndim == 0 else "csr"
    if form != "csr":
        raise InputError(f"{shown(name)} holds a matrix of the format {form[:20]!r}; save matrix.tocsr()")
    own = "indptr_test" in found
    suffix = "_test" if own and split == "test" else ""
    for part in [part + end for end in ("", *(["_test"] if own else [])) for part in PARTS]:
        if part not in found:
            raise InputError(f"{shown(name)} has no {part!r}, which belongs to a CSR matrix; {ADVICE}")
    count, columns = size_of(name, found)
    if own and size_of(name, {"shape": found["shape_test"]})[1] != columns:
        raise InputError(f"{shown(name)}: the test has other columns than the {columns} to train on; make them equal")
    here = {part: found[part + suffix] for part in PARTS}
    count = size_of(name, here)[0]
    rows = np.ones(count, bool)
    if not own:
        rows = np.isin(np.arange(count), chosen(name, count, split))
    known = targets(name, count, found.get(f"label{suffix}"), found.get(f"factors{suffix}"))
    data = checked_rows(f"{name} (test)" if suffix else name, here, rows)
    return sparse(name, data | {key: value[rows] for key, value in known.items()}, columns)


def title(name: str, key: str) -> str:
    """What messages call the arrays that belong to these images."""
    return f"{name} (test)" if key == "x_test" else name


def images_of(name: str, key: str) -> str:
    """What messages call these images."""
    return f"{shown(title(name, key))}: images"


def own_test(name: str, found: Collection[str]) -> bool:
    """Whether the file has test images of its own, from the names of `KEYS` that it has.

    Raises:
      InputError: it has labels or factors for them, but no images.
    """
    if "x_test" not in found and ("label_test" in found or "factors_test" in found):
        raise InputError(f"{shown(name)} has 'label_test' or 'factors_test' but no 'x_test'; add it or remove them")
    return "x_test" in found


def same_shape(name: str, train: tuple[int, ...], test: tuple[int, ...]) -> None:
    """Nothing, where images of these shapes [N, H, W, C] are of one size.

    Raises:
      InputError: they aren't.
    """
    if train[1:] != test[1:]:
        raise InputError(f"{shown(name)}: 'x_test' is {test[1:]} but 'x' {train[1:]}; make them equal")


def part(name: str, data: Data, split: str) -> Data:
    """Every 10th image, from the first, for split test; the others for train; errors as in `chosen`."""
    rows = chosen(name, len(data["x"]), split)
    return {key: value if key == "scale" else value[rows] for key, value in data.items()}


def chosen(name: str, size: int, split: str) -> Int[np.ndarray, " n"]:
    """The images of `part`, of so many.

    Raises:
      InputError: fewer than two images.
    """
    if size < 2:
        raise InputError(f"{shown(name)}: one image can't be split into train and test; give more, or 'x_test'")
    return np.flatnonzero((np.arange(size) % HELD_OUT == 0) == (split == "test"))


def read(path: str, keys: Mapping[str, tuple[str, ...]], needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays of an npz file by the names of `keys`; pickled objects are never loaded.

    The arguments are those of `members`.

    Raises:
      InputError: as in `members` and `member`.
    """
    file, present = members(path, keys, needed)
    return {name: member(file, info) for name, info in present.items()}


def members(
    path: str, keys: Mapping[str, tuple[str, ...]], needed: tuple[str, ...]
) -> tuple[Path, dict[str, zipfile.ZipInfo]]:
    """An npz file, and for each name the entry of the first of its keys that the file has, if any.

    Args:
      path: the file; `~` is the home folder.
      keys: the keys to look for, by the name that the caller has for them.
      needed: the names that must be there.

    Raises:
      InputError: no such file, a folder, one that may not be read, not an npz file, a missing array.
    """
    file = regular_file(path, "npz:images.npz")
    try:
        with open(file, "rb") as raw:
            there = entries(path, raw)
    except OSError as error:
        raise InputError(f"{shown(path)} can't be read ({reason(error)}); check the file and its folder") from error
    present = {name: next((there[key] for key in names if key in there), None) for name, names in keys.items()}
    for name in needed:
        if present[name] is None:
            wanted = " or ".join(repr(key) for key in keys[name])
            raise InputError(
                f"{shown(path)} has no array {wanted}; it has: {shown(', '.join(sorted(there)) or 'none')}"
            )
    return file, {name: info for name, info in present.items() if info is not None}


def entries(path: str, raw: IO[bytes]) -> dict[str, zipfile.ZipInfo]:
    """What the directory of an npz file says of its arrays, by their keys.

    Raises:
      InputError: it is empty or no npz file.
    """
    try:
        with zipfile.ZipFile(raw) as archive:
            infos = archive.infolist()
    except Exception as error:  # a broken directory raises whatever its fields lead to
        found = one_line(error) if raw.seek(0, os.SEEK_END) else "it is empty"
        raise InputError(f"{shown(path)} can't be read as npz ({found}); write it with numpy.savez") from error
    return {info.filename.removesuffix(".npy"): info for info in infos if info.filename.endswith(".npy")}


def member(file: Path, info: zipfile.ZipInfo) -> np.ndarray:
    """One array of an npz file.

    Raises:
      InputError: it is corrupt, or holds pickled objects.
    """
    key = info.filename.removesuffix(".npy")
    try:
        with np.load(file, allow_pickle=False) as archive:
            found = archive[key]
    except Exception as error:  # zipfile, zlib, numpy and tokenize each raise their own for a broken member
        raise (pickled(file, key) if "allow_pickle" in str(error) else corrupt(file, key, one_line(error))) from error
    if not isinstance(found, np.ndarray):
        raise corrupt(file, key, "no array")
    return found


def corrupt(file: Path, key: str, why: str) -> InputError:
    """The error for an array that can't be read."""
    return InputError(f"{shown(file)}: {key!r} is corrupt ({why}); copy or write the file again")


def pickled(file: Path, key: str) -> InputError:
    """The error for an array that only pickle could read, which might run a program."""
    return InputError(f"{shown(file)}: {key!r} holds pickled objects, which are not read; save numbers")
