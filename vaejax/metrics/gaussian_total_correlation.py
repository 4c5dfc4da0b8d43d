"""Total correlation of the codes as if they were Gaussian (Locatello et al. 2019, section 5.2): unsupervised scores.

    TC = 1/2 (sum_j log C_jj - log det C),    W = 2 tr C - 2 tr (D C)^(1/2),    C = cov(z), D = diag(C)

TC, in nats, is KL(N(mu, C) || N(mu, D)); W is the squared Wasserstein-2 distance of the two (Watanabe 1960; Xiao & Wang
2019). Both are computed from the triangular factor R of the standardised codes instead of their covariance, whose
condition is the square of R's: TC = -sum_j log |R_jj|, and tr (D C)^(1/2) is the nuclear norm of R D. R is found in
float64, so that codes which a single far image makes nearly dependent have the right value.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vaejax.metrics.checks import check_codes, relative, triangle
from vaejax.metrics.record import Metric, Value


def gaussian_total_correlation(z: Float[np.ndarray, "N D"]) -> dict[str, float]:
    """How far the codes are from independent, in nats: 0 if no two are correlated.

    Also `wasserstein`, W above, in the squared units of the codes, and `wasserstein_norm`, W / tr C.

    What it can't see: any dependence but a linear one; two codes can be functions of each other and uncorrelated.
    Constant codes are left out. A code that is a linear function of others makes it infinite, and so do fewer rows
    than codes; it is taken for one where the others explain all but 1e-13 of its standard deviation (1e-6 of codes in
    float32), which is as much as rounding leaves. Except for W, the scale of a code doesn't matter; W is known to a
    millionth of tr C.

    Raises:
      InputError: codes of another shape, or not finite.
    """
    z = check_codes("gaussian_total_correlation", z)
    values = gaussian_correlations(*triangle(z))
    found = {name: float(values[name]) for name in ("gaussian_total_correlation", "wasserstein", "wasserstein_norm")}
    return found | {"wasserstein": found["wasserstein"] * float(relative(z)[0].max()) ** 2}


@jax.jit
def gaussian_correlations(r: Float[Array, "D D"], deviation: Float[Array, " D"]) -> dict[str, Float[Array, ""]]:
    """`gaussian_total_correlation` of what `vaejax.metrics.checks.triangle` gives, under vmap too. NaN gives NaN."""
    constant = deviation == 0
    left = jnp.abs(jnp.diagonal(r))  # of each code, what the codes before it don't explain
    logs = jnp.where(left > 0, jnp.log(jnp.where(left > 0, left, 1.0)), -jnp.inf)
    variance = deviation**2
    total = variance.sum()
    distance = jnp.maximum(2 * total - 2 * jnp.linalg.svd(r * variance[None], compute_uv=False).sum(), 0.0)
    values = {
        "gaussian_total_correlation": jnp.maximum(-jnp.where(constant, 0.0, logs).sum(), 0.0),
        "wasserstein": distance,
        "wasserstein_norm": distance / jnp.where(total > 0, total, 1.0),
    }
    known = jnp.isfinite(r).all() & jnp.isfinite(deviation).all()
    return jax.tree.map(lambda value: jnp.where(known, value, jnp.nan), values)


GAUSSIAN_TOTAL_CORRELATION = Metric(
    "gaussian_total_correlation", gaussian_correlations, ("triangle", "deviation"), "Gaussian TC", "lower",
    (0, math.inf),
    more=(
        Value("wasserstein", "Wasserstein correlation", "lower", (0, math.inf), power=2),
        Value("wasserstein_norm", "Wasserstein, normalised", "lower", (0, math.inf)),
    ),
    arrays=gaussian_total_correlation,
)  # fmt: skip
