"""What every experiment script does around its question: arguments, devices, progress, and one line for bad input."""

import contextlib
import hashlib
import io
import os
import re
import shlex
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import tyro
from tqdm import tqdm

from experiments import stopping
from vaejax.errors import InputError
from vaejax.experiment import Event, Experiment, report
from vaejax.experiment import run as run_experiment
from vaejax.storage import folder as storage
from vaejax.storage.run import Run
from vaejax.training.sweep import Progress

Config = TypeVar("Config")
NAME_LENGTH = 100  # characters of a folder's name, at most
FORBIDDEN = set('<>:"/\\|?*')  # what Windows has in no name of a file
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10))}
FOLDERS = ("checkpoints", "figures", "groups", "code_prior")  # what a sweep's folder holds
FILES = ("config.json", "runs.csv", "history.csv", "results.csv", "report.html")
_claimed: list[Path] = []  # by the script that runs
_holding = contextlib.ExitStack()  # those folders, until it ends


def run(main: Callable[[Config], None], presets: dict[str, Config], description: str | None) -> None:
    """Reads the arguments over those of `--preset` (the first if not given) and runs `main`.

    Bad input ends the process with one line and exit code 2, an interrupt with 130, SIGTERM with 143. Warnings of
    libraries are shown when `main` is done, so that they don't hide the line.
    """
    before = stopping.listen()
    _claimed.clear()
    try:
        with warnings.catch_warnings(record=True) as held:
            _run(main, presets, description)
        for warning in held:
            if forget_broken(str(warning.message)):
                continue
            warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
    except tuple(stopping.CODES) as stop:
        print(f"\n{_stopped()}", file=sys.stderr)
        raise SystemExit(stopping.CODES[type(stop)]) from None
    except BaseException:
        stopping.restore(before)
        raise
    finally:
        _holding.close()
    stopping.restore(before)


def _run(main: Callable[[Config], None], presets: dict[str, Config], description: str | None) -> None:
    try:
        keep_compiled()
        config = parse(sys.argv[1:], presets, description)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # terminals that have no β
        main(config)
    except (InputError, OSError, MemoryError, RuntimeError) as error:
        line = _line(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        raise SystemExit(2) from None


def _line(error: Exception) -> str | None:
    """What the user is told of an error that has its cause outside of the program; None for any other."""
    text = " ".join(str(error).split())
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'} can't be used ({error.strerror or text})"
    if isinstance(error, MemoryError):
        return f"the memory is full ({text or 'no more could be had'}); give fewer --seeds, or a smaller model"
    if "RESOURCE_EXHAUSTED" in text:
        return "the device's memory is full; give a smaller --chunk, --batch-size or --width"
    if "Unable to initialize backend" in text:
        return f"JAX finds no such device ({text[:200]}); check the variable JAX_PLATFORMS"
    return None


def _stopped() -> str:
    """What is said of a stop: whether the same command goes on depends on what was saved."""
    if not any(next(path.rglob("runs.csv"), None) for path in _claimed):
        return "stopped"
    same = "the same command without --overwrite" if "--overwrite" in sys.argv else "the same command"
    return f"stopped; {same} continues from the last checkpoint"


def parse(arguments: list[str], presets: dict[str, Config], description: str | None) -> Config:
    """The config that these arguments ask for.

    Raises:
      InputError: they can't be understood.
      SystemExit: 0, after the help that was asked for.
    """
    chosen = next(iter(presets))
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--preset":
            chosen = value if equals else "".join(arguments[i + 1 : i + 2])
    default = presets.get(chosen, next(iter(presets.values())))
    lines = [" ".join(line.split()) for line in (description or "").splitlines() if line]
    paragraphs = "\n\n".join(lines)  # tyro would join them
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            return tyro.cli(type(default), prog=module(), args=arguments, default=default, description=paragraphs)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(f"{_of_box(said.getvalue())}; see {module()} --help") from None


def _of_box(text: str) -> str:
    """What tyro says in its box, on one line: what is wrong, and the first option that it thinks was meant."""
    text = re.sub(r"\x1b\[[\d;]*m", "", text)
    lines = [line.strip(" │|") for line in text.splitlines()][1:]
    parts: list[list[str]] = [[]]
    for line in lines:
        if set(line) <= set("─-╰╯+"):
            parts.append([])
        else:
            parts[-1].append(line)
    found = [part for part in parts if any(part)]
    meant = next((part[1].split()[0] for part in found if len(part) > 1 and part[0].startswith("Perhaps you")), "")
    wrong = " ".join(found[0]) if found else "the arguments can't be understood"
    return shortened_text(wrong, 300) + (f"; did you mean {meant}?" if meant else "")


def shortened_text(text: str, most: int) -> str:
    """The text on one line and not longer than this."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def check_name(name: str) -> str:
    """The name, if it is that of one folder on every system.

    Raises:
      InputError: it isn't.
    """
    shown = shortened_text(repr(name), 60)
    if not name or len(name) > NAME_LENGTH:
        raise InputError(f"--name has to have 1 to {NAME_LENGTH} characters, not {len(name)}: {shown}")
    bad = sorted({letter for letter in name if letter in FORBIDDEN or not letter.isprintable()})
    if bad:
        raise InputError(f"--name is that of one folder and can't have {repr(''.join(bad))[1:-1]} in it: {shown}")
    if name[0] == " " or name[-1] in " .":
        raise InputError(f"--name can't begin with a space, or end with a space or a dot: {shown}")
    if name.split(".")[0].upper() in DEVICES:
        raise InputError(f"--name can't be {shown}, which is a device on Windows; choose another")
    return name


def portable(text: str) -> str:
    """The text as a part of a folder's name, which every system can have."""
    plain = "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in text).rstrip(".")
    if len(plain) <= NAME_LENGTH // 2:
        return plain
    return f"{plain[: NAME_LENGTH // 2 - 9]}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def folder(out: Path, name: str) -> Path:
    """The folder of this name, after a look at whether it can be made, or be gone on with; nothing is written yet.

    Raises:
      InputError: a name that is none, a file in the place of a folder or the reverse, or a folder without permission.
    """
    path = check_place(out) / check_name(name)
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path} is a link to what isn't there ({os.readlink(path)}); remove it")
    for inside in (*FOLDERS, *FILES):
        found = path / inside
        if os.path.lexists(found) and found.is_dir() != (inside in FOLDERS):
            kind = "is no folder" if inside in FOLDERS else "is a folder"
            raise InputError(f"{found} {kind} and stands in the way; move it, or give another --name")
    return path


