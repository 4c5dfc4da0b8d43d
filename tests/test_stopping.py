"""SIGINT and SIGTERM: exit codes, one line that is true, and a second one ends at once; also while importing."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments import script, stopping, train
from tests.conftest import ROOT

STOP = """
import signal, sys, time
from pathlib import Path
from experiments import script, train
signal.signal(signal.SIGINT, signal.default_int_handler)
def main(config):
    script.claimed(Path(config.out) / "mine", {"a": 1}, "training", overwrite=config.overwrite)
    if config.steps == 1:
        (Path(config.out) / "mine" / "runs.csv").write_text("run")
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        if config.seeds == 9:
            print("stopping", flush=True)
            time.sleep(60)
script.run(main, {"": train.Config()}, "")
"""
SAVED = "stopped; the same command continues from the last checkpoint"


def started(*arguments, code=STOP):
    """The script in a process of its own, when it has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env={"PATH": "", "PYTHONPATH": str(ROOT), "JAX_ENABLE_COMPILATION_CACHE": "false"},
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


@pytest.mark.parametrize(
    ("number", "arguments", "code", "line"),
    [
        (signal.SIGINT, ["--steps", 1], 130, SAVED),
        (signal.SIGTERM, ["--steps", 1], 143, SAVED),
        (signal.SIGTERM, ["--steps", 2], 143, "stopped"),
        (signal.SIGINT, ["--steps", 1, "--overwrite"], 130, SAVED.replace("command", "command without --overwrite")),
    ],
    ids=["SIGINT", "SIGTERM", "nothing saved", "overwrite"],
)
def test_a_stop_is_one_true_line_and_the_code_of_its_signal(number, arguments, code, line, tmp_path):
    process = started(*arguments, "--out", tmp_path)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == code and error.strip() == line


@pytest.mark.parametrize(("second", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_second_signal_ends_it_at_once(second, code, tmp_path):
    process = started("--seeds", 9, "--out", tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "stopping\n"
    begun = time.monotonic()
    process.send_signal(second)
    _, error = process.communicate(timeout=30)
    assert process.returncode == code and error.strip() == "stopped at once" and time.monotonic() - begun < 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_stop_while_importing_is_no_traceback(number, tmp_path):
    """A package that takes its time to import stands for all that a script imports."""
    (tmp_path / "tyro").mkdir()
    (tmp_path / "tyro" / "__init__.py").write_text("import time; print('ready', flush=True); time.sleep(60)")
    reset = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{reset} import os, sys; os.execv(sys.executable, [sys.executable, '-m', "
         "'experiments.train'])"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 128 + number and error.strip() == "stopped"


def test_what_listened_before_listens_afterwards(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train"])
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    heard = []
    script.run(lambda config: heard.extend(map(signal.getsignal, stopping.SIGNALS)), {"": train.Config()}, "")
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before
    assert heard == [stopping._first] * 2


def test_an_ignored_signal_stays_ignored_and_a_thread_hears_nothing(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stopping.restore(stopping.listen())
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    found = []
    thread = threading.Thread(target=lambda: found.append(stopping.listen()))
    thread.start()
    thread.join()
    assert found == [{}]
