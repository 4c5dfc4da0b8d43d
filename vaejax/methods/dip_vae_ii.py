"""DIP-VAE-II (Kumar, Sattigeri & Balakrishnan 2018, "Variational Inference of Disentangled Latent Concepts from
Unlabeled Observations", equation 7).

    loss = E_q[-log p(x | z)] + KL(q(z | x) || N(0, I))
           + lambda_od * sum_{i != j} C_ij^2 + lambda_d * sum_i (C_ii - 1)^2,
    C = Cov_x[mean(x)] + E_x[diag(var(x))],    lambda_d = lambda_d_ratio * lambda_od

in nats per example. By the law of total variance C is the covariance of the aggregate posterior q(z), where DIP-VAE-I
takes that of the means alone. Both expectations are over the batch; the covariance is divided by B and centred over the
batch. The two weights are tied by a ratio, 1 as in the study of Locatello et al. 2019, so that one axis sweeps the
strength and `lambda_od = 0` is exactly `vae`.
"""

from typing import NamedTuple

import jax.numpy as jnp

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.hyper import NotNegative
from vaejax.method import Method, Network
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.elbo import elbo_terms
from vaejax.methods.vae import vae
from vaejax.objectives import covariance, dip_penalty


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    lambda_od: NotNegative = 5.0
    lambda_d_ratio: NotNegative = 1.0
    learning_rate: NotNegative = 1e-3


@constructor
def dip_vae_ii(encoder: Network, decoder: Network, likelihood: Family = Bernoulli) -> Method:
    """A DIP-VAE-II of these networks.

    Metrics: `loss`, `reconstruction` and `kl`, in nats per example; `dip`, the penalty with its weights.
    """
    base = vae(encoder, decoder, likelihood)

    def loss(params, hyper, batch, key, step):
        del step
        terms = elbo_terms(base, params, batch, key)
        within = jnp.exp(terms.posterior.log_var).mean(axis=0)
        spread = covariance(terms.posterior.mean) + jnp.diag(within)
        penalty = dip_penalty(spread, hyper.lambda_od, hyper.lambda_d_ratio * hyper.lambda_od)
        loss = (terms.distortion + terms.rate).mean() + penalty
        return loss, terms.metrics(loss, dip=penalty)

    return base._replace(hyper=Hyper(), loss=loss)
