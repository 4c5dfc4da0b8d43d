"""Measuring contenders side by side: each in a process of its own, in turns, and what the machine could do at best.

A contender is a function that sets itself up and returns `(advance, facts)`. `advance(n)` does n steps and comes back
when they are done; it may return a dictionary. Where that has `each`, the `wall` and `cpu` seconds of a step, these are
what counts, and what else the turn took is its start. `facts` says what the driver has to know: `stride`, of which n
has to be a multiple (1 if not given), `units`, how many things one step advances (1 if not given), and `fixed`, if n
has to be `stride` always. Every contender runs in

    python -m experiments.benchmarks.timing MODULE:FUNCTION ARGUMENTS_AS_JSON

so that its devices and threads can be set before anything is imported, and its memory is its own. The driver writes n
to its input and reads what it took. All contenders take turns, A B C A B C ..., so that whatever else happens on the
machine happens to all of them, and a ratio is taken within every round before its median.
"""

import contextlib
import importlib
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parents[2]
LONGEST = 600.0  # seconds that a contender may take for one answer
QUIET = 0.05  # of the cores may be taken by other processes, or by other machines on the same host


class Failed(RuntimeError):
    """A contender ended or took too long; the message says which and why."""


class Contender(NamedTuple):
    """What runs in a process of its own.

    Fields:
      name: what a table calls it.
      target: `module:function`, which is called with `arguments`.
      env: environment variables on top of those that there are.
      copies: so many processes run at once, and their units add up.
      patience: seconds that it may take for one answer.
    """

    name: str
    target: str
    arguments: dict[str, Any]
    env: dict[str, str] = {}  # noqa: RUF012
    copies: int = 1
    patience: float = LONGEST


class Took(NamedTuple):
    """What a turn took.

    Fields:
      steps, units: how many steps, and the units of each.
      wall, cpu: seconds and CPU seconds of the steps.
      memory: peak memory in bytes.
      said: what the contender said.
      start: seconds beside the steps; None where it doesn't tell them apart.
    """

    steps: int
    units: int
    wall: float
    cpu: float
    memory: int
    said: dict[str, Any]
    start: float | None = None

    @property
    def rate(self) -> float:
        """Units times steps per second."""
        return self.steps * self.units / self.wall


class Timing(NamedTuple):
    """What is known of a contender after all rounds: its facts, the first turn (which compiles) and the others."""

    name: str
    facts: dict[str, Any]
    first: Took
    turns: list[Took]

    @property
    def rates(self) -> list[float]:
        """Units times steps per second, in every round."""
        return [turn.rate for turn in self.turns]

    @property
    def compiling(self) -> float:
        """Seconds of the first turn beyond what its steps take."""
        whole = self.first.wall + (self.first.start or 0.0)
        return max(0.0, whole - self.first.steps * self.first.units / quartiles(self.rates).median)

    @property
    def start(self) -> float | None:
        """Seconds of a later turn, with nothing to compile, beyond what its steps take; None if that isn't known."""
        starts = [turn.start for turn in self.turns if turn.start is not None]
        return float(np.median(starts)) if starts else None

    @property
    def cpu(self) -> float:
        """CPU seconds per unit and step."""
        return float(np.median([turn.cpu / turn.steps / turn.units for turn in self.turns]))

    @property
    def memory(self) -> int:
        """Peak memory in bytes."""
        return max(turn.memory for turn in [self.first, *self.turns])


class Quartiles(NamedTuple):
    """The lower quartile, the median and the upper quartile."""

    low: float
    median: float
    high: float


def quartiles(values: Sequence[float]) -> Quartiles:
    """Of these values."""
    return Quartiles(*np.percentile(values, [25, 50, 75]).tolist())


def ratio(ours: Timing, theirs: Timing) -> Quartiles:
    """How many times as fast as `theirs` we are: the ratio of rates within every round, then its quartiles."""
    return quartiles([a / b for a, b in zip(ours.rates, theirs.rates, strict=True)])


