"""What every experiment script does around its question: arguments, devices, progress, and one line for bad input."""

import os
import platform
import shlex
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
import tyro
from tqdm import tqdm

from vaejax.errors import InputError
from vaejax.training.sweep import Progress

Config = TypeVar("Config")


def run(main: Callable[[Config], None], presets: dict[str, Config], description: str | None) -> None:
    """Reads the arguments over those of `--preset` (the first if not given) and runs `main`.

    Bad input ends the process with one line and exit code 2, an interrupt with 130.
    """
    keep_compiled()
    try:
        main(parse(sys.argv[1:], presets, description))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print("error: the device's memory is full; give a smaller --chunk, --batch-size or --width", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\nstopped; the same command continues from the last checkpoint", file=sys.stderr)
        raise SystemExit(130) from None


def parse(arguments: list[str], presets: dict[str, Config], description: str | None) -> Config:
    """The config that these arguments ask for. tyro ends the process with 2 if they can't be understood."""
    chosen = next(iter(presets))
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--preset":
            chosen = value if equals else "".join(arguments[i + 1 : i + 2])
    default = presets.get(chosen, next(iter(presets.values())))
    lines = [" ".join(line.split()) for line in (description or "").splitlines() if line]
    paragraphs = "\n\n".join(lines)  # tyro would join them
    return tyro.cli(type(default), prog=module(), args=arguments, default=default, description=paragraphs)


def command() -> str:
    """What the user typed, as far as it can be known."""
    return shlex.join([*module().split(), *sys.argv[1:]])


def module() -> str:
    """How this script is run."""
    spec = sys.modules["__main__"].__spec__
    return f"python -m {spec.name.removesuffix('.__main__') if spec else 'experiments'}"


def use_devices() -> None:
    """On CPU, one device per core. Has to come before anything is computed."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def keep_compiled() -> None:
    """Keeps compiled programs in the user's cache folder, so that the second start of a script is a fast one.

    JAX_COMPILATION_CACHE_DIR overrules the folder, and JAX_ENABLE_COMPILATION_CACHE=false turns it off. A folder that
    can't be written is warned of and costs nothing else. Old programs are deleted above 1 GB.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "vaejax" / "compiled"))
        jax.config.update("jax_compilation_cache_max_size", 2**30)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def facts() -> dict[str, str]:
    """The versions and the machine that a result came from."""
    kinds = {device.device_kind for device in jax.devices()}
    devices = f"{jax.device_count()} x {', '.join(sorted(kinds))} ({jax.default_backend()})"
    libraries = ", ".join(f"{name} {version(name)}" for name in ("vaejax", "jax", "flax", "optax", "numpy"))
    return {
        "Software": f"{libraries}, Python {platform.python_version()}",
        "Hardware": f"{devices}, {os.cpu_count()} cores",
    }


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
