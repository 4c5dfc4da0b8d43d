"""Downstream accuracy: what a simple classifier of the codes learns of the factors from a few labels (Locatello et al.
2019, section 5.5, "sample efficiency").

    accuracy(n) = 1/K sum_k P(argmax_c p_n(v_k = c | z) = v_k),    efficiency = accuracy(100) / accuracy(10000)

p_n is a multinomial logistic regression with the penalty |W|^2 / 2, fitted to the first n training examples; accuracies
are of the test set.

Departures: the paper chooses the penalty by cross-validation (and repeats all with boosted trees, whose accuracy with
10,000 labels is DCI's informativeness), where here it is fixed; and codes are standardised, by all training codes,
for which no label is needed.
"""

import math
from collections.abc import Iterable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.errors import InputError, shortened
from vaejax.metrics.checks import check_counts, check_pair, relative
from vaejax.metrics.explicitness import PENALTY, standardise
from vaejax.metrics.logistic import log_probabilities, logistic
from vaejax.metrics.record import Metric, Value

LABELS = (10, 100, 1000, 10000)
FEW, MANY = 100, 10000  # whose ratio is the efficiency


def downstream(
    z: Float[np.ndarray, "N D"],
    factors: Int[np.ndarray, "N K"],
    z_test: Float[np.ndarray, "M D"],
    factors_test: Int[np.ndarray, "M K"],
    labels: tuple[int, ...] = LABELS,
) -> dict[str, float]:
    """`downstream`, the accuracy with the most labels, `labels`, how many those are, and `accuracy_n` for every n.

    Numbers of labels above N are left out. `efficiency` is the accuracy with 100 labels over that with 10,000, where
    both were used. The training examples should be in random order, since the first n are those with a label.

    What it can't see: disentanglement, as a rotation of the codes hardly changes anything; what isn't linear in the
    codes; and a high efficiency can also mean that even 10,000 labels teach little. Accuracy by chance is
    1 / the number of values. A constant code has no effect; a factor that never varies is left out.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, no factor that varies, or no number of labels
        between 1 and N.
    """
    z, factors, z_test, factors_test = check_pair("downstream", z, factors, z_test, factors_test)
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise InputError(f"labels has to be a list of whole numbers, not {shortened(labels)}")
    labels = tuple(labels)
    for count in labels:
        check_counts(labels=count)
    used = tuple(sorted({int(count) for count in labels if count <= len(z)}))
    if not used:
        known = f"the {len(z)} training examples"
        raise InputError(f"downstream needs a number of labels up to {known}, not {shortened(labels)}")
    _, z, z_test = relative(z, z_test)
    size = int(max(factors.max(), factors_test.max())) + 1
    accuracy = dict(zip(used, few_label_accuracy(z, factors, z_test, factors_test, size, used).tolist(), strict=True))
    result = {"downstream": accuracy[used[-1]], "labels": float(used[-1])}
    if FEW in accuracy and MANY in accuracy:
        result["efficiency"] = accuracy[FEW] / accuracy[MANY] if accuracy[MANY] > 0 else float("nan")
    return result | {f"accuracy_{count}": value for count, value in accuracy.items()}


@partial(jax.jit, static_argnames=("size", "labels"))
def few_label_accuracy(
    z: Float[Array, "N D"],
    factors: Int[Array, "N K"],
    z_test: Float[Array, "M D"],
    factors_test: Int[Array, "M K"],
    size: int,
    labels: tuple[int, ...],
) -> Float[Array, " labels"]:
    """Accuracies, for use under jit and vmap: factor values are below `size`, labels at most N. NaN codes give NaN."""
    finite = jnp.isfinite(z).all() & jnp.isfinite(z_test).all()
    z, z_test = standardise(z, z_test)

    def accuracy(count: int) -> Float[Array, ""]:
        def of_factor(columns: tuple[Int[Array, " N"], Int[Array, " M"]]) -> Float[Array, ""]:
            y, y_test = columns
            w, b = logistic(z[:count], y[:count], size, penalty=PENALTY)
            return (log_probabilities(z_test, w, b).argmax(axis=1) == y_test).mean()

        return jax.lax.map(of_factor, (factors.T, factors_test.T)).mean()

    return jnp.where(finite, jnp.stack([accuracy(count) for count in labels]), jnp.nan)


def few_labels(
    z: Float[Array, "N D"],
    factors: Int[Array, "N K"],
    z_test: Float[Array, "M D"],
    factors_test: Int[Array, "M K"],
    size: int,
) -> dict[str, Float[Array, ""]]:
    """`downstream` with those of LABELS up to N, for use under jit and vmap."""
    labels = tuple(count for count in LABELS if count <= len(z)) or (len(z),)
    accuracies = few_label_accuracy(z, factors, z_test, factors_test, size, labels)
    of = dict(zip(labels, accuracies, strict=True))
    values = {"downstream": of[labels[-1]], "labels": jnp.float32(labels[-1])}
    if FEW in of and MANY in of:
        values["efficiency"] = of[FEW] / of[MANY]
    return values | {f"accuracy_{count}": accuracy for count, accuracy in of.items()}


DOWNSTREAM = Metric(
    "downstream", few_labels, ("moved", "factors", "moved_test", "factors_test", "size"),
    "Accuracy with the most labels", "higher", (0, 1),
    more=(
        Value("labels", "How many those are", None, (1, math.inf)),
        Value("efficiency", f"Accuracy with {FEW} labels, relative to {MANY}", "higher", (0, math.inf)),
        *(Value(f"accuracy_{count}", f"Accuracy, {count} labels", "higher", (0, 1)) for count in LABELS),
    ),
    arrays=downstream,
)  # fmt: skip
