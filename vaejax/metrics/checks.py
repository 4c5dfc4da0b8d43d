"""What every metric of codes and factors asks of its input, how factor values are numbered, and codes for float32.

Metrics compute in float32, which has 7 digits and ends at 3e38. So `relative` takes the offset and the scale off codes
first, in float64 on the host: what a metric doesn't depend on can't spoil it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float, Int

from vaejax.data.source import Arrays, Factors, Streamed
from vaejax.errors import InputError, check_sizes, is_masked, shortened

Codes = Float[np.ndarray, "N D"]
Values = Int[np.ndarray, "N K"]
LARGEST = float(np.finfo(np.float32).max)
WIDEST, HIGHEST = 1e9, 1e18  # a standard deviation and a code of `near_zero`
ROUNDING = {4: 1e-6, 8: 1e-13}  # of float32 and float64: what it leaves of a code that is a linear function of others
FARTHEST = 1e15  # units from the centre; codes of a test set that lie beyond are put there


def check(name: str, z: Float[np.ndarray, "N D"], factors: Int[np.ndarray, "N K"]) -> tuple[Codes, Values]:
    """The codes, and the factors that vary, with their values numbered 0, 1, ... in their order.

    Args:
      name: of the metric, for the messages.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, factors that are no integers or all constant.
    """
    z, factors = check_aligned(name, z, factors)
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
      InputError: as `check` of either set, the two have other numbers of codes or factors, or the test set has no value
        of a factor that the training set has.
    """
    z, factors = check_aligned(name, z, factors)
    z_test, factors_test = check_aligned(f"{name}'s test set", z_test, factors_test)
    if z.shape[1] != z_test.shape[1] or factors.shape[1] != factors_test.shape[1]:
        raise InputError(
            f"{name} takes a test set with as many codes and factors as the training set ({z.shape[1]} and "
            f"{factors.shape[1]}), not {z_test.shape[1]} and {factors_test.shape[1]}"
        )
    varying = _varying(name, factors)
    for k in np.flatnonzero(varying):
        if not np.isin(factors_test[:, k], factors[:, k]).any():
            raise InputError(
                f"{name} can't predict factor {k}: the test set has none of its values that the training set has; "
                "split the images at random"
            )
    both = numbered(np.concatenate([factors, factors_test])[:, varying])
    return z, both[: len(z)], z_test, both[len(z) :]


def check_aligned(name: str, z: Any, factors: Any) -> tuple[Codes, Int[np.ndarray, "N K"]]:
    """Codes and factors of the same images, the factors as they are.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, factors that are no integers.
    """
    z, factors = as_numbers(name, z), check_factors(name, factors)
    if z.ndim != 2 or factors.ndim != 2 or len(z) != len(factors) or 0 in z.shape or 0 in factors.shape:
        raise InputError(f"{name} takes codes [N, D] and factors [N, K] with one N, not {z.shape} and {factors.shape}")
    return check_codes(name, z), factors


def check_codes(name: str, z: Float[np.ndarray, "N D"]) -> Codes:
    """The codes of a metric that takes no factors, as float32 or, where that would lose digits, float64.

    Raises:
      InputError: another shape than [N, D] with N and D at least 1, or codes that are not finite.
    """
    z = as_numbers(name, z)
    if z.ndim != 2 or 0 in z.shape:
        raise InputError(f"{name} takes codes [N, D] with at least one row and one column, not {z.shape}")
    check_finite(name, z)
    return z


def check_finite(name: str, z: Float[np.ndarray, "..."], what: str = "codes") -> None:
    """Nothing, where all are numbers that float32 has.

    Raises:
      InputError: some are not.
    """
    if not np.isfinite(z).all():
        raise InputError(f"{name} takes finite {what}, but some are NaN or infinite; did the run diverge?")
    largest = float(np.abs(z).max(initial=0.0))
    if largest > LARGEST:
        raise InputError(f"{name} takes finite {what} up to {LARGEST:.2g}, but one is of size {largest:.2g}; scale")


def check_factors(name: str, factors: Any) -> Int[np.ndarray, "..."]:
    """The factors as an array.

    Raises:
      InputError: they are no integers.
    """
    factors = _as_array(name, factors, "factors")
    if factors.dtype.kind not in "iub":
        raise InputError(
            f"{name} takes factors that are integers, the numbers of their values, not {factors.dtype}; "
            "numpy.unique(values, return_inverse=True) numbers them"
        )
    return factors


