"""InfoVAE by MMD (Zhao et al. 2017, "InfoVAE: Information Maximizing Variational Autoencoders", section 3).

    loss = E_q[-log p(x | z)] + (1 - alpha) * KL(q(z | x) || N(0, I)) + (alpha + lambda_mmd - 1) * MMD^2(q(z), N(0, I))

in nats per example, with one noise sample per example: the paper's objective with MMD for its divergence of q(z) from
p(z), and `lambda_mmd` for its lambda. `alpha` weighs the information that codes carry of images. MMD is estimated from
one batch, as in `vaejax.methods.wae_mmd`.

`alpha = 0, lambda_mmd = 1` is exactly `vae`; with `alpha = 1` the KL drops out, and it is `wae_mmd` of the same
`lambda_mmd` with a Gaussian posterior.

Departures: the kernel is inverse multiquadratic where the paper's is Gaussian; `alpha` can't be negative.
"""

from typing import NamedTuple

import jax

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.hyper import NotNegative
from vaejax.method import Method, Network
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.elbo import elbo_terms
from vaejax.methods.vae import vae
from vaejax.objectives import maximum_mean_discrepancy


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    alpha: NotNegative = 0.0
    lambda_mmd: NotNegative = 100.0
    learning_rate: NotNegative = 1e-3


@constructor
def info_vae(encoder: Network, decoder: Network, likelihood: Family = Bernoulli) -> Method:
    """An InfoVAE of these networks; metrics: `loss`, `reconstruction` and `kl` in nats per example, and `mmd`."""
    base = vae(encoder, decoder, likelihood)
    prior = base.prior
    assert prior is not None

    def loss(params, hyper, batch, key, step):
        del step
        terms = elbo_terms(base, params, batch, key)
        drawn = prior(params, batch).sample(jax.random.fold_in(key, 1))
        mmd = maximum_mean_discrepancy(terms.z, drawn)
        bound = (terms.distortion + (1 - hyper.alpha) * terms.rate).mean()
        loss = bound + (hyper.alpha + hyper.lambda_mmd - 1) * mmd
        return loss, terms.metrics(loss, mmd=mmd)

    return base._replace(hyper=Hyper(), loss=loss)
