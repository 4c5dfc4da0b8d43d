"""Explicitness (Ridgeway & Mozer 2018, "Learning Deep Disentangled Embeddings With the F-Statistic Loss", section 2).

    explicitness = 1/K sum_k 1/C_k sum_c AUC(p(v_k = c | z), 1[v_k = c])

p is a logistic regression from all codes, standardised by the training set, with the penalty |W|^2 / 2 (scikit-learn's
C = 1) and an intercept that is not penalised; AUC is the area under the ROC curve of one class against the rest on the
test set.

Departures: the paper rescales AUC from [0.5, 1] to [0, 1]; as in Locatello et al. 2019 it is left as it is, and
chance is 0.5. The regression is multinomial, where releases of scikit-learn of the time of that study fitted one
class against the rest. A class without examples in the training or the test set has no AUC and is left out of the mean,
and so is a factor that has one value only in the test set.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vaejax.errors import InputError
from vaejax.metrics.checks import check_pair, relative
from vaejax.metrics.logistic import log_probabilities, logistic
from vaejax.metrics.record import Metric

PENALTY = 1.0


def explicitness(
    z: Float[np.ndarray, "N D"],
    factors: Int[np.ndarray, "N K"],
    z_test: Float[np.ndarray, "M D"],
    factors_test: Int[np.ndarray, "M K"],
) -> dict[str, float]:
    """How well a linear classifier of all codes ranks the values of a factor, in [0, 1]; chance is 0.5.

    What it can't see: disentanglement. A rotation of the codes changes nothing, and neither does a factor that
    needs all codes. It ranks, so it doesn't see whether the right value gets the highest probability; and what isn't
    linear in the codes, such as the middle values of a factor along a line, it sees in part. A constant code has no
    effect; a factor that doesn't vary in either set is left out.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, or no factor that varies in both sets.
    """
    z, factors, z_test, factors_test = check_pair("explicitness", z, factors, z_test, factors_test)
    check_ranked(factors_test)
    _, z, z_test = relative(z, z_test)
    size = int(max(factors.max(), factors_test.max())) + 1
    return {"explicitness": float(explicitness_of(z, factors, z_test, factors_test, size))}


def check_ranked(factors_test: Int[np.ndarray, "M K"]) -> None:
    """Nothing, where a factor varies in the test set.

    Raises:
      InputError: none does.
    """
    if (factors_test == factors_test[:1]).all():
        raise InputError("explicitness ranks the images of a test set, but in this one no factor varies; take more")


@partial(jax.jit, static_argnames="size")
def explicitness_of(
    z: Float[Array, "N D"],
    factors: Int[Array, "N K"],
    z_test: Float[Array, "M D"],
    factors_test: Int[Array, "M K"],
    size: int,
) -> Float[Array, ""]:
    """`explicitness` for use under jit and vmap: factor values are below `size`. NaN codes give NaN."""
    finite = jnp.isfinite(z).all() & jnp.isfinite(z_test).all()
    z, z_test = standardise(z, z_test)

    def of_factor(columns: tuple[Int[Array, " N"], Int[Array, " M"]]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
        y, y_test = columns
        w, b = logistic(z, y, size, penalty=PENALTY)
        area, exists = roc_areas(log_probabilities(z_test, w, b), y_test)
        exists &= jnp.isfinite(b)
        return jnp.where(exists, area, 0.0).sum() / jnp.maximum(exists.sum(), 1), exists.any()

    areas, exists = jax.lax.map(of_factor, (factors.T, factors_test.T))
    return jnp.where(finite, areas.sum() / exists.sum(), jnp.nan)


def standardise(z: Float[Array, "N D"], z_test: Float[Array, "M D"]) -> tuple[Array, Array]:
    """Both less the mean and over the standard deviation of the first; a constant code becomes 0."""
    z, z_test = jnp.asarray(z, jnp.float32), jnp.asarray(z_test, jnp.float32)
    mean, constant = z.mean(axis=0), (z == z[:1]).all(axis=0)
    scale = jnp.where(constant, jnp.inf, z.std(axis=0))
    return (z - mean[None]) / scale[None], (z_test - mean[None]) / scale[None]


def roc_areas(scores: Float[Array, "M C"], y: Int[Array, " M"]) -> tuple[Float[Array, " C"], Array]:
    """The area under the ROC curve of every class against the rest, and whether it exists: both are there.

    It is the probability that an example of the class has a higher score than one of the rest, with ties counted half:
    (the sum of the ranks of the class's examples - n (n + 1) / 2) / (n (M - n)) with n examples of the class.
    """
    is_class = y[:, None] == jnp.arange(scores.shape[1])[None]
    n = is_class.sum(axis=0)

    def rank_sum(column: Float[Array, " M"], mask: Array) -> Float[Array, ""]:
        ordered = jnp.sort(column)
        below, up_to = (jnp.searchsorted(ordered, column, side=side, method="sort") for side in ("left", "right"))
        centred = (below + up_to - len(column)) / 2  # the mean rank of ties, from 1, less (M + 1) / 2: small sums
        return (centred * mask).sum()

    centred = jax.vmap(rank_sum, in_axes=1)(scores, is_class)
    pairs = n * (len(y) - n)
    return 0.5 + centred / jnp.maximum(pairs, 1), pairs > 0


EXPLICITNESS = Metric(
    "explicitness", explicitness_of, ("moved", "factors", "moved_test", "factors_test", "size"),
    "Explicitness", "higher", (0, 1), check=check_ranked, arrays=explicitness,
)  # fmt: skip
