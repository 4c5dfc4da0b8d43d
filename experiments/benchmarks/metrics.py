"""Every disentanglement metric, against its definition in NumPy and scikit-learn."""

import os

import numpy as np

from experiments.benchmarks import timing
from experiments.benchmarks.originals import ORIGINALS
from experiments.benchmarks.setting import Setting, notes
from experiments.benchmarks.tables import Table
from experiments.benchmarks.timing import Compared, Contender, Quartiles, Timing, quartiles, ratio

SLOW = ("dci",)  # the original takes minutes
INTERVENTIONAL = ("beta_vae_score", "factor_vae_score")
MINUTES = 3600.0  # seconds that an original may take


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
    theirs = Contender("original", "experiments.benchmarks.originals:score", {"name": name, **sizes}, patience=MINUTES)
    arguments = {"name": name, "runs": runs, "cores": os.cpu_count() or 1, **sizes}
    ours = Contender("vaejax", "experiments.benchmarks.ours:score", arguments)
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
