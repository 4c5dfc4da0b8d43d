"""Traversals of trained runs: what is written, that it is what the decoder makes, and what bad input is told."""

import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from experiments import factor_traversal, script
from tests.test_beta_sweep import launch as train
from vaejax import InputError, apply, build, fit, grid, load_run
from vaejax.apply.encode import factor_names
from vaejax.apply.traverse import data_values, prior_values, traverse
from vaejax.data import load
from vaejax.data.source import examples
from vaejax.method import Batch
from vaejax.storage.files import write_table
from vaejax.storage.folder import claim
from vaejax.storage.run import Run

TINY = ["--network", "mlp", "--width", "32", "--latents", "3", "--learning-rate", "0.003", "--images", "300"]
SPRITES = ["--source", "sprites", "--size", "8", *TINY, "--betas", "0.1", "1", "--seeds", "3", "--steps", "60"]
FILES = {"traversal.gif", "traversal.png", "traversal.html", "factor_latent.png", "mutual_information.png"}
FEW = ["--images", "400", "--steps", "3"]


def launch(monkeypatch, *arguments):
    """The script as `python -m` would run it, in this process."""
    monkeypatch.setattr(sys, "argv", ["factor_traversal", *map(str, arguments)])
    script.run(factor_traversal.main, {"": factor_traversal.Config()}, factor_traversal.__doc__)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("vaejax.report.sweep.write_sweep", lambda *_, **__: out)  # its page isn't needed here
        train(monkeypatch, *SPRITES, "--out", out, "--name", "sprites")
    return out / "sprites"


