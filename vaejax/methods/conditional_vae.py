"""Conditional VAE (Kingma et al. 2014, "Semi-Supervised Learning with Deep Generative Models", equation 6, for labels;
Sohn et al. 2015, "Learning Structured Output Representation using Deep Conditional Generative Models", equation 4).

    loss = E_q[-log p(x | z, c)] + KL(q(z | x, c) || p(z | c))

in nats per example, with one noise sample per example: the negative bound on log p(x | c). The condition c is

    label       the class, one-hot
    factors     the ground-truth factors as numbers, each scaled to [0, 1]
    quadrant1   the lower left quadrant of the image itself
    quadrant2   its left half
    quadrant3   all but its lower right quadrant

and p(z | c) is N(0, I) (`prior="standard"`), or a Gaussian that a network makes of c (`prior="learned"`, Sohn et al.).
With quadrants, x in the equation stands for the pixels that are missing: the bound is on the conditional likelihood log
p(missing | observed), of which Sohn et al. report the negative as -CLL.

Latents are [z, c], so that the decoder needs nothing else, and neither do functions of a trained method.

The encoder sees the image, and c as one more channel (`vaejax.networks.plane`), or, for quadrants, just the image, of
which c is a part. The network of the prior is another such encoder, which sees nothing of the image but c.

Departures: labels are known for all images, where Kingma et al. infer those that are missing; no hybrid objective and
no recurrent connection, where Sohn et al. add a deterministic prediction to the loss and feed its guess to the prior.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from vaejax.distributions.basic import Bernoulli, Family, Gaussian, StandardNormal
from vaejax.distributions.conditions import Conditioned, Given, one_hot
from vaejax.distributions.given import likelihood_of
from vaejax.errors import InputError, choose
from vaejax.hyper import NotNegative
from vaejax.method import Batch, Distribution, MeanOverExamples, Method, Network, Params
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.elbo import elbo_terms
from vaejax.methods.parts.encoder_decoder import EncoderDecoder
from vaejax.networks.calls import DROPOUT, check_vectors, outputs, started
from vaejax.networks.features import seen as present
from vaejax.networks.plane import Plane

Image = Float[Array, "B H W C"]


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    learning_rate: NotNegative = 1e-3


class Condition(NamedTuple):
    """What a condition is to the networks.

    Fields:
      vector: `batch -> [B, C]`: what follows z in the latents.
      known: what it shows of an image; 0 elsewhere.
      complete: `(likelihood, vector) -> likelihood` of an image of which the condition is known.
      hidden: whether the image doesn't show it, so that an encoder has to be told.
    """

    vector: Callable[[Batch], Float[Array, "B C"]]
    known: Callable[[Image], Image]
    complete: Callable[[Distribution, Float[Array, "B C"]], Distribution]
    hidden: bool


@constructor
def conditional_vae(
    encoder: Network,
    decoder: Network,
    likelihood: Family = Bernoulli,
    condition: str = "label",
    prior: str = "standard",
    classes: int | None = None,
    attributes: int | tuple[int, ...] | None = None,
) -> Method:
    """A conditional VAE of these networks; metrics: `loss`, `reconstruction` and `kl`, in nats per example.

    The parameters have the groups `encoder` and `decoder`, and `prior` if that is learned.

    Args:
      likelihood: elementwise, if the condition is a part of the image.
      condition: `label`, `factors`, `quadrant1`, `quadrant2` or `quadrant3`.
      prior: `standard` or `learned`.
      classes: for `label`: how many there are.
      attributes: for `factors`: how many values each of them has, such as a source's `sizes`.

    Raises:
      InputError: an unknown condition or prior, no classes or attributes where they are needed or some where they
        aren't, or less than one class or value.
    """
    learned = choose(PRIORS, prior, "prior")
    given = choose(CONDITIONS, condition, "condition")(classes, attributes)
    plane = Plane()

    def image(batch: Batch, blank: bool) -> Image:
        x = present(batch.x, batch.mask)
        return given.known(x) if blank else x

    def start(half: str, key: jax.Array, batch: Batch, blank: bool) -> Params:
        """The parameters of an encoder of the image, or of the condition alone (`blank`)."""
        x, network_key, plane_key = image(batch, blank), *jax.random.split(key)
        if not given.hidden:
            return {"network": started(half, encoder, network_key, x, Gaussian.parameters)}
        vector = given.vector(batch)
        params = plane.init(plane_key, x, vector)
        seen: Any = plane.apply(params, x, vector)
        return {"network": started(half, encoder, network_key, seen, Gaussian.parameters), "plane": params}

    def gaussian(half: str, params: Params, batch: Batch, blank: bool) -> Gaussian:
        x: Any = image(batch, blank)
        x = plane.apply(params[half]["plane"], x, given.vector(batch)) if given.hidden else x
        key = params.get(DROPOUT)
        found = Gaussian(*outputs(half, encoder, params[half]["network"], x, Gaussian.parameters, key))
        check_vectors("encoder", found.mean)
        return found

    def init(key, batch):
        keys = jax.random.split(key, 3)
        params = {"encoder": start("encoder", keys[0], batch, blank=False)}
        latents = encode(params, batch).mean
        params["decoder"] = started("decoder", decoder, keys[1], latents, likelihood.parameters)
        return {**params, "prior": start("prior", keys[2], batch, blank=True)} if learned else params

    def encode(params, batch):
        return Conditioned(gaussian("encoder", params, batch, blank=False), given.vector(batch))

    def decode(params, latents, batch=None):
        key = params.get(DROPOUT)
        arrays = outputs("decoder", decoder, params["decoder"], latents, likelihood.parameters, key)
        return given.complete(likelihood_of(likelihood, arrays, batch), latents)

    def prior_of(params, batch):
        vector = given.vector(batch)
        if learned:
            return Conditioned(gaussian("prior", params, batch, blank=True), vector)
        z = jax.eval_shape(encode, params, batch).base.mean
        return Conditioned(StandardNormal(jnp.zeros(z.shape, z.dtype)), vector)

    model = EncoderDecoder(init, encode, decode, prior_of)

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        del hyper, step
        terms = elbo_terms(model, params, batch, key)
        loss = (terms.distortion + terms.rate).mean()
        return loss, terms.metrics(loss)

    def optimizer(hyper):
        return optax.adam(hyper.learning_rate)

    return Method(Hyper(), init, loss, encode, decode, optimizer, prior_of, classes)


PRIORS = {"standard": False, "learned": True}


def _label(classes: int | None, attributes: Any) -> Condition:
    _without("label", attributes=attributes)
    if classes is None or classes < 1:
        raise InputError(f"the condition 'label' has to know how many there are: give classes=N, not {classes}")
    return _hidden(lambda batch: one_hot(batch.label, classes))


def _factors(classes: int | None, attributes: tuple[int, ...] | None) -> Condition:
    _without("factors", classes=classes)
    sizes = attributes or ()
    if not sizes or min(sizes) < 1:
        raise InputError(
            f"the condition 'factors' has to know how many values each of them has, as in attributes=3,6,40,32,32, not "
            f"{attributes}"
        )

    def vector(batch: Batch) -> Float[Array, "B K"]:
        if batch.factors is None:
            raise InputError(
                "the condition is ground-truth factors, and these images have none; use a source with them"
            )
        if batch.factors.shape[1] != len(sizes):
            raise InputError(
                f"these images have {batch.factors.shape[1]} factors, but attributes={','.join(map(str, sizes))} are "
                f"the values of {len(sizes)}"
            )
        return batch.factors / jnp.maximum(jnp.array(sizes, jnp.float32) - 1, 1)[None]

    return _hidden(vector)


def _hidden(vector: Callable[[Batch], Float[Array, "B C"]]) -> Condition:
    """A condition that no pixel shows."""
    return Condition(vector, jnp.zeros_like, lambda likelihood, latents: likelihood, hidden=True)


def _quadrants(count: int, classes: int | None, attributes: Any) -> Condition:
    _without(f"quadrant{count}", classes=classes, attributes=attributes)

    def vector(batch: Batch) -> Float[Array, "B C"]:
        seen = np.flatnonzero(observed(count, batch.x.shape[1:]))
        return batch.x.reshape(len(batch.x), -1)[:, seen]

    def known(x: Image) -> Image:
        return jnp.where(observed(count, x.shape[1:])[None], x, 0.0)

    def complete(likelihood: Distribution, latents: Float[Array, "B D"]) -> Given:
        shape = jax.eval_shape(lambda: likelihood.mean).shape
        mask = observed(count, shape[1:])
        seen = np.flatnonzero(mask)
        flat = jnp.zeros((shape[0], mask.size), latents.dtype)
        given = flat.at[:, seen].set(latents[:, -seen.size :]).reshape(shape)
        return Given(likelihood, given, jnp.broadcast_to(mask[None], shape))

    return Condition(vector, known, complete, hidden=False)


def observed(count: int, shape: tuple[int, ...]) -> Bool[np.ndarray, "H W C"]:
    """Which pixels are known where `count` quadrants are: see the top of this file."""
    if len(shape) != 3:
        raise InputError("a vector has no quadrants; give condition='label' or 'factors'")
    height, width, channels = shape
    low, left = np.arange(height)[:, None] >= height // 2, np.arange(width)[None] < width // 2
    mask = {1: low & left, 2: left | (low & False), 3: left | ~low}[count]
    return np.repeat(mask[:, :, None], channels, axis=2)


def _without(condition: str, **others: Any) -> None:
    for name, value in others.items():
        if value is not None:
            raise InputError(f"the condition {condition!r} takes no {name}; leave {name}={value} out")


CONDITIONS: dict[str, Callable[[Any, Any], Condition]] = {
    "label": _label,
    "factors": _factors,
    **{f"quadrant{count}": partial(_quadrants, count) for count in (1, 2, 3)},
}
