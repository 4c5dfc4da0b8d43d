"""Total correlation of the codes as if they were Gaussian (Locatello et al. 2019, section 5.2): unsupervised scores.

    TC = 1/2 (sum_j log C_jj - log det C),    W = 2 tr C - 2 tr (D C)^(1/2),    C = cov(z), D = diag(C)

TC, in nats, is KL(N(mu, C) || N(mu, D)); W is the squared Wasserstein-2 distance of the two (Watanabe 1960; Xiao & Wang
2019). Both are computed from the triangular factor R of the standardised codes instead of their covariance:
TC = -sum_j log |R_jj|, and tr (D C)^(1/2) is the nuclear norm of R D. So float32 loses nothing where codes are nearly
dependent.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vaejax.metrics.checks import check_codes, relative, weight_of
from vaejax.metrics.record import Metric, Value

DEPENDENT = 1e-6  # what float32 leaves of a code that is a linear function of the others


def gaussian_total_correlation(z: Float[np.ndarray, "N D"]) -> dict[str, float]:
    """How far the codes are from independent, in nats: 0 if no two are correlated.

    Also `wasserstein`, W above, in the squared units of the codes, and `wasserstein_norm`, W / tr C.

    What it can't see: any dependence but a linear one; two codes can be functions of each other and uncorrelated.
    Constant codes are left out. A code that is a linear function of others makes it infinite, and so do fewer rows
    than codes. Except for W, the scale of a code doesn't matter.

    Raises:
      InputError: codes of another shape, or not finite.
    """
    unit, z = relative(check_codes("gaussian_total_correlation", z))
    values = gaussian_correlations(z, weight_of(unit))
    found = {name: float(values[name]) for name in ("gaussian_total_correlation", "wasserstein", "wasserstein_norm")}
    return found | {"wasserstein": found["wasserstein"] * float(unit.max()) ** 2}


@jax.jit
def gaussian_correlations(
    z: Float[Array, "N D"], unit: Float[Array, " D"] | float = 1.0
) -> dict[str, Float[Array, ""]]:
    """`gaussian_total_correlation` for use under jit and vmap of codes in this unit. NaN codes give NaN."""
    constant = z.max(axis=0) == z.min(axis=0)
    centred = jnp.where(constant[None], 0.0, z - z.mean(axis=0, keepdims=True))
    largest = jnp.where(constant, 1.0, jnp.abs(centred).max(axis=0))
    scaled = centred / largest[None]  # so that squares neither overflow nor vanish
    norm = jnp.where(constant, 1.0, jnp.sqrt((scaled**2).sum(axis=0)))
    r = triangular(scaled / norm[None])
    left = jnp.diagonal(r)  # of each code, what the codes before it don't explain
    logs = jnp.where(left > DEPENDENT, jnp.log(jnp.maximum(left, DEPENDENT)), -jnp.inf)
    variance = jnp.where(constant, 0.0, (norm * largest * unit) ** 2 / max(len(z) - 1, 1))
    total = variance.sum()
    distance = jnp.maximum(2 * total - 2 * jnp.linalg.svd(r * variance[None], compute_uv=False).sum(), 0.0)
    values = {
        "gaussian_total_correlation": jnp.maximum(-jnp.where(constant, 0.0, logs).sum(), 0.0),
        "wasserstein": distance,
        "wasserstein_norm": distance / jnp.where(total > 0, total, 1.0),
    }
    return jax.tree.map(lambda value: jnp.where(jnp.isfinite(z).all(), value, jnp.nan), values)


def triangular(x: Float[Array, "N D"]) -> Float[Array, "D D"]:
    """R of x = Q R by modified Gram-Schmidt; a column that those before it explain gets a row of zeros."""

    def column(rest: Float[Array, "N D"], j: Array) -> tuple[Float[Array, "N D"], Float[Array, " D"]]:
        length = jnp.sqrt((rest[:, j] ** 2).sum())
        direction = jnp.where(length > DEPENDENT, rest[:, j] / jnp.where(length > DEPENDENT, length, 1.0), 0.0)
        row = jnp.where(jnp.arange(x.shape[1]) >= j, (direction[:, None] * rest).sum(axis=0), 0.0)
        return rest - direction[:, None] * row[None], row

    return jax.lax.scan(column, x, jnp.arange(x.shape[1]))[1]


GAUSSIAN_TOTAL_CORRELATION = Metric(
    "gaussian_total_correlation", gaussian_correlations, ("moved", "weight"), "Gaussian TC", "lower", (0, math.inf),
    more=(
        Value("wasserstein", "Wasserstein correlation", "lower", (0, math.inf), power=2),
        Value("wasserstein_norm", "Wasserstein, normalised", "lower", (0, math.inf)),
    ),
    arrays=gaussian_total_correlation,
)  # fmt: skip
