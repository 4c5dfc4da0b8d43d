"""What is measured of trained runs: ELBO and its terms, KL per latent, active units, squared error, MIG, accuracy.

Everything is per example, in nats, over the examples of the source that is given (its test split, where it has one),
with the same images and the same noise for every run.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from vaejax.compiled import compiled
from vaejax.data.source import Factors, Source, Streamed, example, examples, stored_labels
from vaejax.distributions.conditions import check_classes, unconditioned
from vaejax.distributions.declared import has_density
from vaejax.errors import check_sizes, plain
from vaejax.method import Method, Params
from vaejax.metrics.checks import check_counts, check_source
from vaejax.metrics.mig import mutual_information_gap
from vaejax.objectives import labelled, rate, rate_per_latent, reconstruction, squared_error
from vaejax.training.params import check_params
from vaejax.training.strategy import in_groups, over_runs, place, plan

if TYPE_CHECKING:
    import pandas as pd

ACTIVE = 0.01  # Burda et al. 2016, section 5.2: a unit is active if the variance of its posterior mean is above this
BATCH = 100


def measure(
    method: Method,
    source: Source | Streamed,
    params: Params,
    *,
    images: int = 10_000,
    chunk: int | None = None,
    mesh: Mesh | None = None,
) -> "pd.DataFrame":
    """The tidy table (`run`, `metric`, `value`) of every measure of every run.

    `elbo`, `reconstruction` (-log p(x | z)), `kl` and `kl_latent_J` in nats per example, one noise sample per example
    (no `kl_latent_J` where a prior or a posterior is not independent in its latents; `kl` is then estimated at that
    sample); `squared_error` per example, of the mean reconstruction from the mean code; `active_units`, how many codes
    vary (variance of the posterior mean over images > 0.01); `mig` where the source has ground-truth factors;
    `accuracy`, the share of images with a label that are classified right, where the method has learned to. A
    deterministic autoencoder has no `elbo` and no `kl`. The condition of a conditional model is no part of its code.

    Args:
      params: the runs' parameters, every leaf with a leading run axis, as in `Result.params`.
      images: how many images to use, of the source's test split if that is what was loaded.

    Raises:
      InputError: less than 1 image, labels that are none of the method's classes, images of another shape, or
        parameters that are not those of all runs of this method.
    """
    import pandas as pd

    check_source(source)
    images, chunk = plain(images), plain(chunk)
    check_counts(images=images)
    check_sizes(chunk=chunk)
    check_params(method, example(source), params, runs=True)
    index = examples(source, images)
    if isinstance(source, Streamed):
        source, index = source.take(index), np.arange(index.size)
    check_classes(method, stored_labels(source.data))
    runs = len(jax.tree.leaves(params)[0])
    layout = plan(method, example(source), runs, BATCH, chunk=chunk, mesh=mesh)
    size = max(source.sizes) if isinstance(source, Factors) else None
    rows = -(-index.size // BATCH)
    batches = np.resize(index, rows * BATCH).reshape(rows, BATCH)  # the last is filled up with images seen before
    shared = place((source.data, jnp.asarray(batches)), layout.mesh)
    columns = in_groups(
        lambda group: _measure(method, source.at, index.size, size, layout.mesh, group, shared), params, layout
    )
    if "kl_latent" in columns:
        columns |= {f"kl_latent_{j}": values for j, values in enumerate(columns.pop("kl_latent").T)}
    wide = pd.DataFrame({"run": range(runs), **columns})
    return wide.melt("run", var_name="metric").sort_values("run", kind="stable")


@jax.default_matmul_precision("float32")
@compiled("method", "at", "count", "size", "mesh")
def _measure(method, at, count, size, mesh, params, shared) -> dict[str, Float[Array, "R ..."]]:
    def one(params: Params, shared: Any) -> dict[str, Float[Array, "..."]]:
        data, batches = shared

        def of_batch(item: tuple[Int[Array, ""], Int[Array, " B"]]) -> dict[str, Array]:
            number, index = item
            batch = at(data, index)
            posterior = method.encode(params, batch)
            z = posterior.sample(jax.random.fold_in(jax.random.key(0), number))
            values = {
                "reconstruction": reconstruction(method.decode(params, z, batch), batch.x),
                "squared_error": squared_error(method.decode(params, posterior.mean, batch), batch.x, batch.mask),
                "mean": unconditioned(posterior).mean,
            }
            if method.classify is not None and batch.label is not None:
                values |= {"log_p": method.classify(params, batch), "label": batch.label}
            prior = None if method.prior is None else method.prior(params, batch)
            if prior is not None and has_density(posterior) and has_density(prior):
                values["kl"] = rate(posterior, prior, z)
                per_latent = rate_per_latent(posterior, prior)
                if per_latent is not None:
                    values["kl_latent"] = per_latent.reshape(len(per_latent), -1)
            return values if size is None else {**values, "factors": batch.factors}

        per_batch = jax.lax.map(of_batch, (jnp.arange(len(batches)), batches))
        per_image = {name: value.reshape(-1, *value.shape[2:])[:count] for name, value in per_batch.items()}
        mean = per_image.pop("mean")
        factors = per_image.pop("factors", None)
        log_p, label = (per_image.pop(name, None) for name in ("log_p", "label"))
        values = {name: value.mean(axis=0) for name, value in per_image.items()}
        if log_p is not None and label is not None:
            known = jnp.isfinite(log_p).all() & (label >= 0).any()
            values["accuracy"] = jnp.where(known, labelled(log_p, label)[1], jnp.nan)
        if "kl" in values:
            values = {"elbo": -values["reconstruction"] - values["kl"], **values}
        values["active_units"] = jnp.where(jnp.isfinite(mean).all(), (mean.var(axis=0) > ACTIVE).sum(), jnp.nan)
        return values if factors is None else {**values, "mig": mutual_information_gap(mean, factors, size)}

    return over_runs(one, params, shared, mesh)
