"""The mean mutual information between two codes (Locatello et al. 2019, section 5.2): an unsupervised score.

    1 / (D (D - 1)) sum_{i != j} I(z_i; z_j)

in nats, between codes that are discretised in 20 equal-width bins.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vaejax.metrics.checks import check_codes, relative
from vaejax.metrics.information import BINS, discretise, mutual_information
from vaejax.metrics.record import Metric


def mutual_info_score(z: Float[np.ndarray, "N D"]) -> dict[str, float]:
    """How much codes tell of one another, in nats; 0 if they are independent, up to a bias of about 180 / N nats.

    What it can't see: dependence among three or more codes, dependence finer than a bin, and whether the codes mean
    anything: unused codes lower it. A constant code tells nothing; a single code scores 0.

    Raises:
      InputError: codes of another shape, or not finite.
    """
    _, z = relative(check_codes("mutual_info_score", z))
    return {"mutual_info_score": float(mean_mutual_information(z))}


@jax.jit
def mean_mutual_information(z: Float[Array, "N D"]) -> Float[Array, ""]:
    """`mutual_info_score` for use under jit and vmap. NaN codes give NaN."""
    bins, count = discretise(z), z.shape[1]
    between = mutual_information(bins, bins, BINS, BINS) * (1 - jnp.eye(count))
    return jnp.where(jnp.isfinite(z).all(), between.sum() / max(count * (count - 1), 1), jnp.nan)


MUTUAL_INFO_SCORE = Metric(
    "mutual_info_score", mean_mutual_information, ("moved",), "MI between codes", "lower", (0, math.inf),
    arrays=mutual_info_score,
)  # fmt: skip
