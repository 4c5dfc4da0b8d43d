"""The main job: what it writes, what it prints, and what it says to bad input."""

import json
import shutil
import subprocess
import sys
import warnings

import jax
import numpy as np
import pandas as pd
import pytest

from experiments import beta_sweep, script
from vaejax import InputError, load_run
from vaejax.analysis import pairs
from vaejax.analysis.answers import trade_off
from vaejax.report.pictures import median_runs
from vaejax.report.sweep import tidy, write_sweep

TINY = ["--source", "digits", "--network", "mlp", "--width", "32", "--latents", "3", "--learning-rate", "0.003"]
RUN = [*TINY, "--betas", "0.1", "0.5", "2", "--seeds", "2", "--steps", "300"]


def launch(monkeypatch, *arguments):
    """The script as `python -m` would run it, in this process."""
    monkeypatch.setattr(sys, "argv", ["beta_sweep", *map(str, arguments)])
    monkeypatch.setattr(script, "use_devices", lambda: None)  # the tests have their two already
    script.run(beta_sweep.main, beta_sweep.PRESETS, beta_sweep.__doc__)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        launch(monkeypatch, *RUN, "--out", out, "--name", "first")
    return out / "first"


def test_the_folder_holds_what_it_should(swept):
    assert {path.name for path in swept.iterdir() if path.name[0] != "."} == {
        "config.json", "runs.csv", "history.csv", "results.csv", "checkpoints", "figures", "report.html"
    }  # fmt: skip
    runs = pd.read_csv(swept / "runs.csv")
    assert runs["beta"].tolist() == [0.1, 0.1, 0.5, 0.5, 2, 2] and runs["seed"].tolist() == [0, 1] * 3
    assert set(runs["status"]) == {"finished"}
    results = pd.read_csv(swept / "results.csv").pivot(index="run", columns="metric", values="value")
    assert len(results) == 6 and not results.isna().any(axis=None)
    for name in (
        "elbo",
        "reconstruction",
        "kl",
        "squared_error",
        "active_units",
        *(f"kl_latent_{j}" for j in range(3)),
    ):
        assert name in results
    names = {path.stem for path in (swept / "figures").iterdir()}
    assert names >= {"metrics", "rate_distortion", "kl_per_latent", "reconstructions", "samples", "traversals_0.1"}
    assert json.loads((swept / "config.json").read_text())["beta"] == [0.1, 0.5, 2]


def test_the_larger_beta_the_smaller_the_kl_for_every_seed(swept):
    table = tidy(load_run(swept), "beta")
    kl = table[table["metric"] == "kl"].pivot(index="seed", columns="beta", values="value").to_numpy()
    assert (np.diff(kl, axis=1) < 0).all()


def test_the_page_says_what_was_asked_and_found(swept):
    page = (swept / "report.html").read_text()
    for text in (
        beta_sweep.QUESTION,
        "As beta grows from 0.1 to 2",
        "--learning-rate 0.003",
        f"jax {jax.__version__}",
    ):
        assert text in page


def test_load_run_rebuilds_the_method_and_its_parameters(swept):
    run = load_run(swept)
    source = run.source("test")
    batch = source.at(source.data, np.arange(360))
    mean = run.method.encode(run.params_of(0), batch).mean
    measured = run.results.set_index(["run", "metric"])["value"]
    assert (np.asarray(mean).var(axis=0) > 0.01).sum() == measured[0, "active_units"]
    assert len(run.history) == 6 * 30


def test_an_unfinished_sweep_is_continued_and_a_finished_one_kept(swept, monkeypatch, capsys):
    copy = swept.with_name("second")
    shutil.copytree(swept, copy)
    (copy / "report.html").unlink()
    (copy / "results.csv").unlink()
    launch(monkeypatch, *RUN, "--out", swept.parent, "--name", "second")
    assert "continuing the unfinished sweep" in capsys.readouterr().out
    assert (copy / "results.csv").read_text() == (swept / "results.csv").read_text()


def test_the_run_shown_is_the_one_nearest_the_median():
    elbo = {0: -10.0, 1: -30.0, 2: -11.0, 3: np.nan}
    rows = [{"run": run, "beta": 1.0, "seed": run, "metric": "elbo", "value": value} for run, value in elbo.items()]
    assert median_runs(pd.DataFrame(rows), "beta") == {1.0: 2}


