"""The study: what it trains, what it writes, that it goes on after a stop, and what it says to bad input."""

import dataclasses
import json
import shutil
import signal
import sys

import numpy as np
import pandas as pd
import pytest

from experiments import disentanglement_study, groups, pictures, planning, script, stopping
from vaejax import InputError, load_run
from vaejax.storage.files import write_text

TINY = [
    *("--size", "16", "--network", "mlp", "--width", "16", "--latents", "3", "--steps", "20", "--batch-size", "16"),
    *("--seeds", "2", "--samples", "200", "--grid", "500", "--resamples", "20", "--discriminator-width", "8"),
    *("--metrics", "mig", "dci", "factor_vae_score", "gaussian_total_correlation"),
]
RUN = [*TINY, "--methods", "beta_vae", "factor_vae:10,40", "autoencoder"]


def launch(monkeypatch, *arguments):
    """The script as `python -m` would run it, in this process."""
    monkeypatch.setattr(sys, "argv", ["disentanglement_study", *map(str, arguments)])
    monkeypatch.setattr(script, "use_devices", lambda: None)  # the tests have their two already
    script.run(disentanglement_study.main, disentanglement_study.PRESETS, disentanglement_study.__doc__)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        launch(monkeypatch, *RUN, "--out", out, "--name", "first")
    return out / "first"


def test_every_run_has_every_metric(study):
    runs, results = pd.read_csv(study / "runs.csv"), pd.read_csv(study / "results.csv")
    trained = runs[runs["group"] != "baselines"]
    counts = trained.groupby(["source", "method"]).size().to_dict()
    correlated = "sprites+correlated:x,y,0.2"
    assert counts == {
        ("sprites", "vae"): 2, ("sprites", "beta_vae"): 4, ("sprites", "factor_vae"): 4, ("sprites", "autoencoder"): 2,
        (correlated, "vae"): 2, (correlated, "beta_vae"): 4, (correlated, "beta_tcvae"): 4,
        ("rectangles", "vae"): 2, ("rectangles", "beta_vae"): 4,
    }  # fmt: skip
    baselines = runs[runs["group"] == "baselines"]
    assert set(baselines["method"]) == {"true_factors", "pca", "ica", "pixels", "random_encoder"}
    values = results.pivot(index="run", columns="metric", values="value")
    assert len(values) == len(runs)
    of_all = ["mig", "dci_disentanglement", "factor_vae_score", "gaussian_total_correlation"]
    assert np.isfinite(values[of_all]).all(axis=None)
    with_kl = values.loc[trained.loc[trained["method"] != "autoencoder", "run"]]
    assert np.isfinite(with_kl[["elbo", "kl", "udr", "sampled_gaussian_total_correlation"]]).all(axis=None)
    assert (values["samples_train"] == 200).all() and (values["samples_grid"] <= 500).all()


def test_a_group_is_a_run_that_can_be_opened(study):
    run = load_run(study / "groups" / "sprites-factor_vae")
    assert run.table["gamma"].tolist() == [10, 10, 40, 40] and "discriminator" in run.params
    assert run.table["discriminator_learning_rate"].tolist() == pytest.approx([1e-3] * 4)


def test_the_page_answers_the_question(study):
    page = (study / "report.html").read_text()
    assert disentanglement_study.QUESTION in page and "--discriminator-width 8" in page
    assert "What latents carry" in page and "width" in page and "angle" in page
    assert any(path.name.startswith("traversals") for path in (study / "figures").iterdir())


def test_a_stopped_study_trains_and_measures_only_what_is_missing(study, monkeypatch, capsys):
    copy = study.with_name("second")
    shutil.copytree(study, copy)
    config = json.loads((copy / "config.json").read_text())
    write_text(copy / "config.json", json.dumps({**config, "name": "second"}))
    (copy / "report.html").unlink()
    shutil.rmtree(copy / "groups" / "sprites-autoencoder")
    evaluated, evaluate = [], groups.evaluate
    monkeypatch.setattr(groups, "evaluate", lambda *a, **k: evaluated.append(a) or evaluate(*a, **k))
    launch(monkeypatch, *RUN, "--out", study.parent, "--name", "second")
    assert "continuing the unfinished study" in capsys.readouterr().out and len(evaluated) == 1
    assert (copy / "results.csv").read_text() == (study / "results.csv").read_text()


STOPS = {  # where the signal comes: what is called there, the signal, the code of the process
    "while a group trains": ("Projection.__call__", signal.SIGTERM, 143),
    "between two groups": ("claim", signal.SIGINT, 130),
    "while a group is measured": ("evaluate", signal.SIGTERM, 143),
}


