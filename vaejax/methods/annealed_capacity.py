"""VAE of controlled capacity (Burgess et al. 2018, "Understanding disentangling in beta-VAE"; also AnnealedVAE or CCI).

    loss = E_q[-log p(x | z)] + gamma * |KL(q(z | x) || N(0, I)) - C|,                                (equation 8)
    C = min(c_max, c_max * step / anneal_steps)

in nats per example. KL is the mean over the batch, as in the study of Locatello et al. 2019: the capacity bounds the
average, and images may differ in how much of it they use. (The paper writes the equation for one image.) The paper
went from 0.5 to 25 nats on dSprites, here C starts at 0. `gamma = 1` with `c_max = 0` is exactly `vae`. The objective
moves with C, so its value is not comparable between steps: look at `reconstruction` and `kl`.
"""

from typing import NamedTuple

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.hyper import NotNegative
from vaejax.method import Method, Network
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.elbo import elbo_terms
from vaejax.methods.parts.schedules import anneal
from vaejax.methods.vae import vae
from vaejax.objectives import capacity_penalty


class Hyper(NamedTuple):
    """Numbers that a sweep may vary; `c_max` is in nats."""

    c_max: NotNegative = 25.0
    gamma: NotNegative = 1000.0
    anneal_steps: NotNegative = 100_000.0
    learning_rate: NotNegative = 1e-3


@constructor
def annealed_capacity(encoder: Network, decoder: Network, likelihood: Family = Bernoulli) -> Method:
    """A VAE whose KL follows C; metrics: `loss`, `reconstruction`, `kl` and `capacity` (C), in nats per example."""
    base = vae(encoder, decoder, likelihood)

    def loss(params, hyper, batch, key, step):
        terms = elbo_terms(base, params, batch, key)
        capacity = anneal(step, 0.0, hyper.c_max, hyper.anneal_steps)
        loss = terms.distortion.mean() + hyper.gamma * capacity_penalty(terms.rate, capacity)
        return loss, terms.metrics(loss, capacity=capacity)

    return base._replace(hyper=Hyper(), loss=loss)