class Worker:
    """The processes of one contender; use it in `with`, which ends them."""

    def __init__(self, contender: Contender):
        self.contender = contender
        self.log = tempfile.TemporaryFile("w+")
        command = [
            sys.executable,
            "-m",
            "experiments.benchmarks.timing",
            contender.target,
            json.dumps(contender.arguments),
        ]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.log, "text": True}
        env = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"} | contender.env  # compiling is measured too
        self.processes = [subprocess.Popen(command, cwd=ROOT, env=env, **pipes) for _ in range(contender.copies)]
        self.facts: dict[str, Any] = {}

    def start(self) -> "Worker":
        """Waits until the contender is set up.

        Raises:
          Failed: it isn't.
        """
        found = self._answers()
        self.facts = found[0] | {"units": sum(facts.get("units", 1) for facts in found)}
        return self

    def run(self, steps: int) -> Took:
        """So many steps of every process at once.

        Raises:
          Failed: the contender ended or took too long.
        """
        for process in self.processes:
            with contextlib.suppress(BrokenPipeError):  # its answer says so
                print(steps, file=process.stdin, flush=True)
        answers = self._answers()
        wall = max(answer["wall"] for answer in answers)
        cpu, memory = (sum(answer[key] for answer in answers) for key in ("cpu", "memory"))
        starts = [answer["start"] for answer in answers if answer["start"] is not None]
        return Took(steps, self.facts["units"], wall, cpu, memory, answers[0]["said"], max(starts, default=None))

    def _answers(self) -> list[dict[str, Any]]:
        patience = self.contender.patience
        timer = threading.Timer(patience, self._kill)
        timer.start()
        lines = [process.stdout.readline() for process in self.processes if process.stdout]
        late = not timer.is_alive()
        timer.cancel()
        if not all(lines):
            reason = f"took longer than {patience:.0f} s" if late else self._last_words()
            raise Failed(f"{self.contender.name}: {reason}")
        return [json.loads(line) for line in lines]

    def _last_words(self) -> str:
        self._kill()
        self.log.seek(0)
        lines = [line.strip() for line in self.log if line.strip()]
        raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Failed)\b", line)]
        return (raised or lines or ["ended without a word"])[-1][:300]

    def _kill(self) -> None:
        for process in self.processes:
            process.kill()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self._kill()
        for process in self.processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if pipe:
                        pipe.close()
        self.log.close()


class Compared(NamedTuple):
    """The timings by name, why contenders that failed did, and the share of the cores that others took."""

    timings: dict[str, Timing]
    failed: dict[str, str]
    others: float


def compare(
    contenders: Sequence[Contender], rounds: int, seconds: float, say: Callable[[str], Any] = lambda _: None
) -> Compared:
    """All contenders in turns of about so many seconds. One that fails at first is left out and named in `failed`.

    There is one more round where others took more than QUIET of the cores in one; the quietest count.
    """
    failed: dict[str, str] = {}
    ready: list[tuple[Worker, Took, int]] = []
    measured: list[tuple[float, list[Took]]] = []
    with contextlib.ExitStack() as stack:
        for contender in contenders:
            say(f"{contender.name}: setting up")
            worker = stack.enter_context(Worker(contender))
            try:
                ready.append((worker, *warm_up(worker.start(), seconds)))
            except Failed as error:
                failed[contender.name] = str(error)
        while ready and sum(others <= QUIET for others, _ in measured) < rounds and len(measured) < rounds + 1:
            say(f"round {len(measured) + 1}")
            measured.append(take_turns([(worker, steps) for worker, _, steps in ready]))
    measured = sorted(measured, key=lambda one: one[0])[:rounds]
    timings = {}
    for number, (worker, first, _) in enumerate(ready):
        turns = [turns[number] for _, turns in measured]
        timings[worker.contender.name] = Timing(worker.contender.name, worker.facts, first, turns)
    return Compared(timings, failed, float(np.median([others for others, _ in measured] or [0.0])))


def take_turns(turns: Sequence[tuple[Worker, int]]) -> tuple[float, list[Took]]:
    """One round: the share of the cores that others took in it, and what each worker took for its steps."""
    others = Others()
    took = [worker.run(steps) for worker, steps in turns]
    return others.share(sum(one.cpu for one in took)), took