@pytest.mark.slow
@pytest.mark.parametrize("where", STOPS)
def test_a_study_that_is_told_to_stop_goes_on_to_the_same_results(where, study, monkeypatch, capsys):
    name, number, code = STOPS[where]
    copy = study.with_name(where)
    shutil.copytree(study, copy)
    config = json.loads((copy / "config.json").read_text())
    write_text(copy / "config.json", json.dumps({**config, "name": where}))
    (copy / "report.html").unlink()
    shutil.rmtree(copy / "groups" / "sprites-autoencoder")
    command = [*RUN, "--out", study.parent, "--name", where]
    before = {each: signal.getsignal(each) for each in stopping.SIGNALS}

    came = []

    def stop(*args, **kwargs):
        if not came:  # a second one would stop at once
            came.append(number)
            signal.raise_signal(number)

    try:
        with monkeypatch.context() as patched, pytest.raises(SystemExit) as stopped:
            patched.setattr(f"experiments.groups.{name}", stop)
            launch(patched, *command)
    finally:
        stopping.restore(before)
    assert stopped.value.code == code
    assert capsys.readouterr().err.strip().endswith("stopped; the same command continues from the last checkpoint")
    launch(monkeypatch, *command)
    assert "continuing the unfinished study" in capsys.readouterr().out
    for table in ("runs.csv", "results.csv"):
        assert (copy / table).read_text() == (study / table).read_text()
    shutil.rmtree(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "can't be read"), ("run,metric,value\n0,mig,0.5\n1", "is cut"), ("a,b\n1,2\n", "is cut, or no table")],
)
def test_a_cut_table_of_results_is_one_line(text, message, tmp_path):
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(InputError, match=f"{message}.*delete it to measure again"):
        groups.kept(tmp_path / "results.csv")


def test_a_source_that_is_also_the_mixing_one_is_trained_once():
    config = dataclasses.replace(disentanglement_study.PRESETS["laptop"], sources=("rectangles",), correlated=())
    names = [group.name for group in disentanglement_study.planned(config)]
    assert len(set(names)) == len(names) == 8


def test_a_diverged_run_counts_nowhere():
    config = disentanglement_study.PRESETS["laptop"]
    (group, *_) = disentanglement_study.planned(config)
    runs = pd.DataFrame({"run": [0, 1], "beta": [1.0, 4.0], "seed": [0, 0], "status": ["finished", "diverged"]})
    results = pd.DataFrame({"run": [0, 0, 1, 1], "metric": ["mig", "samples_train"] * 2, "value": [0.1, 9, 0.2, 9]})
    table = disentanglement_study.tidy(group, runs, results)
    assert table["value"].fillna(-1).tolist() == [0.1, 9, -1, 9]
    assert table["method"].tolist() == ["vae", "vae", "beta_vae", "beta_vae"]


def test_a_latent_that_carries_two_factors_is_named():
    shares = np.array([[0.5, 0.3, 0.0], [0.0, 0.01, 0.6]])
    text = pictures.mixed(shares, ["z0", "z4"], ("width", "height", "angle"))
    assert text == "z0 mixes width and height."
    assert pictures.mixed(shares[1:], ["z4"], ("width", "height", "angle")) == "no latent carries two factors."


def test_the_paper_preset_is_the_studys_1800_models():
    config = script.parse(["--preset", "paper"], disentanglement_study.PRESETS, "")
    planned = disentanglement_study.planned(config)
    assert sum(group.runs(config.seeds) for group in planned) == 1800 and len(planned) == 6
    assert (config.steps, config.batch_size, config.learning_rate, config.size) == (300_000, 64, 1e-4, 64)
    assert planning.strengths("beta_vae:1,4", config) == ("beta_vae", (1, 4))
    capacity = next(group for group in planned if group.model["method"] == "annealed_capacity")
    assert capacity.fixed["anneal_steps"] == 100_000 and capacity.values == (5, 10, 25, 50, 75, 100)


def test_the_projection_is_said_once(monkeypatch):
    said, clock = [], iter([0.0, 1.0, 5.0, 9.0])
    monkeypatch.setattr(groups.tqdm, "write", said.append)
    monkeypatch.setattr(groups.time, "monotonic", lambda: next(clock))
    projection = groups.Projection(1_000_000)
    for done in (100, 200, 600, 1000):
        projection(groups.Progress(done, 2000, np.arange(2), done, {}, 0))
    (line,) = said
    assert line.startswith("projected: 2.8 hours for 1,000,000 model-steps at 100 a second")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "betavae"], "did you mean 'beta_vae'"),
        (["--methods", "beta_vae:1,x"], "beta_vae:1,x can't be read"),
        (["--methods", "beta_vae:4,4"], "every value once"),
        (["--methods", "autoencoder:4"], "autoencoder has no strength"),
        (["--methods", "beta_vae:-1"], "beta has to be a finite number"),
        (["--methods", "vae"], "unknown method of the study 'vae'"),
        (["--methods"], "at least one source and one method"),
        (["--sources", "sprits"], "sprits"),
        (["--sources", "digits"], "digits"),
        (["--correlated", "x,z,0.2"], "'z'"),
        (["--correlated", "x,y"], "+correlated:x,y can't be read"),
        (["--methods", "beta_vae", "beta_vae"], "every name once"),
        (["--seeds", "0"], "seeds has to be at least 1"),
        (["--metrics", "mgi"], "did you mean 'mig'"),
        (["--samples", "0"], "samples has to be at least 1"),
        (["--size", "9"], "9"),
        (["--latents", "0"], "at least 1 latent"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(monkeypatch, capsys, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        launch(monkeypatch, *RUN, "--out", tmp_path, *arguments)
    printed = capsys.readouterr().err.strip()
    assert stopped.value.code == 2
    assert printed.startswith("error: ") and message in printed and "\n" not in printed
    assert not list(tmp_path.iterdir())
