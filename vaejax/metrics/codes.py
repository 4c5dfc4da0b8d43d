"""Codes of the runs of a sweep: posterior means of images, as metrics take them, or samples."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key

from vaejax.compiled import compiled
from vaejax.data.source import Source, Streamed, example
from vaejax.distributions.conditions import unconditioned
from vaejax.errors import check_sizes
from vaejax.method import Method, Params
from vaejax.metrics.checks import check_indices, check_key, check_source
from vaejax.training.params import check_params
from vaejax.training.strategy import in_groups, over_runs, place, plan

BATCH = 100


def codes(
    method: Method,
    source: Source | Streamed,
    params: Params,
    index: Int[np.ndarray, " n"],
    *,
    key: Key[Array, ""] | None = None,
    chunk: int | None = None,
    mesh: Mesh | None = None,
) -> Float[np.ndarray, "R n D"]:
    """The mean code of every image with these indices, of every run, without the condition of a conditional model.

    Args:
      index: from 0 to `source.size - 1`, at least one, in any order.
      key: if given, a code is drawn from every posterior with it, with the same noise for every run.
      params: the runs' parameters, every leaf with a leading run axis, as in `Result.params`.
      chunk, mesh: as in `vaejax.fit`.

    Raises:
      InputError: no such images, parameters that are not those of all runs of this method, or another kind of source.
    """
    check_source(source)
    index = check_indices("index", index, source.size, f"images in {source.name}")
    check_sizes(chunk=chunk)
    if key is not None:
        check_key(key)
    if isinstance(source, Streamed):
        some, index = np.unique(index, return_inverse=True)
        source = source.take(some)
    check_params(method, example(source), params, runs=True)
    runs = len(jax.tree.leaves(params)[0])
    layout = plan(method, example(source), runs, BATCH, chunk=chunk, mesh=mesh)
    rows = -(-index.size // BATCH)
    batches = np.resize(index, rows * BATCH).reshape(rows, BATCH).astype(np.int32)  # the last is filled up
    shared = place((source.data, jnp.asarray(batches), key), layout.mesh)
    found = in_groups(lambda group: _encode(method, source.at, layout.mesh, group, shared), params, layout)
    return found.reshape(runs, rows * BATCH, -1)[:, : index.size]


@jax.default_matmul_precision("float32")
@compiled("method", "at", "mesh")
def _encode(method, at, mesh, params, shared) -> Float[Array, "R rows batch D"]:
    def one(params: Params, shared: Any) -> Float[Array, "rows batch D"]:
        data, batches, key = shared

        def of_batch(item: tuple[Int[Array, ""], Int[Array, " B"]]) -> Float[Array, "B D"]:
            number, index = item
            posterior = unconditioned(method.encode(params, at(data, index)))
            return posterior.mean if key is None else posterior.sample(jax.random.fold_in(key, number))

        return jax.lax.map(of_batch, (jnp.arange(len(batches)), batches))

    return over_runs(one, params, shared, mesh)
