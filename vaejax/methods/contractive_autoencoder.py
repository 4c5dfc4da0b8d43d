"""Contractive autoencoder (Rifai et al. 2011, "Contractive Auto-Encoders: Explicit Invariance During Feature
Extraction").

    loss = -log p(x | z) + lambda_contractive * || J(x) ||_F^2,    z = encoder(x),    J = d z / d x

in nats per example. `lambda_contractive = 0` is exactly `autoencoder`.

The squared norm is a sum over rows of the Jacobian, and a row is a vector-Jacobian product: `estimator="exact"` takes
them all, which costs as many passes through the encoder as there are latents, and as much memory. With
`estimator="hutchinson"` it is estimated by `probes` random vectors v of independent signs (Hutchinson 1990),

    E || v^T J ||^2 = trace(J^T E[v v^T] J) = || J ||_F^2,    v_d = -1 or +1

which has no bias and costs one pass for each probe; of all v with E[v v^T] = I, signs give the smallest variance.

Departures: any encoder, with codes that are linear in its last layer, where the paper has one layer of sigmoids, whose
Jacobian has a closed form, and tied weights; so codes can shrink while the decoder's weights grow, and what the penalty
does depends on how long training lasts, too. Adam.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.errors import InputError, choose
from vaejax.hyper import NotNegative
from vaejax.method import MeanOverExamples, Method, Network
from vaejax.methods.autoencoder import autoencoder
from vaejax.methods.parts.constructor import constructor
from vaejax.networks.calls import live
from vaejax.objectives import reconstruction


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    lambda_contractive: NotNegative = 0.1
    learning_rate: NotNegative = 1e-3


@constructor(kinds=("unit", "real", "count"))
def contractive_autoencoder(
    encoder: Network, decoder: Network, likelihood: Family = Bernoulli, estimator: str = "exact", probes: int = 1
) -> Method:
    """A contractive autoencoder of these networks.

    Metrics: `loss`, `reconstruction` and `contraction` (the squared norm of the Jacobian), per image.

    Args:
      estimator: `exact`, for few latents; or `hutchinson`.
      probes: random vectors per image, of `hutchinson`.

    Raises:
      InputError: an unknown estimator, or less than 1 probe.
    """
    rows = choose({"exact": all_rows, "hutchinson": random_signs(probes)}, estimator, "estimator")
    base = autoencoder(encoder, decoder, likelihood)

    def loss(params, hyper, batch, key, step):
        del step
        params = live(params, key)
        z, pull = jax.vjp(lambda x: base.encode(params, batch._replace(x=x)).mean, batch.x)
        distortion = reconstruction(base.decode(params, z, batch), batch.x)
        contraction = squared_rows(pull, rows(key, z))
        loss = (distortion + hyper.lambda_contractive * contraction).mean()
        means = {"reconstruction": distortion.mean(), "contraction": contraction.mean()}
        return loss, {"loss": loss, **means}

    own = MeanOverExamples(loss) if estimator == "exact" else loss  # the leading axis of signs is that of the probes
    return base._replace(hyper=Hyper(), loss=own)


def squared_rows(
    pull: Callable[[Float[Array, "B D"]], tuple[Float[Array, "B ..."]]], v: Float[Array, "P B D"]
) -> Float[Array, " B"]:
    """sum_p || v_p^T J ||^2 for every image, where `pull` multiplies by its Jacobian from the left."""
    products = jax.vmap(pull)(v)[0]
    return (products.reshape(*v.shape[:2], -1) ** 2).sum(axis=(0, 2))


def all_rows(key: Key[Array, ""], z: Float[Array, "B D"]) -> Float[Array, "D B D"]:
    """The unit vectors."""
    del key
    return jnp.broadcast_to(jnp.eye(z.shape[-1], dtype=z.dtype)[:, None], (z.shape[-1], *z.shape))


def random_signs(probes: int) -> Callable[[Key[Array, ""], Float[Array, "B D"]], Float[Array, "P B D"]]:
    """Vectors of random signs, scaled for `squared_rows` to be the mean over them.

    Raises:
      InputError: less than 1.
    """
    if probes < 1:
        raise InputError(f"Hutchinson's estimator takes at least probes=1 random vector, not {probes}")
    return lambda key, z: jax.random.rademacher(key, (probes, *z.shape), z.dtype) / math.sqrt(probes)
