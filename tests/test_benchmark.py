"""The benchmark: that both sides compute the same, and its arithmetic, tables and files."""

import json
import math
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest

import vaejax
from experiments import script
from experiments.benchmarks import __main__ as benchmark
from experiments.benchmarks import metrics, originals, ours, timing, training
from experiments.benchmarks.setting import INSTALL, PAPER, SMALL, Model, Setting, check, flops, notes
from experiments.benchmarks.tables import Table, figure, record, shown, text
from experiments.benchmarks.timing import Compared, Contender, Failed, Quartiles, Timing, Took

TINY = {"conv": Model("conv", 32, 4, batch=8), "mlp": Model("mlp", 28, 16, batch=8)}


def timed(name, *rates, **facts):
    return Timing(name, facts, Took(10, 1, 9.0, 1.0, 5, {}), [Took(60, 1, 60 / rate, 3.0, 7, {}) for rate in rates])


def setting(**options):
    values = {
        "rounds": 1, "seconds": 0.0, "quick": True, "machine": {"backend": "cpu"}, "folder": Path(),
        "torch": True, "data_dir": None, "say": lambda _: None,
    }  # fmt: skip
    return Setting(**values | options)


PRODUCT = timed(training.PRODUCT.name, 1e9, 1e9, 1e9)
TIMINGS = timed("PyTorch, plain", 1, 2, 4), timed("PyTorch, b", 2, 4, 5), timed("ours", 6, 8, 5), PRODUCT
FOUND = Compared(
    {one.name: one for one in TIMINGS},
    {"PyTorch, c": "PyTorch, c: too slow"},
    0.5,
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def path_and_loss(model):
        path = str(folder / f"{model}.npz")
        return path, ours.export(path, **model._asdict())[1]["loss"]

    return path_and_loss


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("form", ["plain", "channels_last"])
def test_pytorch_computes_the_same_loss_from_the_same_weights(name, form, exported):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'vaejax[bench]'")
    from experiments.benchmarks import rival

    path, loss = exported(TINY[name])
    advance, facts = rival.train(path, **TINY[name]._asdict(), form=form)
    assert facts["loss"] == pytest.approx(loss, rel=1e-5)
    advance(1)


@pytest.mark.parametrize("split", ours.SPLITS)
def test_a_split_batch_trains_the_same_model(split, exported, monkeypatch):
    monkeypatch.setattr(ours, "use_devices", lambda count: None)  # the tests have their two already
    model = TINY["mlp"]
    path, loss = exported(model)
    options = {"split": split, "cores": 1 if split == "whole" else 2}
    advance, facts = ours.train(path, **model._asdict(), **options)
    said = advance(6 * facts["stride"])
    assert said is not None and said["loss"] < 0.85 * loss


def test_the_flop_are_those_of_the_layers():
    convolutions = 32**2 * 16 * 32 + 16**2 * 16 * 32 * 32 + 8**2 * 16 * 32 * 64 + 4**2 * 16 * 64 * 64
    dense = 2 * 1024 * 256 + 256 * 20 + 10 * 256
    assert flops(PAPER) == 3 * 2 * 64 * (2 * convolutions + dense)


@pytest.mark.parametrize("model", [*training.STEPS, SMALL], ids=str)
def test_every_weight_is_used_as_often_as_it_has_places(model):
    shape = (model.side, model.side, 1)
    method = vaejax.build("beta_vae", shape, model.network, width=model.width)
    batch = vaejax.Batch(np.zeros((1, *shape), np.float32))
    params = ours.flat(jax.eval_shape(method.init, jax.random.key(0), batch))
    products = 0
    for name, leaf in params.items():
        half, layer, part = name.split("/")
        number = int(layer.rpartition("_")[2])
        side = model.side // 2 ** (number + 1) if half == "encoder" else 4 * 2**number
        products += (part == "kernel") * math.prod(leaf.shape) * (side**2 if "Conv" in layer else 1)
    assert flops(model) == 6 * model.batch * products


def test_ratios_are_taken_within_rounds():
    rival = training.best(FOUND)
    assert rival is not None and rival.name == "PyTorch, b"
    assert timing.ratio(FOUND.timings["ours"], rival) == timing.quartiles([3, 2, 1])
    assert timing.quartiles([1, 2, 3, 4, 5]) == Quartiles(2, 3, 4)
    one = FOUND.timings["ours"]
    assert one.compiling == pytest.approx(9 - 10 / 6) and one.cpu == 3 / 60 and one.memory == 7
    rows = training.results(FOUND, 1e8)
    assert [row[0] for row in rows] == ["PyTorch, plain", "PyTorch, b", "ours"]
    assert rows[2][2].median == 2 and rows[2][3] == pytest.approx(60) and rows[0][-1] is None
    (row,) = training.results(Compared({"slow": timed("slow", 1)}, {}, 0.0), 1e8, FOUND)
    assert row[2].median == 1 / 4 and row[3] == pytest.approx(10) and row[6] is None


def test_without_pytorch_there_is_no_ratio_and_a_line_says_why():
    alone = Compared({"ours": FOUND.timings["ours"], PRODUCT.name: PRODUCT}, {}, 0.0)
    assert training.results(alone, 1e8)[0][2] is None
    assert notes([alone], setting(torch=False)) == [INSTALL]
    assert training.rivals(PAPER, "", setting(torch=False)) == []


def test_a_reader_is_told_what_failed_and_who_else_was_there():
    assert notes([FOUND], setting()) == [
        "left out: PyTorch, c: too slow",
        "others took 50 % of the cores, on this machine or on its host: measure again when they are done",
    ]


@pytest.mark.parametrize("loss", [100.002, math.nan])
def test_another_loss_is_refused(loss):
    found = Compared({"PyTorch": timed("PyTorch", 1, loss=loss), "ours": timed("ours", 1)}, {}, 0.0)
    with pytest.raises(Failed, match="nothing to compare"):
        check(found, 100.0, setting())
    check(Compared({"PyTorch": timed("PyTorch", 1, loss=100.0005)}, {}, 0.0), 100.0, setting())


CONTENDERS = """
import time
def sleep(seconds):
    def advance(n):
        time.sleep(n * seconds)
        return {"n": n}
    print("chatter")
    return advance, {"stride": 2, "units": 3}
def begun(seconds):
    def advance(n):
        began = time.perf_counter()
        time.sleep(0.3)
        start = time.perf_counter() - began
        time.sleep(n * seconds)
        return {"each": {"wall": (time.perf_counter() - began - start) / n, "cpu": 0.5}}
    return advance, {"stride": 20, "fixed": True}
def bad():
    raise ValueError("no such thing")
"""


@pytest.fixture
def env(tmp_path):
    (tmp_path / "contenders.py").write_text(CONTENDERS)
    return {"PYTHONPATH": str(tmp_path)}


def test_contenders_take_turns_in_processes_of_their_own(env):
    fast = Contender("fast", "contenders:sleep", {"seconds": 0.01}, env)
    slow = Contender("slow", "contenders:sleep", {"seconds": 0.02}, env, copies=2)
    found = timing.compare([fast, slow, Contender("bad", "contenders:bad", {}, env)], rounds=2, seconds=0.1)
    assert found.failed == {"bad": "bad: ValueError: no such thing"}
    assert list(found.timings) == ["fast", "slow"]
    a, b = found.timings.values()
    assert a.facts["units"] == 3 and b.facts["units"] == 6
    (steps,) = {turn.steps for turn in a.turns}
    assert len(a.turns) == 2 and 4 <= steps <= 10 and steps % 2 == 0 and a.turns[0].said == {"n": steps}
    assert max(a.rates) < 300 and max(b.rates) < 300  # units a second; less on a busy machine
    assert 1e6 < a.memory < 1e9


def test_what_a_turn_takes_beside_its_steps_is_told_apart(env):
    found = timing.compare([Contender("begun", "contenders:begun", {"seconds": 0.01}, env)], rounds=2, seconds=0.1)
    (one,) = found.timings.values()
    for turn in one.turns:
        assert turn.steps == 20 and 0.2 <= turn.wall and turn.cpu == 10 and turn.start is not None
        assert turn.start >= 0.29 and turn.rate == 20 / turn.wall  # 40 a second where the start counted
    assert one.start is not None and one.start >= 0.29 and one.compiling >= 0.2
    assert one.cpu == 0.5


def test_steps_are_counted_from_the_end_of_the_first_segment():
    ticks = [ours.Tick(40, 9.0, 12.0), ours.Tick(80, 10.0, 14.0), ours.Tick(160, 11.0, 15.0)]
    assert ours.steady(ticks, 4) == {"wall": pytest.approx(2 / 30), "cpu": pytest.approx(3 / 30)}
    with pytest.raises(ValueError, match="more steps"):
        ours.steady(ticks[:1], 4)


def test_a_fit_of_one_model_is_timed_by_its_steps(monkeypatch):
    monkeypatch.setattr(ours, "use_devices", lambda count: None)
    advance, facts = ours.sweep("mlp", 28, 16, 8, models=1, cores=1, steps=training.LEAST, memory=True)
    assert facts == {"stride": 20, "fixed": True, "units": 1}
    began = time.perf_counter()
    said = advance(20)
    whole = time.perf_counter() - began
    assert said is not None and 0 < 20 * said["each"]["wall"] < whole / 2  # the rest is compiling


def test_a_contender_that_takes_too_long_is_ended(env):
    stuck = Contender("stuck", "contenders:sleep", {"seconds": 60}, env, patience=1)
    assert timing.compare([stuck], rounds=1, seconds=0).failed == {"stuck": "stuck: took longer than 1 s"}


def test_the_ceiling_is_that_of_this_machine():
    for kind in ("product", "copy"):
        advance, facts = timing.ceiling(kind)
        advance(1)
        assert facts["backend"] == "cpu" and facts["units"] > 1e8
    assert {"processor", "cores", "jax", "date"} <= timing.machine().keys()


TABLE = Table(
    "Things: a few",
    ("", "steps/s", "peak MB"),
    [("PyTorch", Quartiles(1.0, 2.5, 3.0), 1234.5), ("vaejax, longer", Quartiles(10.0, 20.0, 30.0), None)],
    ["a remark"],
    ("steps/s",),
)
CURVE = Table("By models", ("models", "steps/s"), [(1, Quartiles(1, 2, 3)), (64, Quartiles(4, 5, 6))], [], ("steps/s",))


def test_a_table_is_aligned():
    title, _, head, _, first, second, remark = text(TABLE).splitlines()
    assert (title, remark) == (TABLE.title, "* a remark")
    assert head.split() == ["steps/s", "peak", "MB"]
    assert first == "PyTorch         2.50 [1.00, 3.00]    1,234"
    assert second == "vaejax, longer  20.0 [10.0, 30.0]        –"


def test_numbers_have_three_digits():
    values = [0.001234, 0.1234, 1.234, 12.34, 123.4, 12345.6, 7, 1000, None, "text"]
    assert [shown(value) for value in values] == [
        "0.0012", "0.123", "1.23", "12.3", "123", "12,346", "7", "1,000", "–", "text"
    ]  # fmt: skip


def test_a_table_as_json_and_as_figure(tmp_path):
    first = json.loads(json.dumps(record(TABLE)))["rows"][0]
    assert first == {"contender": "PyTorch", "steps/s": {"low": 1, "median": 2.5, "high": 3}, "peak MB": 1234.5}
    figure([TABLE, CURVE]).savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def launch(monkeypatch, *arguments):
    """The benchmark as `python -m` would run it, in this process, on a machine that needs no measuring."""
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    best = {"flops": 1e9, "bytes": 1e9, "backend": "cpu", "device": "cpu"}
    monkeypatch.setattr(timing, "ceilings", lambda seconds: best)
    benchmark.run()


def test_what_is_measured_is_printed_and_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "COMMANDS", {"step": lambda _: [CURVE], "scale": lambda _: [CURVE, TABLE]})
    launch(monkeypatch, "all", "--quick", "--out", tmp_path / "new")
    printed = capsys.readouterr().out
    assert text(TABLE) in printed and printed.count(CURVE.title) == 2
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"step.json", "step.png", "scale.json", "scale.png"}
    written = json.loads((tmp_path / "new" / "scale.json").read_text())
    assert written["rounds"] == 2 and written["machine"]["flops"] == 1e9
    assert [table["title"] for table in written["tables"]] == [CURVE.title, TABLE.title]


