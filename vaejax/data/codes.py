"""A source of the codes that a trained quantising autoencoder gives to the images of another source."""

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError
from jaxtyping import Array, Int

from vaejax.compiled import compiled
from vaejax.data.arrays import at, sample
from vaejax.data.paths import one_line
from vaejax.data.source import Arrays, Data, Factors, Source, Streamed, called, example, examples
from vaejax.errors import InputError, check_sizes, shortened
from vaejax.method import Method, Params, Space

BATCH = 100


def code_grids(method: Method, params: Params, source: Source | Streamed, images: int | None = None) -> Arrays:
    """The indices of the codes of every image, in place of its pixels: x [B, h, w, 1] of whole numbers below K.

    Codes without a grid, [B], are grids of one place. Labels stay.

    Args:
      method, params: a method with a `codebook` (`vq_vae`, `fsq_vae`), and the parameters of one run.
      images: of so many images, the same each time, where there are more; all if not given.

    Raises:
      InputError: the method has no codes, or can't encode these images with these parameters; `images` is no number of
        them, or images that are streamed can't be read.
    """
    check_sizes(images=images)
    if not isinstance(method, Method) or not isinstance(source, Arrays | Factors | Streamed):
        raise InputError(f"codes are those of a method from build, for a source; not {shortened((method, source))}")
    try:
        jax.eval_shape(method.encode, params, example(source))
    except (TypeError, ValueError, KeyError, FlaxError) as error:
        what = f"the method can't encode {called(source)} with these parameters ({one_line(error)})"
        raise InputError(f"{what}; give those of one run, trained on images of this shape") from error
    if method.codebook is None:
        raise InputError("only a quantising autoencoder gives indices of codes; use vq_vae or fsq_vae")
    chosen = examples(source, source.size if images is None else images).astype(np.int32)
    count, rows = chosen.size, -(-chosen.size // BATCH)
    if isinstance(source, Streamed):
        source, chosen = source.take(chosen), np.arange(count, dtype=np.int32)
    index = np.resize(chosen, (rows, BATCH))  # the last is filled up with the first
    found, label = _encoded(method, source.at, params, source.data, jnp.asarray(index))
    grids = found.reshape(rows * BATCH, *(found.shape[2:] or (1, 1)), 1)[:count]
    data = {"x": grids, "scale": jnp.float32(1)}
    if label is not None:
        data["label"] = label.ravel()[:count]
    return Arrays(f"codes of {source.name}", Space(grids.shape[1:], "category"), count, data, at, sample)


@compiled("method", "at")
def _encoded(
    method: Method, at, params: Params, data: Data, index: Int[Array, "rows BATCH"]
) -> tuple[Int[Array, "rows BATCH *grid"], Int[Array, "rows BATCH"] | None]:
    def of_batch(index: Int[Array, " BATCH"]) -> tuple[Array, Array | None]:
        batch = at(data, index)
        return method.encode(params, batch).indices, batch.label

    return jax.lax.map(of_batch, index)