@pytest.fixture(scope="module")
def unmeasured(tmp_path_factory):
    """An autoencoder on digits: no prior, no factors, and no results.csv."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    source, model = load("digits"), {"method": "autoencoder", "network": "mlp", "latents": 2, "width": 16}
    claim(path, {"source": {"name": "digits"}, "model": model, "shape": source.shape, "command": "none"})
    method = build(shape=source.shape, **model)
    fit(method, source, grid(method.hyper, 2), steps=20, batch_size=8, workdir=path)
    return path


def test_a_run_gets_its_pictures_and_its_page(swept, monkeypatch, capsys, tmp_path):
    launch(monkeypatch, swept, "--runs", 1, *FEW, "--out", tmp_path)
    said, folder = capsys.readouterr().out, tmp_path / "traversal_1"
    assert {path.name for path in folder.iterdir()} == FILES and f"written: {folder}/traversal.html" in said
    assert "Run 1 (β = 0.1, seed 1): traversals from -2 to 2 standard deviations of the prior" in said
    assert "of 3 codes are active" in said
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 100
    page = (folder / "traversal.html").read_text()
    assert "data:image/gif;base64," in page and "What does each code carry?" in page and "389648" in page
    with Image.open(folder / "traversal.gif") as gif:
        assert gif.n_frames == 4 and gif.info["loop"] == 0
        frame = np.asarray(gif.convert("RGB"))[..., 0]
    source = load("sprites", size=8)
    x = np.asarray(source.at((), jnp.array([389_648])).x)[0, ..., 0]
    wide = x.repeat(16, axis=0).repeat(16, axis=1) * 255
    windows = np.lib.stride_tricks.sliding_window_view(frame[:, : frame.shape[1] // 4], wide.shape)
    assert (windows == wide).all(axis=(2, 3)).any()


def test_the_median_run_of_every_setting_is_drawn(swept, monkeypatch, capsys):
    launch(monkeypatch, swept, *FEW, "--range", "data")
    said = capsys.readouterr().out
    elbo = load_run(swept).results.query("metric == 'elbo'").set_index("run")["value"]
    middle = [group.sort_values().index[1] for group in (elbo[:3], elbo[3:])]
    assert {path.name for path in (swept / "figures").glob("traversal_*/")} >= {f"traversal_{run}" for run in middle}
    assert said.count("from the 1st to the 99th percentile of the codes") == 2
    assert factor_traversal.median(load_run(swept), ["beta"]) == middle
    launch(monkeypatch, swept, *FEW, "--limit", 1)
    assert capsys.readouterr().out.count("written: ") == 1


def test_codes_kl_and_factors_are_those_of_the_method(swept):
    run = load_run(swept)
    source, params = run.source("test"), run.params_of(2)
    found = factor_traversal.encode(run.method, source, params, 250)
    batch = source.at(source.data, examples(source, 250))
    posterior = run.method.encode(params, batch)
    np.testing.assert_allclose(found.mean, posterior.mean, atol=1e-5)
    np.testing.assert_allclose(found.kl, np.asarray(posterior.kl()).mean(axis=0), rtol=1e-4)
    np.testing.assert_array_equal(found.factors, batch.factors)
    assert found.names == source.names and (np.diff(found.kl[found.order]) <= 0).all()


@pytest.mark.parametrize("kind", ["prior", "data"])
def test_rows_are_what_the_decoder_makes_of_moved_codes(swept, kind):
    run = load_run(swept)
    params, z = run.params_of(0), np.array([0.5, -1.0, 2.0], np.float32)
    codes = np.random.default_rng(0).standard_normal((100, 3)) * [1, 2, 3]
    values = prior_values(4) if kind == "prior" else data_values(codes, 4)
    rows = np.asarray(traverse(run.method, params, jnp.asarray(z), jnp.asarray(values)))
    for j in range(3):
        for step in range(4):
            moved = z.copy()
            moved[j] = values[step] if kind == "prior" else values[j, step]
            by_hand = run.method.decode(params, moved[None]).mean[0]
            np.testing.assert_allclose(rows[j, step], by_hand, atol=1e-5)
    np.testing.assert_array_equal(rows, apply.traverse(run.method, params, jnp.asarray(z), jnp.asarray(values)))


def test_the_pictures_start_from_the_image_that_was_asked_for(swept, monkeypatch, tmp_path):
    shown = []
    original = factor_traversal.traversal_strip
    monkeypatch.setattr(factor_traversal, "traversal_strip", lambda *a: shown.append(a) or original(*a))
    launch(monkeypatch, swept, "--runs", 4, *FEW, "--image", 7, 700_000, "--out", tmp_path)
    names = {path.name for path in (tmp_path / "traversal_4").iterdir()}
    assert {"traversal_7.png", "traversal_700000.png", "traversal.gif"} <= names and "traversal.png" not in names
    run = load_run(swept)
    source, params = run.source("test"), run.params_of(4)
    order = factor_traversal.encode(run.method, source, params, 400).order
    z = run.method.encode(params, Batch(source.at(source.data, jnp.array([7, 700_000])).x)).mean
    for code, (images, labels, _) in zip(z, shown, strict=True):
        np.testing.assert_allclose(images, traverse(run.method, params, code, prior_values(3))[order], atol=1e-5)
        assert [label.split()[0] for label in labels] == [f"z{j}" for j in order]


def test_without_factors_and_without_a_prior_there_are_traversals_only(unmeasured, monkeypatch, capsys):
    launch(monkeypatch, unmeasured, *FEW)
    said, folder = capsys.readouterr().out, unmeasured / "figures" / "traversal_0"
    assert "digits has no ground-truth factors, so there are traversals only" in said
    assert "percentile of the codes" in said
    assert {path.name for path in folder.iterdir()} == {"traversal.gif", "traversal.png", "traversal.html"}
    assert "Codes and factors" not in (folder / "traversal.html").read_text()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"method": "vq_vae", "network": "residual", "codes": 8}, "codes of vq_vae are a grid"),
        ({"method": "conditional_vae", "network": "mlp", "condition": "label", "classes": 10}, None),
    ],
    ids=["a grid", "a condition"],
)
def test_codes_that_are_no_vector_are_refused_and_a_condition_is_read(model, message):
    source = load("digits")
    method = build(shape=source.shape, latents=2, width=8, **model)
    params = jax.vmap(lambda key: method.init(key, source.at(source.data, jnp.arange(2))))(
        jax.random.split(jax.random.key(0), 1)
    )
    run = load_run_like(source, method, model, params)
    if message is None:
        factor_traversal.check_codes(run, source)
        return
    with pytest.raises(InputError, match=message):
        factor_traversal.check_codes(run, source)
    with pytest.raises(InputError, match=r"images of digits are .* now, but the sweep was trained on \(16, 16, 1\)"):
        factor_traversal.check_codes(run._replace(config={**run.config, "shape": [16, 16, 1]}), source)


def load_run_like(source, method, model, params):
    """What `load_run` gives, without a folder."""
    nothing = pd.DataFrame()
    config = {"shape": list(source.shape), "model": model, "source": {"name": source.name}}
    return Run(Path("none"), config, method, params, nothing, nothing, nothing)


def test_a_factor_that_does_not_vary_is_left_out(swept):
    run = load_run(swept)
    source = run.source("test")

    def at(data, index):
        batch = source.at(data, index)
        return batch._replace(factors=batch.factors.at[:, 0].set(1))

    found = factor_traversal.encode(run.method, source._replace(at=at), run.params_of(0), 200)
    assert found.names == ("scale", "orientation", "x", "y") and found.factors.shape == (200, 4)


def test_a_traversal_starts_in_the_middle_of_what_there_is():
    source = load("sprites", size=8)
    factors = source.at((), jnp.array(factor_traversal.starts(source, ()))).factors
    np.testing.assert_array_equal(factors, [[1, 3, 20, 16, 16]])
    assert factor_traversal.starts(source._replace(size=100), ()) == [50]
    assert factor_traversal.starts(load("digits"), ()) == [0]


def test_genuine_dsprites_without_all_combinations_have_named_factors(shared):
    source = load(f"dsprites:{shared}/dsprites/dsprites_downsampled.npz")
    assert factor_names(source, 5) == ("shape", "scale", "orientation", "x", "y")
    assert factor_names(load("digits"), 2) == ("factor 0", "factor 1")


def diverged(swept, folder, status):
    """A copy of the sweep in which run 1 has diverged."""
    shutil.copytree(swept, folder)
    table = pd.read_csv(folder / "runs.csv")
    table.loc[table["run"] == 1, "status"] = status
    write_table(folder / "runs.csv", table)
    return folder


def test_diverged_runs_are_never_chosen(swept, tmp_path):
    run = load_run(diverged(swept, tmp_path / "copy", "diverged"))
    assert 1 not in factor_traversal.median(run, ["beta"]) and len(factor_traversal.median(run, ["beta"])) == 2
    nothing = run._replace(params=jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), run.params))
    assert factor_traversal.median(nothing, ["beta"]) == []
    assert "waits to be trained" in factor_traversal.fault(nothing, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "6"], "there is no run 6 in"),
        (["--runs", "-1"], "there is no run -1 in"),
        (["--runs", "1"], "run 1 of"),
        (["--steps", "1"], "a traversal takes at least 2 steps, not 1"),
        (["--range", "priors"], "unknown range 'priors'; did you mean 'prior'? choose one of: data, prior"),
        (["--image", "737280"], "there is no image 737280 in sprites; it has images 0 to 737279"),
        (["--image", "-1"], "there is no image -1"),
        (["--images", "0"], "images has to be at least 1"),
        (["--limit", "0"], "limit has to be at least 1"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line_and_exit_code_2(swept, monkeypatch, capsys, tmp_path, arguments, message):
    path = diverged(swept, tmp_path / "copy", "diverged")
    with pytest.raises(SystemExit) as stopped:
        launch(monkeypatch, path, *arguments, "--out", tmp_path / "out")
    printed = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and printed.startswith("error: ") and message in printed and "\n" not in printed
    assert not (tmp_path / "out").exists()


def test_other_bad_input_is_one_line_too(unmeasured, monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, message in (
        ([tmp_path], "is not the folder of a sweep"),
        ([tmp_path / "absent"], "is not the folder of a sweep"),
        ([unmeasured, "--range", "prior"], "no prior"),
        ([unmeasured, *FEW, "--out", tmp_path / "file"], "can't be written"),
    ):
        with pytest.raises(SystemExit, match="2"):
            launch(monkeypatch, *arguments)
        printed = capsys.readouterr().err.strip()
        assert message in printed and "\n" not in printed
