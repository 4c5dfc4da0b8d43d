"""DCI: disentanglement, completeness, informativeness (Eastwood & Williams 2018, "A framework for the quantitative
evaluation of disentangled representations", section 2), as in Locatello et al. 2019.

    D = sum_j rho_j (1 - H_K(P_j)),        P_jk = R_jk / sum_k R_jk,    rho_j = sum_k R_jk / sum R
    C = sum_k rho'_k (1 - H_D(P'_k)),      P'_jk = R_jk / sum_j R_jk,   rho'_k = sum_j R_jk / sum R
    I = the mean over factors of the accuracy on the test set

R_jk is the importance of code j for factor k in boosted trees (see `dci_trees`), H_K an entropy with the logarithm to
the base K, the number of factors; D in H_D is the number of codes.

Departures: the paper's predictors are a lasso and a random forest, and its I is an error; trees, accuracy and the
weights rho' are those of Locatello et al. The trees try 127 thresholds per code, not all: on the reference
representations all three differ from those of scikit-learn's trees by at most 0.011.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.metrics.checks import check_counts, check_pair, relative
from vaejax.metrics.dci_trees import boosted_trees
from vaejax.metrics.record import Metric, Value

BINS = 128
NAMES = ("disentanglement", "completeness", "informativeness", "informativeness_train")
TINY = (
    1e-11  # added to every importance, as in Locatello et al., so that a code or factor with none has a finite entropy
)


def dci(
    z: Float[np.ndarray, "N D"],
    factors: Int[np.ndarray, "N K"],
    z_test: Float[np.ndarray, "M D"],
    factors_test: Int[np.ndarray, "M K"],
    *,
    bins: int = BINS,
) -> dict[str, float]:
    """`disentanglement`, `completeness` and `informativeness` (and that of the training set), each in [0, 1].

    Disentanglement is 1 where no code matters for two factors, completeness where no factor needs two codes. The
    importances don't change when codes are permuted, shifted or scaled, nor, but for ties, under any monotone function.

    What it can't see: which way a code carries a factor (trees find any function of it, monotone or not); and
    disentanglement and completeness don't see how well the factors are predicted at all: a representation of which one
    factor leaks a little through one code scores as one that has everything, so read them beside informativeness. Two
    codes that carry the same factor equally well may share its importance or not, as the first wins ties. A constant
    code has no importance; a factor that never varies is left out. With one factor disentanglement is 1, with one code
    completeness is.

    Args:
      bins: of equal count per code, between which thresholds lie; more are closer to trees that try all, and slower.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, no factor that varies, or fewer than 2 bins.
    """
    check_counts(2, bins=bins)
    z, factors, z_test, factors_test = check_pair("dci", z, factors, z_test, factors_test)
    _, z, z_test = relative(z, z_test)
    sizes = tuple(int(column.max()) + 1 for column in np.concatenate([factors, factors_test]).T)
    scores = dci_scores(z, factors, z_test, factors_test, sizes, min(bins, max(len(z), 2)))
    return {name: float(scores[name]) for name in NAMES}  # in this order, which jit forgets


@partial(jax.jit, static_argnames=("sizes", "bins"))
def dci_scores(
    z: Float[Array, "N D"],
    factors: Int[Array, "N K"],
    z_test: Float[Array, "M D"],
    factors_test: Int[Array, "M K"],
    sizes: tuple[int, ...],
    bins: int = BINS,
) -> dict[str, Float[Array, ""]]:
    """`dci` for use under jit and vmap: the values of factor k are below `sizes[k]`. NaN codes give NaN.

    On a CPU go through runs with `jax.lax.map`: there it is faster than `vmap`.
    """
    z, z_test = jnp.asarray(z, jnp.float32), jnp.asarray(z_test, jnp.float32)
    found = boosted_trees(z, factors, z_test, factors_test, sizes, bins)
    scores = {
        "disentanglement": concentration(found.importance.T),
        "completeness": concentration(found.importance),
        "informativeness": found.test.mean(),
        "informativeness_train": found.train.mean(),
    }
    finite = jnp.isfinite(z).all() & jnp.isfinite(z_test).all()
    return {name: jnp.where(finite, value, jnp.nan) for name, value in scores.items()}


def concentration(importance: Float[Array, "A B"]) -> Float[Array, ""]:
    """1 less the entropy of every column, to the base A, averaged with the columns' sums as weights.

    Without any importance the columns weigh the same; a column of a single row has entropy 0.
    """
    share = (importance + TINY) / (importance + TINY).sum(axis=0, keepdims=True)
    base = jnp.log(max(len(importance), 2))
    weight = importance.sum(axis=0)
    weight = jnp.where(weight.sum() > 0, weight, 1.0)
    return ((1 - jax.scipy.special.entr(share).sum(axis=0) / base) * weight).sum() / weight.sum()


DCI = Metric(
    "dci", dci_scores, ("moved", "factors", "moved_test", "factors_test", "sizes"),
    more=(
        Value("disentanglement", "DCI disentanglement", "higher", (0, 1)),
        Value("completeness", "DCI completeness", "higher", (0, 1)),
        Value("informativeness", "DCI informativeness", "higher", (0, 1)),
        Value("informativeness_train", "DCI informativeness of the training set", "higher", (0, 1)),
    ),
    arrays=dci, usual=True,
)  # fmt: skip
