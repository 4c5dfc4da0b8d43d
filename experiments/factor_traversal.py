"""What does each code of a trained run carry? Draws its traversals and, where factors are known, codes against factors.

python -m experiments.factor_traversal runs/beta_sweep                  # the median run of every beta
python -m experiments.factor_traversal runs/beta_sweep --runs 0 3 --range data
python -m experiments.factor_traversal runs/beta_sweep --image 0 9    # start from these images of the test split

For every run a folder RUN/figures/traversal_NUMBER with `traversal.gif` (all codes move, there and back),
`traversal.png` (codes x steps, one for each starting image), `mutual_information.png`, `factor_latent.png` and
`traversal.html`, which shows them all. Codes are ordered by their KL.
"""

import dataclasses
import datetime
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import tyro
from jaxtyping import Float
from matplotlib.figure import Figure as Drawing

from experiments import checks, script
from vaejax import plots
from vaejax.apply.encode import Codes, encode, middle
from vaejax.apply.label import LEAST, information, label_latents
from vaejax.apply.traverse import LIMIT, PERCENTILES, data_values, prior_values, traverse
from vaejax.data import Source, example
from vaejax.errors import InputError, check_sizes, choose, one_line
from vaejax.metrics.measure import ACTIVE
from vaejax.plots.codes import factor_curves, mutual_information_heatmap
from vaejax.plots.traversals import traversal_gif, traversal_strip
from vaejax.report import Block, Figure, Section, write
from vaejax.report.pictures import median_runs
from vaejax.storage.disk import attempt
from vaejax.storage.marker import record
from vaejax.storage.run import Run, load_run

SHOWN = 32  # latents, at most
MOST_STEPS = 1000
STATUS = ("waiting", "training", "finished", "diverged")
RANGES = {
    "prior": f"from {-LIMIT:g} to {LIMIT:g} standard deviations of the prior",
    "data": f"from the {PERCENTILES[0]}st to the {PERCENTILES[1]}th percentile of the codes",
}
DIVERGED = "diverged; choose another run"


@dataclasses.dataclass(frozen=True)
class Config:
    """Which runs, and how far their codes are moved."""

    run: tyro.conf.Positional[Path] = Path("runs/beta_sweep")
    """the folder of a sweep"""
    runs: tuple[int, ...] = ()
    """numbers of runs, as in runs.csv; of every setting the one with the median ELBO if not given"""
    limit: int = 12
    """at most so many runs, where --runs is not given"""
    range: str | None = None
    """prior (-2 to 2) or data (1st to 99th percentile of the codes); prior if not given, data if there is no prior"""
    steps: int = 11
    """values that a code takes"""
    images: int = 10_000
    """how many images codes and factors are compared on, of the test split where there is one"""
    image: tuple[int, ...] = ()
    """numbers of the images to start from; the one in the middle of all factors, or the first, if not given"""
    out: Path | None = None
    """where the folders traversal_NUMBER are written; RUN/figures if not given"""


def main(config: Config) -> None:
    """Draws every chosen run.

    Raises:
      InputError: no sweep, no such run or image, a run that diverged, or an option that can't be.
    """
    config = checks.checked(config, Config)
    if config.range is not None:
        choose(RANGES, config.range, "range")
    if config.steps > MOST_STEPS:
        raise InputError(f"a traversal takes at most {MOST_STEPS} steps, not {config.steps}")
    prior_values(config.steps)
    check_sizes(images=config.images, limit=config.limit)
    check_table(config.run)
    run = load_run(config.run)
    script.check_place(config.out or config.run / "figures")
    names = settings(run.table)
    numbers = list(dict.fromkeys(config.runs)) or median(run, names)[: config.limit]
    for number in numbers:
        check_run(run, number)
    source = run.source("test")
    check_codes(run, source)
    start = starts(source, config.image)
    if not numbers:
        raise InputError(f"no run of {run.path} can be drawn: all have diverged or wait to be trained")
    for number in numbers:
        codes = encode(run.method, source, run.params_of(number), config.images)
        folder = (config.out or config.run / "figures") / f"traversal_{number}"
        print(draw(run, number, codes, source, start, config, folder), flush=True)


def check_table(path: Path) -> None:
    """The `runs.csv` of a sweep's folder, if there is one.

    Raises:
      InputError: it is empty or cut.
    """
    file = path / "runs.csv"
    if not file.exists():  # which `load_run` says
        return
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:
        cause = " ".join(str(error).split())
        raise InputError(f"{file} can't be read ({cause}); give the sweep's command again, which mends it") from error
    whole = {"run", "seed", "status"} <= set(table) and table["status"].isin(STATUS).all() and len(table)
    if not whole or table["run"].tolist() != list(range(len(table))):
        raise InputError(f"{file} is cut, or no table of runs; give the sweep's command again, which mends it")


