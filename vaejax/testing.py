"""`check_method`: every property that a method has to have, for anybody's method. vaejax's own tests use it, too.

    vaejax.testing.check_method(method, source)

It trains a few tiny runs for a few steps, so give it a small network and a small source: then it takes seconds, most of
them to compile.
"""

import pickle
import tempfile
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.apply.generate import generated
from vaejax.data.source import Sample, Source, Streamed, example, examples
from vaejax.errors import InputError, check_sizes, shortened
from vaejax.hyper import ranges
from vaejax.method import Batch, MeanOverExamples, Method, Params
from vaejax.training import contract, step
from vaejax.training.fingerprint import program
from vaejax.training.noise import share
from vaejax.training.runs import Result, Runs, grid
from vaejax.training.strategy import plan
from vaejax.training.sweep import Progress, fit, programs, segments

PARAMETERS = 2e-4  # by how much vmapped parameters may differ from those of a run by itself, absolutely
METRICS = 1e-3  # and a metric's mean over a segment, absolutely and relatively
PARTS = 1e-4  # and the gradient of a batch from the mean of its halves', relatively; absolutely a tenth of it
TAKEN = 1000  # images of a source that stays on the disk
QUICK = {"xla_backend_optimization_level": 0}  # what is called a few times compiles faster than it runs


def check_method(
    method: Method, source: Source | Streamed, *, steps: int = 20, batch_size: int = 32, runs: Runs | None = None
) -> None:
    """Nothing, where the method has every property; they are tried in this order, and the line begins with its name.

    - contract: every function takes and gives what `vaejax.Method` says.
    - shapes: codes, their draws, what they decode to, the prior's draws and what those decode to fit the batch; and so
      do what it generates, log p(class | x) and the indices of codes, where it has these abilities.
    - pickling: a method with a recipe comes back as a method whose program is the same.
    - finite: loss and gradients are finite numbers in every step.
    - vmapped = serial: runs that are vmapped are what each is by itself: parameters within PARAMETERS, metrics within
      METRICS.
    - reproducible: the same seeds give the same bits.
    - resumed = uninterrupted: so does a sweep that was stopped and continued from its checkpoint.
    - no retrace: other hyperparameters compile nothing.
    - mean over examples: the gradient of a loss that says so is the mean of those of the halves of a batch, with the
      same noise, so that devices may share it.
    - mask: where batches have one, what it hides changes neither loss nor gradients by a bit.

    Args:
      source: what the method is for; small.
      steps: of training; more than 10, so that there is something to resume.
      batch_size: an even number, for halves.
      runs: which runs to train, from `vaejax.grid`; the defaults and values near to them, if not given.

    Raises:
      AssertionError: it lacks one; one line says which, and where it shows.
      InputError: a breach of the contract, sizes that can't be, or another source than the method's.
    """
    check_sizes(11, steps=steps)
    check_sizes(2, batch_size=batch_size)
    if batch_size % 2:
        raise InputError(f"batch_size has to be even, so that there are halves of a batch, not {batch_size}")
    contract.check_method(method, example(source))
    if isinstance(source, Streamed):
        source = source.take(examples(source, TAKEN))
    runs = default_runs(method) if runs is None else runs
    _shapes(method, example(source))
    _pickling(method, source, batch_size)
    trained = partial(fit, method, source, steps=steps, batch_size=batch_size, chunk=2)
    whole = trained(runs)
    _finite(whole, source, batch_size)
    _vmapped(whole, source, batch_size)
    _resumed(whole, partial(trained, runs))
    _no_retrace(whole, source, batch_size)
    _mean_over_examples(method, source, batch_size)
    _mask(method, source, batch_size)


def default_runs(method: Method) -> Runs:
    """Two runs for every device: half of them with the method's own hyperparameters, half with others near to them."""
    count = 2 * jax.device_count()
    runs = grid(method.hyper, count)
    return runs._replace(
        hyper=jax.tree.map(partial(np.where, np.arange(count) % 2 == 0), runs.hyper, _near(runs.hyper))
    )