def check_place(out: Path) -> Path:
    """The folder `--out`, if it is there or can be made.

    Raises:
      InputError: it, or one above it, is a file or can't be written.
    """
    try:
        above = next(path for path in (out.absolute(), *out.absolute().parents) if os.path.lexists(path))
        out.exists()  # a part of it may be too long
    except OSError as error:
        raise InputError(f"--out {shortened_text(str(out), 60)} can't be a folder ({error.strerror})") from error
    if not above.is_dir():
        raise InputError(f"--out {out} can't be written: {above} is no folder; choose another")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"--out {out} can't be written: there is no permission to write to {above}; choose another")
    return out


def claimed(path: Path, settings: dict[str, Any], what: str, *, overwrite: bool) -> None:
    """The folder is this script's until it ends; it says so where it goes on with what is there.

    Raises:
      InputError: the folder is in use by something else, or can't be written.
    """
    goes_on = _holding.enter_context(storage.claimed(path, settings, overwrite=overwrite))
    _claimed.append(path)
    if goes_on:
        print(f"continuing the unfinished {what} in {path}")


def experiment(config: Any, **more: Any) -> Experiment:
    """The experiment that a config describes: its fields of the same names, and what the script makes of the others."""
    same = {name: getattr(config, name) for name in Experiment._fields if hasattr(config, name)}
    return Experiment(**{**same, "command": command(), **more})


def trained(experiment: Experiment, path: Path, *, overwrite: bool) -> Run:
    """`vaejax.run` on all cores in this folder, which prints what it does, with a progress bar.

    Raises:
      InputError: as `vaejax.run`, or the folder is finished.
    """
    use_devices()
    with contextlib.ExitStack() as bars:
        bar: list[Bar] = []

        def told(event: Event) -> None:
            bars.close()
            if event.stage == "finished":
                raise InputError(event.text)
            _claimed.append(path)
            print(event.text)
            if event.stage == "training":
                bar.append(bars.enter_context(Bar(event.runs)))

        return run_experiment(experiment, path, lambda at: bar[-1](at), on_event=told, overwrite=overwrite)


