"""Sources that keep only some of their labels, for methods that learn from a few."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from vaejax.data.bound import bound
from vaejax.data.source import Arrays, Data, Factors, called, draw, stored_labels
from vaejax.errors import InputError, check_sizes
from vaejax.method import Batch

NONE = -1  # the label of an image without one


def partly_labelled(source: Arrays, count: int, seed: int = 0) -> Arrays:
    """The source with `count` of its labels, as many of each class as can be; the other images have the label -1.

    Half of what it samples (and one more, where that is odd) are labelled images; the rest are drawn from all of them,
    without their labels. Both are uniform with replacement.

    Args:
      seed: of the choice of the labelled images.

    Raises:
      InputError: a source without labels, no label to keep, or a class that has too few images.
    """
    check_sizes(count=count)
    check_sizes(0, seed=seed)
    if not isinstance(source, Arrays | Factors):
        raise InputError(f"{called(source)} can't keep some of its labels; give a source that is on the device")
    stored = stored_labels(source.data)
    label = np.full(source.size, NONE, np.int32) if stored is None else np.asarray(stored)
    classes, sizes = np.unique(label[label != NONE], return_counts=True)
    if not classes.size:
        raise InputError(f"{source.name} has no labels to keep some of; take a source that has them")
    shares = count // classes.size + (np.arange(classes.size) < count % classes.size)
    if (shares > sizes).any():
        most = classes.size * sizes.min()
        raise InputError(f"{source.name} can keep 1 to {most} labels, as many of each class, not {count}")
    order = np.random.default_rng(seed).permutation(label.size)
    kept = np.concatenate([order[label[order] == c][:share] for c, share in zip(classes, shares, strict=True)])
    few = np.full_like(label, NONE)
    few[kept] = label[kept]
    data = {**source.data, "label": jnp.asarray(few), "labelled": jnp.asarray(np.sort(kept), jnp.int32)}
    return source._replace(
        name=f"{source.name} with {count} labels", data=data, sample=bound(_sample, source.at, source.size)
    )


def _sample(at: Any, size: int, data: Data, key: Key[Array, ""], n: int) -> Batch:
    any_key, labelled_key = jax.random.split(key)
    unlabelled = draw(any_key, n // 2, size)
    labelled = data["labelled"][draw(labelled_key, n - n // 2, data["labelled"].shape[0])]
    index = jnp.concatenate([unlabelled, labelled])
    return at(data, index)._replace(label=jnp.where(jnp.arange(n) < n // 2, NONE, data["label"][index]))
