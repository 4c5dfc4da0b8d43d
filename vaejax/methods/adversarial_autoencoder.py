"""Adversarial autoencoder (Makhzani et al. 2015, "Adversarial Autoencoders", sections 2 and 2.3).

    loss = -log p(x | z) - lambda_adversarial * log D(z),    z = encoder(x)
    discriminator's loss = -1/2 E_p(z)[log D(z)] - 1/2 E_q(z)[log(1 - D(z))]

in nats per example. D(z) is the probability, by the discriminator, that z was drawn from the prior p(z) and is no code
of an image: the encoder learns codes that it takes for the prior's. The prior need not have a density, only samples:

    gaussian     N(0, I)
    mixture      Gaussians of the plane around a circle, ten of them or one a class
    swiss_roll   a spiral in the plane

With `classes` the discriminator sees the label, too, and the prior of a labelled image is the part of its class: a
Gaussian of the ring, or a piece of the roll (section 2.3); `gaussian` is the same for every class, so that labels are
taken out of the code. Only the discriminator and the prior see labels: encoder and decoder do without.

The two losses are differentiated as one sum: the autoencoder's with the discriminator's parameters held constant, the
discriminator's with the codes held constant; each group of parameters has an Adam of its own. `lambda_adversarial = 0`
is exactly `autoencoder` (the discriminator then learns, and nothing listens).

Departures: reconstruction, discriminator and encoder are updated together, where the paper alternates, with one weight
between them where it has a learning rate for each; the encoder maximises log D(z) instead of minimising log(1 - D(z)),
as usual; Adam for SGD with momentum; leaky ReLUs in the discriminator; all images have labels, where the paper has
another class for those without; sizes of the ring and the roll, which the paper doesn't give, are those of
`vaejax.priors`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.distributions.conditions import one_hot
from vaejax.distributions.priors import ring, swiss_roll
from vaejax.errors import InputError, choose
from vaejax.hyper import NotNegative
from vaejax.method import Batch, Method, Network, Params
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.encoder_decoder import POSTERIORS, encoder_decoder
from vaejax.networks.calls import live
from vaejax.networks.discriminator import Discriminator
from vaejax.networks.sizes import check_depth
from vaejax.objectives import reconstruction, telling_apart

GROUPS = {"encoder": "autoencoder", "decoder": "autoencoder", "discriminator": "discriminator"}
PLANAR: dict[str, Callable[..., Any]] = {"mixture": ring, "swiss_roll": swiss_roll}
PRIORS = {"gaussian": None, **PLANAR}
COMPONENTS = 10  # of the ring without classes


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    lambda_adversarial: NotNegative = 10.0
    learning_rate: NotNegative = 1e-3
    discriminator_learning_rate: NotNegative = 1e-4


@constructor
def adversarial_autoencoder(
    encoder: Network,
    decoder: Network,
    likelihood: Family = Bernoulli,
    prior: str = "gaussian",
    classes: int | None = None,
    posterior: str = "deterministic",
    discriminator_width: int = 1000,
    discriminator_depth: int = 2,
) -> Method:
    """An AAE of these networks; the parameters have the groups `encoder`, `decoder` and `discriminator`.

    Metrics: `loss` (the autoencoder's), `reconstruction` in nats per example; `adversarial` (-log D of the codes) and
    `discriminator_loss`, both log 2 where it can't tell, in nats per code.

    Args:
      prior: `gaussian`, `mixture` or `swiss_roll`; the last two take 2 latents.
      classes: how many the labels have; None is the AAE that sees none.
      posterior: `deterministic` or `gaussian`: the loss draws one code an image then.
      discriminator_width, discriminator_depth: hidden units per layer and hidden layers.

    Raises:
      InputError: an unknown prior or posterior, less than 1 class, layer or unit; in `init`, latents or labels that
      don't
        fit.
    """
    planar = choose(PRIORS, prior, "prior")
    if classes is not None and classes < 1:
        raise InputError(f"an adversarial autoencoder that sees labels needs at least 1 class, not {classes}")
    if discriminator_width < 1 or discriminator_depth < 1:
        raise InputError(
            f"a discriminator needs at least 1 layer of width 1, not {discriminator_depth} of {discriminator_width}"
        )
    base = encoder_decoder(encoder, decoder, choose(POSTERIORS, posterior, "posterior"), likelihood)
    check_depth("discriminator_depth", discriminator_depth)
    discriminator = Discriminator(discriminator_width, discriminator_depth)

    def prior_of(params: Params, batch: Batch) -> Any:
        if planar is None:
            return base.prior(params, batch)
        return planar(len(batch.x), classes or COMPONENTS, None if classes is None else batch.label)

    def shown(z: jax.Array, batch: Batch) -> jax.Array:
        """What the discriminator sees of a code."""
        return z if classes is None else jnp.concatenate([z, one_hot(batch.label, classes)], axis=1)

    def init(key, batch):
        params = base.init(key, batch)
        z = base.encode(params, batch).mean
        if planar is not None and z.shape[1] != 2:
            raise InputError(
                f"the prior {prior!r} lies in a plane, so that there have to be 2 latents, not {z.shape[1]}"
            )
        return {**params, "discriminator": discriminator.init(jax.random.fold_in(key, 2), shown(z, batch))}

    def loss(params, hyper, batch, key, step):
        del step
        params = live(params, key)

        def judge(params: Params, z: jax.Array) -> Any:
            return discriminator.apply(params, shown(z, batch))

        z = base.encode(params, batch).sample(key)
        distortion = reconstruction(base.decode(params, z, batch), batch.x).mean()
        adversarial = -jax.nn.log_softmax(judge(jax.lax.stop_gradient(params["discriminator"]), z))[:, 0].mean()
        loss = distortion + hyper.lambda_adversarial * adversarial
        drawn = prior_of(params, batch).sample(jax.random.fold_in(key, 1))
        codes = jax.lax.stop_gradient(z)
        telling = telling_apart(judge(params["discriminator"], drawn), judge(params["discriminator"], codes)).mean()
        metrics = {"loss": loss, "reconstruction": distortion, "adversarial": adversarial}
        return loss + telling, {**metrics, "discriminator_loss": telling}

    def optimizer(hyper):
        return optax.multi_transform(
            {
                "autoencoder": optax.adam(hyper.learning_rate),
                "discriminator": optax.adam(hyper.discriminator_learning_rate, b1=0.5, b2=0.9),
            },
            GROUPS,
        )

    return Method(Hyper(), init, loss, base.encode, base.decode, optimizer, prior_of, classes)
