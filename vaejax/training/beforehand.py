"""What can be known to be wrong before anything is trained or written; nothing is computed for it."""

import math

import jax
import jax.numpy as jnp

from vaejax.data import Source, Streamed, example
from vaejax.data.source import stored_labels
from vaejax.distributions.conditions import check_classes
from vaejax.errors import InputError, check_memory, exceeds_memory, one_line
from vaejax.method import Batch, Method, as_space
from vaejax.training.contract import check_method, largest_array_of
from vaejax.training.strategy import largest_array

SMALLER = "give a smaller batch_size, or options that need less"
TRACED = 3  # examples: of one alone, shapes that don't meet are broadcast


def check_training(
    method: Method, train: Source | Streamed, test: Source | Streamed, runs: int, batch_size: int, *, chunk: int | None
) -> None:
    """All that `fit` and `measure` ask for, before anything is written; nothing is computed.

    Raises:
      InputError: images of another shape than the method's, or of another in the test split; labels that are none of
        its classes, or missing; a network that it can't use; more than the memory of this machine.
    """
    if as_space(train.space)[:3] != as_space(test.space)[:3] and train.shape == test.shape:
        raise InputError(f"{train.name} and its test split are of different kinds; say the kind of the data")
    if train.shape != test.shape:
        raise InputError(f"images of {train.name} are {train.shape}, but those of its test split {test.shape}")
    images = " x ".join(map(str, train.shape))
    with one_line(f"this method can't be trained with this network and these options on images of {images}"):
        for source in (train, test):
            check_method(method, example(source))
            if not isinstance(source, Streamed):
                check_classes(method, stored_labels(source.data))
        _trace(method, example(train))
    check_room(method, example(train), runs, batch_size, chunk or 1)


def _trace(method: Method, one: Batch) -> None:
    """The method's loss is traced on a few images."""

    def loss(key, hyper, batch):
        params = method.init(key, batch)
        return method.loss(params, hyper, batch, key, jnp.zeros((), jnp.int32))

    few = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((TRACED, *leaf.shape[1:]), leaf.dtype), one)
    jax.eval_shape(loss, jax.random.key(0), jax.tree.map(jnp.float32, method.hyper), few)


def check_room(method: Method, one: Batch, runs: int, batch_size: int, group: int) -> None:
    """What surely has to be held: the parameters of all runs; gradients and states of a group; a batch.

    Raises:
      InputError: it is more than the memory of this machine.
    """
    parameters = jax.eval_shape(method.init, jax.random.key(0), one)
    hyper = jax.tree.map(jnp.float32, method.hyper)
    state = jax.eval_shape(lambda params: method.optimizer(hyper).init(params), parameters)
    held, beside = (sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(of)) for of in (parameters, state))
    needed = held * runs + (2 * held + beside) * group
    check_memory(f"{max(runs, group)} runs of {held / 4:,.0f} parameters", needed, "give fewer, or a smaller model")
    each = " x ".join(map(str, one.x.shape[1:]))
    check_memory(f"{batch_size} images of {each}", 4 * batch_size * math.prod(one.x.shape[1:]), "give fewer")
    most = batch_size / 2 * largest_array_of(method, one)  # if every array had an example for its axis
    if not exceeds_memory(most):
        return
    step = jax.ShapeDtypeStruct((), jnp.int32)
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((batch_size, *leaf.shape[1:]), leaf.dtype), one)
    loss = jax.make_jaxpr(method.loss)(parameters, hyper, batch, jax.random.key(0), step)
    check_memory(
        f"batches of {batch_size} images of {each}",
        largest_array(loss.jaxpr),
        "give a smaller batch_size, or options that need less",
    )
