"""VAE whose KL term is warmed up (Bowman et al. 2016, "Generating Sentences from a Continuous Space", section 3.1).

    loss = E_q[-log p(x | z)] + beta_t * KL(q(z | x) || N(0, I)),
    beta_t = beta_start + (beta - beta_start) * min(1, step / anneal_steps)

in nats per example. Linear as in Sonderby et al. 2016 ("Ladder Variational Autoencoders", section 2.3), where Bowman et
al. used a sigmoid; both ended at 1, here the end is `beta`. `anneal_steps = 0` is exactly `beta_vae`, and with
`beta = 1` exactly `vae`. A `beta_start` above `beta` lets the weight fall instead. The reported loss is the one of its
step, so it rises with beta_t: to compare steps look at `reconstruction` and `kl`.
"""

from typing import NamedTuple

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.hyper import NotNegative
from vaejax.method import MeanOverExamples, Method, Network
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.elbo import elbo_terms
from vaejax.methods.parts.schedules import anneal
from vaejax.methods.vae import vae


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    beta: NotNegative = 1.0
    beta_start: NotNegative = 0.0
    anneal_steps: NotNegative = 10_000.0
    learning_rate: NotNegative = 1e-3


@constructor
def annealed_beta(encoder: Network, decoder: Network, likelihood: Family = Bernoulli) -> Method:
    """A VAE of these networks with a KL warm-up; metrics: `loss`, `reconstruction` and `kl`, in nats per example."""
    base = vae(encoder, decoder, likelihood)

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        terms = elbo_terms(base, params, batch, key)
        beta = anneal(step, hyper.beta_start, hyper.beta, hyper.anneal_steps)
        loss = (terms.distortion + beta * terms.rate).mean()
        return loss, terms.metrics(loss)

    return base._replace(hyper=Hyper(), loss=loss)
