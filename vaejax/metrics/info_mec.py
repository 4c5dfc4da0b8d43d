"""InfoMEC (Hsu et al. 2023, "Disentanglement via Latent Quantization", section 4): modularity, compactness and
explicitness, each by information.

    N_kj = I(v_k; z_j) / H(v_k)
    InfoM = (mean_j max_k N_kj / sum_k N_kj - 1/K) / (1 - 1/K)
    InfoC = (mean_k max_j N_kj / sum_j N_kj - 1/A) / (1 - 1/A)
    InfoE = mean_k (1 - H(v_k | z) / H(v_k))

over the A active codes, whose range is above 1/20 of the largest range. I(v; z) is the nearest-neighbour estimate of
Ross 2014 with 10 neighbours, nats. H(v | z) is predictive V-entropy: the mean negative log-likelihood of a multinomial
logistic regression of v_k on all codes, fitted on the same examples, classes balanced, no penalty, at most 100 steps;
H(v) is the same without codes, the logarithm of the number of values. So in the authors' program.

Departures: codes on the same spot are counted (as in Gao et al. 2017) where that program adds noise, so that discrete
codes need no other estimator; a code or factor without information has 0 for its ratio's excess, not NaN; with one
factor, or one active code, the ratio is 1 where there is information.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma
from jaxtyping import Array, Float, Int

from vaejax.metrics.checks import check, relative, weight_of
from vaejax.metrics.information import entropy
from vaejax.metrics.logistic import log_probabilities, logistic
from vaejax.metrics.record import Metric, Value

NEIGHBOURS = 10
ACTIVE = 1 / 20  # of the largest range
STEPS = 100


def info_mec(z: Float[np.ndarray, "N D"], factors: Int[np.ndarray, "N K"]) -> dict[str, float]:
    """`infom`, `infoc` and `infoe`, each at most 1, and `active`, the number of active codes.

    InfoM: every code tells of one factor; InfoC: every factor is told by one code; InfoE: the factors can be read off
    all codes by a linear classifier.

    What they can't see: InfoM and InfoC are ratios, so they don't see how much is told at all, and noise scores above
    0; InfoE doesn't see which code tells what, nor what only a nonlinear classifier finds. Which codes count as active
    depends on their scale. Constant codes are never active; if all are constant, all three are 0. A
    factor that never varies is left out.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, or no factor that varies.
    """
    z, factors = check("info_mec", z, factors)
    unit, z = relative(z)
    values = info_scores(z, factors, int(factors.max()) + 1, weight_of(unit))
    return {name: float(values[name]) for name in ("infom", "infoc", "infoe", "active")}


@partial(jax.jit, static_argnames="size")
def info_scores(
    z: Float[Array, "N D"], factors: Int[Array, "N K"], size: int, unit: Float[Array, " D"] | float = 1.0
) -> dict[str, Float[Array, ""]]:
    """`info_mec` for use under jit and vmap: factor values are below `size`, codes are in this unit.

    NaN codes give NaN.
    """
    finite = jnp.isfinite(z).all()
    z = jnp.where(finite, z - z.mean(axis=0, keepdims=True), 0.0)
    spread = (z.max(axis=0) - z.min(axis=0)) * unit
    active = spread > ACTIVE * spread.max()
    normalised = neighbour_information(z, factors, size) / entropy(factors, size)[None]
    normalised = jnp.where(active[:, None], normalised, 0.0)
    values = {
        "infom": _excess(normalised, factors.shape[1], active),
        "infoc": _excess(normalised.T, active.sum(), jnp.ones(factors.shape[1], bool)),
        "infoe": jax.lax.map(lambda value: _explained(z, value, size), factors.T).mean(),
        "active": active.sum().astype(z.dtype),
    }
    return jax.tree.map(lambda value: jnp.where(finite, value, jnp.nan), values)


def _excess(share: Float[Array, "n m"], rivals: int | Int[Array, ""], counted: Array) -> Float[Array, ""]:
    """The mean over the rows that count of (max / sum - 1 / rivals) / (1 - 1 / rivals)."""
    total = share.sum(axis=1)
    ratio = share.max(axis=1) / jnp.where(total > 0, total, 1.0)
    chance = 1 / jnp.maximum(rivals, 1)
    excess = jnp.where(rivals > 1, (ratio - chance) / jnp.where(rivals > 1, 1 - chance, 1.0), 1.0)
    return (jnp.where(total > 0, excess, 0.0) * counted).sum() / jnp.maximum(counted.sum(), 1)


def _explained(z: Float[Array, "N D"], value: Int[Array, " N"], size: int) -> Float[Array, ""]:
    """1 - H(v | z) / H(v) of one factor."""
    count = jax.nn.one_hot(value, size).sum(axis=0)
    present = (count > 0).sum()
    weight = len(z) / (present * count[value])
    log_p = log_probabilities(z, *logistic(z, value, size, weight=weight, steps=STEPS))
    return 1 + jnp.take_along_axis(log_p, value[:, None], axis=1).mean() / jnp.log(present)


def neighbour_information(
    z: Float[Array, "N D"], factors: Int[Array, "N K"], size: int, neighbours: int = NEIGHBOURS
) -> Float[Array, "D K"]:
    """I(z_j; v_k) in nats of every continuous code and every discrete factor (Ross 2014, equation 2).

        I = psi(N) + mean_i (psi(k_i) - psi(N_i) - psi(m_i))

    where N_i examples share the factor's value with example i, k_i is `neighbours` (or N_i - 1, where that is less),
    and m_i counts all up to the k_i-th nearest of those with the same value. Where several are equally far, they come
    in random order (the mean over orders); where the k_i nearest lie on the spot of the example itself, k_i and m_i
    count all on that spot, which is what discrete codes need. A value that occurs once is left out.
    """

    def of_code(column: Float[Array, " N"]) -> Float[Array, " K"]:
        order = jnp.argsort(column)
        return jax.lax.map(lambda value: _of_pair(column[order], value[order], size, neighbours), factors.T)

    return jax.lax.map(of_code, z.T)


def _of_pair(z: Float[Array, " N"], value: Int[Array, " N"], size: int, neighbours: int) -> Float[Array, ""]:
    """Of one code, in ascending order, and one factor."""
    number = len(z)
    group = jnp.sort(value * number + jnp.arange(number))  # by value, then by code
    x, value = z[group % number], group // number
    count = jax.nn.one_hot(value, size).sum(axis=0)
    last = jnp.cumsum(count).astype(jnp.int32) - 1
    farthest = jnp.maximum(x - x[last - count.astype(jnp.int32) + 1][value], x[last][value] - x)

    ends = [jnp.pad(array, neighbours, constant_values=fill) for array, fill in ((x, jnp.inf), (value, -1))]

    def shifted(by: int) -> Float[Array, " N"]:
        """How far the example is that comes so many places later among those of the same value."""
        other, its_value = (array[neighbours + by : neighbours + by + number] for array in ends)
        return jnp.where(its_value == value, jnp.abs(other - x), jnp.inf)

    # the k-th nearest on a line: the nearest k are some on the left and the others on the right
    sides = [(shifted(-left), shifted(neighbours - left)) for left in range(neighbours + 1)]
    kth = jnp.stack([jnp.maximum(*pair) for pair in sides]).min(axis=0)
    radius = jnp.where(count[value] > neighbours, kth, farthest)
    rounding = 4 * jnp.finfo(z.dtype).eps * jnp.maximum(jnp.abs(z[0]), jnp.abs(z[-1]))

    def within(radius: Float[Array, " N"]) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
        """How many others of the same value, and how many others in all, are not farther than this."""
        low, high = jnp.searchsorted(z, x - radius, side="left"), jnp.searchsorted(z, x + radius, side="right")
        same = jnp.searchsorted(group, value * number + high) - jnp.searchsorted(group, value * number + low)
        return (same - 1.0), (high - low - 1.0)

    (same, every), (same_nearer, nearer) = within(radius + rounding), within(radius - rounding)
    wanted = jnp.minimum(neighbours, count[value] - 1)
    last_of = wanted - same_nearer  # of those of the same value at just this distance, the one that is the last wanted
    others = (every - nearer) - (same - same_nearer)  # of another value at just this distance: in random order
    before = nearer + last_of + others * last_of / jnp.maximum(same - same_nearer + 1, 1)
    repeated = radius <= rounding  # all that are wanted lie on the same spot
    k, m = jnp.where(repeated, same, wanted), jnp.where(repeated, every, before)
    terms = digamma(jnp.maximum(k, 1.0)) - digamma(jnp.maximum(count[value], 1.0)) - digamma(jnp.maximum(m, 1.0))
    kept = count[value] > 1
    total = kept.sum()
    mean = jnp.where(kept, terms, 0.0).sum() / jnp.maximum(total, 1)
    return jnp.maximum(digamma(jnp.maximum(total, 1.0)) + mean, 0.0)


INFO_MEC = Metric(
    "info_mec", info_scores, ("moved", "factors", "size", "weight"),
    more=(
        Value("infom", "InfoM", "higher", (0, 1)), Value("infoc", "InfoC", "higher", (0, 1)),
        Value("infoe", "InfoE", "higher", (0, 1)), Value("active", "Codes that vary", None, (0, math.inf)),
    ),
    arrays=info_mec,
)  # fmt: skip
