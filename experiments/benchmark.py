"""How fast is vaejax beside what one would use instead? Measured on this machine, as ratios within one run.

python -m experiments.benchmark step       # training steps of one model, against PyTorch
python -m experiments.benchmark sweep      # 8 models, against PyTorch in one process and in one for every core
python -m experiments.benchmark scale      # speed and memory for more models, larger images, more devices
python -m experiments.benchmark startup    # from the command to the first step, without and with a compilation cache
python -m experiments.benchmark metrics    # every disentanglement metric, against NumPy and scikit-learn
python -m experiments.benchmark render     # drawing sprites, against reading them from memory
python -m experiments.benchmark stream     # images from the disk, against images in memory
python -m experiments.benchmark all        # everything: less than 20 minutes on 2 cores

Both sides compute the same: a ratio is printed only if the same weights, images and noise give the same loss.
Contenders run in processes of their own and take turns. What is printed is a median over rounds, [with its quartiles].
The FLOP of a step are counted from the network's layers, forward and backward together as three times forward; the
ceiling is what a large float32 matrix product reached in the same rounds. Peak memory is that of the whole process, its
compiling included.
"""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from tqdm import tqdm

from experiments import script, timing
from experiments.originals import ORIGINALS
from experiments.tables import Table, figure, record, text
from experiments.timing import Compared, Contender, Failed, Quartiles, Timing, compare, quartiles, ratio
from vaejax.errors import InputError, choose
from vaejax.folder import attempt, write_text
from vaejax.networks.conv import channels, halvings
from vaejax.sweep import check_sizes

