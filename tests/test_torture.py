"""The torture test can tell what held from what didn't: a library that ignores a fault does not pass it."""

import json
import logging
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from experiments.benchmarks import torture, victim
from experiments.benchmarks.torture import Config, Fault, flip, flips, main, summary
from experiments.benchmarks.verdicts import (
    DETECTED,
    LOST,
    SKIPPED,
    SURVIVED,
    UNCLEAR,
    VERDICTS,
    WRONG,
    Ended,
    Found,
    Seen,
    changed_by,
    digest,
    exits,
    saved,
    verdict,
    watch,
    whole,
    worst,
)  # fmt: skip
from experiments.benchmarks.victim import STEPS, Ground
from tests.conftest import ROOT
from vaejax.errors import InputError

LINE = InputError("runs/x/config.json was changed; put it back from a copy")


@pytest.mark.parametrize(
    ("seen", "options", "expected"),
    [
        (Seen("right", None, []), {}, SURVIVED),
        (Seen("right", None, ["the checkpoint is damaged"]), {"again": True}, SURVIVED),
        (Seen("right", None, []), {"again": True}, LOST),
        (Seen("other", None, []), {}, WRONG),
        (Seen("other", None, ["the checkpoint is damaged"]), {}, WRONG),
        (Seen("other", None, ["the checkpoint is damaged"]), {"older": True}, SURVIVED),
        (Seen("other", None, []), {"older": True}, WRONG),
        (Seen(None, LINE, []), {}, DETECTED),
        (Seen(None, LINE, []), {"changed": ["runs.csv"]}, LOST),
        (Seen(None, InputError("one line\nand another"), []), {}, UNCLEAR),
        (Seen(None, InputError("long" * 200), []), {}, UNCLEAR),
        (Seen(None, KeyError("states"), []), {}, UNCLEAR),
    ],
)
def test_the_verdict_on_a_call(seen, options, expected):
    assert verdict(seen, "right", **options).verdict == expected


@pytest.mark.parametrize(
    ("code", "err", "promised", "expected"),
    [
        (0, "training 4 runs: 100%\r\n", 0, SURVIVED),
        (2, "training\rerror: no space is left\n", 2, SURVIVED),
        (2, "usage: ...", 2, UNCLEAR),
        (2, "Traceback (most recent call last):\n...\nerror: no space is left\n", 2, UNCLEAR),
        (0, "", 2, UNCLEAR),
        (143, "\nstopped", 143, SURVIVED),
        (-15, "", 143, UNCLEAR),
        (130, "Traceback (most recent call last):\nKeyboardInterrupt", 130, UNCLEAR),
        (None, "", 0, UNCLEAR),
    ],
)
def test_the_verdict_on_the_end_of_a_process(code, err, promised, expected):
    assert exits(Ended(code, err), promised).verdict == expected


def test_the_worst_verdict_counts():
    assert [worst(Found(a), Found(b)).verdict for a, b in pairwise(VERDICTS)] == [*VERDICTS[1:]]
    assert worst(Found(WRONG, "why"), Found(SURVIVED)).why == "why"


def test_a_flip_changes_one_bit(tmp_path):
    file, content = tmp_path / "file", bytes(range(100))
    seen = set()
    for seed in range(50):
        file.write_bytes(content)
        bit = flip(file, np.random.default_rng(seed))
        differs = np.unpackbits(np.frombuffer(content, np.uint8) ^ np.frombuffer(file.read_bytes(), np.uint8))
        assert differs.sum() == 1 and np.flatnonzero(differs)[0] // 8 == bit // 8
        seen.add(bit)
    assert len(seen) > 40 and max(seen) > 400


def test_a_digest_is_of_every_bit():
    table = pd.DataFrame({"run": [0, 1], "beta": [1.0, 4.0]})
    tree = {"a": np.float32([1, np.nan]), "b": np.arange(3)}
    bent = tree["a"].copy()
    bent.view(np.uint32)[0] ^= 1
    assert digest(tree, table) == digest({name: leaf.copy() for name, leaf in tree.items()}, table.copy())
    others = [
        ({**tree, "a": bent}, table),
        ({**tree, "b": np.arange(3.0)}, table),
        (tree, table.assign(beta=[1.0, 5.0])),
    ]
    assert len({digest(tree, table), *(digest(*other) for other in others)}) == 4


