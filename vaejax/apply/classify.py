"""The classes of images, by a method that has learned them."""

from jaxtyping import Array, Float

from vaejax.errors import InputError
from vaejax.method import Batch, Method, Params
from vaejax.training.params import check_params


def classify(method: Method, params: Params, batch: Batch) -> Float[Array, "B classes"]:
    """log p(class | x) in nats; the class itself is its argmax.

    It works for a method that has `classify`.

    Raises:
      InputError: the method has none, or as `vaejax.apply.reconstruct`.
    """
    check_params(method, batch, params, runs=False)
    if method.classify is None:
        raise InputError("this method has learned no classes; train a stacked_classifier")
    return method.classify(params, batch)