def as_numbers(name: str, values: Any, what: str = "codes") -> Float[np.ndarray, "..."]:
    """An array of real numbers of any kind, as float32 or, where that would lose digits, float64.

    Raises:
      InputError: they are none.
    """
    values = _as_array(name, values, what)
    if values.dtype == np.float32 or values.dtype == np.float64:
        return values
    if jnp.issubdtype(values.dtype, jnp.floating):
        return values.astype(np.float32 if values.dtype.itemsize < 4 else np.float64)
    if values.dtype.kind in "iub":
        if values.size and values.dtype.itemsize == 8 and max(-int(values.min()), int(values.max())) > 2**53:
            raise InputError(f"{name} takes {what} that float64 can hold, up to 2**53; subtract their smallest first")
        return values.astype(np.float64)
    raise InputError(f"{name} takes {what} that are numbers, not {values.dtype}")


def _as_array(name: str, values: Any, what: str) -> np.ndarray:
    if is_masked(values):
        raise InputError(f"{name} takes {what} without masked values; leave those images out")
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:  # ragged lists, what is no array at all
        raise InputError(f"{name} takes {what} as one array of numbers, not {shortened(values)}") from error


def check_counts(least: int = 1, /, **counts: Any) -> None:
    """`check_sizes` of what has to be given.

    Raises:
      InputError: None, or as `check_sizes`.
    """
    for name, value in counts.items():
        if value is None:
            raise InputError(f"{name} has to be a whole number, not None")
    check_sizes(least, **counts)


def check_number(lowest: float = 0.0, /, **values: Any) -> None:
    """Every one has to be a finite number that is at least this; traced ones can't be looked at, and pass.

    Raises:
      InputError: the first that is not.
    """
    for name, value in values.items():
        if isinstance(value, Tracer):
            continue
        plain = value.item() if getattr(value, "shape", None) == () and not is_masked(value) else value
        if isinstance(plain, bool) or not isinstance(plain, int | float) or not lowest <= plain < np.inf:
            raise InputError(f"{name} has to be a finite number of at least {lowest:g}, not {shortened(value)}")


def check_source(source: Any) -> None:
    """It has to be a source of images.

    Raises:
      InputError: it is something else, such as its name.
    """
    if not isinstance(source, Arrays | Factors | Streamed):
        raise InputError(f"a source of images is needed, such as vaejax.data.load gives, not {shortened(source)}")


def check_key(key: Any) -> None:
    """It has to be a key of `jax.random`.

    Raises:
      InputError: it is something else, such as a seed.
    """
    kind = getattr(key, "dtype", None)
    typed = kind is not None and jnp.issubdtype(kind, jax.dtypes.prng_key) and key.shape == ()
    if not typed and not (kind == np.uint32 and key.shape == (2,)):
        raise InputError(f"key has to be one key, such as jax.random.key(0) gives, not {shortened(key)}")


def check_indices(name: str, indices: Any, size: int, of: str) -> Any:
    """Whole numbers Int[n] from 0 to size - 1, at least one; of traced ones only type and shape are looked at.

    Raises:
      InputError: they are not.
    """
    traced = isinstance(indices, Tracer)
    found = indices if traced else _as_array(name, indices, "numbers")
    if found.ndim != 1 or found.dtype.kind not in "iu" or not found.size:
        raise InputError(f"{name} has to be a list of whole numbers, at least one, not {shortened(indices)}")
    if not traced and not 0 <= int(found.min()) <= int(found.max()) < size:
        wrong = int(found.min() if found.min() < 0 else found.max())
        raise InputError(f"{name} has to be from 0 to {size - 1}, since there are {size} {of}, not {wrong}")
    return found


def numbered(factors: Int[np.ndarray, "N K"]) -> Values:
    """Each factor's values as 0, 1, ... in their order."""
    columns = [np.unique(column, return_inverse=True)[1] for column in factors.T]
    return np.stack(columns, axis=1).astype(np.int32)


