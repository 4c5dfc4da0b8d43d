"""FactorVAE (Kim & Mnih 2018, "Disentangling by Factorising", equation 2 and algorithm 2).

    loss = E_q[-log p(x | z)] + KL(q(z | x) || N(0, I)) + gamma * TC,    TC = E_q(z)[log D(z) / (1 - D(z))]
    discriminator's loss = -1/2 E_q(z)[log D(z)] - 1/2 E_permuted(z)[log(1 - D(z))]

in nats per example. D(z) is the probability, by the discriminator, that z comes from the aggregate posterior q(z) and
not from the product of its marginals, of which a batch is made by permuting each latent on its own over the images of a
batch. With logits (real, permuted), log D / (1 - D) is their difference.

The two losses are differentiated as one sum: TC with the discriminator's parameters held constant, the discriminator's
loss with the codes held constant; each group of parameters has an Adam of its own. `gamma = 0` is exactly `vae` (the
discriminator then learns, and nothing listens).

Departures: the permuted codes come from the same batch, where algorithm 2 draws a second one (as in the study of
Locatello et al. 2019); both losses see the same parameters, where algorithm 2 updates the discriminator last.
"""

from typing import Any, NamedTuple

import jax
import optax

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.errors import InputError
from vaejax.hyper import NotNegative
from vaejax.method import Method, Network, Params
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.elbo import elbo_terms
from vaejax.methods.vae import vae
from vaejax.networks.discriminator import Discriminator
from vaejax.networks.sizes import check_depth
from vaejax.objectives import density_ratio, permuted, telling_apart

GROUPS = {"encoder": "autoencoder", "decoder": "autoencoder", "discriminator": "discriminator"}


class Hyper(NamedTuple):
    """Numbers that a sweep may vary; gamma = 35 is the paper's for 2-D shapes."""

    gamma: NotNegative = 35.0
    learning_rate: NotNegative = 1e-3
    discriminator_learning_rate: NotNegative = 1e-4


@constructor
def factor_vae(
    encoder: Network,
    decoder: Network,
    likelihood: Family = Bernoulli,
    discriminator_width: int = 1000,
    discriminator_depth: int = 6,
) -> Method:
    """A FactorVAE of these networks; the parameters have the groups `encoder`, `decoder` and `discriminator`.

    Metrics: `loss` (the autoencoder's), `reconstruction`, `kl` and `total_correlation` (the discriminator's estimate)
    in nats per example; `discriminator_loss` in nats per code, log 2 where it can't tell.

    Args:
      discriminator_width, discriminator_depth: hidden units per layer and hidden layers.

    Raises:
      InputError: a width or a depth below 1.
    """
    base = vae(encoder, decoder, likelihood)
    if discriminator_width < 1 or discriminator_depth < 1:
        raise InputError(
            f"a discriminator needs at least 1 layer of width 1, not {discriminator_depth} of {discriminator_width}"
        )
    check_depth("discriminator_depth", discriminator_depth)
    discriminator = Discriminator(discriminator_width, discriminator_depth)

    def judge(params: Params, z: jax.Array) -> Any:
        return discriminator.apply(params, z)

    def init(key, batch):
        params = base.init(key, batch)
        z = base.encode(params, batch).mean
        return {**params, "discriminator": discriminator.init(jax.random.fold_in(key, 2), z)}

    def loss(params, hyper, batch, key, step):
        del step
        terms = elbo_terms(base, params, batch, key)
        correlation = density_ratio(judge(jax.lax.stop_gradient(params["discriminator"]), terms.z)).mean()
        loss = (terms.distortion + terms.rate).mean() + hyper.gamma * correlation
        z = jax.lax.stop_gradient(terms.z)
        shuffled = permuted(jax.random.fold_in(key, 1), z)
        telling = telling_apart(judge(params["discriminator"], z), judge(params["discriminator"], shuffled)).mean()
        return loss + telling, terms.metrics(loss, total_correlation=correlation, discriminator_loss=telling)

    def optimizer(hyper):
        return optax.multi_transform(
            {
                "autoencoder": optax.adam(hyper.learning_rate),
                "discriminator": optax.adam(hyper.discriminator_learning_rate, b1=0.5, b2=0.9),
            },
            GROUPS,
        )

    return base._replace(hyper=Hyper(), init=init, loss=loss, optimizer=optimizer)
