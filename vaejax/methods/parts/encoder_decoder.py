"""What methods of one encoder and one decoder share: four functions over the parameters {"encoder", "decoder"}."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vaejax.distributions.basic import Delta, Family, Gaussian, StandardNormal
from vaejax.method import Batch, Distribution, Network, Params
from vaejax.networks.calls import DROPOUT, check_vectors, outputs, started

POSTERIORS: dict[str, Family] = {"deterministic": Delta, "gaussian": Gaussian}  # where a method leaves the choice


class EncoderDecoder(NamedTuple):
    """The four functions, as in `vaejax.method.Method`; the prior is N(0, I)."""

    init: Callable[[jax.Array, Batch], Params]
    encode: Callable[[Params, Batch], Any]
    decode: Callable[[Params, jax.Array], Distribution]
    prior: Callable[[Params, Batch], Any]


def encoder_decoder(
    encoder: Network, decoder: Network, posterior: Family, likelihood: Family, grids: bool = False
) -> EncoderDecoder:
    """q(z | x) is `posterior` of what the encoder makes of x, p(x | z) `likelihood` of what the decoder makes of z.

    With parameters that are `live`, which a loss makes of its own, networks with dropout have it on.

    Args:
      grids: whether codes may be grids [B, h, w, D].
    """

    def init(key: jax.Array, batch: Batch) -> Params:
        encoder_key, decoder_key = jax.random.split(key)
        encoder_params = started("encoder", encoder, encoder_key, batch.x, posterior.parameters)
        z = encode({"encoder": encoder_params}, batch).mean
        if not grids:
            check_vectors("encoder", z)
        return {
            "encoder": encoder_params,
            "decoder": started("decoder", decoder, decoder_key, z, likelihood.parameters),
        }

    def encode(params: Params, batch: Batch) -> Any:
        key = params.get(DROPOUT)
        return posterior(*outputs("encoder", encoder, params["encoder"], batch.x, posterior.parameters, key))

    def decode(params: Params, z: jax.Array) -> Distribution:
        key = params.get(DROPOUT)
        return likelihood(*outputs("decoder", decoder, params["decoder"], z, likelihood.parameters, key))

    def prior(params: Params, batch: Batch) -> StandardNormal:
        like = jax.eval_shape(encode, params, batch).mean
        return StandardNormal(jnp.zeros(like.shape, like.dtype))

    return EncoderDecoder(init, encode, decode, prior)
