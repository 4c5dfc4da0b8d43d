"""What becomes of a sweep that is killed, stopped, starved of disk, damaged, or trained twice at once?

python -m experiments.benchmarks.torture                  # everything: at most 15 minutes on 2 cores
python -m experiments.benchmarks.torture --quick          # one or two of each: a minute
python -m experiments.benchmarks.torture --only flips --seed 7

The subject is `experiments.beta_sweep` with tiny models, in processes of its own. Every fault is judged by all bits of
the parameters and the history of the same sweep left alone:

survived: the outcome is the same, where it was stopped after going on, and what had been saved was not trained again.
detected: one line says what is wrong, and no file that was whole has changed.
unclear: a traceback, another exit code than promised, no end, or no line where one was due.
lost: what had been saved is gone, or was trained again without a line.
silently wrong: other numbers, and no line.

Bits are flipped in every file that `load_run` and `fit` may read, so not in the page and its figures. The exit code is
1 if anything was unclear, lost or silently wrong.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from tqdm import tqdm

from experiments import script
from experiments.benchmarks.tables import Table, record, text
from experiments.benchmarks.verdicts import (
    DETECTED,
    LOST,
    SKIPPED,
    SURVIVED,
    UNCLEAR,
    VERDICTS,
    WRONG,
    Found,
    digest,
    everything,
    exits,
    saved,
    verdict,
    watch,
    whole,
    worst,
)
from experiments.benchmarks.victim import HUGE, LONG, SIZES, STEPS, Child, Ground, prepare, start
from vaejax.errors import InputError, check_sizes, choose
from vaejax.storage.disk import attempt
from vaejax.storage.files import write_text
from vaejax.training.runs import grid
from vaejax.training.sweep import fit

Tried = Iterator[tuple[str, Found]]
trains = re.compile(r"\d%\|").search  # the bar has a length as soon as the first segment is done


def kills(ground: Ground, rng: np.random.Generator, number: int, count: int) -> Tried:
    """SIGKILL at random moments, of one process after another in the same folder; the last may come to its end.

    Three of four come while it trains, and so mostly while it saves, the others at any time from the start on.
    """
    path = ground.fresh()
    for each in range(1, count + 1):
        anywhere, latest = each % 4 == 0, 6 if each % 4 == 0 else 1
        with start(path) as child:
            child.meets(lambda child=child, now=anywhere: now or bool(trains(child.said())), rng.uniform(0, latest))
            there = child.process.poll() is None
            child.kill()
            what = f"number {each} in folder {number}"
            if not there:
                yield f"{what}, after its end", ground.ended(path, child.end())
            elif each < count:
                yield what, ground.continued(path, saved(path))
            else:
                yield what, ground.again(path)


IMPORTING = {"PYTHONPROFILEIMPORTTIME": "1"}  # says what it has imported
UNCOMPILED = {"JAX_ENABLE_COMPILATION_CACHE": "false"}
PHASES: dict[str, tuple[float, dict[str, str]]] = {  # seconds into it, at most
    "training": (0.5, {}),
    "saving": (0.03, {}),
    "measuring": (0.3, {}),
    "importing": (1.0, IMPORTING),
    "compiling": (1.0, UNCOMPILED),
    "writing the page": (0.5, {}),
}


def begins(phase: str, path: Path, child: Child) -> Callable[[], bool]:
    """Tells whether this phase of the process has begun."""
    checkpoints, seen = path / "checkpoints", set()

    def saves() -> bool:  # a save begins with a new name, once a first one is done
        now = set(everything(checkpoints)) if (path / "history.csv").exists() else set()
        new = bool(seen) and bool(now - seen)
        seen.update(now)
        return new

    return {
        "training": lambda: bool(trains(child.said())),
        "saving": saves,
        "measuring": lambda: "measuring" in child.said(),
        "importing": lambda: "| experiments" in child.said(),
        "compiling": lambda: "compiling" in child.said(),
        "writing the page": (path / "results.csv").exists,
    }[phase]


def signals(ground: Ground, rng: np.random.Generator, number: int, count: int) -> Tried:
    """SIGTERM and SIGINT in every phase: exit code, what is saved, going on; and a second one in a long segment."""
    phases = [*PHASES, "a second one"]
    rounds, at = divmod(number, len(phases))
    phase, sent = phases[at], (signal.SIGTERM, signal.SIGINT)[(rounds + at) % 2]
    yield f"{sent.name}: {phase}", stopped(ground, rng, phase, sent) if phase in PHASES else stopped_twice(ground, sent)


def stopped(ground: Ground, rng: np.random.Generator, phase: str, number: signal.Signals) -> Found:
    """The verdict of one signal in one phase; a process that was too fast for it is tried again."""
    latest, environment = PHASES[phase]
    steps = LONG if phase == "training" else STEPS
    for _ in range(5):
        path = ground.fresh()
        with start(path, steps, env=environment) as child:
            if not child.meets(begins(phase, path, child), rng.uniform(0, latest)):
                continue
            before = saved(path)
            child.process.send_signal(number)
            ended = child.end()
        if ended.code == 0:  # it had come to its end
            continue
        found, had = exits(ended, 128 + number), saved(path)
        if had < before or (phase == "training" and had == 0):
            found = worst(found, Found(LOST, f"{had} run-steps are saved, {before} had been"))
        return worst(found, ground.again(path, steps))
    return Found(UNCLEAR, f"no process was met while {phase}")


def stopped_twice(ground: Ground, number: signal.Signals) -> Found:
    """The verdict of two signals a second apart in a segment that would take long."""
    with start(ground.fresh(), 100_000, model=HUGE) as child:
        if not child.meets(lambda: "compiling" in child.said(), 6.0):
            return Found(UNCLEAR, "no process was met while training")
        child.process.send_signal(number)
        time.sleep(1)
        if child.process.poll() is not None:
            return Found(UNCLEAR, f"ended by the first: {exits(child.end(), 128 + number).why}")
        child.process.send_signal(number)
        ended = child.end(3)
    late = Found(UNCLEAR, "it is still there 3 s after the second")
    return late if ended.code is None else min(exits(ended, 128 + number), exits(ended, -number))


@contextmanager
def disk(ground: Ground) -> Iterator[tuple[Path, bool]]:
    """A disk of its own, of 16 MB; or a folder and False, where this user may not mount one."""
    path = ground.fresh().parent
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", path], capture_output=True)
    try:
        yield path, mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", path], check=True)


def full_disks(ground: Ground, rng: np.random.Generator, number: int, count: int) -> Tried:
    """A disk with too little space, or where none can be mounted a limit on the size of files; then with enough."""
    sizes = [len(content) for content in whole(ground.finished).values()]
    share = (0.3, 0.0, 0.05, 0.15, 0.5, 0.9)[number]
    with disk(ground) as (folder, mounted):
        path, ballast = folder / "sweep", folder / "ballast"
        if mounted:
            ballast.write_bytes(bytes(shutil.disk_usage(folder).free - int(share * sum(sizes))))
        with start(path, largest=-1 if mounted else int(share * max(sizes))) as child:
            found = exits(child.end(), 2)
        ballast.unlink(missing_ok=True)
        yield f"{share:.0%} of {'the disk' if mounted else 'the largest file'}", worst(found, ground.again(path))


LOCKS = (
    (["mount", "-o", "remount,ro"], ["mount", "-o", "remount,rw"]),
    (["chattr", "-R", "+i"], ["chattr", "-R", "-i"]),
    (["chmod", "-R", "a-w"], ["chmod", "-R", "u+w"]),
)


def make_read_only(path: Path) -> list[str] | None:
    """Makes a disk or folder read-only, and gives the command that undoes it; None where this user can't."""
    for lock, unlock in LOCKS:
        for _ in range(50 if os.path.ismount(path) else 1):  # a disk can't be while a file on it is written
            if subprocess.run([*lock, path], capture_output=True).returncode == 0:
                try:
                    (path / "trial").touch()
                except OSError:
                    return [*unlock, str(path)]
                subprocess.run([*unlock, path], capture_output=True)  # root may write in spite of permissions
    return None


