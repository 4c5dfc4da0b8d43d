"""Images from an autoregressive prior over codes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vaejax.compiled import compiled
from vaejax.errors import InputError
from vaejax.method import Batch, Method, Params
from vaejax.methods.code_prior import Autoregressive, sample_codes
from vaejax.metrics.checks import check_key, check_number
from vaejax.training.params import check_method, check_params


def generate_codes(
    method: Method,
    params: Params,
    prior: Method,
    prior_params: Params,
    key: Key[Array, ""],
    batch: Batch,
    temperature: Float[Array, ""] | float = 1.0,
) -> Float[Array, " B *event"]:
    """The expected images of codes drawn from a trained `code_prior`, one for each element of the batch.

    Args:
      method, params: the quantising autoencoder (`vq_vae`, `fsq_vae`).
      prior, prior_params: `code_prior`, trained on its codes.
      batch: says how many, and of which size images are.
      temperature: see `sample_codes`.

    Raises:
      InputError: a method without codes, or a prior over another grid or another number of codes; a temperature that
        is negative or not finite; or as `vaejax.apply.reconstruct`.
    """
    check_key(key)
    check_number(temperature=temperature)
    check_params(method, batch, params, runs=False)
    check_method(prior)
    return _generate_codes(method, params, prior, prior_params, key, batch, temperature)


@compiled("method", "prior")
def _generate_codes(method, params, prior, prior_params, key, batch, temperature) -> Float[Array, " B *event"]:
    if method.codebook is None:
        raise InputError("only a quantising autoencoder has codes to generate; use vq_vae or fsq_vae")
    codebook = method.codebook(params)
    shape = jax.eval_shape(method.encode, params, batch).indices.shape
    grid = shape[1:] or (1, 1)
    known = None if prior.prior is None else prior.prior(prior_params, batch)
    own = (known.network.codes, known.network.length) if isinstance(known, Autoregressive) else None
    if own != (len(codebook), grid[0] * grid[1]):
        raise InputError(
            f"the prior has to be one over {len(codebook)} codes on a grid of {grid[0]}x{grid[1]}, as the "
            "autoencoder's are; train code_prior on its code_grids"
        )
    check_params(prior, Batch(jnp.zeros((1, *grid, 1))), prior_params, runs=False)
    indices = sample_codes(prior, prior_params, key, (shape[0], *grid), temperature)
    return method.decode(params, codebook[indices.reshape(shape)], batch).mean
