"""Where the runs of a sweep are trained: how many at once on each device, and on which part of which batch.

Devices lie in a mesh of two axes. Along `runs` every device trains its own runs, `chunk` of them vmapped; along
`batch` devices share the batches of the same runs. All that are trained at once are a *group*; groups follow one
another through one compiled program, so that memory doesn't grow with the number of runs.
"""

import contextlib
import logging
import math
import numbers
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vaejax.data.source import Sample
from vaejax.errors import InputError, check_memory, check_sizes, choose, shortened
from vaejax.method import Batch, Hyper, MeanOverExamples, Method, Params
from vaejax.target import BACKENDS, target, traced_for
from vaejax.training.noise import share
from vaejax.training.step import Gradient, gradient

Tree = TypeVar("Tree")
CALLS = ("pure_callback", "io_callback")  # operations that wait for a Python function
SHARE = 0.8  # of an accelerator's memory, to leave room for what can't be foreseen
log = logging.getLogger("vaejax")


class Strategy(NamedTuple):
    """How to train a number of runs; `str` of it is one line that says why.

    Fields:
      runs: how many there are.
      chunk: how many of them each place along `runs` vmaps at once.
      mesh: devices, with an axis `runs` and perhaps an axis `batch`.
      reason: why.
    """

    runs: int
    chunk: int
    mesh: Mesh
    reason: str

    @property
    def group(self) -> int:
        """How many runs are trained at once."""
        return self.chunk * self.mesh.shape["runs"]

    @property
    def split(self) -> int:
        """Over how many devices a batch is split."""
        return self.mesh.shape.get("batch", 1)

    def __reduce__(self) -> tuple[Any, ...]:
        """Devices can't be pickled: they go by their numbers, and are those of the process that unpickles it."""
        numbers = tuple(device.id for device in self.mesh.devices.flat)
        return _laid_out, (self.runs, self.chunk, dict(self.mesh.shape), numbers, self.reason)

    def __str__(self) -> str:
        places, kind = self.mesh.shape["runs"], self.mesh.devices.flat[0].platform
        groups = -(-self.runs // self.group)
        how = "one at a time" if self.chunk == 1 else f"{self.chunk} vmapped"
        where = f"on each of {places} {kind} devices" if places > 1 else f"on one {kind} device"
        if self.split > 1:
            where = f"in {places} place{'s' * (places > 1)}, batches split over {self.split} {kind} devices"
        return f"{self.runs} runs in {groups} group{'s' if groups != 1 else ''}, {how} {where}: {self.reason}"


def _laid_out(runs: int, chunk: int, axes: dict[str, int], numbers: tuple[int, ...], reason: str) -> Strategy:
    """What was pickled.

    Raises:
      InputError: this process has fewer devices.
    """
    here = {device.id: device for device in jax.devices()}
    if missing := [number for number in numbers if number not in here]:
        raise InputError(
            f"these runs were laid out over {len(numbers)} devices, and here there are {len(here)}, without number "
            f"{missing[0]}; lay them out anew with vaejax.plan"
        )
    devices = np.array([here[number] for number in numbers], object).reshape(*axes.values())
    return Strategy(runs, chunk, Mesh(devices, tuple(axes), axis_types=(AxisType.Auto,) * len(axes)), reason)


def plan(
    method: Method,
    batch: Batch,
    runs: int,
    batch_size: int,
    *,
    chunk: int | None = None,
    mesh: Mesh | None = None,
    backend: str | None = None,
    memory: float | None = None,
) -> Strategy:
    """The fastest known way to train so many runs on the devices at hand.

    On a CPU one run at a time on each device, because vmapped convolutions are slower there than one after the other.
    On an accelerator as many vmapped as its memory takes, in groups of equal size, because a small model leaves it
    idle. Where there are fewer runs than devices, batches are split, unless most of a step is about parameters.

    Args:
      batch: one image and what comes with it, or their shapes: what `vaejax.data.example` gives of a source.
      chunk, mesh: overrule what would be chosen.
      backend: `cpu`, `gpu` or `tpu`; the one that is traced for if not given, which is this process's.
      memory: bytes of one device; what it says if not given.

    Raises:
      InputError: no method or batch; less than 1 run, image or chunk; no backend of these, no memory; a mesh without an
        axis `runs`, or with others than `runs` and `batch`.
    """
    check_plan(method, batch, backend, memory)
    check_sizes(runs=runs, batch_size=batch_size, chunk=chunk)
    backend = backend or target()
    if mesh is not None:
        mesh = checked(mesh)
    elif not _compiled():
        return Strategy(runs, chunk or 1, _mesh(1, 1), "without jit there is one device")
    else:
        few = runs < jax.device_count()
        with traced_for(backend):
            mesh = _mesh(runs, batch_size if few and _splits_well(method, batch, batch_size) else 1)
    if chunk is not None:
        return Strategy(runs, chunk, mesh, "as asked")
    if backend == "cpu":
        return Strategy(runs, 1, mesh, "vmapped runs are slower on a CPU")
    each = -(-runs // mesh.shape["runs"])
    memory = memory or (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if memory is None:
        return Strategy(runs, each, mesh, "small models don't fill a device alone")
    with traced_for(backend):
        need = bytes_of_a_step(method, batch, -(-batch_size // mesh.shape.get("batch", 1)))
    most = max(1, int(SHARE * memory / need))
    groups = -(-each // most)
    reason = f"a run needs at most {need / 1e9:.2g} GB of {memory / 1e9:.3g}"
    return Strategy(runs, -(-each // groups), mesh, reason)


def check_plan(method: Method, batch: Batch, backend: str | None, memory: float | None) -> None:
    """Nothing, where `plan` can be made of these.

    Raises:
      InputError: it can't.
    """
    if not isinstance(method, Method):
        raise InputError(f"a method has to be one that vaejax.build or its constructor gives, not {shortened(method)}")
    if not isinstance(batch, Batch):
        raise InputError(f"a batch has to be what vaejax.data.source.example gives of a source, not {shortened(batch)}")
    if backend is not None:
        choose(dict.fromkeys(BACKENDS), backend, "backend")
    number = isinstance(memory, numbers.Real) and not isinstance(memory, bool)
    if memory is not None and not (number and 0 < memory < math.inf):
        raise InputError(f"memory has to be a number of bytes above 0, not {shortened(memory)}")


def checked(mesh: Mesh) -> Mesh:
    """The mesh, whose axes the compiler is free to use: `jax.make_mesh` makes others if it isn't told.

    Raises:
      InputError: it is no mesh of devices, has no axis `runs`, or others than `runs` and `batch`.
    """
    if not isinstance(mesh, Mesh):
        raise InputError(f"a mesh has to be what jax.make_mesh gives, with an axis 'runs', not {shortened(mesh)}")
    others = [name for name in mesh.axis_names if name not in ("runs", "batch") and mesh.shape[name] > 1]
    if "runs" not in mesh.shape or others or not mesh.devices.size:
        axes = ", ".join(f"{name!r} of {size}" for name, size in mesh.shape.items())
        raise InputError(
            f"the mesh of a sweep needs an axis 'runs', may have 'batch' and has no other that takes devices; "
            f"it has {axes or 'none'}"
        )
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def _splits_well(method: Method, batch: Batch, batch_size: int) -> bool:
    """Whether a step has more to do for the images than for the parameters, which every device updates alone.

    Two CPU devices are 1.3 times as fast as one on the convolutional networks, and half as fast on the MLP. A loss that
    calls Python (`jax.pure_callback`, `io_callback`) can't be split, unless it is a `MeanOverExamples`.
    """
    if not isinstance(method.loss, MeanOverExamples) and _calls_python(_step(method, batch, 1)[1].jaxpr):
        return False
    return bytes_of_a_step(method, batch, batch_size) > 2 * bytes_of_a_step(method, batch, 1)


def _mesh(runs: int, batch_size: int) -> Mesh:
    """All devices along `runs`; where there are fewer runs, those left over along `batch`, if it can be divided."""
    devices = jax.devices()
    places = max(n for n in range(1, len(devices) + 1) if len(devices) % n == 0 and n <= max(runs, 1))
    split = max(n for n in range(1, len(devices) // places + 1) if batch_size % n == 0)
    axes = {"axis_types": (AxisType.Auto, AxisType.Auto), "devices": devices[: places * split]}
    return jax.make_mesh((places, split), ("runs", "batch"), **axes)


def bytes_of_a_step(method: Method, batch: Batch, batch_size: int) -> int:
    """An upper bound on the memory of one run: its state, and all that a step computes as if all were kept."""
    held, program = _step(method, batch, batch_size)
    return held + _bytes(program.jaxpr)


def _step(method: Method, batch: Batch, batch_size: int) -> tuple[int, Any]:
    """The bytes of the parameters, and the program of a step."""

    def step(params: Any, hyper: Any, key: jax.Array) -> Any:
        images = jax.tree.map(lambda leaf: jnp.zeros((batch_size, *leaf.shape[1:]), leaf.dtype), batch)
        gradients, metrics = jax.grad(method.loss, has_aux=True)(params, hyper, images, key, jnp.zeros((), jnp.int32))
        optimizer = method.optimizer(hyper)
        return optimizer.update(gradients, optimizer.init(params), params), metrics

    hyper = jax.tree.map(jnp.float32, method.hyper)
    params = jax.eval_shape(method.init, jax.random.key(0), batch)
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    return held, jax.make_jaxpr(step)(params, hyper, jax.random.key(0))


def _bytes(jaxpr: Any) -> int:
    """The sizes of all that a program computes, those of inner programs in place of their results."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [found for value in equation.params.values() for found in _programs(value)]
        if inner:
            total += sum(_bytes(program) for program in inner)
        else:
            total += sum(var.aval.size * getattr(var.aval.dtype, "itemsize", 8) for var in equation.outvars)
    return total


def largest_array(jaxpr: Any) -> int:
    """The bytes of the largest array that a program computes; where it is fused with what takes it, it needs less."""
    inner = (found for equation in jaxpr.eqns for value in equation.params.values() for found in _programs(value))
    own = (var.aval.size * getattr(var.aval.dtype, "itemsize", 8) for eqn in jaxpr.eqns for var in eqn.outvars)
    return max((0, *own, *map(largest_array, inner)))


def _calls_python(jaxpr: Any) -> bool:
    """Whether a program waits for what a Python function gives; one that only prints doesn't."""
    inner = (found for equation in jaxpr.eqns for value in equation.params.values() for found in _programs(value))
    return any(equation.primitive.name in CALLS for equation in jaxpr.eqns) or any(map(_calls_python, inner))


@contextlib.contextmanager
def callable_here() -> Iterator[None]:
    """A Python function in a loss that can't be called as runs are laid out becomes one line.

    Raises:
      InputError: it can't.
    """
    try:
        yield
    except (NotImplementedError, ValueError) as error:
        text = " ".join(str(error).split())
        if isinstance(error, InputError) or not any(word in text for word in ("callback", "ordered effects")):
            raise
        raise InputError(
            f"a function that the method calls in Python (jax.pure_callback, io_callback, debug.print) can't be called "
            f"as its runs are laid out; give vmap_method='sequential' and ordered=False, chunk=1 and no mesh "
            f"({text[:90]})"
        ) from error


def _programs(value: Any) -> Iterator[Any]:
    if hasattr(value, "eqns"):
        yield value
    elif hasattr(value, "jaxpr"):
        yield from _programs(value.jaxpr)
    elif isinstance(value, tuple):  # branches
        for branch in value:
            yield from _programs(branch)


def over_runs(function: Callable[..., Tree], per_run: Any, shared: Any, mesh: Mesh) -> Tree:
    """`function(per_run[i], shared)` for every run i of a group: split over the mesh, vmapped. Call it under `jit`.

    Under `jax.disable_jit` one run after another, every operation on its own, so that values can be looked at.
    """

    def alone(per_run: Any, shared: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[None], function(jax.tree.map(lambda leaf: leaf[0], per_run), shared))

    def local(per_run: Any, shared: Any) -> Any:
        if _count(per_run) > 1:
            return jax.vmap(lambda one: function(one, shared))(per_run)
        return alone(per_run, shared)

    if not _compiled():
        runs = range(_count(per_run))
        each = [alone(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], per_run), shared) for i in runs]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *each)
    axis = PartitionSpec("runs")
    specs = {"in_specs": (axis, PartitionSpec()), "out_specs": axis}
    alone_on = {"runs"} | {name for name in mesh.axis_names if mesh.shape[name] == 1}  # all, or nothing calls the host
    return jax.shard_map(local, mesh=mesh, **specs, axis_names=alone_on, check_vma=False)(per_run, shared)


def _count(per_run: Any) -> int:
    return jax.tree.leaves(per_run)[0].shape[0]


def _compiled() -> bool:
    """Whether functions are traced: `jax.disable_jit` knows no meshes."""
    return not jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]


def split_batches(sample: Sample, batch_size: int, mesh: Mesh) -> Callable[[Any, jax.Array], Batch]:
    """`sample` with this batch size, its images split over the axis `batch` of the mesh; the images stay the same."""

    def split(data: Any, key: jax.Array) -> Batch:
        batch = sample(data, key, batch_size)
        return jax.lax.with_sharding_constraint(batch, PartitionSpec("batch")) if _compiled() else batch

    return (lambda data, key: sample(data, key, batch_size)) if mesh.shape.get("batch", 1) == 1 else split


def split_gradient(mesh: Mesh) -> Gradient:
    """`vaejax.train.gradient` of batches that lie as `split_batches` leaves them; the same up to rounding.

    Where the loss is a mean over examples every device takes its own images, with their own noise, and what they find
    is averaged at once. All others are split by `jit`, which finds places for exchanges of its own. On two busy CPU
    devices it was between 0.94 and 1.13 times as fast as that; nobody has measured it on quiet ones yet.
    """
    parts = mesh.shape.get("batch", 1)

    def of_part(method: Method, params: Params, hyper: Hyper, batch: Batch, key: jax.Array, step: jax.Array) -> Any:
        own = share(key, parts, len(batch.x), jax.lax.axis_index("batch"))
        vector, restore = ravel_pytree(gradient(method, params, hyper, batch, own, step))
        return restore(jax.lax.pmean(vector, "batch"))  # one exchange for all arrays

    def split(method: Method, params: Params, hyper: Hyper, batch: Batch, key: jax.Array, step: jax.Array) -> Any:
        shared = isinstance(method.loss, MeanOverExamples) and len(batch.x) % parts == 0
        if not shared or not _compiled():
            return gradient(method, params, hyper, batch, key, step)
        everywhere, rows = PartitionSpec(), PartitionSpec("batch")
        specs = {"in_specs": (everywhere, everywhere, rows, everywhere, everywhere), "out_specs": everywhere}
        local = jax.shard_map(partial(of_part, method), axis_names={"batch"}, check_vma=False, **specs)
        return local(params, hyper, batch, key, step)

    return gradient if parts == 1 else split


def in_groups(function: Callable[[Any], Tree], per_run: Any, layout: Strategy) -> Tree:
    """What a function of a group (made with `over_runs`) gives for all runs, one group after another; on the host.

    Raises:
      InputError: a group needs more than the memory of this machine.
    """
    leaves = jax.tree.leaves(per_run)
    held = sum(leaf.size * getattr(leaf.dtype, "itemsize", 8) for leaf in leaves) / len(leaves[0])
    check_memory(f"{layout.group:,} runs at once", held * layout.group, "give a smaller chunk")
    found = []
    for start in range(0, layout.runs, layout.group):
        group = jax.tree.map(lambda leaf, start=start: leaf[start : start + layout.group], per_run)
        found.append(jax.tree.map(np.asarray, function(place(pad(group, layout.group), layout.mesh, "runs"))))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: layout.runs], *found)


def place(tree: Tree, mesh: Mesh, *axes: str) -> Tree:
    """The arrays on the mesh: split along the axis `runs`, or a copy everywhere."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(*axes)))


def pad(tree: Tree, count: int) -> Tree:
    """Host arrays with the last run repeated until there are so many."""
    return jax.tree.map(lambda leaf: leaf[np.minimum(np.arange(count), len(leaf) - 1)], tree)
