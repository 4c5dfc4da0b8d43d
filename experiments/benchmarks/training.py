"""Training steps of one model, sweeps of many, and how both scale; against PyTorch."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.benchmarks import timing
from experiments.benchmarks.setting import PAPER, SMALL, Model, Setting, check, export, flops, need, notes
from experiments.benchmarks.tables import Table
from experiments.benchmarks.timing import Compared, Contender, Quartiles, Timing, quartiles, ratio

STUDY = 1800 * 300_000  # model-steps of Locatello et al. 2019 for one data set: 1,800 models
LEAST = 20  # steps of a call of `vaejax.fit` that is measured: two segments
COMPILING = 180.0  # seconds that torch.compile may take
STEPS = (PAPER, Model("conv", 32, 32), Model("mlp", 28, 1200))
FORMS = ("plain", "channels_last", "channels_last compiled")
PRODUCT = Contender("a matrix product", "experiments.benchmarks.timing:ceiling", {"kind": "product"})


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
    ours = [
        Contender(name, "experiments.benchmarks.ours:train", arguments | options) for name, options in splits.items()
    ]
    whole = {"models": 1, "cores": os.cpu_count() or 1, "steps": 30, "memory": True}
    ours.append(Contender("vaejax.fit of one model", "experiments.benchmarks.ours:sweep", model._asdict() | whole))
    found = setting.compare([*rivals(model, path, setting), *ours, PRODUCT])
    need(found, [PRODUCT.name, *(one.name for one in ours)])
    check(found, loss, setting)
    rows = results(found, flops(model))
    if model == PAPER and not setting.accelerated:
        plain = Contender("plain flax, jax's own gradients, in a scan", "experiments.benchmarks.ours:naive", arguments)
        rows += results(setting.compare([plain], rounds=1, seconds=0), flops(model), found)
    title = f"Training steps: {model}, {flops(model) / 1e9:.2f} GFLOP a step"
    return Table(title, columns("steps/s"), rows, notes([found], setting), ("steps/s",))


def rivals(
    model: Model, path: str, setting: Setting, forms: Sequence[str] = (), copies: int = 1, **options: Any
) -> list[Contender]:
    """PyTorch in these forms (all that there are, if none is given), or none where it is not installed.

    Args:
      copies: of it at once.
      options: `threads`, `models` of `experiments.benchmarks.rival.train`.
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
            f"PyTorch, {where}{form}", "experiments.benchmarks.rival:train", arguments | {"form": form}, env, copies,
            COMPILING if "compiled" in form else timing.LONGEST,
        )
        for form in forms
    ]  # fmt: skip


def best(found: Compared) -> Timing | None:
    """The fastest form of PyTorch."""
    theirs = [one for one in found.timings.values() if one.name.startswith("PyTorch")]
    return max(theirs, key=lambda one: quartiles(one.rates).median, default=None)


def columns(rate: str) -> tuple[str, ...]:
    """What `results` gives.

    `start s` is what a call of `vaejax.fit` takes beside its steps when all is compiled, `compile s` what is more the
    first time than the steps, that start included.
    """
    return ("", rate, "x PyTorch's best", "% of FLOP ceiling", "CPU ms/step", "peak MB", "start s", "compile s")


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
            one.start,
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
    steps = (LEAST if model == PAPER else 400) if not setting.accelerated else 200
    name = (
        f"vaejax.fit, {models} models vmapped" if setting.accelerated else f"vaejax.fit, {min(cores, models)} devices"
    )
    arguments = {**model._asdict(), "models": models, "cores": min(cores, models), "steps": steps}
    if setting.accelerated or cores == 1:
        theirs = rivals(model, path, setting, models=models)
    else:  # the layouts are compared by `step`; compiling for many threads brings as little as there
        theirs = rivals(model, path, setting, FORMS[1:2], models=models)
        theirs += rivals(model, path, setting, FORMS[1:], cores, models=-(-models // cores), threads=1)
    found = setting.compare([*theirs, Contender(name, "experiments.benchmarks.ours:sweep", arguments), PRODUCT])
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
    """The arguments of `experiments.benchmarks.ours.sweep` for a second or a few of work."""
    steps = int(np.clip(2**30 / flops(model) * 8 / models, LEAST, 400))
    return {**model._asdict(), "models": models, "cores": cores, "steps": steps, **options}


def curve(axis: str, points: dict[int, dict[str, Any]], setting: Setting) -> Table:
    """A row for every point.

    Raises:
      Failed: a point can't be measured.
    """
    rows, seen = [], []
    for value, arguments in points.items():
        name = f"{axis} {value}"
        found = setting.compare([Contender(name, "experiments.benchmarks.ours:sweep", arguments)], rounds=2, seconds=0)
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