class Others:
    """Watches, from now on, how much other processes compute."""

    def __init__(self):
        self.busy, self.start, self.mine = busy(), time.perf_counter(), cpu_seconds()

    def share(self, ours: float) -> float:
        """The share of all cores that was neither idle nor in these CPU seconds of ours."""
        spent = (time.perf_counter() - self.start) * (os.cpu_count() or 1)
        return max(0.0, busy() - self.busy - ours) / spent


def warm_up(worker: Worker, seconds: float) -> tuple[Took, int]:
    """The first turn, and how many steps take about so many seconds after it."""
    stride = worker.facts.get("stride", 1)
    first = worker.run(stride)
    if not seconds or worker.facts.get("fixed"):
        return first, stride
    return first, stride * max(1, round(seconds / worker.run(stride).wall))


def busy() -> float:
    """Seconds that all cores together have worked since the machine was started; 0 where that can't be known."""
    try:
        user, nice, system, _, _, *interrupts = map(float, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, Any]:
    """Processor, cores, versions, date."""
    libraries = {}
    for name in ("vaejax", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn", "torch"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            libraries[name] = metadata.version(name)
    facts = {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version(), **libraries}
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {**facts, "date": date.today().isoformat(), "load before": load}


def processor() -> str:
    """The CPU's model."""
    with contextlib.suppress(OSError):
        if found := re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()):
            return found[1]
    return platform.processor() or platform.machine()


def ceilings(seconds: float) -> dict[str, Any]:
    """The most that this machine was seen to do: FLOP/s of jax's matrix product and bytes/s of a copy.

    Also jax's backend and the device's kind.
    """
    contenders = [
        Contender(kind, "experiments.benchmarks.timing:ceiling", {"kind": kind}) for kind in ("product", "copy")
    ]
    found = compare(contenders, rounds=5, seconds=seconds)
    if found.failed:
        raise Failed("; ".join(found.failed.values()))
    best = {name: max(timing.rates) for name, timing in found.timings.items()}
    facts = found.timings["product"].facts
    return {"flops": best["product"], "bytes": best["copy"], "backend": facts["backend"], "device": facts["device"]}


def ceiling(kind: str) -> tuple[Callable[[int], None], dict[str, Any]]:
    """A contender: products of large float32 matrices, whose units are FLOP, or copies, read and written bytes.

    On a CPU the copy is NumPy's, from an array into another, in a thread for every core.
    """
    import jax
    import jax.numpy as jnp

    backend = jax.default_backend()
    size = 2048 if backend == "cpu" else 8192
    if kind == "product":
        x, product = jnp.ones((size, size)), jax.jit(jnp.matmul)
        units, once = 2 * size**3, lambda: jax.block_until_ready(product(x, x))
    elif backend == "cpu":
        source, target = (np.full((os.cpu_count() or 1, 2**25), value, np.float32) for value in (0, 1))
        pool = ThreadPoolExecutor(len(source))
        units, once = 2 * source.nbytes, lambda: list(pool.map(np.copyto, target, source))
    else:
        x, copy = jnp.ones(2**28), jax.jit(jnp.negative)
        units, once = 2 * x.nbytes, lambda: jax.block_until_ready(copy(x))

    def advance(n: int) -> None:
        for _ in range(n):
            once()

    return advance, {"units": units, "backend": backend, "device": jax.devices()[0].device_kind}


def peak_memory() -> int:
    """Peak resident bytes of this process.

    From /proc, where there is one: `ru_maxrss` starts at the size of the process that started this one.
    """
    with contextlib.suppress(OSError):
        if found := re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_seconds() -> float:
    """CPU time of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def serve(target: str, arguments: str) -> None:
    """What a worker does: sets the contender up, then as many steps as each line of its input says.

    Answers go to its output; what the contender prints goes to the log.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, _, name = target.partition(":")
    advance, facts = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), cpu_seconds()
        steps, said = int(line), advance(int(line)) or {}
        took: dict[str, Any] = {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu, "start": None}
        if each := said.pop("each", None):
            alone = {name: steps * seconds for name, seconds in each.items()}
            took = {**alone, "start": max(0.0, took["wall"] - alone["wall"])}
        print(json.dumps({**took, "memory": peak_memory(), "said": said}), file=answers, flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:3])