def read_only(ground: Ground, rng: np.random.Generator, number: int, count: int) -> Tried:
    """A folder that can't be written: half-finished, from the start, from the middle on; and finished, to be opened."""
    moment = ("half-finished", "from the start", "from the middle on", "finished")[number]
    with disk(ground) as (folder, _):
        path, ended = folder / "sweep", None
        if moment in ("half-finished", "finished"):
            shutil.copytree(ground.half if moment == "half-finished" else ground.finished, path)
        if moment == "from the middle on":
            with start(path) as child:
                child.meets(begins("saving", path, child))
                unlock = make_read_only(folder)
                ended = child.end()
        else:
            unlock = make_read_only(folder)
        if unlock is None:
            yield moment, Found(SKIPPED, "neither mount nor chattr nor chmod keeps this user from writing")
            return
        try:
            found = ground.opened(path, ground.finished) if moment == "finished" else Found(SURVIVED)
            if moment in ("half-finished", "from the start"):
                with start(path) as child:
                    ended = child.end()
        finally:
            subprocess.run(unlock, check=True)
        yield f"{moment} ({unlock[0]})", found if ended is None else worst(exits(ended, 2), ground.again(path))


def flip(file: Path, rng: np.random.Generator) -> int:
    """Turns over one bit of the file; says which."""
    content = bytearray(file.read_bytes())
    bit = int(rng.integers(8 * len(content)))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    return bit


