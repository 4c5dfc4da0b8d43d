"""What a trained run makes of many images: their codes, beside the true factors where these are known."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.compiled import compiled
from vaejax.data.dsprites import NAMES as DSPRITES
from vaejax.data.source import Factors, Source, Streamed, examples
from vaejax.errors import InputError
from vaejax.method import Method, Params
from vaejax.metrics.checks import check_counts
from vaejax.metrics.measure import BATCH
from vaejax.objectives import rate_per_latent


class Codes(NamedTuple):
    """What a run makes of N images.

    Fields:
      mean: of q(z | x).
      kl: nats per example of every latent; None without a prior.
      factors: ground-truth values, where the source has them and they vary.
      names: of the factors.
      order: latents, those of largest KL (or of largest variance, without a prior) first.
    """

    mean: Float[np.ndarray, "N D"]
    kl: Float[np.ndarray, " D"] | None
    factors: Int[np.ndarray, "N K"] | None
    names: tuple[str, ...]
    order: Int[np.ndarray, " D"]


def encode(method: Method, source: Source | Streamed, params: Params, images: int = 10_000) -> Codes:
    """Codes and factors of so many images of the source, the same for every run.

    Args:
      params: of one run.

    Raises:
      InputError: codes that are not finite, or less than 1 image.
    """
    check_counts(images=images)
    index = examples(source, images)
    if isinstance(source, Streamed):
        source, index = source.take(index), np.arange(index.size)
    rows = -(-index.size // BATCH)
    batches = jnp.asarray(np.resize(index, rows * BATCH).reshape(rows, BATCH))  # the last is filled up
    found = jax.tree.map(np.asarray, _encode(method, source.at, params, source.data, batches))
    found = {name: values.reshape(-1, values.shape[-1])[: index.size] for name, values in found.items()}
    mean, factors, names = found["mean"], found.get("factors"), ()
    if not np.isfinite(mean).all():
        raise InputError("codes of this run are not finite: it diverged; choose another run")
    kl = found["kl"].mean(axis=0) if "kl" in found else None
    if factors is not None:
        varying = (factors != factors[:1]).any(axis=0)
        listed = zip(factor_names(source, factors.shape[1]), varying, strict=True)
        names = tuple(name for name, varies in listed if varies)
        factors = factors[:, varying] if varying.any() else None
    return Codes(mean, kl, factors, names, np.argsort(-(mean.var(axis=0) if kl is None else kl), kind="stable"))


@jax.default_matmul_precision("float32")
@compiled("method", "at")
def _encode(method, at, params, data, batches) -> dict[str, Array]:
    def of_batch(index: Int[Array, " B"]) -> dict[str, Array]:
        batch = at(data, index)
        posterior = method.encode(params, batch)
        values = {"mean": posterior.mean}
        nats = None if method.prior is None else rate_per_latent(posterior, method.prior(params, batch))
        if nats is not None and nats.shape == posterior.mean.shape:  # not where a condition is part of the code
            values["kl"] = nats
        return values if batch.factors is None else {**values, "factors": batch.factors}

    return jax.lax.map(of_batch, batches)


def factor_names(source: Source, count: int) -> tuple[str, ...]:
    """What the factors are called; by their numbers where the source doesn't say."""
    if isinstance(source, Factors):
        return source.names
    return DSPRITES if source.name.startswith("dsprites:") else tuple(f"factor {k}" for k in range(count))


def middle(source: Source | Streamed) -> int:
    """The number of the image in the middle of all factors, from which traversals start; 0 where none are known."""
    if not isinstance(source, Factors):
        return 0
    if source.size != np.prod(source.sizes):  # some combinations were left out
        return source.size // 2
    return int(np.ravel_multi_index([size // 2 for size in source.sizes], source.sizes))
