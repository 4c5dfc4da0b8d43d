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
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

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
    if "x_test" not in found:
        if "label_test" in found or "factors_test" in found:
            raise InputError(f"{name} has 'label_test' or 'factors_test' but no 'x_test'; add the images or remove it")
        return placed(name, part(name, whole, split))
    test = checked(f"{name} (test)", found["x_test"], found.get("label_test"), found.get("factors_test"))
    if test["x"].shape[1:] != whole["x"].shape[1:]:
        raise InputError(f"{name}: 'x_test' is {test['x'].shape[1:]} but 'x' {whole['x'].shape[1:]}; make them equal")
    return placed(name, test if split == "test" else whole)


def part(name: str, data: Data, split: str) -> Data:
    """Every 10th image, from the first, for split test; the others for train.

    Raises:
      InputError: fewer than two images.
    """
    size = len(data["x"])
    if size < 2:
        raise InputError(f"{name}: one image can't be split into train and test; give more, or 'x_test'")
    chosen = (np.arange(size) % HELD_OUT == 0) == (split == "test")
    return {key: value if key == "scale" else value[chosen] for key, value in data.items()}


def read(path: str, keys: Mapping[str, tuple[str, ...]], needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays of an npz file, each under the first of its keys that the file has; pickled objects are never loaded.

    Args:
      path: the file; `~` is the home folder.
      keys: the keys to look for, by the name to return the array under.
      needed: the names that must be there.

    Raises:
      InputError: no such file, a folder, not an npz file, a missing array, a corrupt or pickled one.
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
            members = {Path(member).stem for member in archive.namelist() if member.endswith(".npy")}
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as npz ({one_line(error)}); write it with numpy.savez") from error
    present = {name: next((key for key in names if key in members), None) for name, names in keys.items()}
    for name in needed:
        if present[name] is None:
            wanted = " or ".join(repr(key) for key in keys[name])
            raise InputError(f"{path} has no array {wanted}; it has: {', '.join(sorted(members)) or 'none'}")
    return {name: member(file, key) for name, key in present.items() if key is not None}


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
