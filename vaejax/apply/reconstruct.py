"""What a trained autoencoder makes of given images."""

from jaxtyping import Array, Float

from vaejax.method import Batch, Method, Params
from vaejax.training.params import check_params


def reconstruct(method: Method, params: Params, batch: Batch) -> Float[Array, "B H W C"]:
    """The expected image from the mean code of every image, in [0, 1] for a Bernoulli likelihood.

    A batch is what a source gives; `Batch(x)` will do where the method needs the images only.

    Raises:
      InputError: images of another shape than the method's, or parameters that are not those of one of its runs.
    """
    check_params(method, batch, params, runs=False)
    return method.decode(params, method.encode(params, batch).mean, batch).mean
