"""Wasserstein autoencoder by MMD (Tolstikhin et al. 2018, "Wasserstein Auto-Encoders", algorithm 2).

    loss = -log p(x | z) + lambda_mmd * MMD^2(q(z), N(0, I)),    z = encoder(x)

in nats per example. MMD is estimated from the codes of a batch and as many draws of the prior, without bias, by the
inverse multiquadratic kernel C / (C + |z - z'|^2) with C = 2 D, summed over the seven scales of the authors'
experiments (`vaejax.objectives`). It is a property of the batch as a whole, and no single code is drawn to the prior.
`lambda_mmd = 0` is exactly `autoencoder`, if the encoder is deterministic.

Departures: any likelihood's -log p(x | z) is the cost, where the paper has |x - G(z)|^2: that is twice the cost here
with a Gaussian likelihood of unit scale, so that the paper's lambda is twice `lambda_mmd` there. The learning rate is
constant.
"""

from typing import NamedTuple

import jax
import optax

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.errors import choose
from vaejax.hyper import NotNegative
from vaejax.method import Method, Network
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.encoder_decoder import POSTERIORS, encoder_decoder
from vaejax.networks.calls import live
from vaejax.objectives import maximum_mean_discrepancy, reconstruction


class Hyper(NamedTuple):
    """Numbers that a sweep may vary; 10 is the paper's for MNIST."""

    lambda_mmd: NotNegative = 10.0
    learning_rate: NotNegative = 1e-3


@constructor
def wae_mmd(
    encoder: Network, decoder: Network, likelihood: Family = Bernoulli, posterior: str = "deterministic"
) -> Method:
    """A WAE-MMD of these networks; metrics: `loss`, `reconstruction` in nats per example, and `mmd`.

    Args:
      posterior: `deterministic`, as in the paper's experiments, or `gaussian`: the loss draws one code an image then.

    Raises:
      InputError: an unknown posterior.
    """
    model = encoder_decoder(encoder, decoder, choose(POSTERIORS, posterior, "posterior"), likelihood)

    def loss(params, hyper, batch, key, step):
        del step
        params = live(params, key)
        z = model.encode(params, batch).sample(key)
        distortion = reconstruction(model.decode(params, z, batch), batch.x).mean()
        drawn = model.prior(params, batch).sample(jax.random.fold_in(key, 1))
        mmd = maximum_mean_discrepancy(z, drawn)
        loss = distortion + hyper.lambda_mmd * mmd
        return loss, {"loss": loss, "reconstruction": distortion, "mmd": mmd}

    def optimizer(hyper):
        return optax.adam(hyper.learning_rate)

    return Method(Hyper(), model.init, loss, model.encode, model.decode, optimizer, model.prior)
