"""Images of your own in one npz file, and the reading of npz files that may be broken.

The format, as `numpy.savez` or `numpy.savez_compressed` writes it:

| key | what |
|---|---|
| `x` (or `imgs`, `images`) | [N, H, W] or [N, H, W, C] with 1 or 3 channels: uint8 0..255, floats in [0, 1], or bool |
| `label` (or `labels`, `y`) | optional, [N] integers from 0 |
| `factors` | optional, [N, K] integers from 0 |
| `x_test`, `label_test`, `factors_test` | optional: the held-out split |

Without `x_test` the held-out split is every 10th image, from the first, and the others are for training.
uint8 images without a value above 1 are binary: 1 is white. Other keys are never read.
A file that `numpy.savez` wrote can also be left on the disk (`load(..., window=...)`); a compressed one can't.
"""

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int

from vaejax.data.arrays import check_split, checked, placed
from vaejax.data.source import Arrays, Data
from vaejax.errors import InputError

KEYS = {
    "x": ("x", "imgs", "images"),
    "label": ("label", "labels", "y"),
    "factors": ("factors",),
    "x_test": ("x_test",),
    "label_test": ("label_test",),
    "factors_test": ("factors_test",),
}
HELD_OUT = 10  # one image in so many, where the file has no test images


def npz(path: str, split: str = "train") -> Arrays:
    """The images of an npz file in the format above.

    Raises:
      InputError: an unknown split, a file that can't be read, or arrays that don't fit the format.
    """
    name = f"npz:{path}"
    check_split(name, split)
    found = read(path, KEYS, needed=("x",))
    whole = checked(name, found["x"], found.get("label"), found.get("factors"))
    if not own_test(name, found):
        return placed(name, part(name, whole, split))
    test = checked(f"{name} (test)", found["x_test"], found.get("label_test"), found.get("factors_test"))
    same_shape(name, whole["x"].shape, test["x"].shape)
    return placed(name, test if split == "test" else whole)


def own_test(name: str, found: Collection[str]) -> bool:
    """Whether the file has test images of its own, from the names of `KEYS` that it has.

    Raises:
      InputError: it has labels or factors for them, but no images.
    """
    if "x_test" not in found and ("label_test" in found or "factors_test" in found):
        raise InputError(f"{name} has 'label_test' or 'factors_test' but no 'x_test'; add the images or remove it")
    return "x_test" in found


def same_shape(name: str, train: tuple[int, ...], test: tuple[int, ...]) -> None:
    """Nothing, where images of these shapes [N, H, W, C] are of one size.

    Raises:
      InputError: they aren't.
    """
    if train[1:] != test[1:]:
        raise InputError(f"{name}: 'x_test' is {test[1:]} but 'x' {train[1:]}; make them equal")


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
        raise InputError(f"{name}: one image can't be split into train and test; give more, or 'x_test'")
    return np.flatnonzero((np.arange(size) % HELD_OUT == 0) == (split == "test"))


def read(path: str, keys: Mapping[str, tuple[str, ...]], needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays of an npz file by the names of `keys`; pickled objects are never loaded.

    The arguments are those of `members`.

    Raises:
      InputError: as in `members` and `member`.
    """
    file, present = members(path, keys, needed)
    return {name: member(file, key) for name, key in present.items()}


def members(path: str, keys: Mapping[str, tuple[str, ...]], needed: tuple[str, ...]) -> tuple[Path, dict[str, str]]:
    """An npz file, and for each name the first of its keys that the file has, if any.

    Args:
      path: the file; `~` is the home folder.
      keys: the keys to look for, by the name that the caller has for them.
      needed: the names that must be there.

    Raises:
      InputError: no such file, a folder, not an npz file, a missing array.
    """
    file = Path(path).expanduser()
    if not path:
        raise InputError("no file given; put its path behind the colon, as in npz:images.npz")
    if not file.exists():
        raise InputError(f"{path}: no such file; check the path")
    if not file.is_file():
        raise InputError(f"{path} is a folder or device; give the path of an npz file")
    try:
        with zipfile.ZipFile(file) as archive:
            there = {Path(member).stem for member in archive.namelist() if member.endswith(".npy")}
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as npz ({one_line(error)}); write it with numpy.savez") from error
    present = {name: next((key for key in names if key in there), None) for name, names in keys.items()}
    for name in needed:
        if present[name] is None:
            wanted = " or ".join(repr(key) for key in keys[name])
            raise InputError(f"{path} has no array {wanted}; it has: {', '.join(sorted(there)) or 'none'}")
    return file, {name: key for name, key in present.items() if key is not None}


def member(file: Path, key: str) -> np.ndarray:
    """One array of an npz file.

    Raises:
      InputError: it is corrupt, or holds pickled objects.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            found = archive[key]
    except Exception as error:  # zipfile, zlib, numpy and tokenize each raise their own for a broken member
        if "allow_pickle" in str(error):
            raise InputError(f"{file}: {key!r} holds pickled objects, which are not read; save numbers") from error
        raise InputError(f"{file}: {key!r} is corrupt ({one_line(error)}); copy or write the file again") from error
    if not isinstance(found, np.ndarray):
        raise InputError(f"{file}: {key!r} is corrupt (no array); copy or write the file again")
    return found


def one_line(error: Exception) -> str:
    """What an error says, or else its type, on one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__
