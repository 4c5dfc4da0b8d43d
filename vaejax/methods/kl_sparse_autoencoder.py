"""Sparse autoencoder with a target for the mean activation of every code (Ng 2011, "Sparse autoencoder").

    loss = -log p(x | z) + lambda_kl * sum_d KL(rho || mean_d),    z = sigmoid(encoder(x))
    KL(rho || m) = rho log(rho / m) + (1 - rho) log((1 - rho) / (1 - m)),    mean_d = mean of z_d over the images

in nats per example. `lambda_kl` is the notes' beta and keeps their scale: their reconstruction term is a sum over
pixels and a mean over images, too. `lambda_kl = 0` is an autoencoder whose codes lie in (0, 1).

Departures: the mean is that of the batch, where the notes take it over the whole training set, so the penalty's
expectation is a little larger; no weight decay; Adam in place of batch gradient descent.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Float

from vaejax.distributions.basic import Bernoulli, Delta, Family
from vaejax.hyper import NotNegative, Share
from vaejax.method import Batch, Method, Network, Params
from vaejax.methods.autoencoder import autoencoder
from vaejax.methods.parts.constructor import constructor
from vaejax.networks.calls import live
from vaejax.objectives import reconstruction


class Hyper(NamedTuple):
    """Numbers that a sweep may vary; `lambda_kl` and `rho` are those of the notes. `rho` lies in [0, 1]."""

    lambda_kl: NotNegative = 3.0
    rho: Share = 0.05
    learning_rate: NotNegative = 1e-3


@constructor
def kl_sparse_autoencoder(encoder: Network, decoder: Network, likelihood: Family = Bernoulli) -> Method:
    """A sparse autoencoder of these networks, with codes in (0, 1).

    Metrics: `loss`, `reconstruction` and `sparsity` (the sum of the KLs), in nats per example; `activation`, the mean
    of all codes.
    """
    base = autoencoder(encoder, decoder, likelihood)

    def encode(params: Params, batch: Batch) -> Delta:
        return Delta(jax.nn.sigmoid(base.encode(params, batch).mean))

    def loss(params, hyper, batch, key, step):
        del step
        params = live(params, key)
        logits = base.encode(params, batch).mean
        z = jax.nn.sigmoid(logits)
        distortion = reconstruction(base.decode(params, z, batch), batch.x).mean()
        sparsity = kl_of_activation(hyper.rho, logits).sum()
        loss = distortion + hyper.lambda_kl * sparsity
        return loss, {"loss": loss, "reconstruction": distortion, "sparsity": sparsity, "activation": z.mean()}

    return base._replace(hyper=Hyper(), loss=loss, encode=encode)


def kl_of_activation(rho: Float[Array, ""] | float, logits: Float[Array, "B D"]) -> Float[Array, " D"]:
    """KL(rho || mean over the batch of sigmoid(logits)) for every code, in nats.

    By logarithms of sigmoids, so that codes which are all 0 or all 1 in float32 still have a finite one and a gradient.
    """
    active = jax.nn.logsumexp(jax.nn.log_sigmoid(logits), axis=0) - math.log(len(logits))
    silent = jax.nn.logsumexp(jax.nn.log_sigmoid(-logits), axis=0) - math.log(len(logits))
    rho = jnp.asarray(rho, logits.dtype)
    return xlogy(rho, rho) - rho * active + xlogy(1 - rho, 1 - rho) - (1 - rho) * silent