def check_codes(run: Run, source: Source) -> None:
    """Whether the source's images have codes that can be moved one by one.

    Raises:
      InputError: images of another shape than those of the training, or codes that are no vectors.
    """
    shape, method = tuple(run.config["shape"]), run.config["model"]["method"]
    if source.shape != shape:
        raise InputError(f"images of {source.name} are {source.shape} now, but the sweep was trained on {shape}")
    with one_line(f"the method {method!r} can't encode images of {source.name}"):
        params = jax.eval_shape(lambda params: jax.tree.map(lambda leaf: leaf[0], params), run.params)
        codes = jax.eval_shape(lambda params, batch: run.method.encode(params, batch).mean, params, example(source))
    if codes.ndim != 2:
        raise InputError(f"codes of {method} are a grid of {codes.shape[1:]} and no vector, so none is moved alone")


def settings(table: pd.DataFrame) -> list[str]:
    """The hyperparameters that differ between runs."""
    own = ("run", "seed", "stream", "status")
    return [name for name in map(str, table) if name not in own and table[name].nunique(dropna=False) > 1]


def median(run: Run, names: list[str]) -> list[int]:
    """Of every setting, the run whose ELBO (reconstruction, without one) is nearest the median over its seeds.

    If the sweep hasn't been measured it is the first that can be drawn.
    """
    able = run.table[[fault(run, number) is None for number in run.table["run"]]]
    group = able.groupby(names, dropna=False).ngroup() if names else 0
    able = able.assign(setting=group)
    score = "elbo" if "elbo" in set(run.results["metric"]) else "reconstruction"
    found = run.results[run.results["metric"] == score].merge(able[["run", "seed", "setting"]], on="run")
    if found.empty:
        return able.groupby("setting")["run"].first().tolist()
    return list(median_runs(found.assign(metric="elbo"), "setting").values())


def check_run(run: Run, number: int) -> None:
    """Nothing, for a run that can be drawn.

    Raises:
      InputError: there is no such run, or it has no parameters that are finite.
    """
    if number not in set(run.table["run"]):
        raise InputError(f"there is no run {number} in {run.path}; it has runs 0 to {run.table['run'].max()}")
    reason = fault(run, number)
    if reason:
        raise InputError(f"run {number} of {run.path} {reason}")


def fault(run: Run, number: int) -> str | None:
    """Why a run can't be drawn, or None."""
    if run.table.set_index("run")["status"][number] == "diverged":
        return DIVERGED
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.params_of(number)))
    return None if finite else "waits to be trained; choose another run, or train the sweep to its end"


def starts(source: Source, image: tuple[int, ...]) -> list[int]:
    """The numbers of the images that traversals start from.

    Raises:
      InputError: there is no such image.
    """
    for number in image:
        if not 0 <= number < source.size:
            raise InputError(f"there is no image {number} in {source.name}; it has images 0 to {source.size - 1}")
    if image:
        return list(image)
    return [middle(source)]


_traverse = jax.default_matmul_precision("float32")(jax.jit(traverse, static_argnames="method"))


def draw(run: Run, number: int, codes: Codes, source: Source, start: list[int], config: Config, folder: Path) -> str:
    """Writes the figures and the page of one run, and returns what is printed of it."""
    kind = config.range or ("prior" if codes.kl is not None else "data")
    if kind == "prior" and codes.kl is None:
        raise InputError("these codes have no prior, because the method is no VAE; choose --range data")
    values = prior_values(config.steps) if kind == "prior" else data_values(codes.mean, config.steps)
    order = codes.order[:SHOWN]
    labels = labels_of(codes)
    labels = [labels[j] for j in order]
    params = run.params_of(number)
    batch = source.at(source.data, jnp.asarray(start))
    z = run.method.encode(params, batch).mean
    moved = np.stack([_traverse(run.method, params, code, jnp.asarray(values)) for code in z])[:, order]
    shown = values if values.ndim == 1 else values[order]
    spread = [f"{codes.kl[j]:.2f} nats" if codes.kl is not None else f"std {codes.mean[:, j].std():.2f}" for j in order]
    lines = [f"{label}\n{extra}" for label, extra in zip(labels, spread, strict=True)]

    drawings: dict[str, Drawing] = {
        f"traversal{f'_{image}' if len(start) > 1 else ''}": traversal_strip(rows, lines, shown)
        for image, rows in zip(start, moved, strict=True)
    }
    gif = animation(np.asarray(batch.x), moved, lines, shown)
    text = [f"{described(run, number)}: traversals {RANGES[kind]}."]
    if codes.factors is None:
        text.append(f"{source.name} has no ground-truth factors, so there are traversals only.")
    else:
        shares = information(codes.mean, codes.factors)
        drawings["mutual_information"] = mutual_information_heatmap(shares[order], codes.names, labels)
        active = [j for j in order if codes.mean[:, j].var() > ACTIVE]
        text.append(answer(shares, codes, active))
        if active:
            drawings["factor_latent"] = factor_curves(
                codes.mean[:, active], codes.factors, codes.names, [f"z{j}" for j in active], shares[active]
            )
    attempt(folder, lambda: save(folder, drawings, gif))
    page = write(
        folder / "traversal.html",
        title=f"{run.config['model']['method']} on {run.config['source']['name']}, run {number}",
        question="What does each code carry?",
        answer="\n\n".join(text),
        command=script.command(),
        facts=facts(run, codes, start),
        sections=sections(drawings, gif, RANGES[kind]),
    )
    return "\n".join([*text, f"written: {page}"])


