"""What estimates of log p(x) share: which images, how images and runs are laid over the devices, and the summary."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vaejax.compiled import compiled
from vaejax.data.source import Source, Streamed, example, examples
from vaejax.errors import InputError, check_sizes, shortened
from vaejax.method import Batch, Method, Params
from vaejax.metrics.checks import check_key, check_source
from vaejax.training.params import check_params
from vaejax.training.strategy import in_groups, over_runs, place, plan

BATCH = 20  # images at once; with 50 samples of each, the arrays of a step stay in a processor's cache
SEGMENTS = 50  # calls of the program for each group of runs, where there is somebody to tell how far it is
LOG_2 = math.log(2)
Images = Source | Streamed | Batch
OnImages = Callable[[int, int], None] | None  # (how many images are done, of how many), of all runs together


class Estimator(Protocol):
    """log p(x) and what else is known of it, of every image of a batch. Equal ones have to be equal in `==`."""

    def __hash__(self) -> int: ...

    def __call__(
        self, method: Method, params: Params, batch: Batch, key: Key[Array, ""]
    ) -> dict[str, Float[Array, " B"]]:
        """`log_likelihood` in nats, and others."""
        ...


class Given(NamedTuple):
    """Images by their numbers: the fields of a source that are used here."""

    data: Any
    at: Any
    size: int
    like: Batch


def estimates(
    estimator: Estimator,
    method: Method,
    params: Params,
    images: Images,
    key: Key[Array, ""],
    count: int | None,
    on_progress: OnImages = None,
) -> dict[str, Float[np.ndarray, " R"]]:
    """What an estimator gives, summed up over images, for every run; see `summary`.

    The same images and the same noise for every run, however they are laid over the devices: where there are fewer runs
    than devices, these share the images.

    Args:
      params: every leaf with a leading run axis.
      images: a source, of which `count` images are taken, or a batch.
      count: all if None.
      on_progress: called on the host after every segment of images; without it, all of a group are one segment.

    Raises:
      InputError: less than 1 image.
    """
    check_sizes(images=count)
    if on_progress is not None and not callable(on_progress):
        raise InputError(f"on_progress has to be a function, not {shortened(on_progress)}")
    given = _given(images, count)
    runs, devices = len(jax.tree.leaves(params)[0]), jax.device_count()
    parts = devices // math.gcd(runs, devices)
    batch = min(BATCH, given.size)
    rows = -(-given.size // (batch * parts))  # batches of each part
    length = -(-rows // SEGMENTS) if on_progress is not None else rows
    segments = -(-rows // length)
    shape = (parts, segments, length)
    index = np.resize(np.arange(given.size), (*shape, batch))  # filled up with images seen before
    numbers = np.arange(math.prod(shape)).reshape(shape)
    of_task = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf), parts, axis=0), params)
    tasks = of_task, np.tile(numbers, (runs, 1, 1)), np.tile(index, (runs, 1, 1, 1))
    layout = plan(method, given.like, runs * parts, batch, chunk=1)  # one task has enough samples to fill any device
    shared = place((given.data, key), layout.mesh)
    calls = segments * -(-layout.runs // layout.group)
    done = itertools.count(1)

    def of_group(group: Any) -> dict[str, Any]:
        params, numbers, index = group
        found = []
        for segment in range(segments):
            task = params, numbers[:, segment], index[:, segment]
            found.append(jax.block_until_ready(_estimate(estimator, method, given.at, layout.mesh, task, shared)))
            if on_progress is not None:
                on_progress(runs * given.size * next(done) // calls, runs * given.size)
        return jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *found)

    found = in_groups(of_group, tasks, layout)
    return summary({name: value.reshape(runs, -1)[:, : given.size] for name, value in found.items()})


def of_one(params: Params, estimate: Callable[[Params], dict[str, Float[np.ndarray, " 1"]]]) -> dict[str, float]:
    """`estimate` (which is `estimates`) of a single model, whose parameters have no run axis, as numbers."""
    found = estimate(jax.tree.map(lambda leaf: np.asarray(leaf)[None], params))
    return {name: float(value[0]) for name, value in found.items()}


def summary(found: dict[str, Float[np.ndarray, "R N"]]) -> dict[str, Float[np.ndarray, " R"]]:
    """Means over examples; `log_likelihood` first, its standard error over examples, and bits per element.

    Those are the bits of all examples over the number of all `elements` that are there (NaN if none is).
    """
    means = {name: np.asarray(value, np.float64).mean(axis=1) for name, value in found.items()}
    nats = np.asarray(found["log_likelihood"], np.float64)
    spread = nats.std(axis=1, ddof=1) if nats.shape[1] > 1 else np.full(len(nats), np.nan)
    headline, elements = means.pop("log_likelihood"), means.pop("elements")
    return {
        "log_likelihood": headline,
        "standard_error": spread / math.sqrt(nats.shape[1]),
        "bits_per_dim": -headline / np.where(elements > 0, elements * LOG_2, np.nan),
        **means,
    }


def check_estimate(method: Method, params: Params, images: Images, key: Any, runs: bool) -> None:
    """Nothing, where an estimate can be made of these.

    Raises:
      InputError: no images, or images of another shape than the method's, or parameters that are not those of one run
        (of all runs) of this method; no key.
    """
    if not isinstance(images, Batch):
        check_source(images)
    check_key(key)
    check_params(method, images if isinstance(images, Batch) else example(images), params, runs)


def check_prior(what: str, method: Method) -> None:
    """Nothing, where there is a prior.

    Raises:
      InputError: there is none.
    """
    if method.prior is None:
        raise InputError(f"{what} takes a method with a prior over its latents; a deterministic autoencoder has none")


def like(images: Images) -> Batch:
    """The shapes of one image and what comes with it."""
    if isinstance(images, Batch):
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), images)
    return example(images)


def _given(images: Images, count: int | None) -> Given:
    if isinstance(images, Batch):
        size = len(images.x) if count is None else min(count, len(images.x))
        return Given(images, _rows, size, like(images))
    index = examples(images, images.size if count is None else count)
    if isinstance(images, Streamed):
        taken = images.take(index)
        return Given(taken.data, taken.at, index.size, like(taken))
    return Given((images.data, jnp.asarray(index)), _Numbered(images.at), index.size, like(images))


class _Numbered(NamedTuple):
    """`at` of some images of a source, numbered from 0; equal for equal sources, so that nothing retraces."""

    at: Any

    def __call__(self, data: Any, index: Array) -> Batch:
        return self.at(data[0], data[1][index])


def _rows(batch: Batch, index: Array) -> Batch:
    return jax.tree.map(lambda leaf: leaf[index], batch)


def elements(batch: Batch) -> Float[Array, " B"]:
    """How many elements of each example there are: those that its mask doesn't hide."""
    each = math.prod(batch.x.shape[1:])
    if batch.mask is None:
        return jnp.full(len(batch.x), each, jnp.float32)
    there = batch.mask.reshape(len(batch.x), -1).astype(jnp.float32)
    return there.sum(axis=1) * (each / there.shape[1])


@jax.default_matmul_precision("float32")
@compiled("estimator", "method", "at", "mesh")
def _estimate(estimator, method, at, mesh, tasks, shared) -> dict[str, Float[Array, "tasks rows B"]]:
    def one(task: Any, shared: Any) -> dict[str, Float[Array, "rows B"]]:
        (params, numbers, index), (data, key) = task, shared

        def of_batch(item: tuple[Array, Array]) -> dict[str, Float[Array, " B"]]:
            number, index = item
            batch = at(data, index)
            return estimator(method, params, batch, jax.random.fold_in(key, number)) | {"elements": elements(batch)}

        return jax.lax.map(of_batch, (numbers, index))

    return over_runs(one, tasks, shared, mesh)
