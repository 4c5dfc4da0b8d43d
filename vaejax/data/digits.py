"""The handwritten digits that scikit-learn brings along: 1797 real 8x8 images, in seventeen grey levels."""

from typing import Any

import numpy as np

from vaejax.data.arrays import arrays, check_split
from vaejax.data.record import Named
from vaejax.data.source import Arrays

TRAIN = 1437  # of 1797; 360 are left for the test
WHITE = 16  # the value of a full pixel


def digits(split: str = "train") -> Arrays:
    """1437 images for training or 360 for testing, 8x8x1, with labels 0..9; the same ones every time.

    Raises:
      InputError: an unknown split.
    """
    from sklearn.datasets import load_digits

    check_split("digits", split)
    bunch: Any = load_digits()
    images, label = bunch["data"], bunch["target"]
    order = np.random.default_rng(0).permutation(len(label))
    chosen = order[:TRAIN] if split == "train" else order[TRAIN:]
    return arrays("digits", images[chosen].reshape(-1, 8, 8).astype(np.uint8), label[chosen], white=WHITE)


DIGITS = Named("digits", digits)
