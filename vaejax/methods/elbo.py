"""The two terms of the evidence lower bound, from which every variational method here builds its loss."""

from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Key

from vaejax.distributions import Gaussian
from vaejax.method import Batch, Method, Metrics, Params
from vaejax.methods.encoder_decoder import EncoderDecoder
from vaejax.objectives import rate, reconstruction


class Terms(NamedTuple):
    """What one noise sample per image gives.

    Fields:
      posterior: q(z | x).
      z: the sample, Float[B, latents].
      distortion: -log p(x | z), Float[B], in nats.
      rate: KL(q(z | x) || p(z)), Float[B], in nats.
    """

    posterior: Gaussian
    z: Float[Array, "B latents"]
    distortion: Float[Array, " B"]
    rate: Float[Array, " B"]

    def metrics(self, loss: jax.Array, **more: jax.Array) -> Metrics:
        """`loss`, `reconstruction` and `kl` in nats per image, and `more`."""
        return {"loss": loss, "reconstruction": self.distortion.mean(), "kl": self.rate.mean(), **more}


def elbo_terms(model: EncoderDecoder | Method, params: Params, batch: Batch, key: Key[Array, ""]) -> Terms:
    """Encodes, draws one code for each image with this key, and decodes."""
    posterior: Any = model.encode(params, batch)
    z = posterior.sample(key)
    assert model.prior is not None
    nats = rate(posterior, model.prior(params, batch), z).sum(axis=-1)
    return Terms(posterior, z, reconstruction(model.decode(params, z), batch.x), nats)
