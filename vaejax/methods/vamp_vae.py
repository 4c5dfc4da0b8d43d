"""VAE with a learned prior (Tomczak & Welling 2018, "VAE with a VampPrior", equation 9).

    loss = E_q[-log p(x | z) + log q(z | x) - log p(z)]

in nats per example, with one noise sample each, at which the KL is estimated: it has no closed form. The prior is

    vamp        p(z) = 1/K sum_k q(z | u_k), the posteriors of K learned pseudo-inputs u_k
    mixture     p(z) = sum_k w_k N(mean_k, exp(log_var_k)), K learned Gaussians with learned weights: the paper's "MoG"

Pseudo-inputs of values from 0 to 1 are sigmoid(v_k), of real numbers v_k, of counts exp(v_k). They start as examples
drawn from the batch that `init` sees, the first pulled into [0.05, 0.95], counts with 1/2 added, with noise on v; the
Gaussians start with random means, unit variances and equal weights. One Gaussian that is N(0, I) makes it a `vae` whose
KL is estimated.

Departures: the sigmoid, where the authors' code clips u_k to [0, 1], so that no pixel gets stuck at an end; no warm-up
of the KL; Adam at 1e-3 with the networks that are given, where the paper has gated ones and 5e-4.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaejax.distributions.basic import Bernoulli, Family, Gaussian
from vaejax.distributions.priors import GaussianMixture
from vaejax.errors import InputError, choose
from vaejax.hyper import NotNegative
from vaejax.method import Batch, MeanOverExamples, Method, Network, Params
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.elbo import elbo_terms
from vaejax.methods.parts.encoder_decoder import encoder_decoder
from vaejax.networks.features import seen

NOISE = 0.1  # standard deviation, of v
HALF = 0.5  # added to counts to start from, so that zeros have a logarithm
EDGE = 0.05  # how far pseudo-inputs start from black and white


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    learning_rate: NotNegative = 1e-3


@constructor
def vamp_vae(
    encoder: Network,
    decoder: Network,
    likelihood: Family = Bernoulli,
    prior: str = "vamp",
    components: int = 500,
    kind: str = "unit",
) -> Method:
    """A VAE of these networks; the parameters have the groups `encoder`, `decoder` and `prior`.

    Metrics: `loss`, `reconstruction` and `kl` (estimated), in nats per example.

    Args:
      prior: `vamp` or `mixture`.
      components: K; a step of `vamp` encodes so many pseudo-inputs beside the batch.
      kind: of the data, as in `vaejax.Space`, or `mixed`; `vaejax.build` takes it from the space.

    Raises:
      InputError: an unknown prior, no components, or pseudo-inputs of categories.
    """
    form = choose(PRIORS, prior, "prior")
    if form.pseudo and kind not in PSEUDO:
        raise InputError(f"pseudo-inputs are numbers, and can't be data of kind {kind}; choose prior='mixture'")
    pseudo = PSEUDO.get(kind)
    if components < 1:
        raise InputError(f"a mixture needs at least 1 component, not {components}")
    base = encoder_decoder(encoder, decoder, Gaussian, likelihood)

    def init(key, batch):
        params = base.init(key, batch)
        x, z = seen(batch.x, batch.mask), base.encode(params, batch).mean
        return {**params, "prior": form.init(jax.random.fold_in(key, 2), x, z, components, pseudo)}

    def prior_of(params: Params, batch: Batch) -> GaussianMixture:
        log_weights, means, log_vars = form.components(params["prior"], lambda x: base.encode(params, Batch(x)), pseudo)
        return GaussianMixture(jnp.broadcast_to(log_weights, (len(batch.x), components)), means, log_vars)

    model = base._replace(init=init, prior=prior_of)

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        del hyper, step
        terms = elbo_terms(model, params, batch, key)
        loss = (terms.distortion + terms.rate).mean()
        return loss, terms.metrics(loss)

    def optimizer(hyper):
        return optax.adam(hyper.learning_rate)

    return Method(Hyper(), init, loss, model.encode, model.decode, optimizer, prior_of)


class Kind(NamedTuple):
    """A parameterisation of K Gaussians.

    Fields:
      init: `(key, x, codes, K, pseudo) -> params`.
      pseudo: whether it has pseudo-inputs.
      components: `(params, encode, pseudo) -> (log weights [1, K], means [K, D], log variances [K, D])`.
    """

    init: Any
    components: Any
    pseudo: bool


class Pseudo(NamedTuple):
    """How an input u is made of what is learned, v, and v of an example to start from."""

    input: Callable[[jax.Array], jax.Array]
    start: Callable[[jax.Array], jax.Array]


PSEUDO = {
    "unit": Pseudo(jax.nn.sigmoid, lambda x: jax.scipy.special.logit(EDGE + (1 - 2 * EDGE) * x)),
    "real": Pseudo(lambda v: v, lambda x: x),
    "count": Pseudo(jnp.exp, lambda x: jnp.log(x + HALF)),
}


def _pseudo_inputs(key: jax.Array, x: jax.Array, z: jax.Array, count: int, pseudo: Pseudo) -> Params:
    del z
    choice, noise = jax.random.split(key)
    start = pseudo.start(x[jax.random.randint(choice, (count,), 0, len(x))])
    return {"v": start + NOISE * jax.random.normal(noise, start.shape)}


def _posteriors(params: Params, encode: Any, pseudo: Pseudo) -> tuple[jax.Array, jax.Array, jax.Array]:
    posterior = encode(pseudo.input(params["v"]))
    return jnp.full((1, len(params["v"])), -jnp.log(len(params["v"]))), posterior.mean, posterior.log_var


def _gaussians(key: jax.Array, x: jax.Array, z: jax.Array, count: int, pseudo: Pseudo | None) -> Params:
    del x, pseudo
    shape = (count, z.shape[1])
    return {
        "weights": jnp.zeros(count),
        "means": jax.random.normal(key, shape),
        "log_vars": jnp.zeros(shape),
    }


def _mixture(params: Params, encode: Any, pseudo: Pseudo | None) -> tuple[jax.Array, jax.Array, jax.Array]:
    del encode, pseudo
    return jax.nn.log_softmax(params["weights"])[None], params["means"], params["log_vars"]


PRIORS = {"vamp": Kind(_pseudo_inputs, _posteriors, True), "mixture": Kind(_gaussians, _mixture, False)}
