"""k-sparse autoencoder (Makhzani & Frey 2014, "k-Sparse Autoencoders").

    loss = -log p(x | z),    z_d = a_d if it is one of the k largest of its image, otherwise 0,    a = encoder(x)

in nats per example. Codes are linear in the encoder's last layer; the largest are those of the largest value, not of
the largest size. `k` is structure. What is encoded after training has k codes that are not 0, too.

Departures: any encoder and decoder, where the paper has one layer of tied weights; the same k from the first step on,
where the paper lowers it during training so that no unit is left unused, and after training, where the paper keeps a
multiple of it (alpha k); Adam.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vaejax.distributions.basic import Bernoulli, Delta, Family
from vaejax.errors import InputError
from vaejax.hyper import NotNegative
from vaejax.method import Batch, MeanOverExamples, Method, Network, Params
from vaejax.methods.autoencoder import autoencoder
from vaejax.methods.parts.constructor import constructor
from vaejax.networks.calls import live
from vaejax.objectives import reconstruction


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    learning_rate: NotNegative = 1e-3


@constructor
def k_sparse_autoencoder(encoder: Network, decoder: Network, likelihood: Family = Bernoulli, k: int = 3) -> Method:
    """A k-sparse autoencoder of these networks; metrics: `loss` and `reconstruction`, in nats per example.

    Args:
      k: how many codes of an image are kept.

    Raises:
      InputError: k < 1; or, when it is first given images, k larger than the number of latents.
    """
    if k < 1:
        raise InputError(f"a k-sparse autoencoder keeps at least k=1 code of an image, not {k}")
    base = autoencoder(encoder, decoder, likelihood)

    def encode(params: Params, batch: Batch) -> Delta:
        return Delta(largest(base.encode(params, batch).mean, k))

    def init(key, batch):
        params = base.init(key, batch)
        jax.eval_shape(encode, params, batch)  # for the error
        return params

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        del hyper, step
        params = live(params, key)
        loss = reconstruction(base.decode(params, encode(params, batch).mean, batch), batch.x).mean()
        return loss, {"loss": loss, "reconstruction": loss}

    return base._replace(hyper=Hyper(), init=init, loss=loss, encode=encode)


def largest(a: Float[Array, "B D"], k: int) -> Float[Array, "B D"]:
    """The k largest of every row, and 0 in place of the others; of equal ones the first.

    Raises:
      InputError: k > D.
    """
    if k > a.shape[-1]:
        raise InputError(f"there are {a.shape[-1]} latents, so {k} of them can't be kept; lower k or raise latents")
    values, index = jax.lax.top_k(a, k)
    return jnp.put_along_axis(jnp.zeros_like(a), index, values, axis=-1, inplace=False)
