"""Importance-weighted autoencoder (Burda et al. 2016, "Importance Weighted Autoencoders", equation 8).

    loss = -E[log 1/K sum_k w_k],    w_k = p(x | z_k) p(z_k) / q(z_k | x),    z_k = mean + std * noise_k

in nats per example: minus a lower bound of log p(x) that rises with K. Two estimators of its gradient, with normalised
weights v_k = w_k / sum_j w_j:

    iwae    sum_k v_k grad log w_k, the gradient of the loss as it stands (section 3 there)
    dreg    the same for the decoder, and sum_k v_k^2 (d log w_k / d z_k) grad z_k for the encoder (Tucker et al. 2019,
            "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives"): the same expectation, and a signal
            that doesn't drown in noise as K grows

With `samples=1` and "iwae" it is a VAE whose KL is estimated at the one sample, where `vae` has the closed form: the
same loss and gradient in expectation, not bit for bit. With `samples=1` and "dreg" the encoder follows only the path
through z, as in Roeder et al. 2017, "Sticking the Landing".

Departures: one learning rate, where the paper has eight stages from 1e-3 to 1e-4, and Adam's default epsilon of 1e-8,
not 1e-4.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.errors import InputError, choose
from vaejax.method import Batch, MeanOverExamples, Method, Network, Params
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.elbo import distortions
from vaejax.methods.vae import vae
from vaejax.networks.calls import live
from vaejax.objectives import iwae_bound, total_log_prob

# (params, z: [K, B, ...], (posterior, batch, key)) -> log w and -log p(x | z), [K, B] each
Terms = tuple[Float[Array, "K B"], Float[Array, "K B"]]
Weigh = Callable[[Params, Array, Any], Terms]


@constructor
def iwae(
    encoder: Network,
    decoder: Network,
    likelihood: Family = Bernoulli,
    samples: int = 5,
    estimator: str = "iwae",
) -> Method:
    """An IWAE of these networks.

    Metrics: `loss`, `reconstruction` and `kl` (means over the samples, whose sum is minus the evidence lower bound) in
    nats per example, and `effective_samples`, 1 / sum_k v_k^2, of `samples`.

    Args:
      samples: K.
      estimator: "iwae" or "dreg".

    Raises:
      InputError: less than 1 sample, or an unknown estimator.
    """
    if samples < 1:
        raise InputError(f"an importance-weighted bound needs at least 1 sample, not {samples}; give samples=5 or more")
    weigh = choose(ESTIMATORS, estimator, "estimator")
    base = vae(encoder, decoder, likelihood)

    def terms_at(params: Params, z: Array, given: tuple[Any, Batch, jax.Array]) -> Terms:
        posterior, batch, key = given
        params = live(params, key)
        assert base.prior is not None
        prior = base.prior(params, batch)
        distortion = distortions(base, params, z, batch)
        log_q, log_p = (jax.vmap(partial(total_log_prob, distribution))(z) for distribution in (posterior, prior))
        return log_p - log_q - distortion, distortion

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        del hyper, step
        posterior = base.encode(live(params, key), batch)
        z = jax.vmap(posterior.sample)(jax.random.split(key, samples))
        log_weights, distortion = weigh(terms_at, params, z, (posterior, batch, key))
        loss = -iwae_bound(log_weights).mean()
        shares = jax.lax.stop_gradient(jax.nn.softmax(log_weights, axis=0))
        distortion = distortion.mean()
        return loss, {
            "loss": loss,
            "reconstruction": distortion,
            "kl": -log_weights.mean() - distortion,
            "effective_samples": (1 / (shares**2).sum(axis=0)).mean(),
        }

    return base._replace(loss=loss)


def as_it_stands(terms_at: Weigh, params: Params, z: Array, given: Any) -> Terms:
    """The terms, with their own gradient."""
    return terms_at(params, z, given)


def doubly_reparameterised(terms_at: Weigh, params: Params, z: Array, given: Any) -> Terms:
    """The terms, with another gradient: z receives that of log w_k once more times v_k, and the density of q none."""
    return _doubly(terms_at, params, z, jax.lax.stop_gradient(given))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _doubly(terms_at: Weigh, params: Params, z: Array, given: Any) -> Terms:
    return terms_at(params, z, given)


def _doubly_fwd(terms_at: Weigh, params: Params, z: Array, given: Any) -> tuple[Terms, Any]:
    terms, back = jax.vjp(lambda params, z: terms_at(params, z, given), params, z)
    return terms, (back, jax.nn.softmax(terms[0], axis=0))


def _doubly_bwd(terms_at: Weigh, kept: Any, g: Terms) -> tuple[Params, Array, None]:
    back, shares = kept
    of_params, of_z = back(g)
    return of_params, of_z * jnp.expand_dims(shares, range(2, of_z.ndim)), None


_doubly.defvjp(_doubly_fwd, _doubly_bwd)

ESTIMATORS: dict[str, Callable[[Weigh, Params, Array, Any], Terms]] = {
    "iwae": as_it_stands,
    "dreg": doubly_reparameterised,
}
