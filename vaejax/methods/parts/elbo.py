"""The two terms of the evidence lower bound, from which every variational method here builds its loss."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vaejax.distributions.basic import Gaussian
from vaejax.method import Batch, Method, Metrics, Params
from vaejax.methods.parts.encoder_decoder import EncoderDecoder
from vaejax.networks.calls import live
from vaejax.objectives import rate, reconstruction


class Terms(NamedTuple):
    """What one noise sample per example gives.

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
        """`loss`, `reconstruction` and `kl` in nats per example, and `more`."""
        return {"loss": loss, "reconstruction": self.distortion.mean(), "kl": self.rate.mean(), **more}


def elbo_terms(model: EncoderDecoder | Method, params: Params, batch: Batch, key: Key[Array, ""]) -> Terms:
    """Encodes, draws one code for each image with this key, and decodes, with dropout on."""
    params = live(params, key)
    posterior: Any = model.encode(params, batch)
    z = posterior.sample(key)
    assert model.prior is not None
    nats = rate(posterior, model.prior(params, batch), z)
    return Terms(posterior, z, reconstruction(model.decode(params, z, batch), batch.x), nats)


def distortions(
    model: EncoderDecoder | Method, params: Params, z: Float[Array, "K B latents"], batch: Batch
) -> Float[Array, "K B"]:
    """-log p(x | z) in nats of K codes of each example.

    They are decoded along one axis: on a CPU gradients of products over two take a third longer. Codes of an image are
    neighbours there, so that devices that share a batch also share these.
    """
    many, count = z.shape[:2]
    flat = z.swapaxes(0, 1).reshape(many * count, *z.shape[2:])
    several = jax.tree.map(lambda leaf: jnp.repeat(leaf, many, axis=0), batch)
    return reconstruction(model.decode(params, flat, several), several.x).reshape(count, many).T