STUDY = 1800 * 300_000  # model-steps of Locatello et al. 2019 for one data set: 1,800 models
INSTALL = "PyTorch is not installed, so it is left out: pip install 'vaejax[bench]' (or: make benchmark)"
COMPILING = 180.0  # seconds that torch.compile may take


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure, how long, and where to write it."""

    command: tyro.conf.Positional[str] = "all"
    """step, sweep, scale, startup, metrics, render, stream, or all"""
    quick: bool = False
    """small networks, few points and short rounds: to try it out"""
    rounds: int | None = None
    """how often every contender has its turn; 3 if not given, 2 with --quick"""
    data_dir: Path | None = None
    """where tensorflow-datasets has prepared mnist, to stream that too"""
    out: Path = Path("runs/benchmark")
    """the folder for COMMAND.json and COMMAND.png"""


class Setting(NamedTuple):
    """What every command is given.

    Fields:
      rounds, seconds: how many turns of about how long.
      machine: `timing.machine()` and `timing.ceilings()`.
      folder: for what contenders share.
      torch: whether PyTorch is installed.
      data_dir: where mnist is, or None.
      say: shows what is going on.
    """

    rounds: int
    seconds: float
    quick: bool
    machine: dict[str, Any]
    folder: Path
    torch: bool
    data_dir: Path | None
    say: Callable[[str], Any]

    @property
    def accelerated(self) -> bool:
        """Whether jax computes on something else than the CPU."""
        return self.machine["backend"] != "cpu"

    def compare(self, contenders: Sequence[Contender], rounds: int | None = None, seconds: float | None = None):
        """`timing.compare` of these."""
        seconds = self.seconds if seconds is None else seconds
        return compare(contenders, rounds or self.rounds, seconds, self.say)


class Model(NamedTuple):
    """What is trained: a network of vaejax.networks, the side of its images, its width, and images per step."""

    network: str
    side: int
    width: int
    batch: int = 64

    def __str__(self) -> str:
        return f"{self.network} {self.side}x{self.side}, width {self.width}, batch {self.batch}"


PAPER = Model("conv", 64, 32)
SMALL = Model("conv", 32, 8, batch=32)  # what `make sweep` trains
STEPS = (PAPER, Model("conv", 32, 32), Model("mlp", 28, 1200))


def flops(model: Model, latents: int = 10) -> float:
    """Of one step: two for every multiplication with a weight, forward; backward counted as twice that.

    That is a little too much: the first layer has no gradient of its input, and products with padding are counted.
    """
    sides = [height for height, _ in halvings(model.side, model.side)]
    if model.network == "mlp":
        sizes = [model.side**2, model.width, model.width, 2 * latents]
        back = [latents, *[model.width] * 3, model.side**2]
        products = sum(a * b for row in (sizes, back) for a, b in pairwise(row))
    else:
        depth = [1, *channels(len(sides) - 1, model.width)]
        layers = sum(16 * a * b * side**2 for a, b, side in zip(depth[:-1], depth[1:], sides[1:], strict=True))
        dense = 8 * model.width * (sides[-1] ** 2 * depth[-1])
        products = 2 * (layers + dense) + 8 * model.width * 3 * latents
    return 3 * 2 * products * model.batch


def step(setting: Setting) -> list[Table]:
    """Training steps of one model."""
    return [step_table(model, setting) for model in ([SMALL] if setting.quick else STEPS)]


def step_table(model: Model, setting: Setting) -> Table:
    """One model in every form of PyTorch and of vaejax.

    Raises:
      Failed: vaejax can't be measured, or the losses differ.
    """
    path, loss = export(model, setting)
    arguments = {"path": path, **model._asdict()}
    splits = {"vaejax, one device": {}}
    if not setting.accelerated and (os.cpu_count() or 1) > 1:
        for name in ("jit", "shard_map"):
            splits[f"vaejax, batch split over 2 devices by {name}"] = {"split": name, "cores": 2}
    ours = [Contender(name, "experiments.ours:train", arguments | options) for name, options in splits.items()]
    whole = {"models": 1, "cores": os.cpu_count() or 1, "steps": 10, "memory": True}
    ours.append(Contender("vaejax.fit of one model", "experiments.ours:sweep", model._asdict() | whole))
    found = setting.compare([*rivals(model, path, setting), *ours, PRODUCT])
    need(found, [PRODUCT.name, *(one.name for one in ours)])
    check(found, loss, setting)
    rows = results(found, flops(model))
    if model == PAPER and not setting.accelerated:
        plain = Contender("plain flax, jax's own gradients, in a scan", "experiments.ours:naive", arguments)
        rows += results(setting.compare([plain], rounds=1, seconds=0), flops(model), found)
    title = f"Training steps: {model}, {flops(model) / 1e9:.2f} GFLOP a step"
    return Table(title, columns("steps/s"), rows, notes([found], setting), ("steps/s",))


def export(model: Model, setting: Setting) -> tuple[str, float]:
    """A file of images, weights and noise for both sides, and the loss that they give in vaejax."""
    path = str(setting.folder / f"{model}.npz")
    with timing.Worker(Contender("export", "experiments.ours:export", {"path": path, **model._asdict()})) as worker:
        setting.say(f"{model}: images and weights")
        return path, worker.start().facts["loss"]


def rivals(
    model: Model, path: str, setting: Setting, forms: Sequence[str] = (), copies: int = 1, **options: Any
) -> list[Contender]:
    """PyTorch in these forms (all that there are, if none is given), or none where it is not installed.

    Args:
      copies: of it at once.
      options: `threads`, `models` of `experiments.rival.train`.
    """
    if not setting.torch:
        return []
    threads = options.get("threads", 0)
    forms = forms or (("plain", "compiled") if model.network == "mlp" else FORMS)
    if setting.quick:
        forms = [form for form in forms if "compiled" not in form]
    where = f"{copies} processes, " if copies > 1 else ""
    arguments = {"path": path, **model._asdict(), **options}
    env = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    return [
        Contender(
            f"PyTorch, {where}{form}", "experiments.rival:train", arguments | {"form": form}, env, copies,
            COMPILING if "compiled" in form else timing.LONGEST,
        )
        for form in forms
    ]  # fmt: skip


FORMS = ("plain", "channels_last", "channels_last compiled")
PRODUCT = Contender("a matrix product", "experiments.timing:ceiling", {"kind": "product"})


def need(found: Compared, names: Iterable[str]) -> None:
    """Nothing, where these were measured.

    Raises:
      Failed: one was not.
    """
    for name in names:
        if name in found.failed:
            raise Failed(found.failed[name])


def check(found: Compared, loss: float, setting: Setting) -> None:
    """Nothing, where everybody who says a loss before training says this one.

    Raises:
      Failed: somebody says another.
    """
    tolerance = 1e-3 if setting.accelerated else 1e-5  # accelerators round the factors of a product
    for name, one in found.timings.items():
        theirs = one.facts.get("loss", loss)
        if not abs(theirs - loss) <= tolerance * abs(loss):
            raise Failed(f"{name} has a loss of {theirs} where vaejax has {loss}, so there is nothing to compare")


def best(found: Compared) -> Timing | None:
    """The fastest form of PyTorch."""
    theirs = [one for one in found.timings.values() if one.name.startswith("PyTorch")]
    return max(theirs, key=lambda one: quartiles(one.rates).median, default=None)


def columns(rate: str) -> tuple[str, ...]:
    """What `results` gives."""
    return ("", rate, "x PyTorch's best", "% of FLOP ceiling", "CPU ms/step", "peak MB", "compile s")


def results(found: Compared, flop: float, beside: Compared | None = None) -> list[tuple[Any, ...]]:
    """A row for every contender: ratios to the fastest form of PyTorch, and to what a matrix product does meanwhile.

    Args:
      beside: where those two were measured, if it was in other rounds.
    """
    rival, product = best(beside or found), (beside or found).timings[PRODUCT.name]
    return [
        (
            one.name,
            quartiles(one.rates),
            against(one, rival) if rival else None,
            100 * flop * against(one, product).median,
            1000 * one.cpu,
            one.memory / 1e6,
            None if one.name.startswith("PyTorch") else one.compiling,
        )
        for one in found.timings.values()
        if one is not product
    ]


def against(one: Timing, rival: Timing) -> Quartiles:
    """The ratio within rounds; that to the other's quartiles where the two had not the same rounds."""
    if len(one.rates) == len(rival.rates):
        return ratio(one, rival)
    return Quartiles(*(quartiles(one.rates).median / rate for rate in reversed(quartiles(rival.rates))))


