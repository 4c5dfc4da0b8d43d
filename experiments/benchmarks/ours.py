"""What the benchmark measures of vaejax: contenders (see `timing`), each for a process of its own.

`jax` and `vaejax` are imported inside the functions: a contender sets the number of devices first.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import timing

Contending = tuple[Callable[[int], dict[str, Any] | None], dict[str, Any]]
IMAGES = 10_000
STRIDE = 10  # steps in one call of a compiled program


def use_devices(count: int) -> None:
    """So many CPU devices; without effect on an accelerator."""
    import jax

    jax.config.update("jax_num_cpu_devices", count)


def images_in_memory(side: int, count: int = IMAGES) -> np.ndarray:
    """Sprites as uint8 [count, side, side, 1], 0 or 255; enlarged or cut to the middle where none have that size."""
    from vaejax.data import sprites

    rendered = min(64, 2 ** int(np.ceil(np.log2(side))))
    source = sprites(rendered)
    index = np.random.default_rng(0).integers(source.size, size=(-(-count // 1000), 1000))
    images = np.concatenate([np.asarray(source.at((), part).x) * 255 for part in index])[:count].astype(np.uint8)
    scale = -(-side // rendered)
    cut = (scale * rendered - side) // 2
    return images.repeat(scale, axis=1).repeat(scale, axis=2)[:, cut : cut + side, cut : cut + side].copy()


def export(path: str, network: str, side: int, width: int, batch: int) -> Contending:
    """No contender: writes images, weights and noise for both sides, and says which loss they give here."""
    import jax

    import vaejax

    images = images_in_memory(side)
    source = vaejax.data.arrays("benchmark", images)
    method = vaejax.build("beta_vae", source.shape, network, width=width)

    def loss(params, data, key):
        first = source.at(data, jax.numpy.arange(batch))
        value, _ = method.loss(params, method.hyper, first, key, jax.numpy.zeros((), int))
        return value, jax.random.normal(key, method.encode(params, first).mean.shape)

    blank = vaejax.Batch(jax.numpy.zeros((1, *source.shape)))
    params = drawn(jax.eval_shape(lambda key: method.init(key, blank), jax.random.key(0)))
    quick = {"xla_backend_optimization_level": 1}  # of compiling
    value, noise = jax.jit(loss, compiler_options=quick)(params, source.data, jax.random.key(0))
    contents: dict[str, Any] = {"images": images, "noise": noise, **flat(params)}
    np.savez(path, **contents)
    return lambda n: None, {"loss": float(value)}


def drawn(shapes: Any) -> Any:
    """Random weights of these shapes, of the usual size; the biases are not 0, so that they are compared as well."""
    import jax

    random = np.random.default_rng(0)

    def one(leaf: Any) -> np.ndarray:
        values = random.standard_normal(leaf.shape, np.float32)
        return values / np.float32(np.sqrt(max(np.prod(leaf.shape[:-1]), leaf.shape[-1])))

    return jax.tree.map(one, shapes)


def flat(params: Any) -> dict[str, Any]:
    """`{"encoder": {"params": {"Dense_0": {"kernel": a}}}, ...}` -> `{"encoder/Dense_0/kernel": a}`."""
    return {
        f"{half}/{layer}/{part}": array
        for half, network in params.items()
        for layer, parts in network["params"].items()
        for part, array in parts.items()
    }


def nested(weights: dict[str, Any]) -> Any:
    """What `flat` was given."""
    params: dict[str, Any] = {}
    for name, array in weights.items():
        half, layer, part = name.split("/")
        params.setdefault(half, {"params": {}})["params"].setdefault(layer, {})[part] = array
    return params


def train(
    path: str, network: str, side: int, width: int, batch: int, split: str = "whole", cores: int = 1
) -> Contending:
    """A contender: `vaejax.train.train` of one model, a scan over steps.

    Args:
      path: as written by `export`.
      split: how a batch is split over `cores` devices; one of SPLITS.
    """
    use_devices(cores)
    import jax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    import vaejax

    with np.load(path) as file:
        given = {name: file[name] for name in file if name != "noise"}
    source = vaejax.data.arrays("benchmark", given.pop("images"))
    mesh = jax.make_mesh((cores,), ("batch",), axis_types=(AxisType.Auto,))
    method, sample, around = SPLITS[split](
        vaejax.build("beta_vae", source.shape, network, width=width), source, batch, mesh
    )
    everywhere = NamedSharding(mesh, PartitionSpec())
    hyper = jax.tree.map(jax.numpy.float32, method.hyper)
    params = jax.tree.map(jax.numpy.asarray, nested(given))
    state = vaejax.State(jax.numpy.zeros((), int), jax.random.key(0), params, method.optimizer(hyper).init(params))
    hyper, data, state = jax.device_put((hyper, source.data, state), everywhere)
    steps = jax.default_matmul_precision("float32")(around(partial(vaejax.train.train, method, sample, STRIDE)))
    program = jax.jit(steps, donate_argnums=2, out_shardings=everywhere)

    def advance(n: int) -> dict[str, Any]:
        nonlocal state
        for _ in range(n // STRIDE):
            state, metrics = program(hyper, data, state)
        return {"loss": float(metrics["loss"][-1])}

    return advance, {"stride": STRIDE}


def whole(method: Any, source: Any, batch: int, mesh: Any) -> tuple[Any, Any, Any]:
    """The method, `sample` and what goes around the scan, where nothing is split."""
    del mesh
    return method, lambda data, key: source.sample(data, key, batch), lambda steps: steps


def constrained(method: Any, source: Any, batch: int, mesh: Any) -> tuple[Any, Any, Any]:
    """The same where `jax.jit` splits the program, told only that the batch lies on all devices."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    rows = NamedSharding(mesh, PartitionSpec("batch"))

    def sample(data, key):
        return jax.lax.with_sharding_constraint(source.sample(data, key, batch), rows)

    return method, sample, lambda steps: steps


