"""What trained runs look like: reconstructions, samples, and traversals whose rows say what each latent carries."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int
from matplotlib import figure as mpl

from vaejax import plots
from vaejax.analysis.tables import short
from vaejax.apply import Codes, carried, encode, generate, information, reconstruct, traverse
from vaejax.apply.encode import middle
from vaejax.compiled import compiled
from vaejax.data import Streamed, as_frame
from vaejax.metrics.measure import examples
from vaejax.storage.run import Run

PICTURES = 10  # images a row
ROWS = 5  # of a table
CODES = 4000  # examples whose codes are ordered, and compared with the factors
RANGE = np.linspace(-2, 2, 9)  # of a traversal, in standard deviations of the prior


class Pictures(NamedTuple):
    """What a page shows of runs: figures by the names of their files, and tables where the examples are rows of one."""

    figures: dict[str, mpl.Figure]
    tables: dict[str, pd.DataFrame]


class Moves(NamedTuple):
    """The traversals of a run, a row for each latent.

    Fields:
      images: the row's images.
      labels: what the latent carries.
      shares: of every factor's entropy, beside them; None where no factors are known.
      names: of the factors.
    """

    images: Float[np.ndarray, "rows T *event"]
    labels: list[str]
    shares: Float[np.ndarray, "rows K"] | None
    names: tuple[str, ...]


def pictures(run: Run, by: str, chosen: Mapping[Any, int], pair: Sequence[Any] = ()) -> Pictures:
    """Of every chosen run reconstructions, samples of the prior, and traversals, as far as the method has them.

    Traversals are drawn of codes that are vectors; where factors are known, their rows are in the order of the factors
    that they carry, and a matrix of mutual information is beside them. Examples of a table are shown as rows of it, in
    its units.

    Args:
      chosen: the run of every setting.
      pair: two settings whose traversals are also drawn side by side.
    """
    source = run.source("test")
    index = np.random.default_rng(0).permutation(examples(source, CODES))
    if isinstance(source, Streamed):
        source, index = source.take(np.sort(index)), np.argsort(np.argsort(index))
    batch = source.at(source.data, jnp.asarray(index[:PICTURES]))
    start = source.at(source.data, jnp.asarray([middle(source)]))
    remade, dreamt, moves, drawings = [batch.x], [], {}, {}
    for value, number in chosen.items():
        params = run.params_of(number)
        remade.append(_reconstruct(run.method, params, batch))
        if run.method.prior is not None or run.method.generate is not None:
            dreamt.append(_generate(run.method, params, jax.random.key(0), batch))
        z = _encode(run.method, params, start)
        if z.ndim == 2:
            moves[value] = moved(run, params, z[0], encode(run.method, source, params, CODES))
    for value, move in moves.items():
        steps = [f"{step:g}" for step in RANGE]
        if run.columns:
            drawings[traversal(value)] = plots.column_traversals(move.images, move.labels, RANGE, run.columns)
        else:
            drawings[traversal(value)] = plots.examples(source.space, move.images, move.labels, steps)
        if move.shares is not None:
            drawings[matrix(value)] = plots.mutual_information_heatmap(move.shares, move.names, move.labels)
    beside = {plots.label(by, value): moves[value][:2] for value in pair if value in moves}
    if len(beside) > 1 and all(images.ndim == 5 for images, _ in beside.values()):
        drawings["latents"] = plots.traversals_beside(beside)
    labels = [plots.label(by, value) for value in chosen]
    if run.columns:
        tables = {"reconstructions": rows(run, ["original", *labels], remade, batch.mask)}
        return Pictures(drawings, tables | ({"samples": rows(run, labels, dreamt)} if dreamt else {}))
    hidden = None
    if batch.mask is not None and batch.mask.shape == batch.x.shape:  # of what was measured on, and of that alone
        hidden = np.stack([np.asarray(batch.mask), *[np.ones(batch.x.shape, bool)] * len(chosen)])
    drawings["reconstructions"] = plots.examples(source.space, np.stack(remade), ["original", *labels], mask=hidden)
    if dreamt:
        drawings["samples"] = plots.examples(source.space, np.stack(dreamt), labels)
    return Pictures(drawings, {})


def rows(run: Run, labels: Sequence[str], examples: Sequence[Array], mask: Array | None = None) -> pd.DataFrame:
    """The first examples [N, D] under each label as rows of the table, those of one number below each other.

    Args:
      mask: which values of the first label's examples there are.
    """
    frames = []
    for place, (name, x) in enumerate(zip(labels, examples, strict=True)):
        there = np.asarray(mask)[:ROWS] if mask is not None and place == 0 else None
        frame = as_frame(np.asarray(x)[:ROWS], run.columns, there)
        frames.append(frame.assign(row=range(1, len(frame) + 1), of=name, place=place))
    whole = pd.concat(frames).sort_values(["row", "place"], kind="stable").drop(columns="place")
    return whole[["row", "of", *(column.name for column in run.columns)]]


def moved(run: Run, params: Any, z: Array, codes: Codes) -> Moves:
    """The traversals from one code."""
    spread = codes.mean.std(axis=0)
    steps = RANGE if run.method.prior is not None else RANGE * spread[:, None]
    images = np.asarray(_traverse(run.method, params, z, jnp.asarray(steps, z.dtype)))
    if codes.factors is None:
        order = codes.order[:PICTURES]
        said = [f"z{j}" if codes.kl is None else f"z{j}  {codes.kl[j]:.2f} nats" for j in order]
        return Moves(images[order], said, None, ())
    factor, share = carried(codes.mean, codes.factors)
    order = in_order(factor, share, codes.order)[:PICTURES]
    names = tuple(name.replace("_", " ") for name in codes.names)
    said = [f"{names[factor[j]]}, {100 * share[j]:.0f} %" if factor[j] >= 0 else "–" for j in order]
    return Moves(images[order], said, information(codes.mean, codes.factors)[order], names)


def in_order(
    factor: Int[np.ndarray, " D"], share: Float[np.ndarray, " D"], rank: Int[np.ndarray, " D"]
) -> Int[np.ndarray, " D"]:
    """Latents in the order of their factors, larger shares first; then those without, in the order of `rank`."""
    place = np.argsort(rank)
    last = np.where(factor < 0, np.inf, factor)
    return np.lexsort((np.where(factor < 0, place, -share), last))


def traversal(value: Any) -> str:
    """What the file of a setting's traversals is called."""
    return f"traversals_{_slug(value)}"


def matrix(value: Any) -> str:
    """What the file of a setting's mutual information is called."""
    return f"information_{_slug(value)}"


def median_runs(table: pd.DataFrame, by: str) -> dict[Any, int]:
    """For every value of `by`, the run whose ELBO is nearest the median over seeds; none where all diverged.

    Without an ELBO it is the reconstruction term.
    """
    metric = "elbo" if "elbo" in set(table["metric"]) else "reconstruction"
    elbo = table[(table["metric"] == metric) & np.isfinite(table["value"])]
    distance = (elbo["value"] - elbo.groupby(by)["value"].transform("median")).abs()
    nearest = elbo.assign(distance=distance).sort_values(["distance", "seed"]).groupby(by)["run"].first()
    return dict(zip(nearest.index.tolist(), nearest.tolist(), strict=True))


def _slug(value: Any) -> str:
    return re.sub(r"[^\w.]+", "_", short(value)).strip("_")


_reconstruct, _generate, _traverse = map(compiled("method"), (reconstruct, generate, traverse))


@compiled("method")
def _encode(method, params, batch) -> jax.Array:
    return method.encode(params, batch).mean
