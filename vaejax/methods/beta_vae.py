"""beta-VAE (Higgins et al. 2017, "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework").

    loss = E_q[-log p(x | z)] + beta * KL(q(z | x) || N(0, I))                                        (equation 4)

in nats per example. Both terms are sums (over pixels, over latents), so `beta` is the paper's beta and not its
beta_norm = beta * latents / pixels. `beta = 1` is exactly `vae`. Adam, where the paper used Adagrad on 2-D shapes.
"""

from typing import NamedTuple

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.hyper import NotNegative
from vaejax.method import MeanOverExamples, Method, Network
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.elbo import elbo_terms
from vaejax.methods.vae import vae


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    beta: NotNegative = 4.0
    learning_rate: NotNegative = 1e-3


@constructor
def beta_vae(encoder: Network, decoder: Network, likelihood: Family = Bernoulli) -> Method:
    """A beta-VAE of these networks; metrics: `loss`, `reconstruction` and `kl`, in nats per example."""
    base = vae(encoder, decoder, likelihood)

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        del step
        terms = elbo_terms(base, params, batch, key)
        loss = (terms.distortion + hyper.beta * terms.rate).mean()
        return loss, terms.metrics(loss)

    return base._replace(hyper=Hyper(), loss=loss)
