"""Codes of the runs of a sweep: the posterior means of images, as metrics take them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from vaejax.data.source import Source
from vaejax.method import Method, Params
from vaejax.strategy import in_groups, over_runs, place, plan

BATCH = 100


def codes(
    method: Method,
    source: Source,
    params: Params,
    index: Int[np.ndarray, " n"],
    *,
    chunk: int | None = None,
    mesh: Mesh | None = None,
) -> Float[np.ndarray, "R n D"]:
    """The mean code of every image with these indices, of every run.

    Args:
      params: the runs' parameters, every leaf with a leading run axis, as in `Result.params`.
      chunk, mesh: as in `vaejax.fit`.
    """
    runs = len(jax.tree.leaves(params)[0])
    layout = plan(method, source.shape, runs, BATCH, chunk=chunk, mesh=mesh)
    rows = -(-index.size // BATCH)
    batches = np.resize(index, rows * BATCH).reshape(rows, BATCH).astype(np.int32)  # the last is filled up
    shared = place((source.data, jnp.asarray(batches)), layout.mesh)
    found = in_groups(lambda group: _encode(method, source.at, layout.mesh, group, shared), params, layout)
    return found.reshape(runs, rows * BATCH, -1)[:, : index.size]


@jax.default_matmul_precision("float32")
@partial(jax.jit, static_argnames=("method", "at", "mesh"))
def _encode(method, at, mesh, params, shared) -> Float[Array, "R rows batch D"]:
    def one(params: Params, shared: Any) -> Float[Array, "rows batch D"]:
        data, batches = shared
        return jax.lax.map(lambda index: method.encode(params, at(data, index)).mean, batches)

    return over_runs(one, params, shared, mesh)