def flips(ground: Ground, rng: np.random.Generator, number: int, count: int) -> Tried:
    """One bit of one file of a finished or half-finished sweep; then it is opened, and gone on with."""
    like = (ground.finished, ground.half)[number % 2]
    path = ground.copy(like)
    names = [name for name, content in sorted(whole(path).items()) if content]
    names = [name for name in names if not name.startswith(("figures", "report.html"))]
    name = names[rng.integers(len(names))]
    bit = flip(path / name, rng)
    found = worst(ground.opened(path, like), ground.continued(path, saved(like)))
    yield f"bit {bit} of {name}, {'half-finished' if number % 2 else 'finished'}", found
    shutil.rmtree(path.parent)


def two_processes(ground: Ground, rng: np.random.Generator, number: int, count: int) -> Tried:
    """A second one in the folder of one that trains, by the same command, with --overwrite, and by `fit`."""
    second = ("--overwrite", "the same command", "fit")[number]
    path = ground.fresh()
    with start(path) as first:
        if not first.meets(begins("saving", path, first)):
            yield second, Found(UNCLEAR, f"no process was met while training: {first.end().last}")
            return
        if second == "fit":
            found = verdict(watch(path, lambda: ground.trained(STEPS, path)), "")
            said, refused = found.why, found.verdict == DETECTED
        else:
            with start(path, more=second if second == "--overwrite" else "") as other:
                ended = other.end()
            said, refused = ended.last, exits(ended, 2).verdict == SURVIVED
        named = str(first.process.pid) in said and socket.gethostname() in said
        end = ground.ended(path, first.end())
    if end.verdict != SURVIVED:
        end = Found(LOST, f"of the first process: {end.why}")
    yield second, worst(end, Found(DETECTED if refused and named else UNCLEAR, said[:200] or "not refused"))


def diverging(ground: Ground, rng: np.random.Generator, number: int, count: int) -> Tried:
    """Runs whose loss overflows, among four that are healthy: these have to be as if they were alone."""
    total = count + 4
    runs = grid(ground.method.hyper, total)
    healthy = np.sort(rng.choice(total, 4, replace=False))
    rates = np.full(total, 1e30, np.float32)
    rates[healthy] = runs.hyper.learning_rate[healthy]
    mixed, path = runs._replace(hyper=runs.hyper._replace(learning_rate=rates)), ground.fresh()
    result = fit(ground.method, ground.source, mixed, steps=STEPS, workdir=path, **SIZES)
    alone = fit(ground.method, ground.source, runs.select(healthy), steps=STEPS, **SIZES)
    rows = jax.tree.map(lambda leaf: leaf[healthy], (result.params, result.history))
    same = digest(rows) == digest((alone.params, alone.history))
    status = pd.read_csv(path / "runs.csv")["status"].tolist()
    for run in sorted(set(range(total)) - set(healthy.tolist())):
        marked = result.status[run] == status[run] == "diverged" and bool(np.isnan(result.history["loss"][run, -1]))
        kept = all(np.isfinite(leaf[run]).all() for leaf in jax.tree.leaves(result.params))
        found = Found(SURVIVED) if marked and kept else Found(WRONG, "not marked as diverged, or with NaN")
        yield f"run {run}", found if same else Found(WRONG, "the healthy runs are not as they are alone")


class Fault(NamedTuple):
    """A kind of fault: `attempt(ground, rng, number, count)`; how many in a quick test, in all, and in each attempt."""

    attempt: Callable[[Ground, np.random.Generator, int, int], Tried]
    quick: int
    all: int
    each: int = 1