def test_a_part_that_fails_leaves_the_others(monkeypatch, tmp_path, capsys):
    def broken(_):
        raise Failed("losses differ")

    monkeypatch.setattr(benchmark, "COMMANDS", {"step": broken, "scale": lambda _: [CURVE]})
    with pytest.raises(SystemExit, match="1"):
        launch(monkeypatch, "--out", tmp_path)
    assert "error: step: losses differ" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"scale.json", "scale.png"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stp"], "unknown command 'stp'; did you mean 'step'"),
        (["step", "--rounds", "0"], "rounds has to be at least 1, not 0"),
        (["step", "--out", "file"], "can't be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(monkeypatch, tmp_path, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    with pytest.raises(SystemExit, match="2"):
        launch(monkeypatch, *arguments)
    printed = capsys.readouterr().err.strip()
    assert printed.startswith("error: ") and message in printed and "\n" not in printed


def test_the_metrics_are_measured(monkeypatch, tmp_path, capsys):
    some = {name: originals.ORIGINALS[name] for name in ("mig", "irs")}
    monkeypatch.setattr(metrics, "ORIGINALS", some)
    launch(monkeypatch, "metrics", "--quick", "--rounds", 1, "--out", tmp_path)
    assert "at best 1 GFLOP/s" in capsys.readouterr().out
    (table,) = json.loads((tmp_path / "metrics.json").read_text())["tables"]
    assert [row["contender"] for row in table["rows"]] == ["mig", "irs", "all of them"]
    mig, _, whole = table["rows"]
    assert mig["vaejax's value"] == pytest.approx(mig["original's value"], abs=1e-3)
    ratio = mig["original s/run"]["median"] / mig["vaejax s/run"]["median"]
    assert mig["x original"]["median"] == pytest.approx(ratio)
    assert whole["x original"] == pytest.approx(whole["original s/run"] / whole["vaejax s/run"])


def test_a_metric_with_another_value_gets_no_ratio(monkeypatch):
    def found(name, runs, sizes, setting):
        theirs, ours = ({"values": {name: value}} for value in (0.5, 0.6 if name == "mig" else 0.5005))
        pair = [Timing(who, {}, Took(1, 1, 9.0, 1, 1, {}), [Took(1, 1, wall, 1, 1, said)])
                for who, wall, said in (("original", 4.0, theirs), ("vaejax", 2.0, ours))]  # fmt: skip
        return Compared({one.name: one for one in pair}, {}, 0.0)

    monkeypatch.setattr(metrics, "score", found)
    monkeypatch.setattr(metrics, "ORIGINALS", dict.fromkeys(("mig", "irs")))
    (table,) = metrics.metrics(setting())
    assert [row[3] and row[3].median for row in table.rows[:2]] == [None, 2] and table.rows[2][3] is None
    assert table.notes == ["mig: no ratio, for mig differs by 0.1, more than 0.001"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", [name for name in originals.ORIGINALS if name != "dci"])
def test_originals_have_the_values_of_the_metrics(name):
    """Of few images; DCI's trees are tested beside scikit-learn's elsewhere."""
    sizes = {"train": 600, "test": 300, "batch": 16, "variance": 600}
    model = originals.model(0, **sizes)
    arrays = (model.z[None], model.factors, model.z_test[None], model.factors_test, model.cells[None], originals.GRID)
    tidy = vaejax.metrics.scores(*arrays, jax.random.key(0), sizes=vaejax.metrics.Sizes(**sizes), metrics=(name,))
    found = tidy.set_index("metric")["value"]
    for key, value in originals.ORIGINALS[name](model).items():
        assert found[key] == pytest.approx(value, abs=metrics.tolerance(name, value, 300))


def test_the_command_line_explains_itself():
    helped = subprocess.run([sys.executable, "-m", "experiments.benchmarks", "--help"], capture_output=True, text=True)
    assert helped.returncode == 0
    assert all(word in helped.stdout for word in (*benchmark.COMMANDS, "all", "--quick", "--out", "--rounds"))
    assert script.parse([], {"": benchmark.Config()}, "").command == "all"
