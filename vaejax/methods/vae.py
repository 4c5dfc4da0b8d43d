"""Variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes", equation 10).

    loss = E_q[-log p(x | z)] + KL(q(z | x) || N(0, I)),    z = mean + std * noise

in nats per image, with one noise sample per image: the negative ELBO. Adam instead of Adagrad.
"""

from typing import NamedTuple

import optax

from vaejax.distributions import Bernoulli, Family, Gaussian
from vaejax.method import Method, Network
from vaejax.methods.encoder_decoder import encoder_decoder
from vaejax.objectives import kl_per_latent, reconstruction


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    learning_rate: float = 1e-3


def vae(encoder: Network, decoder: Network, likelihood: Family = Bernoulli) -> Method:
    """A VAE of these networks; metrics: `loss`, `reconstruction` and `kl`, in nats per image."""

    init, encode, decode = encoder_decoder(encoder, decoder, Gaussian, likelihood)

    def loss(params, hyper, batch, key, step):
        del hyper, step
        posterior = encode(params, batch)
        rate = kl_per_latent(posterior).sum(axis=-1)
        distortion = reconstruction(decode(params, posterior.sample(key)), batch.x)
        loss = (distortion + rate).mean()
        return loss, {"loss": loss, "reconstruction": distortion.mean(), "kl": rate.mean()}

    return Method(Hyper(), init, loss, encode, decode, lambda hyper: optax.adam(hyper.learning_rate))