def outcome(values):
    """A tidy table: for every beta and seed the ELBO and what else an answer needs; NaN is a run that diverged."""
    rows = []
    for beta, elbos in values.items():
        for seed, elbo in enumerate(elbos):
            measured = {"elbo": elbo, "kl": 20 / beta + 0 * elbo, "reconstruction": 30.0 * beta + 0 * elbo}
            measured |= {"active_units": 8.0}
            rows += [{"run": len(rows) // 4, "beta": beta, "seed": seed, "metric": k, "value": v}
                     for k, v in measured.items()]  # fmt: skip
    return pd.DataFrame(rows)


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({1.0: [-50, -51], 4.0: [-60, -61]}, ["As beta grows from 1 to 4", "from 20.0 to 5.0 nats"]),
        ({1.0: [-50, -51]}, ["One beta alone shows no effect"]),
        ({1.0: [NAN, NAN], 4.0: [NAN, NAN]}, ["All 4 runs diverged: there is nothing to compare", "lower learning"]),
        ({1.0: [NAN]}, ["The run diverged: there is nothing to compare", "lower learning"]),
        (
            {1.0: [NAN, NAN], 4.0: [-60, -61]},
            ["2 of 4 runs diverged and are left out (2 of 2 at β = 1). Only β = 4 is left, and one setting alone"],
        ),
        (
            {1.0: [-50, -51], 4.0: [-60, NAN], 16.0: [NAN, NAN]},
            ["As beta grows from 1 to 4", "3 of 6 runs diverged", "(1 of 2 at β = 4, 2 of 2 at β = 16)"],
        ),
    ],
    ids=["all", "one beta", "all lost", "the one lost", "one beta left", "some lost"],
)
def test_the_answer_says_what_diverged(values, says):
    text = trade_off(outcome(values), "beta")
    assert all(part in text for part in says) and "nan" not in text
    assert ("alone shows no effect" in text) == (len(says) == 1)


def test_a_run_that_diverged_counts_nowhere(swept):
    run = load_run(swept)
    lost = run._replace(table=run.table.assign(status=["diverged", *["finished"] * 5]))
    table = tidy(lost, "beta")
    assert table.loc[table["run"] == 0, "value"].isna().all() and table.loc[table["run"] != 0, "value"].notna().all()


