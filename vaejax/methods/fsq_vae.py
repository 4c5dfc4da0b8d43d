"""Finite scalar quantisation (Mentzer et al. 2024, "Finite Scalar Quantization: VQ-VAE Made Simple", section 3).

    loss = -log p(x | c),    c_d = round(f(z_d)) / floor(L_d / 2),    f(z) = tanh(z + s) (L - 1) / 2 - o

in nats per example. Latent d has L_d levels, so that there are prod L_d codes at every place of the grid, and no
codebook to learn; o is 1/2 for even L and 0 for odd L, and s makes f(0) = 0. Rounding passes its gradient straight
through to f. There is no commitment and nothing to restart.

The prior over codes is uniform, as in `vq_vae`. Departures: z is what the encoder gives, batch-normalised (Ioffe &
Szegedy 2015) without a learned scale: over all places of a batch in training, by moving averages of those statistics
otherwise (`decay`; made by gradient descent, as those of `vq_vae`). Small z would make all codes 0, where a decoder of
rectified units without biases has no gradient; and what is the same for all places, such as that most of an image is
black, would push all codes to one end, where tanh is flat. s = artanh(2 o / (L - 1)), where the paper's listing has a
tangent, with which f(0) is not 0. At least 3 levels, because with 2 and f(0) = 0 both bins lie where tanh is flat.
Adam's epsilon is 1e-5.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from vaejax.distributions.basic import Bernoulli, Delta, Family
from vaejax.errors import InputError
from vaejax.hyper import NotNegative, Share
from vaejax.method import Method, Network
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.encoder_decoder import encoder_decoder
from vaejax.networks.calls import live
from vaejax.networks.quantizer import (
    Codes,
    UniformCodes,
    counted,
    finite_scalars,
    for_last,
    perplexity,
    scalar_codebook,
    scalar_indices,
)
from vaejax.objectives import reconstruction

MOST = 2**24  # codes: how far float32 counts
LEAST = 1e-6  # added to the variance of what the encoder gives
EPSILON = 1e-5  # of Adam: what normalisation takes out again has no gradient but rounding, which should not move it
GROUPS = {"encoder": "autoencoder", "decoder": "autoencoder", "scale": "scale"}


class Hyper(NamedTuple):
    """Numbers that a sweep may vary; `decay` is that of the moving averages."""

    decay: Share = 0.99
    learning_rate: NotNegative = 1e-3


@constructor(network="residual", alone=True)
def fsq_vae(
    encoder: Network, decoder: Network, likelihood: Family = Bernoulli, levels: tuple[int, ...] = (8, 5, 5, 5)
) -> Method:
    """An autoencoder of these networks with finite scalars, a grid [B, h, w, D] or one vector [B, D] for each image.

    `encode` gives `Codes`, with the `indices` of the codes. The parameters have the groups `encoder`, `decoder` and
    `scale`. Metrics: `loss` and `reconstruction`, in nats per example; `perplexity` of the batch's codes, from 1 to
    prod L: how many are in use.

    Args:
      levels: L, one for each of the D latents.

    Raises:
      InputError: less than 3 levels, or more than 2^24 codes; from `init`, another number of latents than of levels.
    """
    if not levels or min(levels) < 3:
        raise InputError(f"every latent needs at least 3 levels, not {levels}")
    if math.prod(levels) > MOST:
        raise InputError(f"levels {levels} make {math.prod(levels):,} codes; {MOST:,} can be counted")
    base = encoder_decoder(encoder, decoder, Delta, likelihood, grids=True)

    def init(key, batch):
        params = base.init(key, batch)
        z = base.encode(params, batch).mean
        if z.shape[-1] != len(levels):
            raise InputError(f"{len(levels)} levels {levels} are for {len(levels)} latents, not {z.shape[-1]}")
        return {**params, "scale": statistics(z)}

    def encode(params, batch):
        found = finite_scalars(normalised(base.encode(params, batch).mean, params["scale"]), levels)
        return Codes(found, scalar_indices(found, levels))

    def loss(params, hyper, batch, key, step):
        del hyper, step
        params = live(params, key)
        z = base.encode(params, batch).mean
        scale = statistics(z)
        found = finite_scalars(normalised(z, scale), levels)
        loss = reconstruction(base.decode(params, found, batch), batch.x).mean()
        indices = scalar_indices(jax.lax.stop_gradient(found), levels)
        spread = perplexity(counted(indices, math.prod(levels)))
        away = optax.tree.sub(params["scale"], jax.lax.stop_gradient(scale))
        metrics = {"loss": loss, "reconstruction": loss, "perplexity": spread}
        return loss + 0.5 * optax.tree.norm(away, squared=True), metrics

    def codebook(params):
        del params
        return jnp.asarray(scalar_codebook(levels))

    def prior(params, batch):
        like: Any = jax.eval_shape(encode, params, batch)
        return UniformCodes.on(codebook(params), like.mean.shape)

    def optimizer(hyper):
        return optax.multi_transform(
            {"autoencoder": optax.adam(hyper.learning_rate, eps=EPSILON), "scale": optax.sgd(1 - hyper.decay)}, GROUPS
        )

    return Method(Hyper(), init, loss, encode, base.decode, optimizer, prior, codebook=codebook)


def statistics(z: Float[Array, "*places D"]) -> dict[str, Float[Array, " D"]]:
    """Mean and variance over all places."""
    z = z.reshape(-1, z.shape[-1])
    return {"mean": z.mean(axis=0), "variance": z.var(axis=0)}


def normalised(z: Float[Array, "*places D"], scale: dict[str, Float[Array, " D"]]) -> Float[Array, "*places D"]:
    """z with these statistics made 0 and 1."""
    mean, variance = (for_last(scale[name], z) for name in ("mean", "variance"))
    return (z - mean) / jnp.sqrt(variance + LEAST)
