"""The mutual information gap from the side of the codes (Li et al. 2020, "Progressive Learning and Disentanglement of
Hierarchical Representations", section 4.3).

    MIG-sup = 1/D sum_j (N(z_j; v_k1) - N(z_j; v_k2)),    N(z; v) = I(z; v) / H(v),
    k1, k2 the two factors of which code z_j has the largest N

Departures: I(z; v) is estimated from 20 equal-width bins of each code, as for MIG in Locatello et al. 2019, where the
paper estimates it from samples of q(z | x). The equation averages over all codes, the authors' program over those whose
mean has a variance above 0.01; both are given.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.metrics.checks import check, relative
from vaejax.metrics.information import code_information, entropy
from vaejax.metrics.record import Metric, Value

ACTIVE = 0.01  # a code with a variance above this is in use


def mig_sup(z: Float[np.ndarray, "N D"], factors: Int[np.ndarray, "N K"]) -> dict[str, float]:
    """How far the best factor of every code is ahead of its second, in [0, 1].

    `mig_sup` is the mean over all codes, as in the equation, so that every code without information costs 1/D: five
    perfect codes among ten score 0.5. `active` is the mean over codes with a variance above 0.01, 0 if there is none.

    What it can't see: a factor that no code carries, and one that several codes carry, cost nothing. `active` depends
    on the scale of the codes. A constant code has no information; a factor that never varies is left out; a
    single factor has no rival.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, or no factor that varies.
    """
    z, factors = check("mig_sup", z, factors)
    unit, z = relative(z)
    values = code_gap(z, factors, int(factors.max()) + 1, unit[0].astype(np.float32))
    return {name: float(values[name]) for name in ("mig_sup", "active")}


@partial(jax.jit, static_argnames="size")
def code_gap(
    z: Float[Array, "N D"], factors: Int[Array, "N K"], size: int, unit: Float[Array, " D"] | float = 1.0
) -> dict[str, Float[Array, ""]]:
    """`mig_sup` for use under jit and vmap: factor values are below `size`, codes are in this unit.

    NaN codes give NaN.
    """
    normalised = code_information(z, factors, size) / entropy(factors, size)[None]
    best, second = jax.lax.top_k(jnp.pad(normalised, ((0, 0), (0, 1))), 2)[0].T
    gap, active = best - second, z.std(axis=0) * unit > math.sqrt(ACTIVE)
    values = {"mig_sup": gap.mean(), "active": (gap * active).sum() / jnp.maximum(active.sum(), 1)}
    return jax.tree.map(lambda value: jnp.where(jnp.isfinite(z).all(), value, jnp.nan), values)


MIG_SUP = Metric(
    "mig_sup", code_gap, ("moved", "factors", "size", "unit"), "MIG-sup", "higher", (0, 1),
    more=(Value("active", "MIG-sup of active codes", "higher", (0, 1)),), arrays=mig_sup,
)  # fmt: skip