def reported(run: Run, by: str, answer: str, **words: Any) -> None:
    """Writes the run's page, and prints its table, its answer and where the page is; `words` as in `Run.report`."""
    from vaejax.report.sweep import axis_of, means

    page = report(run, by=by, answer=answer, **words)
    print(means(*axis_of(run, by)).to_string(index=False))
    print(f"\n{answer}\n\nreport: {page}")


def command() -> str:
    """What the user typed, as far as it can be known."""
    return shlex.join([*module().split(), *sys.argv[1:]])


def module() -> str:
    """How this script is run."""
    spec = sys.modules["__main__"].__spec__
    return f"python -m {spec.name.removesuffix('.__main__') if spec else 'experiments'}"


def use_devices() -> None:
    """On CPU, one device per core; where something has been computed before, as in a notebook, those there are."""
    with contextlib.suppress(RuntimeError):  # what JAX raises then
        jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def keep_compiled() -> None:
    """Keeps compiled programs in the user's cache folder, so that the second start of a script is a fast one.

    JAX_COMPILATION_CACHE_DIR overrules the folder, and JAX_ENABLE_COMPILATION_CACHE=false turns it off. A folder that
    can't be written is warned of and costs nothing else. Old programs are deleted above 1 GB.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
        if home.parts[:1] == ("~",):  # there is no home
            return
        jax.config.update("jax_compilation_cache_dir", str(home / "vaejax" / "compiled"))
        jax.config.update("jax_compilation_cache_max_size", 2**30)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def forget_broken(warning: str) -> bool:
    """Deletes what the cache of compiled programs holds of a program that couldn't be read, so that it is written anew.

    JAX compiles such a program again, but keeps the broken entry, and would warn of it at every start.

    Returns:
      whether the warning was one of that, and an entry was deleted.
    """
    found = re.search(r"Error reading persistent compilation cache entry for '([^']+)'", warning)
    folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if found is None or not folder:
        return False
    broken = [file for file in Path(folder).glob(f"{found[1]}-*-cache") if not _is_whole(file.read_bytes())]
    for file in broken:
        for part in (file, file.with_name(file.name.removesuffix("-cache") + "-atime")):
            part.unlink(missing_ok=True)
    return bool(broken)


def _is_whole(entry: bytes) -> bool:
    """Whether it can be decompressed; nothing is known of what isn't zlib's."""
    try:
        zlib.decompress(entry)
    except zlib.error:
        return entry[:4] == b"\x28\xb5\x2f\xfd" and len(entry) > 64
    return True


def facts() -> dict[str, str]:
    """The versions and the machine that a result came from."""
    from vaejax.report.facts import machine  # brings matplotlib and pandas, which the start need not wait for

    return machine()


class Bar:
    """A progress bar in run-steps, with rate, time left and current mean losses; use it in `with`, as `on_progress`."""

    def __init__(self, runs: int):
        self.bar = tqdm(unit=" run-steps", unit_scale=True, dynamic_ncols=True, desc=f"training {runs} runs")
        self.bar.set_postfix_str("compiling")

    def __call__(self, progress: Progress) -> None:
        """Moves the bar to here. The rate leaves out compiling and what an earlier, interrupted call had done."""
        if self.bar.total is None:
            self.bar.reset(total=progress.total)
            self.bar.initial = self.bar.n = self.bar.last_print_n = progress.done
        finite = {name: values[np.isfinite(values)] for name, values in progress.metrics.items()}
        means = {name: f"{values.mean():.1f}" for name, values in finite.items() if values.size}
        lost = {"diverged": progress.diverged} if progress.diverged else {}
        self.bar.set_postfix({**means, **lost}, refresh=False)
        self.bar.update(progress.done - self.bar.n)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()


class Images(tqdm):
    """A progress bar in images, with rate and time left, as the `on_progress` of an estimate of log p(x)."""

    def __init__(self, what: str):
        super().__init__(unit=" images", unit_scale=True, dynamic_ncols=True, desc=what)

    def __call__(self, done: int, total: int) -> None:
        """Moves the bar to here."""
        self.total = total
        self.update(done - self.n)
