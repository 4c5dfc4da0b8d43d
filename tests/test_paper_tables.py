"""The script around the published protocols; each protocol has its own test."""

import importlib
import json
import sys

import pytest

from experiments import script
from experiments.benchmarks.tables import text
from experiments.papers import __main__ as paper_tables
from experiments.papers.table import Row, Setting
from vaejax import build, grid
from vaejax.data import load

ROWS = [
    Row("squared error per image", 13.87, 13.9, 13.57, 14.17),
    Row("VAE - IWAE, nats", None, 0.5, low=1.0, interval=(0.25, 0.75), note="2 seeds"),
    Row("perplexity", None, 40.0),
]


def launch(monkeypatch, *arguments):
    """The script as `python -m` would run it, in this process."""
    monkeypatch.setattr(sys, "argv", ["paper_tables", *map(str, arguments)])
    monkeypatch.setattr(script, "use_devices", lambda: None)
    script.run(paper_tables.main, {"": paper_tables.Config()}, paper_tables.__doc__)


@pytest.fixture
def counted(monkeypatch):
    """One table, and how often it was measured."""
    calls = []
    monkeypatch.setattr(paper_tables, "TABLES", {"one": lambda setting: calls.append(setting) or ROWS})
    return calls


def test_a_row_says_whether_it_is_in_its_band(counted, monkeypatch, capsys, tmp_path):
    launch(monkeypatch, "one", "--out", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    row = {line.split("  ")[0]: line.split() for line in lines}
    assert row["squared error per image"][-5:] == ["13.9", "13.57", "to", "14.17", "yes"]
    assert row["squared error per image"][-6] == "13.87"
    assert row["VAE - IWAE, nats"][-6:] == ["0.5", "[0.25,", "0.75]", "≥", "1", "NO"]
    assert row["perplexity"][-3:] == ["40", "–", "–"]
    assert "* VAE - IWAE, nats: 2 seeds" in lines
    reason = "* what is known of why a number is outside its band is at the top of experiments/papers/one.py"
    assert reason in lines


def test_a_table_in_its_bands_needs_no_reason():
    assert "outside" not in text(paper_tables.shown("one", [ROWS[0], ROWS[2]]))


def test_the_file_that_a_table_names_is_there():
    for name in paper_tables.TABLES:
        assert importlib.import_module(f"experiments.papers.{name}").rows is paper_tables.TABLES[name]


def test_what_was_measured_is_not_measured_again(counted, monkeypatch, capsys, tmp_path):
    for _ in range(2):
        launch(monkeypatch, "one", "--out", tmp_path)
    first, second = capsys.readouterr().out.split("one\n")[1:]
    assert len(counted) == 1 and first.strip() == second.strip()
    assert json.loads((tmp_path / "one" / "rows.json").read_text())["rows"][1]["measured"] == 0.5
    launch(monkeypatch, "one", "--out", tmp_path, "--overwrite")
    launch(monkeypatch, "one", "--out", tmp_path, "--quick")  # which has a folder of its own
    assert [setting.quick for setting in counted] == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["two"], "unknown table 'two'; choose one of: one"), (["one"], "delete it to measure again")],
)
def test_bad_input_is_one_clear_line(arguments, message, counted, monkeypatch, capsys, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "rows.json").write_text("{")
    with pytest.raises(SystemExit) as stop:
        launch(monkeypatch, *arguments, "--out", tmp_path)
    said = capsys.readouterr().err.strip()
    assert stop.value.code == 2 and message in said and "\n" not in said


def test_overwriting_deletes_nothing_but_what_was_trained_there(counted, monkeypatch, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "thesis.txt").write_text("precious")
    launch(monkeypatch, "one", "--out", tmp_path, "--overwrite")
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"thesis.txt", "rows.json"}


def test_a_number_that_is_none_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(paper_tables, "TABLES", {"one": lambda setting: [Row("loss", None, float("nan"))]})
    with pytest.raises(SystemExit):
        launch(monkeypatch, "one", "--out", tmp_path)
    assert "loss came out as no number" in capsys.readouterr().err
    assert not (tmp_path / "one" / "rows.json").exists()


def test_training_for_a_table_goes_on_where_it_was(tmp_path):
    setting, source = Setting(tmp_path), load("digits")
    method = build("vae", source.shape, "mlp", latents=2, width=8)
    runs = grid(method.hyper, 2)
    once = setting.fit("vae", method, source, runs, steps=20, batch_size=8)
    again = setting.fit("vae", method, source, runs, steps=20, batch_size=8)
    assert once.status == again.status == ["finished"] * 2
    assert (once.history["loss"] == again.history["loss"]).all()
    assert (tmp_path / "vae" / "checkpoints").exists()
