"""The script that trains any method: what it writes, and what it says to bad input."""

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from experiments import script, train
from experiments.options import option
from vaejax import load_run

TINY = ["--source", "digits", "--network", "mlp", "--width", "32", "--latents", "3", "--seeds", "2", "--steps", "100"]


def launch(monkeypatch, *arguments):
    """The script as `python -m` would run it, in this process."""
    monkeypatch.setattr(sys, "argv", ["train", *map(str, arguments)])
    monkeypatch.setattr(script, "use_devices", lambda: None)  # the tests have their two already
    script.run(train.main, {"": train.Config()}, train.__doc__)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two settings of a VAE, and an autoencoder without a prior."""
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        arguments = ["--hyper", "beta=1,4", "learning_rate=0.003", "--out", out]
        launch(monkeypatch, "--method", "beta_vae", *TINY, *arguments)
        launch(monkeypatch, "--method", "autoencoder", *TINY, "--out", out, "--name", "plain")
    return out


def test_a_sweep_of_a_variational_method(trained):
    folder = trained / "beta_vae-digits"
    runs = pd.read_csv(folder / "runs.csv")
    assert runs["beta"].tolist() == [1, 1, 4, 4] and set(runs["learning_rate"]) == {0.003}
    kl = pd.read_csv(folder / "results.csv").pivot(index="run", columns="metric", values="value")["kl"]
    assert kl[:2].min() > kl[2:].max()
    figures = {path.stem for path in (folder / "figures").iterdir()}
    assert figures == {
        "metrics", "trade_off", "rate_distortion", "kl_per_latent", "learning_curves", "reconstructions", "samples",
        "traversals_β_1", "traversals_β_4",
    }  # fmt: skip
    page = (folder / "report.html").read_text()
    assert "What does beta_vae make of digits?" in page and "the best of 2 settings" in page and "β = 4" in page


def test_a_method_without_a_prior_has_a_page_too(trained):
    folder = trained / "plain"
    figures = {path.stem for path in (folder / "figures").iterdir()}
    assert figures == {"learning_curves", "reconstructions", "traversals_autoencoder"}  # no curves of single dots
    page = (folder / "report.html").read_text()
    assert (
        "reconstruction term is" in page and "whose reconstruction term is nearest" in page and "whose ELBO" not in page
    )


def test_a_quantising_method_draws_its_images_from_a_prior_over_its_codes(trained, monkeypatch, capsys):
    options = ["--options", "codes=8", "--prior-steps", "60", "--out", trained]
    launch(monkeypatch, "--method", "vq_vae", *TINY, "--network", "residual", *options)
    folder = trained / "vq_vae-digits"
    drawn = list((folder / "figures").glob("code_prior_*.png"))
    assert len(drawn) == 1 and "a prior over the codes" in capsys.readouterr().out
    page = (folder / "report.html").read_text()
    needs, most = re.search(r"needs ([\d.]+) nats .* would take ([\d.]+) nats\.", page).groups()
    assert 0 < float(needs) < float(most) == pytest.approx(4 * np.log(8), abs=0.05)
    losses = pd.read_csv(folder / "code_prior" / drawn[0].stem.split("_")[-1] / "history.csv")
    assert losses["step"].max() == 60


def test_a_model_of_labels_has_a_page_too(trained, monkeypatch):
    options = ["--options", "condition=label", "classes=10", "--out", trained]
    launch(monkeypatch, "--method", "conditional_vae", *TINY, *options)
    figures = {path.stem for path in (trained / "conditional_vae-digits" / "figures").iterdir()}
    assert {"samples", "reconstructions"} <= figures and not any("code_prior" in name for name in figures)


def test_a_classifier_is_judged_by_its_accuracy(trained, monkeypatch):
    quick = ["--network", "mlp_relu", "--hyper", "pretrain_steps=0", "learning_rate=0.01", "--name", "classes"]
    launch(monkeypatch, "--method", "stacked_classifier", *TINY[:2], *TINY[4:], *quick, "--out", trained)
    results = pd.read_csv(trained / "classes" / "results.csv").set_index(["run", "metric"])["value"]
    accuracy = results[:, "accuracy"].mean()
    page = (trained / "classes" / "report.html").read_text()
    assert accuracy > 0.3 and f"the accuracy is {accuracy:.3f} (" in page and "as pre-training left them" in page


def test_load_run_rebuilds_what_was_trained(trained):
    run = load_run(trained / "plain")
    source = run.source("test")
    batch = source.at(source.data, np.arange(360))
    error = (run.method.decode(run.params_of(1), run.method.encode(run.params_of(1), batch).mean).mean - batch.x) ** 2
    measured = run.results.set_index(["run", "metric"])["value"]
    np.testing.assert_allclose(error.sum(axis=(1, 2, 3)).mean(), measured[1, "squared_error"], rtol=1e-4)
    assert json.loads((trained / "plain" / "config.json").read_text())["model"]["width"] == 32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "vea"], "unknown method 'vea'; did you mean 'vae'"),
        (["--network", "cnov"], "unknown network 'cnov'; did you mean 'conv'"),
        (["--likelihood", "bernouli"], "did you mean 'bernoulli'"),
        (["--options", "size"], "--options takes NAME=VALUE once for every name, not 'size'"),
        (["--options", "size=3"], "the method 'vae' takes no 'size'"),
        (["--hyper", "beta=1"], "unknown hyperparameter 'beta'"),
        (["--hyper", "learning_rate=fast"], "--hyper learning_rate takes numbers"),
        (["--hyper", "learning_rate=0.1,0.1"], "every value once"),
        (["--hyper", "learning_rate=-1"], "learning_rate has to be a finite number"),
        (["--hyper", "learning_rate=1", "learning_rate=2"], "once for every name"),
        (["--width", "0"], "width 0"),
        (["--width", "3", "4", "--network", "mlp"], "takes one width"),
        (["--steps", "0"], "steps has to be at least 1"),
        (["--seeds", "0"], "at least one seed"),
        (["--prior-steps", "-1"], "--prior-steps has to be 0 (for none) or more"),
        (["--size", "9"], "only rendered sources take a size"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message, monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        launch(monkeypatch, "--source", "digits", "--out", tmp_path, *arguments)
    said = capsys.readouterr().err.strip()
    assert stop.value.code == 2 and message in said and "\n" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("elbos", "says"),
    [
        ({"β = 1": [-50.0, -52.0], "β = 4": [-60.0, -60.0]}, "is -51.0 nats per image (β = 1, the best of 2 settings)"
         ", mean over 2 seeds."),
        ({"β = 1": [-50.0, np.nan], "β = 4": [-60.0, -60.0]}, "(β = 1, the best of 2 settings), mean over 1 seed. 1 of "
         "4 runs diverged and is left out (1 of 2 at β = 1). A lower learning rate may help."),
        ({"vae": [np.nan, np.nan]}, "All 2 runs diverged: there is nothing to compare. A lower learning rate may"),
    ],
    ids=["whole", "one lost", "all lost"],
)  # fmt: skip
def test_the_answer_counts_the_seeds_that_there_are(elbos, says):
    rows = [(setting, seed, value) for setting, values in elbos.items() for seed, value in enumerate(values)]
    table = pd.DataFrame(rows, columns=["setting", "seed", "value"]).assign(metric="elbo")
    run = SimpleNamespace(config={"steps": 100, "seeds": 7, "shape": [8, 8, 1]})
    assert says in train.answer(table.assign(run=range(len(rows))), run)


def test_options_are_read_as_what_they_look_like():
    assert [option(text) for text in ("[500, 250]", "{1: 2}", "-" * 9999 + "1", "b'x'")] == [
        (500, 250),
        "{1: 2}",
        "-" * 9999 + "1",
        "b'x'",
    ]
    assert [option(text) for text in ("64", "8,5,5", "masking", "True", "0.5")] == [
        64,
        (8, 5, 5),
        "masking",
        True,
        0.5,
    ]
