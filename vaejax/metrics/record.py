"""What a metric is: one record that says its name, its function, what that needs, and how its values are read.

    def spread(z):
        return z.std(axis=0).mean()

    mine = Metric("spread", spread, ("z",), label="Spread of the codes", better="higher")
    vaejax.metrics.evaluate(method, source, params, key, metrics=["mig", mine])

The function is traced, compiled once, and mapped over the runs with those of this package.
"""

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from vaejax.errors import InputError, choose, shortened

Better = Literal["higher", "lower"] | None
NEEDS = {  # what a function can ask for, of one run, by name; factors are those that vary, with values 0, 1, ...
    "z": "Float[N, D], the codes of the training images",
    "z_test": "Float[M, D], those of the test images",
    "factors": "Int[N, K], of the training images",
    "factors_test": "Int[M, K], of the test images",
    "size": "a whole number above all values of all factors",
    "sizes": "K such numbers, one for each factor; a tuple",
    "moved": "z less its median, in units in which the farthest is between 1 and 2 (safe in float32)",
    "moved_test": "z_test moved and scaled alike",
    "unit": "Float[D], these units",
    "weight": "Float[D], the units relative to the largest",
    "triangle": "Float[D, D], R of Q R of the codes less their mean and divided by their norms, found in float64",
    "deviation": "Float[D], the standard deviations of the codes in the largest unit",
    "near_zero": "z less its mean where that is far from 0",
    "near_zero_test": "z_test alike",
}
INTERVENTIONS = {  # of all runs at once, on the host: the function gives Float[R]
    "represent": "Int[B, K] -> Float[B, R, D], the codes of any combinations of factor values",
    "grid": "how many values each of these factors has; a tuple",
    "varying": "the numbers of the factors that have several; a tuple",
    "key": "for what is drawn",
    "train": "points to train on",
    "test": "points to test on",
    "batch": "images behind a point",
    "variance": "images for a variance",
}


class Value(NamedTuple):
    """One of several values that a metric gives; the table calls it METRIC_NAME.

    Fields:
      name: its key in what the function gives.
      label: what a figure calls it.
      better: whether `higher` or `lower` is better; None where neither is.
      bounds: between which it lies.
      power: which power of the unit of codes it has. What is computed of `moved` codes is multiplied by that of the
        largest unit.
    """

    name: str
    label: str = ""
    better: Better = None
    bounds: tuple[float, float] = (-math.inf, math.inf)
    power: int = 0


class Metric(NamedTuple):
    """A metric of the codes of a run.

    Fields:
      name: what the table calls it.
      function: takes what is in `needs`, in that order, and gives one number, or a dict of them, that of this name
        first. Traced by JAX. None where `evaluate` can't give what it needs.
      needs: some of NEEDS, or of INTERVENTIONS.
      label, better, bounds: of the value of the metric's name, as in `Value`.
      more: the other values.
      check: `(factors_test: Int[M, K])` raises InputError where they can't be used, before anything is computed.
      arrays: the same metric as a function of NumPy arrays, `vaejax.metrics.NAME`.
      usual: whether an experiment measures it where nothing is said of metrics.
    """

    name: str
    function: Callable[..., Any] | None
    needs: tuple[str, ...] = ("z", "factors")
    label: str = ""
    better: Better = None
    bounds: tuple[float, float] = (-math.inf, math.inf)
    more: tuple[Value, ...] = ()
    check: Callable[[Any], None] | None = None
    arrays: Callable[..., dict[str, float]] | None = None
    usual: bool = False

    @property
    def values(self) -> dict[str, Value]:
        """What the table calls each value that is known in advance."""
        main = (Value(self.name, self.label, self.better, self.bounds),)
        own = () if self.function is None and not self.label else main
        return {column(self.name, value.name): value for value in (*own, *self.more)}

    @property
    def intervenes(self) -> bool:
        """Whether it holds factors and draws the others, for which the codes of a whole grid are needed."""
        return "represent" in self.needs


def column(metric: str, value: str) -> str:
    """What a table calls a value of a metric."""
    return value if value == metric else f"{metric}_{value}"


def check_metric(metric: Any) -> Metric:
    """The record, of a metric that can be evaluated.

    Raises:
      InputError: a field that can't be used, or something that isn't known of codes.
    """
    if not isinstance(metric, Metric):
        raise InputError(f"a metric is a name, such as 'mig', or a vaejax.metrics.Metric(...), not {shortened(metric)}")
    if not isinstance(metric.name, str) or not metric.name.isidentifier() or metric.name.startswith("samples_"):
        raise InputError(
            f"a metric's name has to be made of letters, digits and _, and not begin with samples_; not "
            f"{shortened(metric.name)}"
        )
    if not callable(metric.function) or not isinstance(metric.function, Hashable):
        raise InputError(
            f"the metric {metric.name!r} has to have a function, which every def is, not {shortened(metric.function)}"
        )
    if isinstance(metric.needs, str) or not isinstance(metric.needs, (tuple, list)) or not metric.needs:
        raise InputError(
            f"needs of {metric.name!r} has to be a tuple such as ('z', 'factors'), not {shortened(metric.needs)}"
        )
    table = INTERVENTIONS if "represent" in metric.needs else NEEDS
    for need in metric.needs:
        choose(table, need, f"need of the metric {metric.name!r}")
    if metric.better not in ("higher", "lower", None):
        raise InputError(
            f"better of {metric.name!r} has to be 'higher', 'lower' or None, not {shortened(metric.better)}"
        )
    return metric._replace(needs=tuple(metric.needs))


def named(name: str, found: Any, shape: tuple[int, ...]) -> dict[str, Array]:
    """What the function of a metric of this name gave, as float32 by their names.

    Raises:
      InputError: it isn't numbers of this shape, or a dict of them.
    """
    what = "one number" if shape == () else f"one number for each of {shape[0]} runs"
    values = dict(found) if isinstance(found, Mapping) else {name: found}
    for key, value in values.items():
        number = isinstance(value, (int, float, np.generic, np.ndarray, jax.Array))
        if not isinstance(key, str) or not number or jnp.shape(value) != shape:
            given = f"an array of shape {jnp.shape(value)}" if number else shortened(value)
            raise InputError(f"the metric {name!r} has to give {what}, or a dict of such, by name; not {given}")
    return {key: jnp.asarray(value, jnp.float32) for key, value in values.items()}
