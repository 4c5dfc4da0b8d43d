"""What determines a sweep: a checksum of the traced program of one run, and one of the data.

Two methods that differ in anything that changes a number (network, likelihood, an option, the way weights are drawn)
have other programs; names, comments and where a function stands are no part of it, and neither is what is printed. How
runs are laid over devices isn't either, so that what one device began two can finish.
"""

import hashlib
from typing import Any

import jax
import numpy as np

from vaejax.data.source import Arrays, Data, Source, Streamed
from vaejax.method import Method
from vaejax.storage.traced import add_array, add_program
from vaejax.training import step

LOOKED_AT = 64  # images of a source that stays on the disk


def program(method: Method, source: Source | Streamed, data: Data, batch_size: int) -> str:
    """The checksum of a run's initial state and of one step of its training."""

    def begin(hyper: Any, seed: Any, data: Data) -> Any:
        key = jax.random.key(seed)
        return step.init(method, hyper, key, source.sample(data, key, batch_size))

    def go_on(hyper: Any, data: Data, state: Any) -> Any:
        return step.train_step(method, lambda data, key: source.sample(data, key, batch_size), hyper, data, state)

    hyper = jax.tree.map(np.float32, method.hyper)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), data)
    with jax.disable_jit(False):  # debugging changes no sweep
        first, state = jax.make_jaxpr(begin, return_shape=True)(hyper, np.int32(0), shapes)
        second = jax.make_jaxpr(go_on)(hyper, shapes, state)
    digest = hashlib.sha256()
    for jaxpr in (first, second):
        add_program(digest, jaxpr)
    return digest.hexdigest()


def contents(source: Source | Streamed) -> str:
    """The checksum of a source's data; of one that stays on the disk, that of some images and what its files record."""
    digest = hashlib.sha256(f"{source.shape}{source.size}".encode())
    digest.update(repr(source.columns).encode() if isinstance(source, Arrays) and source.columns else b"")
    data = source.data if not isinstance(source, Streamed) else _some(source, digest)
    for path, leaf in jax.tree_util.tree_flatten_with_path(data)[0]:
        digest.update(jax.tree_util.keystr(path).encode())
        add_array(digest, leaf)
    return digest.hexdigest()


def _some(source: Streamed, digest: Any) -> Data:
    digest.update(f"{source.mark}".encode())
    index = np.unique(np.linspace(0, source.size - 1, min(LOOKED_AT, source.size)).astype(np.int64))
    return source.take(index).data
