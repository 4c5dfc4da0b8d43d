"""Images from the prior."""

import jax
from jaxtyping import Array, Float, Key

from vaejax.method import Method, Params


def generate(method: Method, params: Params, key: Key[Array, ""], n: int, latents: int) -> Float[Array, "n H W C"]:
    """The expected images of n codes drawn from N(0, I)."""
    return method.decode(params, jax.random.normal(key, (n, latents))).mean
