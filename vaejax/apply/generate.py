"""Images from the prior."""

from jaxtyping import Array, Float, Key

from vaejax.distributions.conditions import check_classes
from vaejax.errors import InputError
from vaejax.method import Batch, Method, Params
from vaejax.metrics.checks import check_key
from vaejax.training.params import check_params


def generate(method: Method, params: Params, key: Key[Array, ""], batch: Batch) -> Float[Array, "B H W C"]:
    """The expected images of codes drawn from the prior, one for each element of the batch.

    A conditional method reads its condition in the batch; others only how many there are, so that `Batch(zeros)` will
    do.

    Raises:
      InputError: the method has no prior, or a label is none of its classes, or as `vaejax.apply.reconstruct`.
    """
    check_key(key)
    check_params(method, batch, params, runs=False)
    if method.prior is None:
        raise InputError(
            "a deterministic autoencoder has no prior to draw codes from; use a variational one, or an AAE"
        )
    check_classes(method, batch.label)
    return method.decode(params, method.prior(params, batch).sample(key), batch).mean