def test_what_is_said_about_the_folder_is_kept(tmp_path):
    def call():
        print("nothing to do with it")
        print(f"{tmp_path} is damaged", file=sys.stderr)
        logging.getLogger("vaejax").warning("the checkpoint %d was put aside", 3)
        return "given"

    assert watch(tmp_path, call) == Seen("given", None, ["the checkpoint 3 was put aside", f"{tmp_path} is damaged"])
    failed = watch(tmp_path, lambda: 1 / 0)
    assert isinstance(failed.error, ZeroDivisionError) and failed.given is None


def test_files_that_are_gone_or_changed_are_found(tmp_path):
    for name in ("moved", "gone", "changed", "kept"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".lock").write_text("held")

    def call():
        (tmp_path / "moved").rename(tmp_path / "aside")
        (tmp_path / "gone").unlink()
        (tmp_path / ".lock").unlink()
        (tmp_path / "changed").write_text("otherwise")

    assert sorted(changed_by(tmp_path, call)[1]) == ["changed", "gone"]
    assert sorted(whole(tmp_path)) == ["aside", "changed", "kept"]


def test_saved_steps_are_those_of_the_history(tmp_path):
    assert saved(tmp_path) == 0
    pd.DataFrame({"run": [0, 0, 1], "step": [10, 20, 10], "loss": 1.0}).to_csv(tmp_path / "history.csv", index=False)
    assert saved(tmp_path) == 30


def data_of(path):
    return (path / "data").read_bytes()


def ignoring(path, marks):
    """A library that takes what it finds."""
    return digest(data_of(path))


def careful(path, marks):
    if data_of(path) != bytes(100):
        raise InputError(f"{path / 'data'} was changed")
    return digest(bytes(100))


def forgetful(path, marks):
    """A library that trains again what it finds damaged, and doesn't say so."""
    if data_of(path) != bytes(100) and marks is not None:
        marks.append(10)
    return digest(bytes(100))


def telling(path, marks):
    print(f"{path / 'data'} was changed, and is made again")
    return forgetful(path, marks)


def crashing(path, marks):
    raise KeyError("states")


def deleting(path, marks):
    (path / "other").unlink()
    return careful(path, marks)


LIBRARIES = {
    ignoring: WRONG, careful: DETECTED, forgetful: LOST, telling: SURVIVED, crashing: UNCLEAR, deleting: LOST,
}  # fmt: skip


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.__name__)
def library(request, monkeypatch):
    """A library in place of `fit` and `load_run`, and what flips have to come to in it."""
    monkeypatch.setattr(
        victim, "of_run", lambda path: request.param(path, None) if request.param is not deleting else ""
    )
    monkeypatch.setattr(Ground, "trained", lambda self, steps, path=None, marks=None: request.param(path, marks))
    return request.param, LIBRARIES[request.param]


def stub_ground(folder):
    for name in ("finished", "half"):
        (folder / name).mkdir()
        (folder / name / "data").write_bytes(bytes(100))
        pd.DataFrame({"run": [0], "step": [STEPS]}).to_csv(folder / name / "history.csv", index=False)
        (folder / name / "other").write_bytes(b"x")
    right = digest(bytes(100))
    finished, half = folder / "finished", folder / "half"
    return Ground(folder, finished, half, None, None, None, {STEPS: right}, {finished: right, half: right}, True)  # pyright: ignore


def test_flips_that_a_library_ignores_are_silently_wrong(library, tmp_path, monkeypatch):
    made, expected = library
    ground = stub_ground(tmp_path)
    monkeypatch.setattr(torture, "whole", lambda path: {"data": data_of(path)})  # the file to flip a bit of
    if made is deleting:
        ground = ground._replace(opens=dict.fromkeys(ground.opens, ""))
    for number in range(4):
        ((what, found),) = flips(ground, np.random.default_rng(number), number, 1)
        assert found.verdict == expected, found
        assert "of data" in what and ("half-finished" in what) == number % 2


