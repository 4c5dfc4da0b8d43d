"""How long it takes from the command to the first step; against PyTorch."""

import os
import subprocess
import sys
import time
from pathlib import Path

from experiments.benchmarks import timing
from experiments.benchmarks.setting import Setting, notes
from experiments.benchmarks.tables import Table
from experiments.benchmarks.timing import Compared, Failed, quartiles

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
from experiments.benchmarks.rival import Trainer
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
