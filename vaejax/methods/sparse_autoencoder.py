"""Sparse autoencoder: an L1 penalty on the codes (Ng 2011, "Sparse autoencoder", with L1 in place of its KL term).

    loss = -log p(x | z) + lambda_l1 * sum_d |z_d|,    z = encoder(x)

in nats per example: -log p(x, z) up to a constant, under a Laplace prior of scale 1 / lambda_l1 on the codes (Olshausen
& Field 1996 learn such codes without an encoder). `lambda_l1 = 0` is exactly `autoencoder`. The decoder's weights are
free, so codes can shrink while weights grow: what the penalty does depends on how long training lasts, too.
"""

from typing import NamedTuple

import jax.numpy as jnp

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.hyper import NotNegative
from vaejax.method import MeanOverExamples, Method, Network
from vaejax.methods.autoencoder import autoencoder
from vaejax.methods.parts.constructor import constructor
from vaejax.networks.calls import live
from vaejax.objectives import reconstruction


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    lambda_l1: NotNegative = 0.1
    learning_rate: NotNegative = 1e-3


@constructor
def sparse_autoencoder(encoder: Network, decoder: Network, likelihood: Family = Bernoulli) -> Method:
    """A sparse autoencoder of these networks.

    Metrics: `loss`, `reconstruction` and `l1` (sum of absolute codes), per image.
    """
    base = autoencoder(encoder, decoder, likelihood)

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        del step
        params = live(params, key)
        z = base.encode(params, batch).mean
        distortion = reconstruction(base.decode(params, z, batch), batch.x)
        size = jnp.abs(z).sum(axis=-1)
        loss = (distortion + hyper.lambda_l1 * size).mean()
        return loss, {"loss": loss, "reconstruction": distortion.mean(), "l1": size.mean()}

    return base._replace(hyper=Hyper(), loss=loss)
