"""How fast is vaejax beside what one would use instead? Measured on this machine, as ratios within one run.

python -m experiments.benchmarks step       # training steps of one model, against PyTorch
python -m experiments.benchmarks sweep      # 8 models, against PyTorch in one process and in one for every core
python -m experiments.benchmarks scale      # speed and memory for more models, larger images, more devices
python -m experiments.benchmarks startup    # from the command to the first step, without and with a compilation cache
python -m experiments.benchmarks metrics    # every disentanglement metric, against NumPy and scikit-learn
python -m experiments.benchmarks render     # drawing sprites, against reading them from memory
python -m experiments.benchmarks stream     # images from the disk, against images in memory
python -m experiments.benchmarks all        # everything: less than 20 minutes on 2 cores

Both sides compute the same: a ratio is printed only if the same weights, images and noise give the same loss.
Contenders run in processes of their own and take turns. What is printed is a median over rounds, [with its quartiles].
The FLOP of a step are counted from the network's layers, forward and backward together as three times forward; the
ceiling is what a large float32 matrix product reached in the same rounds. Peak memory is that of the whole process, its
compiling included.
"""

import dataclasses
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro
from tqdm import tqdm

from experiments import script
from experiments.benchmarks import images, metrics, startup, timing, training
from experiments.benchmarks.setting import Setting
from experiments.benchmarks.tables import Table, figure, record, text
from experiments.benchmarks.timing import Failed
from vaejax.errors import InputError, check_sizes, choose
from vaejax.storage.disk import attempt
from vaejax.storage.files import write_text

COMMANDS: dict[str, Callable[[Setting], list[Table]]] = {
    "step": training.step,
    "sweep": training.sweep,
    "scale": training.scale,
    "startup": startup.startup,
    "metrics": metrics.metrics,
    "render": images.render,
    "stream": images.stream,
}


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


def write(name: str, tables: Sequence[Table], setting: Setting, out: Path) -> None:
    """COMMAND.json and COMMAND.png.

    Raises:
      InputError: they can't be written.
    """
    settings = {"rounds": setting.rounds, "seconds": setting.seconds, "quick": setting.quick}
    content = {"command": script.command(), **settings, "machine": setting.machine, "tables": [*map(record, tables)]}
    write_text(out / f"{name}.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    attempt(out / f"{name}.png", lambda: figure(tables).savefig(out / f"{name}.png", dpi=150))


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
