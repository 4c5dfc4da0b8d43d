"""Every disentanglement metric of every run of a sweep.

`evaluate` encodes images of a source with the runs' encoders and hands the codes to `scores`. Any other representation
(principal components, raw pixels, the true factors) is scored by calling `scores` with its codes. UDR compares runs of
one setting with each other, so it isn't among these; `vaejax.measure` gives what needs no factors.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh
from jaxtyping import Array, Float, Int, Key

from vaejax.compiled import compiled
from vaejax.data.source import Factors, draw, example, factors_of
from vaejax.errors import InputError, check_memory, check_sizes, choose, shortened
from vaejax.method import Method, Params
from vaejax.metrics.checks import (
    LARGEST,
    as_numbers,
    check_counts,
    check_factors,
    check_key,
    check_pair,
    check_source,
    near_zero,
    relative,
    triangle,
    weight_of,
)
from vaejax.metrics.codes import codes
from vaejax.metrics.interventions import check_grid_sizes, subgrid, table
from vaejax.metrics.record import Metric, check_metric, column, named
from vaejax.metrics.records import SUITE
from vaejax.target import target
from vaejax.training.contract import shortened_text
from vaejax.training.params import check_params
from vaejax.training.strategy import Strategy, in_groups, over_runs, place

if TYPE_CHECKING:
    import pandas as pd

Scores = dict[str, Float[np.ndarray, " R"]]
TINY = float(np.finfo(np.float32).tiny)
TOGETHER = 8  # runs at once, so that memory doesn't grow with their number


class Sizes(NamedTuple):
    """How many samples the metrics take; the defaults are those of Locatello et al. 2019.

    Fields:
      train, test: images for the array metrics, and batches for the interventional ones.
      batch: images of such a batch.
      variance: images for the variances of the FactorVAE score.
      grid: the most combinations of factor values whose codes the interventional metrics draw from; a larger grid is
        thinned by `vaejax.metrics.subgrid`.
    """

    train: int = 10_000
    test: int = 5_000
    batch: int = 64
    variance: int = 10_000
    grid: int = 1_000_000


STUDY = Sizes()  # the 737,280 images of dSprites are all encoded: half a minute a model on two cores
GLANCE = Sizes(train=5000, test=2500, variance=5000, grid=10_000)  # for a first look: a second or two a model


NAMES = tuple(SUITE)
USUAL = tuple(name for name, record in SUITE.items() if record.usual)
INTERVENTIONAL = tuple(name for name, record in SUITE.items() if record.intervenes)


def evaluate(
    method: Method,
    source: Factors,
    params: Params,
    key: Key[Array, ""],
    *,
    sizes: Sizes = STUDY,
    metrics: Iterable[str | Metric] = NAMES,
    chunk: int | None = None,
    mesh: Mesh | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> "pd.DataFrame":
    """The tidy table (`run`, `metric`, `value`) of these metrics of every run; see `scores`.

    The images are the same for all runs: `sizes.train` and `sizes.test` of them with independent, uniform factors, and
    those of the grid.

    Args:
      source: images with ground-truth factors, all combinations of them.
      params: the runs' parameters, every leaf with a leading run axis, as in `Result.params`.
      metrics: some of NAMES, and records of one's own.
      chunk, mesh: as in `vaejax.fit`.
      on_progress: called on the host with how many metrics of runs are done and how many there are; encoding counts
        as one.

    Raises:
      InputError: an unknown metric, a size below 1, or a source without the images of all combinations of its factors.
    """
    import pandas as pd

    asked = check_metrics(metrics)
    check_suite_sizes(sizes)
    check_key(key)
    check_sizes(chunk=chunk)
    check_source(source)
    if not isinstance(source, Factors) or np.prod(source.sizes) != source.size:
        raise InputError(f"disentanglement is measured on all combinations of known factors, which {source.name} lacks")
    check_params(method, example(source), params, runs=True)
    if on_progress is not None and not callable(on_progress):
        raise InputError(f"on_progress has to be a function, not {shortened(on_progress)}")
    count = sizes.train + sizes.test + min(source.size, sizes.grid)
    check_memory(f"codes and factors of {count:,} images", 4.0 * count * (1 + len(source.sizes)), "give smaller sizes")
    train, test, later = jax.random.split(key, 3)
    drawn = [draw(part, count, source.size) for part, count in ((train, sizes.train), (test, sizes.test))]
    factors, factors_test = (np.asarray(factors_of(index, source.sizes)) for index in drawn)
    index, index_test = map(np.asarray, drawn)
    cells, grid = (index[:0], source.sizes)
    if any(metric.intervenes for metric in asked):
        cells, grid = subgrid(source.sizes, sizes.grid)
    runs = len(jax.tree.leaves(params)[0])
    total, tables = runs * (len(asked) + 1), []
    for start in range(0, runs, TOGETHER):
        some = jax.tree.map(lambda leaf, start=start: leaf[start : start + TOGETHER], params)
        every = np.concatenate([index, index_test, cells])
        found = codes(method, source, some, every, chunk=chunk, mesh=mesh)
        before, here = start * (len(asked) + 1), len(found)
        if on_progress is not None:
            on_progress(before + here, total)
        z, z_test, cell_codes = np.split(found, [index.size, index.size + index_test.size], axis=1)
        part = scores(
            z, factors, z_test, factors_test, cell_codes, grid, later, sizes=sizes, metrics=asked,
            on_progress=on_progress and (lambda done, _, at=before + here: on_progress(at + done, total)),
        )  # fmt: skip
        tables.append(part.assign(run=part["run"] + start))
    return pd.concat(tables, ignore_index=True)


def scores(
    z: Float[np.ndarray, "R N D"],
    factors: Int[np.ndarray, "N K"],
    z_test: Float[np.ndarray, "R M D"],
    factors_test: Int[np.ndarray, "M K"],
    cells: Float[np.ndarray, "R G D"],
    grid: tuple[int, ...],
    key: Key[Array, ""],
    *,
    sizes: Sizes = STUDY,
    metrics: Iterable[str | Metric] = NAMES,
    on_progress: Callable[[int, int], None] | None = None,
) -> "pd.DataFrame":
    """The tidy table (`run`, `metric`, `value`) of these metrics of R representations.

    The headline value of a metric has its name, any other is called METRIC_KEY (`dci_disentanglement`). The sample
    sizes that were used are there as `samples_train`, `samples_test`, `samples_grid` and, of the interventional
    metrics, `samples_batch` and `samples_variance`. All values of codes that are not finite are NaN.

    Args:
      z, factors: of the training images.
      z_test, factors_test: of the test images.
      cells: codes of all combinations of factor values of sizes `grid`, the last factor fastest; with no row where no
        interventional metric is asked for.
      sizes: `batch` and `variance`, and the numbers of batches; how many images there are is seen from the arrays.

    Raises:
      InputError: an unknown metric, arrays that don't fit, or no factor that varies.
    """
    import pandas as pd

    asked = check_metrics(metrics)
    if on_progress is not None and not callable(on_progress):
        raise InputError(f"on_progress has to be a function, not {shortened(on_progress)}")
    check_suite_sizes(sizes)
    check_key(key)
    z, z_test, cells = (as_numbers("the suite", array) for array in (z, z_test, cells))
    factors, factors_test = (check_factors("the suite", array) for array in (factors, factors_test))
    check_arrays(z, factors, z_test, factors_test)
    blank = np.zeros((len(factors), 1)), np.zeros((len(factors_test), 1))
    values, values_test = check_pair("the suite", blank[0], factors, blank[1], factors_test)[1::2]
    for metric in asked:
        if metric.check is not None:
            metric.check(values_test)
    finite = np.all(np.abs(z) <= LARGEST, axis=(1, 2)) & np.all(np.abs(z_test) <= LARGEST, axis=(1, 2))
    z, z_test = (np.where(finite[:, None, None], array, 0.0) for array in (z, z_test))
    unit, *moved = relative(z, z_test)
    needed = {need for metric in asked for need in metric.needs}
    of_run = {"z": z.astype(np.float32), "z_test": z_test.astype(np.float32), "moved": moved[0], "moved_test": moved[1]}
    of_run |= {"unit": unit[:, 0].clip(TINY, LARGEST).astype(np.float32), "weight": weight_of(unit)}
    if needed & {"near_zero", "near_zero_test"}:
        of_run |= dict(zip(("near_zero", "near_zero_test"), near_zero(z, z_test), strict=True))
    if needed & {"triangle", "deviation"}:
        of_run |= dict(zip(("triangle", "deviation"), triangle(z), strict=True))
    layout, found, runs = _layout(len(z)), {}, len(z)
    counts = tuple((np.concatenate([values, values_test]).max(axis=0) + 1).tolist())
    shared = place({"factors": jnp.asarray(values), "factors_test": jnp.asarray(values_test)}, layout.mesh)
    rows = _rows(cells, grid, z) if any(metric.intervenes for metric in asked) else None
    used = {"train": len(factors), "test": len(factors_test)}
    if rows is not None:
        used |= {"grid": cells.shape[1], "batch": sizes.batch, "variance": sizes.variance}
    for number, metric in enumerate(asked):
        if metric.intervenes:
            of_runs = _interventional(metric, rows, grid, key, sizes, runs)
        else:
            given = {need: of_run[need] for need in metric.needs if need in of_run} or {"z": of_run["z"]}
            of_runs = in_groups(
                partial(_jitted, _Traced(*metric[:3]), counts, layout.mesh, shared=shared), given, layout
            )
        for value, power in ((value.name, value.power) for value in metric.more if value.power):
            of_runs[value] = of_runs[value] * unit.max(axis=(1, 2)) ** power
        found |= {column(metric.name, key): np.where(finite, value, np.nan) for key, value in of_runs.items()}
        if on_progress is not None:
            on_progress((number + 1) * runs, len(asked) * runs)
    found |= {f"samples_{name}": np.full(runs, float(count)) for name, count in used.items()}
    wide = pd.DataFrame({"run": range(runs), **found})
    return wide.melt("run", var_name="metric").sort_values("run", kind="stable", ignore_index=True)


def check_metrics(metrics: Iterable[str | Metric]) -> tuple[Metric, ...]:
    """The records of the metrics that are asked for, each once.

    Raises:
      InputError: one that the suite hasn't, a record that can't be used, two of one name, or none at all.
    """
    if isinstance(metrics, (str, Metric)) or not isinstance(metrics, Iterable):
        raise InputError(f"metrics has to be a list of names, such as ['mig'], not {shortened(metrics)}")
    found: dict[str, Metric] = {}
    for asked in metrics:
        own = isinstance(asked, Metric)
        metric = check_metric(asked) if own else choose(SUITE, asked, "metric")
        if found.setdefault(metric.name, metric) != metric or (own and SUITE.get(metric.name, metric) != metric):
            raise InputError(f"there are two metrics called {metric.name!r}; give your own another name")
    if not found:
        raise InputError(f"metrics has to name at least one of: {', '.join(sorted(NAMES))}")
    return tuple(found.values())


def check_names(metrics: Iterable[str]) -> tuple[str, ...]:
    """The names of the metrics that are asked for.

    Raises:
      InputError: as in `check_metrics`.
    """
    return tuple(metric.name for metric in check_metrics(metrics))


def check_suite_sizes(sizes: Any) -> None:
    """Whole numbers of at least 1, and 2 for what a variance is taken of.

    Raises:
      InputError: they are not, or not `Sizes`.
    """
    if not isinstance(sizes, Sizes):
        raise InputError(f"sizes has to be vaejax.metrics.Sizes(...), not {shortened(sizes)}")
    check_counts(**sizes._asdict())


def check_arrays(z: np.ndarray, factors: np.ndarray, z_test: np.ndarray, factors_test: np.ndarray) -> None:
    """Nothing, where the arrays fit each other.

    Raises:
      InputError: they don't.
    """
    shapes = [array.shape for array in (z, factors, z_test, factors_test)]
    fit = [len(shape) for shape in shapes] == [3, 2, 3, 2] and 0 not in sum(shapes, ())
    if not fit or (shapes[0][0], *shapes[0][2:]) != (shapes[2][0], *shapes[2][2:]) or (
        (shapes[0][1], shapes[2][1]) != (shapes[1][0], shapes[3][0]) or shapes[1][1] != shapes[3][1]
    ):  # fmt: skip
        raise InputError(
            "the metrics take codes [R, N, D], factors [N, K], codes [R, M, D] and factors [M, K], not "
            + ", ".join(map(str, shapes))
        )


def _layout(runs: int) -> Strategy:
    """One run at a time on every CPU device, TOGETHER on every other."""
    places = max(n for n in range(1, jax.device_count() + 1) if jax.device_count() % n == 0 and n <= runs)
    mesh = jax.make_mesh((places,), ("runs",), axis_types=(AxisType.Auto,), devices=jax.devices()[:places])
    chunk = 1 if target() == "cpu" else min(TOGETHER, -(-runs // places))
    return Strategy(runs, chunk, mesh, "metrics")


def _rows(cells: Float[np.ndarray, "R G D"], grid: tuple[int, ...], z: np.ndarray) -> Float[np.ndarray, "G R D"]:
    grid = check_grid_sizes(grid)
    if cells.ndim != 3 or cells.shape[1] != np.prod(grid):
        raise InputError(f"a grid of sizes {grid} needs codes [R, {np.prod(grid)}, D], not {cells.shape}")
    if (cells.shape[0], cells.shape[2]) != (z.shape[0], z.shape[2]):
        raise InputError(
            f"the codes of the grid have to be of the same {z.shape[0]} runs and {z.shape[2]} codes as the others, "
            f"not of {cells.shape[0]} and {cells.shape[2]}"
        )
    if max(grid) < 2:
        raise InputError(f"a grid needs at least one factor that varies, but its sizes are {grid}")
    return np.ascontiguousarray(np.swapaxes(cells, 0, 1))


class _Traced(NamedTuple):
    """What a program depends on of a metric."""

    name: str
    function: Any
    needs: tuple[str, ...]


@compiled("metric", "sizes", "mesh", kept=32)  # more than there are metrics
def _jitted(
    metric: _Traced, sizes: tuple[int, ...], mesh: Mesh, per_run: Any, shared: Any
) -> dict[str, Float[Array, " R"]]:
    def one(per_run: Any, shared: Any) -> dict[str, Float[Array, ""]]:
        known = {**per_run, **shared, "sizes": sizes, "size": max(sizes)}
        return named(metric.name, _called(metric, [known[need] for need in metric.needs]), ())

    return over_runs(one, per_run, shared, mesh)


def _interventional(
    metric: Metric, rows: Any, grid: tuple[int, ...], key: Key[Array, ""], sizes: Sizes, runs: int
) -> Scores:
    varying = tuple(k for k, size in enumerate(grid) if size > 1)
    known = {**sizes._asdict(), "represent": table(rows, grid), "grid": tuple(grid), "key": key, "varying": varying}
    found = _called(_Traced(*metric[:3]), [known[need] for need in metric.needs])
    return jax.tree.map(np.asarray, named(metric.name, found, (runs,)))


def _called(metric: _Traced, given: list[Any]) -> Any:
    """What the function gives. Whoever wrote it finds out in one line where it fails, with the cause beneath.

    Raises:
      InputError: it raises anything else.
    """
    try:
        return metric.function(*given)
    except InputError:
        raise
    except Exception as error:
        why = shortened_text(" ".join(f"{type(error).__name__}: {error}".split()), 170)
        raise InputError(
            f"the metric {metric.name!r} fails when it is given ({', '.join(metric.needs)}): {why}"
        ) from error
