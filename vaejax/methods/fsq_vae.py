"""Finite scalar quantisation (Mentzer et al. 2024, "Finite Scalar Quantization: VQ-VAE Made Simple", section 3).

    loss = -log p(x | c),    c_d = round(f(z_d)) / floor(L_d / 2),    f(z) = tanh(z + s) (L - 1) / 2 - o

in nats per image. Latent d has L_d levels, so that there are prod L_d codes at every place of the grid, and no
codebook to learn; o is 1/2 for even L and 0 for odd L, and s makes f(0) = 0. Rounding passes its gradient straight
through to f. There is no commitment and nothing to restart.

The prior over codes is uniform, as in `vq_vae`. Departures: z is what the encoder gives, shifted and scaled by a
learned number each for every latent, which begin so that z has mean 0 and variance 1 over the first batch (as in
Kingma & Dhariwal 2018, "Glow", section 3.1): from small z all codes would be 0, and a decoder of rectified units
without biases has no gradient there. s = artanh(2 o / (L - 1)), where the paper's listing has a tangent, with which
f(0) is not 0. At least 3 levels, because with 2 and f(0) = 0 both bins lie where tanh is flat.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaejax.distributions import Bernoulli, Delta, Family
from vaejax.errors import InputError
from vaejax.method import Method, Network
from vaejax.methods.encoder_decoder import encoder_decoder
from vaejax.networks.quantizer import (
    Codes,
    UniformCodes,
    counted,
    finite_scalars,
    perplexity,
    scalar_codebook,
    scalar_indices,
)
from vaejax.objectives import reconstruction

LEAST = 1e-3  # standard deviation of what the encoder gives, so that a constant is not scaled up


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    learning_rate: float = 1e-3


def fsq_vae(
    encoder: Network, decoder: Network, likelihood: Family = Bernoulli, levels: tuple[int, ...] = (8, 5, 5, 5)
) -> Method:
    """An autoencoder of these networks with finite scalars, a grid [B, h, w, D] or one vector [B, D] for each image.

    `encode` gives `Codes`, with the `indices` of the codes. The parameters have the groups `encoder`, `decoder` and
    `scale`. Metrics: `loss` and `reconstruction`, in nats per image; `perplexity` of the batch's codes, from 1 to
    prod L: how many are in use.

    Args:
      levels: L, one for each of the D latents.

    Raises:
      InputError: less than 3 levels; from `init`, another number of latents than of levels.
    """
    levels = tuple(levels) if isinstance(levels, (tuple, list)) else (levels,)
    if not levels or min(levels) < 3:
        raise InputError(f"every latent needs at least 3 levels, not {levels}")
    base = encoder_decoder(encoder, decoder, Delta, likelihood)

    def init(key, batch):
        params = base.init(key, batch)
        z = base.encode(params, batch).mean
        if z.shape[-1] != len(levels):
            raise InputError(f"{len(levels)} levels {levels} are for {len(levels)} latents, not {z.shape[-1]}")
        z = z.reshape(-1, len(levels))
        return {**params, "scale": {"shift": z.mean(axis=0), "gain": 1 / jnp.maximum(z.std(axis=0), LEAST)}}

    def codes(params, batch):
        z = base.encode(params, batch).mean
        return finite_scalars((z - params["scale"]["shift"]) * params["scale"]["gain"], levels)

    def encode(params, batch):
        found = codes(params, batch)
        return Codes(found, scalar_indices(found, levels))

    def loss(params, hyper, batch, key, step):
        del hyper, key, step
        found = codes(params, batch)
        loss = reconstruction(base.decode(params, found), batch.x).mean()
        indices = scalar_indices(jax.lax.stop_gradient(found), levels)
        spread = perplexity(counted(indices, math.prod(levels)))
        return loss, {"loss": loss, "reconstruction": loss, "perplexity": spread}

    def prior(params, batch):
        like: Any = jax.eval_shape(encode, params, batch)
        return UniformCodes.on(jnp.asarray(scalar_codebook(levels)), like.mean.shape)

    def optimizer(hyper):
        return optax.adam(hyper.learning_rate)

    return Method(Hyper(), init, loss, encode, base.decode, optimizer, prior)