def relative(
    z: Float[np.ndarray, "*R N D"], *others: Float[np.ndarray, "*R M D"], together: bool = False
) -> tuple[Any, ...]:
    """Codes less their median, in units of a power of 2 in which the farthest is between 1 and 2, as float32.

    Args:
      others: to be moved and scaled alike, such as those of a test set.
      together: the same unit for all codes.

    Returns:
      `unit`, Float64[*R, 1, D], of every code (1 where it is constant); z and the others.
    """
    wide = z.astype(np.float64)
    centre = np.median(wide, axis=-2, keepdims=True)
    farthest = np.abs(wide - centre).max(axis=-2, keepdims=True)
    if together:
        farthest = np.broadcast_to(farthest.max(axis=-1, keepdims=True), farthest.shape)
    unit = np.where(farthest > 0, np.ldexp(1.0, np.frexp(farthest)[1] - 1), 1.0)
    moved = (((x - centre) / unit).clip(-FARTHEST, FARTHEST).astype(np.float32) for x in (wide, *others))
    return unit, *moved


def weight_of(unit: Float[np.ndarray, "*R 1 D"]) -> Float[np.ndarray, "*R D"]:
    """Units of codes relative to the largest, for metrics in which codes that vary more count more; float32."""
    return (unit / unit.max(axis=-1, keepdims=True))[..., 0, :].astype(np.float32)


def triangle(z: Float[np.ndarray, "*R N D"]) -> tuple[Float[np.ndarray, "*R D D"], Float[np.ndarray, "*R D"]]:
    """R of Q R of the codes less their mean and divided by their norms, and their deviations, as float32.

    R_jj is the part of code j that those before it don't explain as a linear function of them. It is found in float64,
    and 0 where it is no more than what rounding leaves of such a function, which float32 codes have behind them.

    Returns:
      R, and standard deviations in the largest of the units of `relative`; constant codes come last, and are 0 in both.
    """
    rounding = ROUNDING[z.dtype.itemsize]
    wide = z.astype(np.float64)
    near = wide - np.median(wide, axis=-2, keepdims=True)
    farthest = np.abs(near).max(axis=-2, keepdims=True)
    near = near / np.where(farthest > 0, farthest, 1.0)  # so that squares neither overflow nor vanish
    near = np.where(farthest > 0, near - near.mean(axis=-2, keepdims=True), near)
    norm = np.sqrt((near**2).sum(axis=-2, keepdims=True))
    order = np.argsort(norm == 0, axis=-1, kind="stable")
    near, norm, farthest = (np.take_along_axis(x, order, axis=-1) for x in (near, norm, farthest))
    r = np.linalg.qr(near / np.where(norm > 0, norm, 1.0), mode="r")
    r = np.concatenate([r, np.zeros((*r.shape[:-2], z.shape[-1] - r.shape[-2], z.shape[-1]))], axis=-2)
    r = np.where(np.eye(z.shape[-1], dtype=bool) & (np.abs(r) <= rounding), 0.0, r)
    deviation = norm * (farthest / relative(z)[0].max(axis=-1, keepdims=True)) / np.sqrt(max(z.shape[-2] - 1, 1))
    return r.astype(np.float32), deviation[..., 0, :].astype(np.float32)


def near_zero(
    z: Float[np.ndarray, "*R N D"], z_test: Float[np.ndarray, "*R M D"]
) -> tuple[Float[np.ndarray, "*R N D"], Float[np.ndarray, "*R M D"]]:
    """Both as float32, less the mean of the first where that is farther from 0 than the standard deviation.

    A standard deviation outside [1 / WIDEST, WIDEST] is brought to that end: what lies beyond is not penalised at
    all or can't be used at all, but its squares would leave float32.
    """
    wide = z.astype(np.float64)
    first = wide[..., :1, :]
    mean = (wide - first).mean(axis=-2, keepdims=True) + first  # exact for a constant code
    spread = (wide - mean).std(axis=-2, keepdims=True)
    shift = np.where(np.abs(mean) > spread, mean, 0.0)
    scale = np.where(spread > 0, spread.clip(1 / WIDEST, WIDEST) / np.where(spread > 0, spread, 1.0), 1.0)
    moved = (((x - shift) * scale).clip(-HIGHEST, HIGHEST).astype(np.float32) for x in (wide, z_test))
    return next(moved), next(moved)


def _varying(name: str, factors: np.ndarray) -> np.ndarray:
    varying = (factors != factors[:1]).any(axis=0)
    if not varying.any():
        raise InputError(f"{name} needs at least one factor that varies")
    return varying
