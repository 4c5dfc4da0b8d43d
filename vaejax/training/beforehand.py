"""What can be known to be wrong before anything is trained or written; nothing is computed for it."""

import math
import os
from typing import Any

import jax
import jax.numpy as jnp

from vaejax.data import Source, Streamed, example
from vaejax.data.source import stored_labels
from vaejax.distributions.conditions import check_classes
from vaejax.errors import InputError, one_line
from vaejax.method import Batch, Method, as_space
from vaejax.training.contract import check_method

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
        parameters = _traced(method, example(train))
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(parameters))
    check_memory(f"{runs} runs of {held / 4:,.0f} parameters", held * max(runs, chunk or 1))
    check_memory(f"{batch_size} images of {images}", 4 * batch_size * math.prod(train.shape))


def _traced(method: Method, one: Batch) -> Any:
    """The shapes of the method's parameters, after its loss was traced on a few images."""

    def loss(key, hyper, batch):
        params = method.init(key, batch)
        method.loss(params, hyper, batch, key, jnp.zeros((), jnp.int32))
        return params

    few = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((TRACED, *leaf.shape[1:]), leaf.dtype), one)
    hyper = jax.tree.map(jnp.float32, method.hyper)
    return jax.eval_shape(loss, jax.random.key(0), hyper, few)


def check_memory(what: str, needed: int) -> None:
    """Whether what has to be held at once is less than the memory of this machine, where that is known.

    Raises:
      InputError: it isn't.
    """
    if not hasattr(os, "sysconf"):
        return
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise InputError(f"{what} take {needed / 1e9:,.1f} GB, and this machine has {there / 1e9:,.1f}; give fewer")