@pytest.mark.parametrize("left", [0, 2], ids=["none is left", "one beta is left"])
def test_a_sweep_that_diverged_has_a_page_that_says_so(swept, tmp_path, left):
    run = load_run(swept)
    status = ["diverged"] * (6 - left) + ["finished"] * left
    run = run._replace(path=tmp_path, table=run.table.assign(status=status))
    answer = trade_off(tidy(run, "beta"), "beta")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = write_sweep(run, "beta", question="What?", answer=answer, facts={}).read_text()
    said = "Only β = 2 is left, and one setting alone shows no effect" if left else "All 6 runs diverged"
    assert said in page and "One beta alone" not in page and "2 of 2 runs diverged" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "mnits"], "did you mean 'mnist'"),
        (["--source", "sprits"], "did you mean 'sprites'"),
        (["--source", "npz:absent.npz"], "absent.npz"),
        (["--method", "betavae"], "unknown method 'betavae'; did you mean 'beta_vae'"),
        (["--method", "vae"], "the method 'vae' has no beta to sweep"),
        (["--betas", "1", "-1"], "beta has to be a finite number that is not negative"),
        (["--betas", "nan"], "beta has to be a finite number"),
        (["--steps", "0"], "steps has to be at least 1, not 0"),
        (["--batch-size", "0"], "batch_size has to be at least 1"),
        (["--seeds", "0"], "at least one beta and one seed"),
        (["--images", "0"], "images has to be at least 1"),
        (["--latents", "0"], "at least 1 latent"),
        (["--width", "0"], "width 0"),
        (["--betas", "1", "1"], "every beta once"),
        (["--learning-rate", "-0.1"], "learning_rate has to be a finite number"),
        (["--source", "sprites", "--size", "48"], "48"),
        (["--size", "32"], "only rendered sources take a size"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(monkeypatch, capsys, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        launch(monkeypatch, *TINY, "--out", tmp_path, *arguments)
    printed = capsys.readouterr().err.strip()
    assert stopped.value.code == 2
    assert printed.startswith("error: ") and message in printed and "\n" not in printed
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_images_with_nan_are_refused(monkeypatch, capsys, tmp_path):
    np.savez(tmp_path / "bad.npz", x=np.full((20, 8, 8), np.nan, np.float32))
    with pytest.raises(SystemExit, match="2"):
        launch(monkeypatch, *TINY, "--out", tmp_path / "runs", "--source", f"npz:{tmp_path}/bad.npz")
    assert "NaN" in capsys.readouterr().err


def test_a_used_folder_is_never_deleted_silently(monkeypatch, capsys, swept, tmp_path):
    before = sorted(swept.rglob("*"))
    with pytest.raises(SystemExit, match="2"):
        launch(monkeypatch, *RUN, "--out", swept.parent, "--name", "first")
    assert "--overwrite" in capsys.readouterr().err
    assert sorted(swept.rglob("*")) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(SystemExit, match="2"):
        launch(monkeypatch, *RUN, "--out", tmp_path, "--name", "mine", "--overwrite")
    assert "another --name" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_one_line(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="2"):
        launch(monkeypatch, *RUN, "--out", tmp_path / "file")
    printed = capsys.readouterr().err.strip()
    assert "can't be written" in printed and "\n" not in printed


def test_a_full_disk_loses_nothing_that_was_saved(monkeypatch, tmp_path):
    from vaejax.storage import disk, files

    files.write_text(tmp_path / "results.csv", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk.os, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        files.write_text(tmp_path / "results.csv", "new")
    assert (tmp_path / "results.csv").read_text() == "old"


def test_the_command_line_explains_itself_and_refuses_what_it_does_not_know():
    command = [sys.executable, "-m", "experiments.beta_sweep"]
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True)
    assert helped.returncode == 0
    for option in ("--betas", "--seeds", "--steps", "--source", "--method", "--name", "--preset", "--overwrite"):
        assert option in helped.stdout
    refused = subprocess.run([*command, "--network", "transformer"], capture_output=True, text=True)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr


def test_the_paper_preset_is_the_studys_protocol():
    config = script.parse(["--preset", "paper", "--seeds", "2"], beta_sweep.PRESETS, "")
    assert (config.steps, config.batch_size, config.learning_rate, config.latents) == (300_000, 64, 1e-4, 10)
    assert config.betas == (1, 2, 4, 6, 8, 16) and config.network == "conv_k2" and config.seeds == 2
    assert beta_sweep.image_size(config) == 64
    assert beta_sweep.image_size(script.parse([], beta_sweep.PRESETS, "")) == 32


def test_genuine_mnist_is_trained_and_measured_on_its_test_set(shared, monkeypatch, tmp_path, capsys):
    arguments = ["--network", "mlp", "--width", "64", "--betas", "1", "8", "--seeds", "1", "--steps", "60"]
    launch(monkeypatch, "--source", "mnist", "--data-dir", shared / "tfds", *arguments, "--out", tmp_path)
    assert "measuring 2 runs on 10,000 images" in capsys.readouterr().out
    results = load_run(tmp_path / "beta_sweep").results
    assert results[results["metric"] == "reconstruction"]["value"].max() < 250  # nats; an untrained decoder has 543


@pytest.mark.slow
def test_the_genuine_dsprites_file_is_a_source_with_factors(shared, monkeypatch, tmp_path):
    path = shared / "dsprites" / "dsprites_downsampled.npz"
    arguments = ["--network", "mlp", "--width", "16", "--betas", "4", "--seeds", "1", "--steps", "5", "--images", "200"]
    launch(monkeypatch, "--source", f"dsprites:{path}", *arguments, "--out", tmp_path)
    assert "mig" in set(load_run(tmp_path / "beta_sweep").results["metric"])


def test_load_run_says_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"is not the folder of a sweep: config.json can't be read"):
        load_run(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="has no 'shape' or 'model'"):
        load_run(tmp_path)


@pytest.mark.slow
def test_the_default_sweep_shows_what_beta_does(tmp_path):
    """The main job as a user types it: KL falls as beta grows, and MIG and DCI rise beyond their intervals."""
    command = [sys.executable, "-m", "experiments.beta_sweep", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = tidy(load_run(tmp_path / "beta_sweep"), "beta")
    counts = table.groupby("metric").size()
    runs = len(beta_sweep.Config().betas) * beta_sweep.Config().seeds
    assert set(counts[["elbo", "mig", "dci_disentanglement", "factor_vae_score", "kl_latent_5"]]) == {runs}
    by_seed = {
        metric: rows.pivot(index="seed", columns="beta", values="value") for metric, rows in table.groupby("metric")
    }
    assert (np.diff(by_seed["kl"], axis=1) < 0).all()
    assert (np.diff(by_seed["reconstruction"].mean()) > 0).all()
    assert by_seed["active_units"][1].mean() > by_seed["active_units"][16].mean()
    for metric, least in {"mig": 0.15, "dci_disentanglement": 0.1}.items():
        gain = pairs.best(table, "beta", metric, 1)
        assert gain is not None and gain.decided and gain.low > 0 and gain.difference > least
    assert "separates the factors better than β = 1: MIG" in done.stdout