FAULTS = {
    "kills": Fault(kills, 2, 50, each=5),
    "signals": Fault(signals, 2, 14),
    "full_disks": Fault(full_disks, 1, 6),
    "read_only": Fault(read_only, 1, 4),
    "two_processes": Fault(two_processes, 1, 3),
    "diverging": Fault(diverging, 2, 16, each=16),
    "flips": Fault(flips, 8, 200),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to try, how much of it, and where to write the table."""

    quick: bool = False
    """one or two of each: to try it out"""
    only: tuple[str, ...] = ()
    """some of: kills, signals, full_disks, read_only, two_processes, diverging, flips"""
    seed: int | None = None
    """of the moments, files and bits; another one every time if not given"""
    out: Path | None = None
    """a file for the table as JSON, with every fault"""


def main(config: Config) -> bool:
    """Tries, prints and writes; whether all went well.

    Raises:
      InputError: a fault that there isn't, or a file that can't be written.
      KeyboardInterrupt: after the table of what had been tried by then.
    """
    names = [name for name in FAULTS if name in config.only or not config.only]
    for name in config.only:
        choose(FAULTS, name, "fault")
    check_sizes(0, seed=config.seed)
    seed = int(np.random.default_rng().integers(10**6)) if config.seed is None else config.seed
    if config.out is not None:
        attempt(config.out, lambda: Path(str(config.out)).open("a").close())  # before anything takes minutes
    jax.config.update("jax_platforms", "cpu")
    script.use_devices()
    tried, stopped_here = {name: [] for name in names}, False
    counts = {name: FAULTS[name].quick if config.quick else FAULTS[name].all for name in names}
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
        tqdm(total=sum(counts.values()), unit=" faults", dynamic_ncols=True, desc="a sweep left alone") as bar,
    ):
        ground, waiting = prepare(Path(folder), config.quick), {}
        for name in names:
            fault, kind = FAULTS[name], list(FAULTS).index(name)
            for number, first in enumerate(range(0, counts[name], fault.each)):
                count, rng = min(fault.each, counts[name] - first), np.random.default_rng([seed, kind, number])
                tries = partial(fault.attempt, ground, rng, number, count)
                waiting[pool.submit(finish, tries, f"attempt {number}")] = name
        try:
            for done in as_completed(waiting):
                tried[waiting[done]] += done.result()
                bar.set_description(waiting[done], refresh=False)
                bar.update(len(done.result()))
        except KeyboardInterrupt:
            stopped_here = True
        finally:
            pool.shutdown(cancel_futures=True)
    table = summary(tried, seed)
    print(text(table))
    if config.out is not None:
        faults = [{"fault": name, "what": what, **found._asdict()} for name in names for what, found in tried[name]]
        write_text(config.out, json.dumps({**record(table), "faults": faults}, indent=2, ensure_ascii=False) + "\n")
    if stopped_here:
        raise KeyboardInterrupt
    return not any(found.verdict in (UNCLEAR, LOST, WRONG) for faults in tried.values() for _, found in faults)


def finish(tries: Callable[[], Tried], what: str) -> list[tuple[str, Found]]:
    """All verdicts of an attempt; one that fails itself is none that went well."""
    found = []
    try:
        found.extend(tries())
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        found.append((what, Found(UNCLEAR, f"the test itself failed: {' '.join(trace.split())[-400:]}")))
    return found


def summary(tried: dict[str, list[tuple[str, Found]]], seed: int) -> Table:
    """A row for every kind of fault; a note for each that went wrong."""
    kinds = (*VERDICTS, SKIPPED)
    rows, notes = [], []
    for name, all_ in tried.items():
        counted = Counter(found.verdict for _, found in all_)
        rows.append((name, len(all_), *(counted[kind] for kind in kinds)))
        bad = [f"{name}: {what}: {found.verdict}: {found.why}" for what, found in all_ if found.verdict in kinds[2:]]
        notes += bad[:10] + [f"{name}: {len(bad) - 10} more"] * (len(bad) > 10)
    rows.append(("all", *(sum(row[i] for row in rows) for i in range(1, 2 + len(kinds)))))
    return Table(f"Faults in a sweep of 4 models, seed {seed}", ("", "tried", *kinds), rows, notes, ())


def run() -> None:
    """`main` with the arguments of the command line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with disks unmounted and processes ended
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background it is ignored, by processes too
    try:
        good = main(script.parse(sys.argv[1:], {"": Config()}, __doc__))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    run()