def notes(found: Iterable[Compared], setting: Setting, rival: bool = True) -> list[str]:
    """What a reader has to know: what failed, who else was there, what is missing."""
    found = list(found)
    lines = [f"left out: {reason}" for one in found for reason in one.failed.values()]
    others = max(one.others for one in found)
    if others > timing.QUIET:
        where = "on this machine or on its host: measure again when they are done"
        lines.append(f"others took {100 * others:.0f} % of the cores, {where}")
    return lines if setting.torch or not rival else [*lines, INSTALL]


def sweep(setting: Setting) -> list[Table]:
    """Many models at once."""
    return [sweep_table(model, setting) for model in ([SMALL] if setting.quick else [PAPER, SMALL])]


def sweep_table(model: Model, setting: Setting) -> Table:
    """`vaejax.fit` of 8 models on all cores, or of 64 on an accelerator, against PyTorch one model after the other.

    Raises:
      Failed: vaejax can't be measured, or the losses differ.
    """
    path, loss = export(model, setting)
    cores = os.cpu_count() or 1
    models = 64 if setting.accelerated else 8
    steps = (20 if model == PAPER else 400) if not setting.accelerated else 200
    name = (
        f"vaejax.fit, {models} models vmapped" if setting.accelerated else f"vaejax.fit, {min(cores, models)} devices"
    )
    arguments = {**model._asdict(), "models": models, "cores": min(cores, models), "steps": steps}
    if setting.accelerated or cores == 1:
        theirs = rivals(model, path, setting, models=models)
    else:  # the layouts are compared by `step`; compiling for many threads brings as little as there
        theirs = rivals(model, path, setting, FORMS[1:2], models=models)
        theirs += rivals(model, path, setting, FORMS[1:], cores, models=-(-models // cores), threads=1)
    found = setting.compare([*theirs, Contender(name, "experiments.ours:sweep", arguments), PRODUCT])
    need(found, [PRODUCT.name, name])
    check(found, loss, setting)
    rows = [(*row, STUDY / row[1].median / 86400) for row in results(found, flops(model))]
    title = f"A sweep of {models} models: {model}, {flops(model) / 1e9:.2f} GFLOP a model-step"
    last = "days for 1,800 models x 300,000 steps"
    return Table(title, (*columns("model-steps/s"), last), rows, notes([found], setting), ("model-steps/s",))


def scale(setting: Setting) -> list[Table]:
    """Sweeps of more models, of larger images, on more devices; every point in a process of its own."""
    cores = 1 if setting.accelerated else os.cpu_count() or 1
    runs = [1, 2] if setting.quick else [2**i for i in range(7)]
    sides = [16, 32] if setting.quick else [16, 32, 64, 128]
    devices = [1, 2] if setting.quick else [1, 2, 8]
    tables = [
        curve("models", {count: point(SMALL, count, min(cores, count)) for count in runs}, setting),
        curve("image side", {side: point(SMALL._replace(side=side), 2, min(cores, 2), memory=True) for side in sides},
              setting),
    ]  # fmt: skip
    if not setting.accelerated:
        tables.append(curve("devices", {count: point(SMALL, 8, count) for count in devices}, setting))
    return tables


def point(model: Model, models: int, cores: int, **options: Any) -> dict[str, Any]:
    """The arguments of `experiments.ours.sweep` for a second or a few of work."""
    steps = int(np.clip(2**30 / flops(model) * 8 / models, 10, 400))
    return {**model._asdict(), "models": models, "cores": cores, "steps": steps, **options}


def curve(axis: str, points: dict[int, dict[str, Any]], setting: Setting) -> Table:
    """A row for every point.

    Raises:
      Failed: a point can't be measured.
    """
    rows, seen = [], []
    for value, arguments in points.items():
        name = f"{axis} {value}"
        found = setting.compare([Contender(name, "experiments.ours:sweep", arguments)], rounds=2, seconds=0)
        need(found, [name])
        (one,) = found.timings.values()
        seen.append(found)
        rows.append((value, quartiles(one.rates), one.memory / 1e6, one.first.said["compilations"], one.compiling))
    first = next(iter(points.values()))
    fixed = {"models": first["models"], "image side": first["side"], "devices": first["cores"]}
    fixed["devices"] = "all cores" if axis == "models" else fixed["devices"]
    title = ", ".join(f"{name} {number}" for name, number in fixed.items() if name != axis)
    names = (axis, "model-steps/s", "peak MB", "compilations", "compile s")
    remarks = notes(seen, setting, rival=False)
    return Table(f"By {axis} ({title}, width 8, batch 32)", names, rows, remarks, ("model-steps/s", "peak MB"))


STARTUP = """
import time
started = time.monotonic()
import vaejax
imported = time.monotonic()
source = vaejax.data.load("sprites", size=32)
method = vaejax.build("beta_vae", source.shape, width=8)
runs = vaejax.grid(method.hyper, seeds=1, beta=[1, 4])
ticks = []
tick = lambda progress: ticks.append((time.monotonic(), progress.done))
vaejax.fit(method, source, runs, steps=20, batch_size=32, on_progress=tick)
print(started, imported, *ticks[0], *ticks[-1])
"""
RIVALS_STARTUP = """
import time
started = time.monotonic()
import torch
from experiments.rival import Trainer
imported = time.monotonic()
images = torch.randint(2, (1000, 1, 32, 32), dtype=torch.uint8)
trainers = [Trainer("conv", 32, 8, 32, "plain", images) for beta in (1, 4)]
ticks = []
for step in range(40):
    trainers[step // 20].step()
    ticks.append((time.monotonic(), step + 1))
print(started, imported, *ticks[0], *ticks[-1])
"""


def startup(setting: Setting) -> list[Table]:
    """From the command to the end of the first step of a small sweep, in fresh processes."""
    cold, warm, rival = "vaejax, empty compilation cache", "vaejax, warm compilation cache", "PyTorch, plain"
    spent: dict[str, list[tuple[float, ...]]] = {name: [] for name in (cold, warm, rival)[: 2 + setting.torch]}
    others = timing.Others()
    for number in range(1 if setting.quick else 3):
        for name, times in spent.items():
            setting.say(f"{name}, number {number + 1}")
            times.append(start_once(RIVALS_STARTUP if name == rival else STARTUP, setting.folder / f"cache{number}"))
    rows = [(name, *(quartiles(column) for column in zip(*times, strict=True))) for name, times in spent.items()]
    gain = [a[0] / b[0] for a, b in zip(spent[cold], spent[warm], strict=True)]
    remarks = [
        f"with a warm cache it starts {quartiles(gain).median:.2f} times as fast",
        *notes([Compared({}, {}, others.share(timing.cpu_seconds() - others.mine))], setting),
    ]
    names = ("", "s to the end of step 1", "s importing", "s tracing + compiling", "s per step")
    return [Table("Starting a sweep of 2 models: conv 32x32, width 8, batch 32", names, rows, remarks, names[1:4])]


def start_once(code: str, cache: Path) -> tuple[float, float, float, float]:
    """Seconds from the command to the end of the first step; of importing; of tracing and compiling; of a step.

    Raises:
      Failed: the script ended with an error.
    """
    env = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_COMPILATION_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    piped = {"env": os.environ | env, "cwd": timing.ROOT, "capture_output": True, "text": True}
    began = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", code], **piped)
    if ran.returncode:
        raise Failed(f"a small sweep could not be started: {ran.stderr.strip().splitlines()[-1]}")
    started, imported, first, at, last, end = map(float, ran.stdout.split())
    each = (last - first) / max(1, end - at)
    return first - began, imported - started, first - imported - at * each, each


def metrics(setting: Setting) -> list[Table]:
    """Every disentanglement metric of given codes, and all of them.

    Raises:
      Failed: something can't be measured.
    """
    sizes = {"train": 10_000, "test": 5_000, "batch": 64, "variance": 10_000}
    if setting.quick:
        sizes = {"train": 600, "test": 300, "batch": 16, "variance": 600}
    runs = 16 if setting.accelerated else 2 * (os.cpu_count() or 1)
    seen, rows, remarks = [], [], []
    for name in ORIGINALS:
        seen.append(score(name, runs, sizes, setting))
        theirs, ours = seen[-1].timings.values()
        values = [one.turns[-1].said["values"] for one in (theirs, ours)]
        gaps = {key: abs(value - values[1][key]) for key, value in values[0].items()}
        allowed = tolerance(name, next(iter(values[0].values())), sizes["test"])
        agree = all(gap <= allowed for gap in gaps.values())
        if not agree:
            worst = max(gaps, key=lambda key: gaps[key])
            remarks.append(f"{name}: no ratio, for {worst} differs by {gaps[worst]:.2g}, more than {allowed:.2g}")
        seconds = [Quartiles(*(1 / rate for rate in reversed(quartiles(one.rates)))) for one in (theirs, ours)]
        head = [next(iter(values[0].values())), values[1][next(iter(values[0]))]]
        rows.append((name, *seconds, ratio(ours, theirs) if agree else None, *head, ours.compiling))
    spent = [sum(row[column].median for row in rows) for column in (1, 2)]
    whole = spent[0] / spent[1] if not remarks else None
    rows.append(("all of them", *spent, whole, None, None, sum(row[-1] for row in rows)))
    names = ("", "original s/run", "vaejax s/run", "x original", "original's value", "vaejax's value", "compile s")
    sampled = ", ".join(f"{name} {count:,}" for name, count in sizes.items())
    title = f"Disentanglement metrics of 10 codes and 5 factors ({sampled}); vaejax: {runs} runs at once"
    return [Table(title, names, rows, [*notes(seen, setting, rival=False), *remarks], names[1:3])]


def score(name: str, runs: int, sizes: dict[str, int], setting: Setting) -> Compared:
    """A metric as the study computed it, and ours, in turns; in one turn where the original takes minutes.

    The original has nothing to compile, so that it isn't warmed up.

    Raises:
      Failed: one of them can't be measured.
    """
    theirs = Contender("original", "experiments.originals:score", {"name": name, **sizes}, patience=MINUTES)
    arguments = {"name": name, "runs": runs, "cores": os.cpu_count() or 1, **sizes}
    ours = Contender("vaejax", "experiments.ours:score", arguments)
    setting.say(f"{name}: setting up")
    with timing.Worker(theirs) as one, timing.Worker(ours) as other:
        one.start()
        first, steps = timing.warm_up(other.start(), setting.seconds)
        measured = []
        for number in range(1 if name in SLOW else setting.rounds):
            setting.say(f"{name}: round {number + 1}")
            measured.append(timing.take_turns([(one, 1), (other, steps)]))
    turns = list(zip(*(took for _, took in measured), strict=True))
    timings = [
        Timing("original", one.facts, turns[0][0], list(turns[0])),
        Timing("vaejax", other.facts, first, list(turns[1])),
    ]
    return Compared({each.name: each for each in timings}, {}, float(np.median([others for others, _ in measured])))


def tolerance(name: str, value: float, test: int) -> float:
    """By how much two computations of a metric may differ.

    The scores that are drawn may by four standard errors of the difference of two; fitted ones as far as the solvers
    differ; the others by rounding.
    """
    if name in INTERVENTIONAL:
        return 4 * float(np.sqrt(2 * max(value * (1 - value), 0.01) / test)) + 0.005
    return {"dci": 0.04, "sap": 0.01, "explicitness": 0.01, "info_mec": 0.01, "downstream": 0.01}.get(name, 1e-3)


SLOW = ("dci",)  # the original takes minutes
INTERVENTIONAL = ("beta_vae_score", "factor_vae_score")
MINUTES = 3600.0  # seconds that an original may take


def render(setting: Setting) -> list[Table]:
    """Sprites drawn, against images read.

    Raises:
      Failed: something can't be measured.
    """
    model = SMALL if setting.quick else PAPER
    sizes = {"side": model.side, "batch": model.batch}
    path, _ = export(model, setting)
    drawn, read, trained = (
        "vaejax.data.sprites, jitted",
        "NumPy: bytes in memory, by index",
        "a training step, for scale",
    )
    found = setting.compare(
        [
            Contender(read, "experiments.ours:read", sizes),
            Contender(drawn, "experiments.ours:render", sizes),
            Contender(trained, "experiments.ours:train", {"path": path, **model._asdict()}),
        ]
    )
    need(found, [read, drawn, trained])
    images = {name: quartiles(one.rates) for name, one in found.timings.items()}
    images[trained] = Quartiles(*(model.batch * value for value in images[trained]))
    rows = [
        (name, rate, rate.median / images[read].median, 100 * images[trained].median / rate.median)
        for name, rate in images.items()
    ]
    names = ("", "images/s", "x NumPy", "% of a training step")
    return [Table(f"A batch of sprites: {model}", names, rows, notes([found], setting, rival=False), names[3:])]


def stream(setting: Setting) -> list[Table]:
    """Images of MNIST's size and number, in memory and streamed from the disk.

    Raises:
      Failed: something can't be measured.
    """
    count, window, steps = (6000, 1000, 50) if setting.quick else (60_000, 10_000, 400)
    path = str(setting.folder / "stream.npz")
    np.savez(path, x=np.random.default_rng(0).integers(256, size=(count, 28, 28), dtype=np.uint8))
    paths = {"": path}
    if setting.data_dir is not None:
        paths["MNIST, PNG in array_record: "] = f"tfds:mnist:{setting.data_dir}"
    model = {"network": "conv", "width": 8 if setting.quick else 32, "batch": 64, "steps": steps}
    contenders = [Contender("in memory", "experiments.ours:stream", {"path": path, **model, "window": None})]
    for name, where in paths.items():
        arguments = {"path": where, **model, "window": window}
        contenders.append(Contender(f"{name}streamed", "experiments.ours:stream", arguments))
    found = setting.compare(contenders, rounds=min(setting.rounds, 3), seconds=0)
    need(found, [one.name for one in contenders])
    memory = found.timings["in memory"]
    rows = []
    for name, one in found.timings.items():
        said = [turn.said for turn in one.turns]
        shares = quartiles([100 * each["waiting"] for each in said])
        first = None if one is memory else quartiles([each["first"] for each in said])
        rows.append((name, quartiles(one.rates), ratio(one, memory), shares, first, one.memory / 1e6))
    names = ("", "model-steps/s", "x in memory", "% waiting", "s for the first window", "peak MB")
    title = f"Streaming {count:,} images of 28x28, {window:,} at a time: 2 models, conv, batch 64, {steps} steps"
    remarks = notes([found], setting, rival=False)
    return [Table(title, names, rows, remarks, ("model-steps/s",))]


COMMANDS: dict[str, Callable[[Setting], list[Table]]] = {
    "step": step,
    "sweep": sweep,
    "scale": scale,
    "startup": startup,
    "metrics": metrics,
    "render": render,
    "stream": stream,
}


def write(name: str, tables: Sequence[Table], setting: Setting, out: Path) -> None:
    """COMMAND.json and COMMAND.png.

    Raises:
      InputError: they can't be written.
    """
    settings = {"rounds": setting.rounds, "seconds": setting.seconds, "quick": setting.quick}
    content = {"command": script.command(), **settings, "machine": setting.machine, "tables": [*map(record, tables)]}
    write_text(out / f"{name}.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    attempt(out / f"{name}.png", lambda: figure(tables).savefig(out / f"{name}.png", dpi=150))


def main(config: Config) -> None:
    """Measures, prints and writes.

    Raises:
      InputError: a command that there isn't, less than one round, or a folder that can't be written.
      Failed: something could not be measured; what else was asked for is done before.
    """
    names = list(COMMANDS)
    if config.command != "all":
        choose({**COMMANDS, "all": None}, config.command, "command")
        names = [config.command]
    check_sizes(rounds=config.rounds)
    attempt(config.out, lambda: config.out.mkdir(parents=True, exist_ok=True))
    failures = []
    with tempfile.TemporaryDirectory() as folder, tqdm(names, unit="part", dynamic_ncols=True) as bar:
        bar.set_description("ceilings of this machine")
        machine = timing.machine() | timing.ceilings(0.1 if config.quick else 0.3)
        tqdm.write(f"{facts(machine)}\n")
        rounds, seconds = config.rounds or (2 if config.quick else 3), 0.3 if config.quick else 1.0
        torch = importlib.util.find_spec("torch") is not None
        for name in bar:
            bar.set_description(name)
            setting = Setting(
                rounds, seconds, config.quick, machine, Path(folder), torch, config.data_dir, bar.set_postfix_str
            )
            try:
                tables = COMMANDS[name](setting)
            except Failed as error:
                failures.append(f"{name}: {error}")
                continue
            tqdm.write("\n\n".join(map(text, tables)) + "\n")
            write(name, tables, setting, config.out)
    if failures:
        raise Failed("\n".join(failures))
    print(f"written to {config.out}: {', '.join(f'{name}.json, {name}.png' for name in names)}")


def facts(machine: dict[str, Any]) -> str:
    """The machine in two lines."""
    said = {name: value for name, value in machine.items() if name not in ("flops", "bytes")}
    ceilings = (
        f"at best {machine['flops'] / 1e9:,.0f} GFLOP/s (float32 product), {machine['bytes'] / 1e9:,.1f} GB/s (copy)"
    )
    return ", ".join(f"{name} {value}" for name, value in said.items()) + f"\n{ceilings}"


def run() -> None:
    """`main` with the arguments of the command line; bad ones end with one line and exit code 2."""
    try:
        main(script.parse(sys.argv[1:], {"": Config()}, __doc__))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    run()