def averaged(method: Any, source: Any, batch: int, mesh: Any) -> tuple[Any, Any, Any]:
    """The same where every device draws its part of the batch, and the gradients are averaged before Adam."""
    import jax
    import optax
    from jax.flatten_util import ravel_pytree
    from jax.sharding import PartitionSpec

    def own(key):
        return jax.random.fold_in(key, jax.lax.axis_index("batch"))

    def loss(params, hyper, batch, key, step):
        return method.loss(params, hyper, batch, own(key), step)

    def mean(updates, state, params=None):
        del params
        vector, restore = ravel_pytree(updates)  # one exchange for all arrays
        return restore(jax.lax.pmean(vector, "batch")), state

    def optimizer(hyper):
        average = optax.GradientTransformation(lambda params: optax.EmptyState(), mean)
        return optax.chain(average, method.optimizer(hyper))

    def sample(data, key):
        return source.sample(data, own(key), batch // mesh.size)

    def around(steps):
        def local(hyper, data, state):
            state, metrics = steps(hyper, data, state)
            return state, jax.lax.pmean(metrics, "batch")

        everywhere = PartitionSpec()
        return jax.shard_map(local, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False)

    return method._replace(loss=loss, optimizer=optimizer), sample, around


SPLITS = {"whole": whole, "jit": constrained, "shard_map": averaged}


def naive(path: str, network: str, side: int, width: int, batch: int) -> Contending:
    """A contender: the same networks of `flax.linen.Conv` and `ConvTranspose`, with the gradients that jax derives."""
    del network
    import jax
    from flax import linen as nn

    import vaejax
    from vaejax.networks.conv import channels, halvings

    class Encoder(nn.Module):
        @nn.compact
        def __call__(self, x, parameters):
            for features in channels(len(halvings(side, side)) - 1, width):
                x = nn.relu(nn.Conv(features, (4, 4), 2)(x))
            h = nn.relu(nn.Dense(8 * width)(x.reshape(x.shape[0], -1)))
            return tuple(jax.numpy.split(nn.Dense(10 * parameters)(h), parameters, axis=-1))

    class Decoder(nn.Module):
        @nn.compact
        def __call__(self, z, parameters):
            *features, last = channels(len(halvings(side, side)) - 1, width)
            h = nn.Dense(16 * last)(nn.relu(nn.Dense(8 * width)(z))).reshape(-1, 4, 4, last)
            for out in [*features[::-1], parameters]:
                h = nn.ConvTranspose(out, (4, 4), (2, 2))(nn.relu(h))
            return (h,)

    with np.load(path) as file:
        source = vaejax.data.arrays("benchmark", file["images"])
    method = vaejax.beta_vae(Encoder(), Decoder())
    data, blank = source.data, vaejax.Batch(jax.numpy.zeros((1, *source.shape)))
    params = drawn(jax.eval_shape(lambda key: method.init(key, blank), jax.random.key(0)))
    state = vaejax.State(
        jax.numpy.zeros((), int), jax.random.key(0), params, method.optimizer(method.hyper).init(params)
    )
    steps = partial(vaejax.train.train, method, lambda data, key: source.sample(data, key, batch), 1)
    program = jax.jit(steps)

    def advance(n: int) -> dict[str, Any]:
        nonlocal state
        for _ in range(n):
            state, metrics = program(method.hyper, data, state)
        return {"loss": float(metrics["loss"][-1])}

    return advance, {}


def sweep(
    network: str, side: int, width: int, batch: int, models: int, cores: int, steps: int, memory: bool = False
) -> Contending:
    """A contender: `vaejax.fit` of so many models; steps by themselves, and what a call takes beside them.

    A step takes what lies between the first segment, which waits for tracing and compiling, and the last.

    Args:
      steps: of each call; enough for two segments.
      memory: take images from memory instead of rendering them.
    """
    use_devices(cores)
    import jax

    import vaejax

    compiled = []

    def count(event: str, duration_secs: float, **_: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(count)
    data = vaejax.data
    source = data.arrays("benchmark", images_in_memory(side, 2000)) if memory else data.sprites(side)
    method = vaejax.build("beta_vae", source.shape, network, width=width)
    runs = vaejax.grid(method.hyper, seeds=models)
    before = len(compiled)

    def advance(n: int) -> dict[str, Any]:
        del n  # it is fixed
        ticks: list[Tick] = []

        def tick(progress: Any) -> None:
            ticks.append(Tick(progress.done, time.perf_counter(), timing.cpu_seconds()))

        result = vaejax.fit(method, source, runs, steps=steps, batch_size=batch, on_progress=tick)
        losses = result.history["loss"]
        if not np.isfinite(losses).all():
            raise RuntimeError("a model diverged, so its time says nothing")
        said = {"compilations": len(compiled) - before, "loss": float(losses[:, -1].mean())}
        return {**said, "each": steady(ticks, models)}

    return advance, {"stride": steps, "fixed": True, "units": models}


class Tick(NamedTuple):
    """Where a call is after a segment: run-steps done, and the clocks."""

    done: int
    wall: float
    cpu: float


def steady(ticks: Sequence[Tick], models: int) -> dict[str, float]:
    """The `wall` and `cpu` seconds of a step of all models, from the end of the first segment to that of the last.

    Raises:
      ValueError: there is one segment only, whose steps can't be told from what is done before them.
    """
    if len(ticks) < 2:
        raise ValueError("the steps of a single segment can't be told from its start; take more steps")
    first, last = ticks[0], ticks[-1]
    steps = (last.done - first.done) / models
    return {"wall": (last.wall - first.wall) / steps, "cpu": (last.cpu - first.cpu) / steps}


def score(name: str, runs: int, cores: int, **sizes: int) -> Contending:
    """A contender: one metric of the suite, of so many models' codes at once.

    Args:
      sizes: those of `experiments.benchmarks.originals.model`, whose first model the originals score.
    """
    use_devices(cores)
    import jax

    from experiments.benchmarks import originals
    from vaejax.metrics import Sizes, scores, suite

    models = [originals.model(run, **sizes) for run in range(runs)]
    z, _, z_test, _, cells, *_ = (np.stack(part) for part in zip(*models, strict=True))
    if name not in suite.INTERVENTIONAL:
        cells = cells[:, :0]
    given = (z, models[0].factors, z_test, models[0].factors_test, cells, originals.GRID)

    def advance(n: int) -> dict[str, Any]:
        for _ in range(n):
            table = scores(*given, jax.random.key(0), sizes=Sizes(**sizes), metrics=(name,))
        first = table[table["run"] == 0]
        return {"values": dict(zip(first["metric"], first["value"].tolist(), strict=True))}

    return advance, {"units": runs}


def render(side: int, batch: int) -> Contending:
    """A contender: batches of random sprites, drawn by a compiled function."""
    import jax

    from vaejax.data import sprites

    key, source = jax.random.key(0), sprites(side)
    program = jax.jit(lambda i: source.sample((), jax.random.fold_in(key, i), batch).x)

    def advance(n: int) -> None:
        for i in range(n):
            jax.block_until_ready(program(i))

    return advance, {"stride": STRIDE, "units": batch}


def read(side: int, batch: int, images: int = 50_000) -> Contending:
    """A contender: batches of random images out of an array in memory, by NumPy; what is in them doesn't matter."""
    random = np.random.default_rng(0)
    stored = random.integers(256, size=(images, side, side), dtype=np.uint8)

    def advance(n: int) -> None:
        for _ in range(n):
            stored[random.integers(images, size=batch)]

    return advance, {"stride": STRIDE, "units": batch}


def stream(path: str, network: str, width: int, batch: int, steps: int, window: int | None) -> Contending:
    """A contender: `vaejax.fit` of one model for every device, on images in memory or streamed from a file.

    Says which share of a call was spent waiting for windows, the first one, which nothing can be done during, apart.

    Args:
      path: of an npz file that `numpy.savez` wrote, or `tfds:NAME:DATA_DIR`.
      window: images on the device at a time; None holds all of them in memory.
    """
    use_devices(2)
    import vaejax

    name, folder = path.split(":", 2)[1:] if path.startswith("tfds:") else (f"npz:{path}", None)
    source = vaejax.data.load(name, data_dir=folder, window=window)
    method = vaejax.build("beta_vae", source.shape, network, width=width)
    runs, waits = vaejax.grid(method.hyper, seeds=2), []
    if isinstance(source, vaejax.data.Streamed):
        source = source._replace(windows=partial(watched, source.windows, waits))

    def advance(n: int) -> dict[str, Any]:
        for _ in range(n // steps):
            waits.clear()
            began = time.perf_counter()
            vaejax.fit(method, source, runs, steps=steps, batch_size=batch)
            whole = time.perf_counter() - began
        return {"waiting": sum(waits[1:]) / (whole - sum(waits[:1])), "first": sum(waits[:1]), "windows": len(waits)}

    return advance, {"stride": steps, "units": 2}


def watched(windows: Any, waits: list[float], start: int) -> Any:
    """The same windows, with the seconds that each was waited for."""
    with closing(windows(start)) as given:
        while True:
            began = time.perf_counter()
            window = next(given)
            waits.append(time.perf_counter() - began)
            yield window