@lru_cache(maxsize=64)
def alone(method: Method, sample: Sample, batch_size: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Training of one run by itself, a step at a time, each compiled once: what `fit` does is compared with it.

    Returns:
      `(hyper, seed, data) -> state` at step 0, of stream 0, and `(hyper, data, state) -> (state, metrics)`.
    """

    def drawn(data: Any, key: jax.Array) -> Batch:
        return sample(data, key, batch_size)

    def start(hyper: Any, seed: Any, data: Any) -> step.State:
        key = jax.random.fold_in(jax.random.key(seed), 0)
        return step.init(method, hyper, key, drawn(data, key))

    compiled = partial(jax.jit, compiler_options=QUICK)
    return compiled(start), compiled(partial(step.train_step, method, drawn))


def _shapes(method: Method, one: Batch) -> None:
    """Of a batch of three; nothing is computed."""
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((3, *leaf.shape[1:]), leaf.dtype), one)

    def same(name: str, found: Any, wanted: Any) -> None:
        if found.shape != wanted.shape:
            _fail("shapes", f"{name} has the shape {found.shape}, not {wanted.shape}, where x has {batch.x.shape}")

    def traced(key: jax.Array, batch: Batch) -> None:
        params = method.init(key, batch)
        posterior = method.encode(params, batch)
        z = posterior.sample(key)
        same("a draw of a code", z, posterior.mean)
        likelihood = _decoded(method, params, z, batch)
        same("the mean of what a code decodes to", likelihood.mean, batch.x)
        if len(likelihood.log_prob(batch.x)) != len(batch.x):
            _fail("shapes", "log_prob of what a code decodes to is not one of each example")
        if method.prior is not None:
            new = method.prior(params, batch).sample(key)
            same("a draw of the prior", new, z)
            same("the mean of what a draw of the prior decodes to", _decoded(method, params, new, batch).mean, batch.x)
        if method.prior is not None or method.generate is not None:
            same("what it generates", generated(method, params, key, batch), batch.x)
        if method.classify is not None:
            log_p = method.classify(params, batch)
            if log_p.ndim != 2 or len(log_p) != len(batch.x) or log_p.shape[1] != (method.classes or log_p.shape[1]):
                _fail("shapes", f"log p(class | x) has the shape {log_p.shape}, not ({len(batch.x)}, classes)")
        if method.codebook is not None:
            same("the vector of every index of a code", method.codebook(params)[posterior.indices], posterior.mean)

    jax.eval_shape(traced, jax.random.key(0), batch)


def _decoded(method: Method, params: Params, z: Any, batch: Batch) -> Any:
    return method.decode(params, z, batch)


def _pickling(method: Method, source: Source, batch_size: int) -> None:
    if method.recipe is None:
        return
    try:
        again = pickle.loads(pickle.dumps(method))
    except Exception as error:
        raise AssertionError(f"pickling: {shortened(error, 200)}") from error
    if again is method:
        return
    if again.hyper != method.hyper:
        _fail("pickling", f"it comes back with {again.hyper} for {method.hyper}")
    if program(again, source, source.data, batch_size) != program(method, source, source.data, batch_size):
        _fail("pickling", "it comes back with another program of training")


def _finite(whole: Result, source: Source, batch_size: int) -> None:
    for run, status in enumerate(whole.status):
        if status == "finished" and all(np.isfinite(values[run]).all() for values in whole.history.values()):
            continue
        hyper, taken = whole.runs.select(run).hyper, int(whole.taken[run])
        key = jax.random.key(0)
        batch = source.sample(source.data, key, batch_size)
        found = step.gradient(whole.method, whole.params_of(run), hyper, batch, key, jnp.int32(taken))
        bad = [jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(found)
               if not np.isfinite(leaf).all()]  # fmt: skip
        what = f"; not finite there: {', '.join(bad[:5])} (gradients [0], metrics [1])" if bad else ""
        _fail("finite", f"run {run} ({hyper}) stops being finite at step {taken}{what}")


def _vmapped(whole: Result, source: Source, batch_size: int) -> None:
    start, go_on = alone(whole.method, source.sample, batch_size)
    for run in {0, whole.runs.count - 1}:
        of = whole.runs.select(run)
        if int(of.streams):
            continue
        state, found = start(of.hyper, of.seeds, source.data), []
        for _ in range(int(whole.steps[-1])):
            state, metrics = go_on(of.hyper, source.data, state)
            found.append(jax.tree.map(np.asarray, metrics))
        pairs = zip(_leaves(whole.params_of(run)), jax.tree.leaves(state.params), strict=True)
        for (path, together), by_itself in pairs:
            far = float(np.abs(together - np.asarray(by_itself)).max(initial=0.0))
            if not far <= PARAMETERS:
                _fail("vmapped = serial", f"{path} of run {run} differs by {far:.2g} after {len(found)} steps")
        ends = [0, *whole.steps.tolist()]
        for name, values in whole.history.items():
            means = [np.mean([each[name] for each in found[a:b]]) for a, b in pairwise(ends)]
            if not np.allclose(values[run], means, rtol=METRICS, atol=METRICS):
                _fail("vmapped = serial", f"{name} of run {run} is {shortened(values[run].tolist())} when vmapped and "
                      f"{shortened(np.round(means, 6).tolist())} by itself")  # fmt: skip


def _resumed(whole: Result, train: Callable[..., Result]) -> None:
    class Stopped(Exception):
        """Not an error of anybody's."""

    def stop(progress: Progress) -> None:
        del progress
        raise Stopped

    with tempfile.TemporaryDirectory(prefix="vaejax-") as folder:
        try:
            train(workdir=folder, on_progress=stop)
        except Stopped:
            pass
        again = train(workdir=folder)
    first = int(segments(int(whole.steps[-1])).size > 1)
    for name, values in whole.history.items():
        if not np.array_equal(values[:, :first], again.history[name][:, :first], equal_nan=True):
            _fail("reproducible", f"{name} is another when the same runs are trained again")
    kinds = {"parameters": (whole.params, again.params), "metrics": (whole.history, again.history)}
    for kind, (one, other) in kinds.items():
        for (path, a), b in zip(_leaves(one), jax.tree.leaves(other), strict=True):
            if not np.array_equal(a, b, equal_nan=True):
                _fail("resumed = uninterrupted", f"of the {kind}, {path} is another after a sweep was continued")


def _no_retrace(whole: Result, source: Source, batch_size: int) -> None:
    """After the same runs were trained several times, so that nothing else is new."""
    method, runs = whole.method, whole.runs
    mesh = plan(method, example(source), runs.count, batch_size, chunk=2).mesh
    both = programs(method, source.sample, batch_size, mesh)
    before = [each._cache_size() for each in both]
    other = runs._replace(hyper=_near(runs.hyper))
    fit(method, source, other, steps=int(whole.steps[0]), batch_size=batch_size, chunk=2)
    if [each._cache_size() for each in both] != before:
        _fail("no retrace", "new values of its hyperparameters compile its training again")


def _mean_over_examples(method: Method, source: Source, batch_size: int) -> None:
    if not isinstance(method.loss, MeanOverExamples):
        return
    key, rows = jax.random.key(5), batch_size // 2

    def both(data: Any, hyper: Any) -> Any:
        batch = source.sample(data, key, batch_size)
        params = _moved(method.init(key, batch))
        of = partial(step.gradient, method, params, hyper)
        halves = jax.tree.map(lambda leaf: leaf.reshape(2, rows, *leaf.shape[1:]), batch)
        found = jax.lax.map(
            lambda part: of(part[0], share(key, 2, rows, part[1]), jnp.int32(0)), (halves, jnp.arange(2))
        )
        return of(batch, key, jnp.int32(0)), jax.tree.map(lambda leaf: leaf.mean(axis=0), found)

    whole, parts = jax.jit(both, compiler_options=QUICK)(source.data, jax.tree.map(jnp.float32, method.hyper))
    for (path, a), b in zip(_leaves(whole), jax.tree.leaves(parts), strict=True):
        if not np.allclose(a, b, rtol=PARTS, atol=PARTS / 10):
            _fail("mean over examples", f"{path} (gradients [0], metrics [1]) is not the mean of the halves of a batch")


def _mask(method: Method, source: Source, batch_size: int) -> None:
    """The last element of every example is hidden as well, so that something is."""
    if getattr(example(source), "mask", None) is None:
        return
    key = jax.random.key(6)

    @partial(jax.jit, compiler_options=QUICK)
    def padded(data: Any, hyper: Any, filling: Any) -> Any:
        batch: Any = source.sample(data, key, batch_size)
        mask = batch.mask.at[:, -1].set(False)
        there = mask.reshape(*mask.shape, *(1,) * (batch.x.ndim - mask.ndim))
        params = _moved(method.init(key, batch))
        batch = batch._replace(mask=mask, x=jnp.where(there, batch.x, filling.astype(batch.x.dtype)))
        return step.gradient(method, params, hyper, batch, key, jnp.int32(0))

    hyper = jax.tree.map(jnp.float32, method.hyper)
    empty, full = (padded(source.data, hyper, jnp.float32(filling)) for filling in (0, 50))
    for (path, a), b in zip(_leaves(empty), jax.tree.leaves(full), strict=True):
        if not np.array_equal(a, b, equal_nan=True):
            _fail("mask", f"{path} (gradients [0], metrics [1]) changes with what is hidden")


def _moved(params: Params) -> Params:
    """Away from zeros, behind which a difference could hide."""
    return jax.tree.map(lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape)), params)


def _near(hyper: Any) -> Any:
    """Other values of all hyperparameters, within their ranges."""
    near = jax.tree.map(lambda value: np.float32(0.9) * value + np.float32(1e-4), hyper)
    return type(near)(*(np.clip(value, *ranges(near)[name]) for name, value in near._asdict().items()))


def _leaves(tree: Any) -> list[tuple[str, np.ndarray]]:
    return [(jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def _fail(name: str, why: str) -> NoReturn:
    raise AssertionError(f"{name}: {why}")
