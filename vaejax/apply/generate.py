"""New examples."""

from jaxtyping import Array, Float, Key

from vaejax.distributions.conditions import check_classes
from vaejax.errors import InputError
from vaejax.method import Batch, Method, Params
from vaejax.metrics.checks import check_key
from vaejax.training.params import check_params


def generate(method: Method, params: Params, key: Key[Array, ""], batch: Batch) -> Float[Array, " B *event"]:
    """New examples, one for each of the batch: by the method's own way, or what draws of its prior decode to.

    Of the latter it is the expectation, without the noise of the likelihood.

    A conditional method reads its condition in the batch; others only how many there are, so that `Batch(zeros)` will
    do.

    Raises:
      InputError: the method has no prior, or a label is none of its classes, or as `vaejax.apply.reconstruct`.
    """
    check_key(key)
    check_params(method, batch, params, runs=False)
    if method.generate is None and method.prior is None:
        raise InputError(
            "a deterministic autoencoder has no prior to draw codes from; use a variational one, or an AAE"
        )
    check_classes(method, batch.label)
    return generated(method, params, key, batch)


def generated(method: Method, params: Params, key: Key[Array, ""], batch: Batch) -> Float[Array, " B *event"]:
    """`generate` of a method that can, without a look at what it is given."""
    if method.generate is not None:
        return method.generate(params, key, batch)
    assert method.prior is not None
    return method.decode(params, method.prior(params, batch).sample(key), batch).mean