def labels_of(codes: Codes) -> list[str]:
    """The latents' names, with what they carry where that is known."""
    if codes.factors is None:
        return [f"z{j}" if variance > ACTIVE else f"z{j} –" for j, variance in enumerate(codes.mean.var(axis=0))]
    return label_latents(codes.mean, codes.factors, codes.names)


def animation(x: np.ndarray, moved: np.ndarray, lines: list[str], values: np.ndarray) -> bytes:
    """The GIF: for every starting image [S, H, W, C] itself and its traversals [S, latents, T, H, W, C]."""
    steps, still = moved.shape[2], np.full((1, moved.shape[2]), np.nan)
    first = np.broadcast_to(x[:, None, None], (len(x), 1, steps, *x.shape[1:]))
    cells = np.concatenate([first, moved], axis=1)
    places = np.concatenate([still, np.broadcast_to(values, (len(lines), steps))])
    labels = ["image", *lines] * len(x)
    columns = 6 if len(x) == 1 else min(len(lines) + 1, 11)
    return traversal_gif(cells.reshape(-1, *cells.shape[2:]), labels, np.tile(places, (len(x), 1)), columns=columns)


def save(folder: Path, drawings: dict[str, Drawing], gif: bytes) -> None:
    """Every figure as PNG, and the GIF."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, drawing in drawings.items():
        drawing.savefig(folder / f"{name}.png", dpi=192)
        record(folder / f"{name}.png")
    (folder / "traversal.gif").write_bytes(gif)
    record(folder / "traversal.gif")


def described(run: Run, number: int) -> str:
    """ "Run 3 (β = 4, seed 0)"."""
    row = run.table.set_index("run").loc[number]
    parts = [*(plots.label(name, row[name]) for name in settings(run.table)), f"seed {row['seed']}"]
    return f"Run {number} ({', '.join(parts)})"


def answer(shares: Float[np.ndarray, "D K"], codes: Codes, active: list[int]) -> str:
    """How many codes are used, and which of them carries most of every factor."""
    used = shares[active] if active else np.zeros((1, shares.shape[1]))
    best, most = used.argmax(axis=0), used.max(axis=0)
    found = [f"{name} is z{active[best[k]]} ({most[k]:.2f})" for k, name in enumerate(codes.names) if most[k] >= LEAST]
    lost = [name for k, name in enumerate(codes.names) if most[k] < LEAST]
    text = [f"{len(active)} of {len(shares)} codes are active units."]
    if found:
        text.append(f"The best code of {', of '.join(found)}: mutual information as a share of the factor's entropy.")
    if lost:
        text.append(f"No code carries as much as {LEAST:.0%} of {' or '.join(lost)}.")
    return " ".join(text)


def facts(run: Run, codes: Codes, start: list[int]) -> dict[str, str]:
    """What was drawn, for the page."""
    model, source = run.config["model"], run.config["source"]
    height, width, channels = run.config["shape"]
    return {
        "Data": f"{source['name']}, {height} x {width} x {channels}; starting from image {', '.join(map(str, start))}",
        "Model": f"{model['method']}, {model['network']}, {model['latents']} latents",
        "Codes": f"posterior means of {len(codes.mean):,} images, of the test split where there is one",
        **script.facts(),
        "Date": datetime.date.today().isoformat(),
    }


def sections(drawings: dict[str, Drawing], gif: bytes, reach: str) -> list[Section]:
    """The page: what moves, then what the codes say of the factors."""
    strips = [drawing for name, drawing in drawings.items() if name.startswith("traversal")]
    one = f"One code moves {reach}, the others stay; codes of largest KL first"
    moving: list[Block] = [Figure(gif, f"{one}. The first image is the one that is started from.")]
    moving += [Figure(strip, f"{one}.") for strip in strips]
    found = [Section("Traversals", moving, "A code marked – is not used, or carries none of the known factors.")]
    captions = {
        "mutual_information": "Mutual information of every code and factor, as a share of the factor's entropy. "
        "Framed: the best code of a factor, where it has 5 % at least. Codes in 20 bins tell at most 0.81 of a factor "
        "with 40 values.",
        "factor_latent": "Each active code against each factor: mean for every value of the factor, and the 10th to "
        "90th percentile over the others. In the corner the share of the factor's entropy.",
    }
    blocks: list[Block] = [Figure(drawings[name], text) for name, text in captions.items() if name in drawings]
    return [*found, Section("Codes and factors", blocks)] if blocks else found


if __name__ == "__main__":
    script.run(main, {"": Config()}, __doc__)