@pytest.mark.parametrize("bad", [UNCLEAR, LOST, WRONG, None])
def test_the_exit_code_and_the_table_say_what_went_wrong(bad, tmp_path, monkeypatch, capsys):
    found = [
        Found(SURVIVED),
        Found(DETECTED, "a line"),
        Found(SKIPPED, "may not mount"),
        *([Found(bad, "oh")] if bad else []),
    ]

    def attempt(ground, rng, number, count):
        yield f"number {number}", found[number]

    monkeypatch.setattr(torture, "FAULTS", {"stub": Fault(attempt, len(found), 100)})
    monkeypatch.setattr(torture, "prepare", lambda folder, quick: None)
    monkeypatch.setattr(sys, "argv", ["torture", "--quick", "--seed", "3", "--out", str(tmp_path / "table.json")])
    with pytest.raises(SystemExit) as ended:
        torture.run()
    assert ended.value.code == (1 if bad else 0)
    written, printed = json.loads((tmp_path / "table.json").read_text()), capsys.readouterr().out
    assert written["rows"][0] == {
        "contender": "stub", "tried": len(found), "survived": 1, "detected": 1, "skipped": 1,
        **{kind: int(kind == bad) for kind in (UNCLEAR, LOST, WRONG)},
    }  # fmt: skip
    assert (
        len(written["faults"]) == len(found)
        and "seed 3" in printed
        and "stub: number 2: skipped: may not mount" in printed
    )
    assert (f"{bad}: oh" in printed) == bool(bad)


def test_an_attempt_that_fails_itself_keeps_what_it_has_found():
    def tries():
        yield "number 1", Found(SURVIVED)
        raise FileNotFoundError("history.csv")

    first, second = torture.finish(tries, "attempt 3")
    assert first == ("number 1", Found(SURVIVED))
    assert second[0] == "attempt 3" and second[1].verdict == UNCLEAR and "history.csv" in second[1].why


def test_what_was_tried_before_an_interrupt_is_printed(monkeypatch, capsys):
    def attempt(ground, rng, number, count):
        if number == 2:
            raise KeyboardInterrupt
        yield f"number {number}", Found(SURVIVED)

    monkeypatch.setattr(torture, "FAULTS", {"stub": Fault(attempt, 3, 3)})
    monkeypatch.setattr(torture, "prepare", lambda folder, quick: None)
    monkeypatch.setattr(torture.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(sys, "argv", ["torture"])
    with pytest.raises(SystemExit) as ended:
        torture.run()
    shown = capsys.readouterr()
    assert ended.value.code == 130 and "stub      2         2" in shown.out and shown.err.endswith("stopped\n")


def test_long_lists_of_what_went_wrong_are_cut():
    table = summary({"flips": [(f"bit {bit}", Found(WRONG, "numbers")) for bit in range(30)]}, 0)
    assert len(table.notes) == 11 and table.notes[-1] == "flips: 20 more" and table.rows[-1][1] == 30


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (Config(only=("flip",)), "unknown fault 'flip'; did you mean 'flips'?"),
        (Config(seed=-1), "seed has to be at least 0, not -1"),
        (Config(out=ROOT / "tests"), "can't be written"),
        (Config(out=ROOT / "nowhere" / "table.json"), "can't be written"),
    ],
)
def test_bad_arguments_get_one_line_before_anything_is_tried(config, line, monkeypatch):
    monkeypatch.setattr(torture, "prepare", lambda folder, quick: pytest.fail("began"))
    with pytest.raises(InputError) as raised:
        main(config)
    assert line in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_is_silently_wrong(tmp_path):
    out = tmp_path / "table.json"
    command = [sys.executable, "-m", "experiments.benchmarks.torture", "--quick", "--out", str(out)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    rows = {row["contender"]: row for row in json.loads(out.read_text())["rows"]}
    assert list(rows) == [*torture.FAULTS, "all"]
    assert {name: row["tried"] for name, row in rows.items() if name != "all"} == {
        name: fault.quick for name, fault in torture.FAULTS.items()
    }
    assert rows["all"]["lost"] == rows["all"]["silently wrong"] == rows["all"]["unclear"] == 0, ran.stdout
    assert ran.returncode == 0
