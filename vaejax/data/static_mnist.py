"""Statically binarised MNIST: one fixed draw of black and white digits, by which many papers report likelihoods.

Larochelle & Murray 2011, "The Neural Autoregressive Distribution Estimator": 50,000 images for training, 10,000 for
validation and 10,000 for testing, without labels, in three files of one folder: `binarized_mnist_train.amat`,
`binarized_mnist_valid.amat` and `binarized_mnist_test.amat`. A file is text, an image a line of 784 zeros and ones
with blanks between them, as it was published, or a MATLAB file that holds the same matrix.
"""

import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from vaejax.data.arrays import arrays
from vaejax.data.paths import expanded, one_line, reason, shown
from vaejax.data.record import Named
from vaejax.data.source import Arrays
from vaejax.errors import InputError, choose

SIDE = 28
SPLITS = {"train": "train", "valid": "valid", "test": "test"}
MATLAB = b"MATLAB"  # how a file of version 5 begins
BLANKS = b" \t\r\n"


def static_mnist(folder: str, split: str = "train") -> Arrays:
    """The images of a split (`train`, `valid` or `test`), 28x28x1 in {0, 1}.

    Raises:
      InputError: an unknown split, no folder, a file that is missing or can't be read, or that holds anything else
        than rows of 784 zeros and ones.
    """
    part = choose(SPLITS, split, "split of static_mnist")
    file = expanded(folder, "folder", "static_mnist:DIR") / f"binarized_mnist_{part}.amat"
    try:
        raw = file.read_bytes()
    except (OSError, ValueError) as error:  # missing, locked, a path that can't be
        raise InputError(
            f"{shown(file)} can't be read ({reason(error)}); give the folder that has this file"
        ) from error
    rows = matlab(file, raw) if raw.startswith(MATLAB) else text(file, raw)
    return arrays(f"static_mnist:{folder}", rows.reshape(-1, SIDE, SIDE), white=1.0)


def matlab(file: Path, raw: bytes) -> UInt8[np.ndarray, "N 784"]:
    """The one matrix of a MATLAB file.

    Raises:
      InputError: the file is corrupt, or holds something else.
    """
    from scipy.io import loadmat

    try:
        found = [value for key, value in loadmat(io.BytesIO(raw)).items() if not key.startswith("__")]
    except Exception as error:  # zlib, scipy and numpy each raise their own for a broken file
        raise InputError(f"{shown(file)} is corrupt ({one_line(error)}); copy it again") from error
    rows: np.ndarray = found[0] if len(found) == 1 else np.zeros(0)
    binary = rows.dtype.kind in "buif" and ((rows == 0) | (rows == 1)).all()
    if rows.ndim != 2 or rows.shape[1] != SIDE**2 or not len(rows) or not binary:
        raise unfit(file)
    return rows.astype(np.uint8)


def text(file: Path, raw: bytes) -> UInt8[np.ndarray, "N 784"]:
    """Lines of zeros and ones, without a Python object for each of the 39 million.

    Raises:
      InputError: the file holds something else.
    """
    characters = np.frombuffer(raw + b"\n", np.uint8)
    digit = (characters == ord("0")) | (characters == ord("1"))
    blank = np.isin(characters, np.frombuffer(BLANKS, np.uint8))
    ends = np.cumsum(digit)[characters == ord("\n")]  # digits up to the end of every line
    if not (digit | blank).all() or (digit[1:] & digit[:-1]).any() or not ends[-1] or (ends % SIDE**2).any():
        raise unfit(file)
    return (characters[digit] - ord("0")).reshape(-1, SIDE**2)


def unfit(file: Path) -> InputError:
    """The error for a file that could be read, but isn't what it should be."""
    return InputError(f"{shown(file)} doesn't hold rows of {SIDE**2} zeros and ones; copy the file again")


STATIC_MNIST = Named("static_mnist:DIR", static_mnist)
