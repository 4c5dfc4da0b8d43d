"""What a trained autoencoder makes of given images."""

from jaxtyping import Array, Float

from vaejax.method import Batch, Method, Params


def reconstruct(method: Method, params: Params, batch: Batch) -> Float[Array, "B H W C"]:
    """The expected image from the mean code of every image, in [0, 1] for a Bernoulli likelihood.

    A batch is what a source gives; `Batch(x)` will do where the method needs the images only.
    """
    return method.decode(params, method.encode(params, batch).mean).mean
