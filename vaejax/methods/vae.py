"""Variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes", equation 10).

    loss = E_q[-log p(x | z)] + KL(q(z | x) || N(0, I)),    z = mean + std * noise

in nats per example, with one noise sample per example: the negative ELBO. Adam instead of Adagrad.
"""

from typing import NamedTuple

import optax

from vaejax.distributions.basic import Bernoulli, Family, Gaussian
from vaejax.hyper import NotNegative
from vaejax.method import MeanOverExamples, Method, Network
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.elbo import elbo_terms
from vaejax.methods.parts.encoder_decoder import encoder_decoder


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    learning_rate: NotNegative = 1e-3


@constructor
def vae(encoder: Network, decoder: Network, likelihood: Family = Bernoulli) -> Method:
    """A VAE of these networks; metrics: `loss`, `reconstruction` and `kl`, in nats per example."""

    model = encoder_decoder(encoder, decoder, Gaussian, likelihood)

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        del hyper, step
        terms = elbo_terms(model, params, batch, key)
        loss = (terms.distortion + terms.rate).mean()
        return loss, terms.metrics(loss)

    def optimizer(hyper):
        return optax.adam(hyper.learning_rate)

    return Method(Hyper(), model.init, loss, model.encode, model.decode, optimizer, model.prior)
