"""What methods of one encoder and one decoder share: four functions over the parameters {"encoder", "decoder"}."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vaejax.distributions.basic import Delta, Family, Gaussian, StandardNormal
from vaejax.distributions.given import likelihood_of
from vaejax.method import Batch, Distribution, Network, Params
from vaejax.networks.calls import DROPOUT, check_vectors, outputs, started
from vaejax.networks.features import seen

POSTERIORS: dict[str, Family] = {"deterministic": Delta, "gaussian": Gaussian}  # where a method leaves the choice


class EncoderDecoder(NamedTuple):
    """The four functions, as in `vaejax.method.Method`; the prior is N(0, I)."""

    init: Callable[[jax.Array, Batch], Params]
    encode: Callable[[Params, Batch], Any]
    decode: Callable[..., Distribution]
    prior: Callable[[Params, Batch], Any]


def encoder_decoder(
    encoder: Network, decoder: Network, posterior: Family, likelihood: Family, grids: bool = False
) -> EncoderDecoder:
    """q(z | x) is `posterior` of what the encoder makes of x, p(x | z) `likelihood` of what the decoder makes of z.

    The likelihood is that of the elements that are there, where a batch with a mask is given. With parameters that are
    `live`, which a loss makes of its own, networks with dropout have it on.

    Args:
      grids: whether codes may be grids [B, h, w, D].
    """

    def init(key: jax.Array, batch: Batch) -> Params:
        encoder_key, decoder_key = jax.random.split(key)
        x = seen(batch.x, batch.mask)
        encoder_params = started("encoder", encoder, encoder_key, x, posterior.parameters)
        z = encode({"encoder": encoder_params}, batch).mean
        if not grids:
            check_vectors("encoder", z)
        return {
            "encoder": encoder_params,
            "decoder": started("decoder", decoder, decoder_key, z, likelihood.parameters),
        }

    def encode(params: Params, batch: Batch) -> Any:
        key = params.get(DROPOUT)
        x = seen(batch.x, batch.mask)
        return posterior(*outputs("encoder", encoder, params["encoder"], x, posterior.parameters, key))

    def decode(params: Params, z: jax.Array, batch: Batch | None = None) -> Distribution:
        arrays = outputs("decoder", decoder, params["decoder"], z, likelihood.parameters, params.get(DROPOUT))
        return likelihood_of(likelihood, arrays, batch)

    def prior(params: Params, batch: Batch) -> StandardNormal:
        like = jax.eval_shape(encode, params, batch).mean
        return StandardNormal(jnp.zeros(like.shape, like.dtype))

    return EncoderDecoder(init, encode, decode, prior)
