"""A tiny sweep to do things to: `experiments.beta_sweep` in a process, and what its folder has to come to."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmarks.verdicts import (
    SURVIVED,
    Ended,
    Found,
    changed_by,
    digest,
    exits,
    of_run,
    saved,
    verdict,
    watch,
    worst,
)
from vaejax.data import Source
from vaejax.errors import InputError
from vaejax.method import Method
from vaejax.storage.run import load_run
from vaejax.training.runs import Runs, grid
from vaejax.training.sweep import fit

ROOT = Path(__file__).resolve().parents[2]
STEPS, LONG = 300, 10_000  # LONG trains for seconds, though nothing is saved meanwhile
SIZES: dict[str, Any] = {"batch_size": 16, "chunk": 1}  # chunks of one: two groups of runs on two devices
TINY = "--network mlp --width 16 --latents 3 --betas 1 4 --seeds 2 --batch-size 16 --chunk 1 --images 200"
HUGE = "--network mlp --width 1024 --betas 1 --seeds 1 --batch-size 512"  # a segment of 1000 steps takes long
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""
PATIENCE = 120.0  # seconds that a process may take


class Ground(NamedTuple):
    """What every fault starts from.

    Fields:
      folder: temporary.
      finished: the folder of the sweep that was left alone.
      half: that of one that was killed in the middle.
      method, source, runs: what both trained.
      trains: steps -> digest of what `fit` gives.
      opens: folder -> digest of what `load_run` gives.
      quick: whether it is enough to go on by `fit`, and not by the command too.
    """

    folder: Path
    finished: Path
    half: Path
    method: Method
    source: Source
    runs: Runs
    trains: dict[int, str]
    opens: dict[Path, str]
    quick: bool

    def fresh(self) -> Path:
        """A path where nothing is yet."""
        return Path(tempfile.mkdtemp(dir=self.folder)) / "sweep"

    def copy(self, path: Path) -> Path:
        """A copy of a folder; of one that isn't there yet, nothing."""
        target = self.fresh()
        return shutil.copytree(path, target) if path.exists() else target

    def trained(self, steps: int, path: Path | None = None, marks: list[int] | None = None) -> str:
        """Digest of what `fit` gives; `marks` is told how far it is after every segment."""
        tell = None if marks is None else lambda progress: marks.append(progress.done)
        result = fit(self.method, self.source, self.runs, steps=steps, workdir=path, on_progress=tell, **SIZES)
        return digest(result.params, result.history, result.taken, result.status)

    def opened(self, path: Path, like: Path) -> Found:
        """The verdict of `load_run`, which has to give what it gives of the folder `like`."""
        seen, changed = changed_by(path, lambda: watch(path, lambda: of_run(path)))
        return verdict(seen, self.opens[like], changed, older=True)

    def continued(self, path: Path, had: int, steps: int = STEPS) -> Found:
        """The verdict of going on by `fit` in a copy of the folder, in which so many run-steps had been saved."""
        marks: list[int] = []
        there = self.copy(path)
        seen, changed = changed_by(there, lambda: watch(there, lambda: self.trained(steps, there, marks)))
        shutil.rmtree(there.parent)
        return verdict(seen, self.trains[steps], changed, again=bool(marks) and marks[0] <= had)

    def ended(self, path: Path, ended: Ended, steps: int = STEPS) -> Found:
        """The verdict of a sweep's process that was to come to its end."""
        found = exits(ended, 0)
        if found.verdict == SURVIVED:
            found = worst(found, self.continued(path, self.runs.count * steps, steps))
        if found.verdict == SURVIVED and steps == STEPS:
            found = worst(found, self.opened(path, self.finished))
        return found

    def again(self, path: Path, steps: int = STEPS) -> Found:
        """The verdict of going on in the folder, and then by the same command, to the end."""
        found = self.continued(path, saved(path), steps)
        if self.quick or found.verdict != SURVIVED:
            return found
        with start(path, steps) as child:
            return self.ended(path, child.end(), steps)


class Child(NamedTuple):
    """A process, and the files that it prints to."""

    process: subprocess.Popen
    out: Path
    err: Path

    def said(self) -> str:
        """What it has printed so far."""
        return self.out.read_text(errors="replace") + self.err.read_text(errors="replace")

    def meets(self, condition: Callable[[], bool], wait: float = 0.0) -> bool:
        """Waits for the condition, and so many seconds more; whether it came and the process is still there."""
        end = time.monotonic() + PATIENCE
        while not (met := condition()) and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(wait if met else 0)
        return met and self.process.poll() is None

    def end(self, seconds: float = PATIENCE) -> Ended:
        """Waits for its end."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        lines = self.err.read_text(errors="replace").splitlines(keepends=True)
        return Ended(code, "".join(line for line in lines if not line.startswith("import time:")))

    def kill(self) -> None:
        """SIGKILL, and waits."""
        self.process.kill()
        self.process.wait()


@contextmanager
def start(
    path: Path,
    steps: int = STEPS,
    more: str = "",
    model: str = TINY,
    env: dict[str, str] | None = None,
    largest: int = -1,
) -> Iterator[Child]:
    """The sweep's script as a user would start it, saving after every segment if it is short; killed at the end.

    Args:
      path: its folder.
      steps: of training.
      more: further arguments.
      model: its arguments.
      env: further environment variables.
      largest: how many bytes a file that it writes may have; any number if negative.
    """
    often = ["--save-every", "0"] if steps == STEPS else []
    words = f"-m experiments.beta_sweep --source digits {model} --steps {steps} {more}".split()
    command = [sys.executable, *words, *often, "--name", path.name, "--out", str(path.parent)]
    command = command if largest < 0 else [sys.executable, "-c", LIMITED, str(largest), *command]
    with tempfile.TemporaryDirectory() as logs:
        out, err = Path(logs) / "out", Path(logs) / "err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            compiled = {"JAX_COMPILATION_CACHE_DIR": str(path.parents[1] / "compiled")}  # beside all folders
            environment = {**os.environ, **compiled, "JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1", **(env or {})}
            process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=stderr, env=environment)
        child = Child(process, out, err)
        try:
            yield child
        finally:
            child.kill()


def prepare(folder: Path, quick: bool) -> Ground:
    """Two sweeps, one left alone and one killed in the middle, and what `fit` and `load_run` give.

    Raises:
      InputError: the sweep doesn't train.
    """
    finished, half = folder / "finished" / "sweep", folder / "half" / "sweep"
    with start(finished) as alone, start(half) as halved:
        if halved.meets(lambda: saved(half) >= 2.4 * STEPS):
            halved.kill()
        ended = alone.end()
    if exits(ended, 0).verdict != SURVIVED or not 0 < saved(half) < 4 * STEPS:
        raise InputError(f"the sweep that is to be tortured doesn't train: {ended.last[:300]}")
    run = load_run(finished)
    runs = grid(run.method.hyper, 2, beta=[1, 4], learning_rate=1e-3)
    opens = {path: of_run(path) for path in (finished, half)}
    ground = Ground(folder, finished, half, run.method, run.source("train"), runs, {}, opens, quick)
    return ground._replace(trains={steps: ground.trained(steps) for steps in (STEPS, LONG)})
