"""Small tables that scikit-learn brings along: real measurements, standardised by their training rows.

| name | rows | columns | label |
|---|---|---|---|
| `iris` | 150 | 4 | three species |
| `wine` | 178 | 13 | three growers |
| `breast_cancer` | 569 | 30 | malignant or benign |
| `diabetes` | 442 | 10, of which sex is a category | none: its target is a number and is left out |

Every 10th row, in an order that is shuffled once and for all, is for the test: the sets are sorted by their labels.
"""

from typing import Any

import numpy as np

from vaejax.data.arrays import check_split
from vaejax.data.record import Named
from vaejax.data.source import Arrays
from vaejax.data.table import table
from vaejax.method import Kind


def iris(split: str = "train") -> Arrays:
    """Fisher's irises: lengths and widths of sepals and petals in cm.

    Raises:
      InputError: an unknown split.
    """
    from sklearn.datasets import load_iris

    return _labelled("iris", split, load_iris)


def wine(split: str = "train") -> Arrays:
    """Chemical analyses of wines of three growers.

    Raises:
      InputError: an unknown split.
    """
    from sklearn.datasets import load_wine

    return _labelled("wine", split, load_wine)


def breast_cancer(split: str = "train") -> Arrays:
    """Shapes of cell nuclei in images of tumours (Wisconsin).

    Raises:
      InputError: an unknown split.
    """
    from sklearn.datasets import load_breast_cancer

    return _labelled("breast_cancer", split, load_breast_cancer)


def diabetes(split: str = "train") -> Arrays:
    """Age, sex, body mass index, blood pressure and six blood values of patients, without the target.

    Raises:
      InputError: an unknown split.
    """
    from sklearn.datasets import load_diabetes

    check_split("diabetes", split)
    frame = _shuffled(load_diabetes(as_frame=True, scaled=False)["data"])  # pyright: ignore
    kinds: dict[str, Kind] = {column: "category" if column == "sex" else "real" for column in frame}
    return table(frame, split, kinds=kinds, name="diabetes")


def _labelled(name: str, split: str, read: Any) -> Arrays:
    """One of the sets with classes, whose columns are all real."""
    check_split(name, split)
    bunch = read(as_frame=True)
    names = np.asarray(bunch["target_names"]).astype(object)
    frame = _shuffled(bunch["data"].assign(target=names[bunch["target"]]))
    return table(frame, split, "target", {column: "real" for column in bunch["data"]}, name=name)


def _shuffled(frame: Any) -> Any:
    return frame.iloc[np.random.default_rng(0).permutation(len(frame))]


IRIS = Named("iris", iris)
WINE = Named("wine", wine)
BREAST_CANCER = Named("breast_cancer", breast_cancer)
DIABETES = Named("diabetes", diabetes)
