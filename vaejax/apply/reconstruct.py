"""What a trained autoencoder makes of given images."""

from jaxtyping import Array, Float

from vaejax.method import Batch, Method, Params


def reconstruct(method: Method, params: Params, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """The expected image from the mean code of every image, in [0, 1] for a Bernoulli likelihood."""
    return method.decode(params, method.encode(params, Batch(x)).mean).mean
