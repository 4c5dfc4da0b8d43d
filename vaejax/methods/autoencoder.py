"""Autoencoder (Hinton & Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks").

    loss = -log p(x | z),    z = encoder(x)

in nats per example: cross-entropy with a Bernoulli likelihood; half the squared error plus a constant with a Gaussian
one of unit scale. Trained end to end by Adam from random weights, where the paper pre-trained layers as Boltzmann
machines.
"""

from typing import NamedTuple

import optax

from vaejax.distributions.basic import Bernoulli, Delta, Family
from vaejax.hyper import NotNegative
from vaejax.method import MeanOverExamples, Method, Network
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.encoder_decoder import encoder_decoder
from vaejax.networks.calls import live
from vaejax.objectives import reconstruction


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    learning_rate: NotNegative = 1e-3


@constructor
def autoencoder(encoder: Network, decoder: Network, likelihood: Family = Bernoulli) -> Method:
    """A deterministic autoencoder of these networks; metrics: `loss` and `reconstruction`, in nats per example."""

    init, encode, decode, _ = encoder_decoder(encoder, decoder, Delta, likelihood)

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        del hyper, step
        params = live(params, key)
        loss = reconstruction(decode(params, encode(params, batch).mean, batch), batch.x).mean()
        return loss, {"loss": loss, "reconstruction": loss}

    return Method(Hyper(), init, loss, encode, decode, lambda hyper: optax.adam(hyper.learning_rate))
