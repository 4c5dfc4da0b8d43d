"""What every metric of codes and factors asks of its input, and how factor values are numbered."""

import numpy as np
from jaxtyping import Float, Int

from vaejax.errors import InputError

Codes = Float[np.ndarray, "N D"]
Values = Int[np.ndarray, "N K"]


def check(name: str, z: Float[np.ndarray, "N D"], factors: Int[np.ndarray, "N K"]) -> tuple[Codes, Values]:
    """The codes, and the factors that vary, with their values numbered 0, 1, ... in their order.

    Args:
      name: of the metric, for the messages.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, factors that are no integers or all constant.
    """
    z, factors = _pair(name, z, factors)
    varying = _varying(name, factors)
    return z, numbered(factors[:, varying])


def check_pair(
    name: str,
    z: Float[np.ndarray, "N D"],
    factors: Int[np.ndarray, "N K"],
    z_test: Float[np.ndarray, "M D"],
    factors_test: Int[np.ndarray, "M K"],
) -> tuple[Codes, Values, Codes, Values]:
    """`check` of a training and a test set: one numbering of the values found in either.

    A factor that doesn't vary in the training set is left out of both.

    Raises:
      InputError: as `check` of either set, or the two have other numbers of codes or factors.
    """
    z, factors = _pair(name, z, factors)
    z_test, factors_test = _pair(f"{name}'s test set", z_test, factors_test)
    if z.shape[1] != z_test.shape[1] or factors.shape[1] != factors_test.shape[1]:
        raise InputError(
            f"{name} takes a test set with as many codes and factors as the training set ({z.shape[1]} and "
            f"{factors.shape[1]}), not {z_test.shape[1]} and {factors_test.shape[1]}"
        )
    varying = _varying(name, factors)
    both = numbered(np.concatenate([factors, factors_test])[:, varying])
    return z, both[: len(z)], z_test, both[len(z) :]


def check_codes(name: str, z: Float[np.ndarray, "N D"]) -> Codes:
    """The codes of a metric that takes no factors.

    Raises:
      InputError: another shape than [N, D] with N and D at least 1, or codes that are not finite.
    """
    z = np.asarray(z)
    if z.ndim != 2 or 0 in z.shape:
        raise InputError(f"{name} takes codes [N, D] with at least one row and one column, not {z.shape}")
    if z.dtype.kind not in "fiub":
        raise InputError(f"{name} takes codes that are numbers, not {z.dtype}")
    with np.errstate(over="ignore"):  # what overflows is infinite in the float32 that metrics compute in
        narrow = z.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise InputError(f"{name} takes finite codes, but some are NaN or infinite; did the run diverge?")
    return z if z.dtype.kind == "f" else narrow


def numbered(factors: Int[np.ndarray, "N K"]) -> Values:
    """Each factor's values as 0, 1, ... in their order."""
    columns = [np.unique(column, return_inverse=True)[1] for column in factors.T]
    return np.stack(columns, axis=1).astype(np.int32)


def _pair(name: str, z: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z, factors = np.asarray(z), np.asarray(factors)
    if z.ndim != 2 or factors.ndim != 2 or len(z) != len(factors) or 0 in z.shape or 0 in factors.shape:
        raise InputError(f"{name} takes codes [N, D] and factors [N, K] with one N, not {z.shape} and {factors.shape}")
    if factors.dtype.kind not in "iub":
        raise InputError(
            f"{name} takes factors that are integers, the numbers of their values, not {factors.dtype}; "
            "numpy.unique(values, return_inverse=True) numbers them"
        )
    return check_codes(name, z), factors


def _varying(name: str, factors: np.ndarray) -> np.ndarray:
    varying = (factors != factors[:1]).any(axis=0)
    if not varying.any():
        raise InputError(f"{name} needs at least one factor that varies")
    return varying
