"""From data to measured runs in one call: equal in memory, in a folder and from a script; one's own; bad input."""

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import vaejax
from experiments import script, train
from vaejax import Experiment, InputError, Method, load_run, run
from vaejax.data import arrays
from vaejax.distributions.basic import Bernoulli, Gaussian
from vaejax.errors import shortened
from vaejax.experiment import prepared

SMALL = Experiment(
    "digits", "beta_vae", {"beta": [0.5, 2], "learning_rate": [0.003]}, seeds=2, steps=30, batch_size=16,
    network="mlp", width=8, latents=2, images=100, save_every=0,
)  # fmt: skip
SCRIPT = [
    "--source", "digits", "--method", "beta_vae", "--hyper", "beta=0.5,2", "learning_rate=0.003", "--seeds", "2",
    "--steps", "30", "--batch-size", "16", "--network", "mlp", "--width", "8", "--latents", "2", "--images", "100",
]  # fmt: skip


def same(a, b, tables=("table", "history", "results")):
    """Two runs are equal bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
    for name in tables:
        pd.testing.assert_frame_equal(getattr(a, name), getattr(b, name), check_exact=True)


@pytest.fixture(scope="module")
def in_memory():
    return run(SMALL)


@pytest.fixture(scope="module")
def in_folder(tmp_path_factory):
    return run(SMALL, tmp_path_factory.mktemp("runs") / "mine")


def test_a_folder_changes_nothing_and_load_run_gives_the_same(in_memory, in_folder):
    same(in_memory, in_folder)
    opened = load_run(in_folder.path)
    same(in_folder, opened)
    assert type(opened) is type(in_memory) and opened.config == in_folder.config == in_memory.config
    assert in_memory.path is None and opened.path == in_folder.path
    assert opened.source("test").size == in_memory.source("test").size != in_memory.source("train").size
    assert len(in_memory.table) == 4 and set(in_memory.table["status"]) == {"finished"}


def test_the_script_gives_the_same(in_memory, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train", *SCRIPT, "--out", str(tmp_path), "--name", "it"])
    monkeypatch.setattr(script, "use_devices", lambda: None)
    script.run(train.main, {"": train.Config()}, "")
    opened = load_run(tmp_path / "it")
    same(in_memory, opened)
    unlike = {name for name in opened.config if opened.config[name] != in_memory.config.get(name)}
    assert unlike == {"command", "prior_steps"} and set(in_memory.config) < set(opened.config)
    printed = capsys.readouterr().out
    for line in ("4 runs in", "measuring 4 runs on 100 images", "the best of 2 settings", "report: "):
        assert line in printed


def test_it_is_what_fit_and_measure_give(in_memory):
    train_split, test_split = (vaejax.data.load("digits", split) for split in ("train", "test"))
    method = vaejax.build("beta_vae", train_split.shape, network="mlp", width=8, latents=2)
    runs = vaejax.grid(method.hyper, 2, beta=[0.5, 2], learning_rate=0.003)
    result = vaejax.fit(method, train_split, runs, steps=30, batch_size=16)
    jax.tree.map(np.testing.assert_array_equal, result.params, in_memory.params)
    measured = vaejax.measure(method, test_split, result.params, images=100).reset_index(drop=True)
    assert measured[["run", "metric"]].equals(in_memory.results[["run", "metric"]])
    np.testing.assert_array_equal(measured["value"], in_memory.results["value"].astype(np.float32))


class Stopped(Exception):
    pass


def test_interrupted_and_continued_is_the_same(in_memory, tmp_path):
    seen, told = [], []

    def stops(progress):
        seen.append(progress.done)
        if len(seen) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        run(SMALL, tmp_path / "mine", stops)
    unfinished = load_run(tmp_path / "mine")
    assert unfinished.results.empty and "not measured yet" in unfinished._repr_html_()
    with pytest.raises(InputError, match=r"no results.csv yet"):
        unfinished.report()
    continued = run(SMALL, tmp_path / "mine", on_event=told.append)
    assert [event.stage for event in told] == ["continuing", "training", "measuring"]
    assert "continuing the unfinished sweep in" in told[0].text and told[1].runs == 4
    same(in_memory, continued)


def test_the_page_is_written_next_to_the_run_and_ends_it(in_folder):
    told = []
    same(in_folder, run(SMALL, in_folder.path))  # not finished without its page: nothing is trained again
    page = in_folder.report(answer="It depends.")
    assert page == in_folder.path / "report.html"
    text = page.read_text()
    for part in ("What does β do to beta_vae on digits?", "It depends.", "batch 16", "shared by the runs of one seed"):
        assert part in text
    assert {"metrics.png", "reconstructions.png"} <= {path.name for path in (in_folder.path / "figures").iterdir()}
    again = run(SMALL, in_folder.path, on_event=told.append)
    assert [event.stage for event in told] == ["finished"]
    same(in_folder, again)
    assert page.read_text() == text
    with pytest.raises(InputError, match="steps is 30 there, 20 here"):
        run(SMALL._replace(steps=20), in_folder.path)
    with pytest.raises(InputError, match="overwrite=True"):
        run(SMALL._replace(seeds=1), in_folder.path)
    assert page.read_text() == text


def test_a_page_of_what_was_trained_in_memory(in_memory, tmp_path):
    with pytest.raises(InputError, match=r"without a folder; say where to write its page: report\(path\)"):
        in_memory.report()
    page = in_memory.report(tmp_path / "page.html", question="Why?", by="setting")
    assert page == tmp_path / "page.html" and [path.name for path in tmp_path.iterdir()] == ["page.html"]
    text = page.read_text()
    assert "Why?" in text and "the best of 2 settings" in text and "vaejax.run(vaejax.Experiment(source=" in text


def test_a_question_is_kept_and_binds_nothing(tmp_path):
    asks = SMALL._replace(axes=None, seeds=1, steps=2, images=20)
    first = run(asks._replace(question="What for?"), tmp_path / "mine")
    assert "What for?" in first.report(tmp_path / "page.html").read_text()
    same(first, run(asks, tmp_path / "mine"))


def test_a_notebook_shows_its_means_and_main_figure(in_memory):
    shown = in_memory._repr_html_()
    assert "<table" in shown and "<svg" in shown and "beta_vae on digits: 4 runs" in shown
    assert "ELBO" in shown and "±" in shown and len(shown) < 200_000
    parts = {part for part in shown.split('id="')[1:]}
    assert len(parts) == len({part.split('"')[0] for part in parts})


def test_metrics_of_factors_are_measured_beside_the_rest(tmp_path):
    sizes = vaejax.metrics.Sizes(train=200, test=100)
    asks = SMALL._replace(source="sprites", size=8, axes=None, steps=3, metrics=["mig", "sap"], sizes=sizes)
    found = run(asks, tmp_path / "mine")
    by_metric = found.results.groupby("metric").size()
    assert by_metric["mig"] == by_metric["sap"] == by_metric["elbo"] == 2
    source = found.source("test")
    suite = vaejax.metrics.evaluate(
        found.method, source, found.params, jax.random.key(0), sizes=sizes, metrics=["mig", "sap"]
    )
    merged = found.results.merge(suite, on=["run", "metric"])
    assert len(merged) >= 4
    np.testing.assert_array_equal(merged["value_x"].astype(np.float32), merged["value_y"].astype(np.float32))
    same(found, load_run(tmp_path / "mine"))
    assert load_run(tmp_path / "mine").config["metrics"] == ["mig", "sap"]


def test_axes_seeds_and_numbers_of_numpy_are_taken(in_memory):
    given = SMALL._replace(
        axes={"beta": np.array([0.5, 2]), "learning_rate": iter([np.float32(0.003)])}, seeds=iter([0, 1]),
        steps=np.int64(30), batch_size=np.int32(16),
    )  # fmt: skip
    same(in_memory, run(given), ("history", "results"))


# --- one's own -------------------------------------------------------------------------------------------------------


class Hyper(NamedTuple):
    strength: float = 1.0
    learning_rate: float = 0.01


def my_method(width):
    """A Gaussian VAE in a notebook: no constructor of ours, no registration."""

    def init(key, batch):
        pixels = batch.x[0].size
        up, down = jax.random.split(key)
        return {
            "up": jax.random.normal(up, (pixels, 2 * width)) * 0.01,
            "down": jax.random.normal(down, (width, pixels)) * 0.1,
        }

    def encode(params, batch):
        mean, log_scale = jnp.split(batch.x.reshape(len(batch.x), -1) @ params["up"], 2, axis=-1)
        return Gaussian(mean, log_scale)

    def decode(params, latents, batch=None):
        return Bernoulli((latents @ params["down"]).reshape(len(latents), 8, 8, 1))

    def prior(params, batch):
        return Gaussian(jnp.zeros((len(batch.x), width)), jnp.zeros((len(batch.x), width)))

    def loss(params, hyper, batch, key, step):
        z = encode(params, batch).sample(key)
        nats = -decode(params, z).log_prob(batch.x).sum() / len(batch.x) + hyper.strength * (z**2).sum() / len(z)
        return nats, {"loss": nats}

    return Method(Hyper(), init, loss, encode, decode, lambda hyper: optax.adam(hyper.learning_rate), prior)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A method and a source of one's own, trained in a folder."""
    x = np.random.default_rng(0).uniform(size=(60, 8, 8, 1)).astype(np.float32)
    source, method = arrays("mine", x), my_method(3)
    experiment = Experiment(source, method, {"strength": [0.1, 1]}, seeds=1, steps=12, batch_size=8)
    return run(experiment, tmp_path_factory.mktemp("own") / "mine"), experiment


def test_a_method_and_a_source_of_ones_own_go_the_whole_way(own, tmp_path):
    made, experiment = own
    assert made.config["model"] == {"method": "my_method", "own": True}
    assert made.config["source"] == {"name": "mine", "own": True}
    assert {"elbo", "kl", "active_units"} <= set(made.results["metric"])
    same(made, run(experiment))
    assert "What does strength do to my_method on mine?" in made.report(tmp_path / "page.html").read_text()
    assert "my_method on mine" in made._repr_html_()


def test_load_run_opens_ones_own_with_the_method_and_the_source(own, tmp_path):
    made, experiment = own
    with pytest.raises(InputError, match=r"a method of one's own \(my_method\); open it with vaejax.load_run\(path, m"):
        load_run(made.path)
    opened = load_run(made.path, method=experiment.method)
    same(made, opened)
    with pytest.raises(InputError, match=r"trained on \(mine\) isn't at hand; open it with .*source=\.\.\."):
        opened.report(tmp_path / "page.html")
    whole = load_run(made.path, method=experiment.method, source=experiment.source)
    assert whole.source("train") is whole.source("test") is experiment.source
    assert whole.report(tmp_path / "page.html").read_text() == made.report(tmp_path / "again.html").read_text()


def test_a_method_of_another_size_is_not_taken_for_it(own):
    with pytest.raises(InputError, match="was trained with another method"):
        load_run(own[0].path, method=my_method(4))
    with pytest.raises(InputError, match=r"method has to be what was trained, a vaejax.Method, not 'vae'"):
        load_run(own[0].path, method="vae")
    with pytest.raises(InputError, match="source has to be a source"):
        load_run(own[0].path, method=my_method(3), source="digits")


def test_a_built_method_is_described_so_that_load_run_builds_it_again():
    source = vaejax.data.load("digits")
    method = vaejax.build("factor_vae", source.shape, network="mlp", width=8, latents=2, discriminator_width=8)
    told = run(Experiment(source, method, seeds=1, steps=2, batch_size=8, images=20)).config["model"]
    assert told["method"] == "factor_vae" and told["discriminator_width"] == 8 and told["latents"] == 2
    assert vaejax.build(shape=source.shape, **told) is method
    changed = method._replace(loss=lambda *given: method.loss(*given))
    told = run(Experiment(source, changed, seeds=1, steps=2, batch_size=8, images=20)).config["model"]
    assert told == {"method": "factor_vae", "own": True}


@pytest.mark.parametrize("named", [True, False], ids=["built", "own"])
def test_fit_leaves_a_folder_that_load_run_opens(tmp_path, named):
    source = vaejax.data.load("digits")
    method = vaejax.build("vae", source.shape, network="mlp", width=8, latents=2) if named else my_method(2)
    result = vaejax.fit(method, source, vaejax.grid(method.hyper, 2), steps=4, batch_size=8, workdir=tmp_path / "w")
    opened = load_run(tmp_path / "w", method=None if named else method)
    jax.tree.map(np.testing.assert_array_equal, result.params, opened.params)
    assert opened.results.empty and opened.table["status"].tolist() == ["finished"] * 2
    assert "not measured yet" in opened._repr_html_()
    before = (tmp_path / "w" / "config.json").read_bytes()
    vaejax.fit(method, source, vaejax.grid(method.hyper, 2), steps=4, batch_size=8, workdir=tmp_path / "w")
    assert (tmp_path / "w" / "config.json").read_bytes() == before and json.loads(before)["shape"] == [8, 8, 1]


# --- bad input -------------------------------------------------------------------------------------------------------

OTHER = SimpleNamespace(name="mine")
BAD = [
    ("a text", "digits", "run takes a vaejax.Experiment(source, method, ...), not 'digits'"),
    ("a dictionary", SMALL._asdict(), "run takes a vaejax.Experiment"),
    ("its class", Experiment, "run takes a vaejax.Experiment"),
    ("unknown source", {"source": "digit"}, "did you mean 'digits'"),
    ("source None", {"source": None}, "source has to be a name, or what vaejax.data.load"),
    ("source an array", {"source": np.zeros((3, 8, 8, 1))}, "source has to be a name"),
    ("source a table", {"source": pd.DataFrame({"x": [1]})}, "source has to be a name"),
    ("source of another kind", {"source": OTHER}, "source has to be a name"),
    ("unknown method", {"method": "beta_va"}, "did you mean 'beta_vae'"),
    ("method a function", {"method": vaejax.beta_vae}, "method has to be a name, or what vaejax.build"),
    ("method None", {"method": None}, "method has to be a name"),
    ("axes a list", {"axes": ["beta"]}, "axes has to be a dictionary of names and values"),
    ("axes of numbers", {"axes": {1: [2]}}, "axes has to be a dictionary of names"),
    (
        "unknown axis",
        {"axes": {"bta": [1]}},
        "has no bta to sweep; it has beta (from 0), learning_rate",
    ),
    ("axis of texts", {"axes": {"beta": ["1", "2"]}}, "beta has to be a number"),
    ("axis a text", {"axes": {"beta": "12"}}, "beta has to be a number"),
    ("axis empty", {"axes": {"beta": []}}, "at least one seed and one value"),
    ("axis twice", {"axes": {"beta": [1, 1.0]}}, "give every value once"),
    ("axis negative", {"axes": {"beta": [-1]}}, "beta has to be a finite number that is not negative"),
    ("axis None", {"axes": {"beta": None}}, "beta has to be a number"),
    ("axis a table", {"axes": {"beta": pd.DataFrame({"b": [1]})}}, "beta has to be a number"),
    ("no seeds", {"seeds": 0}, "at least one seed"),
    ("seeds a text", {"seeds": "3"}, "seeds has to be a whole number"),
    ("seeds twice", {"seeds": [0, 0]}, "the seed 0 is given twice"),
    ("seeds None", {"seeds": None}, "seeds"),
    ("steps 0", {"steps": 0}, "steps has to be at least 1"),
    ("steps a text", {"steps": "10"}, "steps has to be a whole number, not '10' (str)"),
    ("steps a float", {"steps": 10.0}, "steps has to be a whole number"),
    ("steps True", {"steps": True}, "steps has to be a whole number"),
    ("steps None", {"steps": None}, "have to be whole numbers, not None"),
    ("batch 0", {"batch_size": 0}, "batch_size has to be at least 1"),
    ("batch huge", {"batch_size": 2**31 - 1}, "GB"),
    ("images 0", {"images": 0}, "images has to be at least 1"),
    ("images a text", {"images": "all"}, "images has to be a whole number"),
    ("chunk 0", {"chunk": 0}, "chunk has to be at least 1"),
    ("chunk a text", {"chunk": "2"}, "chunk has to be a whole number"),
    ("network unknown", {"network": "cnov"}, "did you mean 'conv'"),
    ("network a number", {"network": 3}, "network has to be a name"),
    ("network another's", {"network": "residual"}, "'residual'"),
    ("width 0", {"width": 0}, "width 0"),
    ("width a text", {"width": "8"}, "width"),
    ("width several", {"width": (8, 8)}, "takes one width"),
    ("latents 0", {"latents": 0}, "at least 1 latent"),
    ("latents a text", {"latents": "2"}, "latents"),
    ("latents huge", {"latents": 2_000_000_000}, "GB"),
    ("likelihood unknown", {"likelihood": "bernouli"}, "did you mean 'bernoulli'"),
    ("options a list", {"options": ["codes=3"]}, "options has to be a dictionary"),
    ("option unknown", {"options": {"codes": 3}}, "takes no 'codes'"),
    ("option a field", {"options": {"latents": 3}}, "options can't have latents, which is a field of its own"),
    ("option shape", {"options": {"shape": 3}}, "options can't have shape"),
    ("size of digits", {"size": 32}, "only rendered sources take a size"),
    ("size 0", {"source": "sprites", "size": 0}, "not 0"),
    ("size a text", {"source": "sprites", "size": "32"}, "32"),
    ("window of digits", {"window": 10}, "takes no window"),
    ("window 0", {"window": 0}, "takes no window"),
    ("data_dir a number", {"source": "mnist", "data_dir": 3}, "data_dir"),
    ("test a name", {"test": "digits"}, "test has to be a source"),
    ("save_every negative", {"save_every": -1}, "save_every has to be a number of seconds"),
    ("save_every a text", {"save_every": "60"}, "save_every has to be a number of seconds"),
    ("precision unknown", {"precision": "float16"}, "unknown precision 'float16'"),
    ("precision a number", {"precision": 32}, "precision has to be a name"),
    ("randomness a text", {"common_random_numbers": "no"}, "common_random_numbers has to be True or False"),
    ("question a number", {"question": 3}, "question has to be a text"),
    ("command a list", {"command": ["a"]}, "command has to be a text"),
    ("metrics a text", {"metrics": "mig"}, "metrics has to be a tuple of metrics"),
    ("metric unknown", {"metrics": ("mgi",)}, "did you mean 'mig'"),
    ("metrics without factors", {"metrics": ("mig",)}, "all combinations of known factors, which digits lacks"),
    ("sizes a number", {"sizes": 100}, "sizes has to be vaejax.metrics.Sizes(...)"),
    ("notes a text", {"notes": "mine"}, "notes has to be a dictionary"),
    ("common_random_numbers 1", {"common_random_numbers": 1}, "has to be True or False, not 1"),
    ("notes no JSON", {"notes": {"a": object()}}, "notes have to be what JSON can hold"),
    ("size of one's own", {"source": "ARRAYS", "size": 8}, "size goes with the name of a source"),
    ("data_dir of one's own", {"source": "ARRAYS", "data_dir": "x"}, "data_dir goes with the name of a source"),
    ("test of another shape", {"test": "OTHER SHAPE"}, "but those of its test split (4, 4, 1)"),
    ("network of one's own", {"method": "OWN"}, "network goes with the name of a method"),
]


@pytest.fixture(scope="module")
def objects():
    return {
        "ARRAYS": arrays("mine", np.zeros((9, 8, 8, 1), np.float32)),
        "OTHER SHAPE": arrays("small", np.zeros((9, 4, 4, 1), np.float32)),
        "OWN": my_method(2),
    }


@pytest.mark.parametrize(("changes", "words"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_input_is_one_line_and_nothing_is_written(changes, words, objects, tmp_path, capsys):
    experiment = changes
    if not words.startswith("run takes"):
        given = {
            name: objects.get(value, value) if isinstance(value, str) else value for name, value in changes.items()
        }
        experiment = SMALL._replace(**given)
    with pytest.raises(InputError) as error:
        run(experiment, tmp_path / "mine")
    line = str(error.value)
    assert words in line and "\n" not in line and len(line) <= 460  # the names of all methods
    assert not list(tmp_path.iterdir())
    assert not "".join(capsys.readouterr())


@pytest.mark.parametrize("path", [3, "", ["runs"], b"x"], ids=shortened)
def test_a_path_that_is_none_is_one_line(path, in_memory):
    with pytest.raises(InputError, match="path has to be"):
        run(SMALL, path)
    with pytest.raises(InputError, match="path has to be"):
        in_memory.report(path)


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path, in_memory):
    (tmp_path / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("")
    for path, words in ((tmp_path, "nothing in it is overwritten"), (tmp_path / "file", "is a file")):
        with pytest.raises(InputError, match=words):
            run(SMALL, path, overwrite=True)
    with pytest.raises(InputError, match="can't be written"):
        in_memory.report(tmp_path / "file" / "page.html")
    with pytest.raises(InputError, match="on_progress has to be a function, not 3"):
        run(SMALL, tmp_path / "new", 3)
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.txt", "file"}


@pytest.mark.parametrize(
    ("words", "line"),
    [({"by": "bta"}, "unknown column of the runs' table 'bta'"), ({"questoin": "?"}, "did you mean 'question'")],
    ids=str,
)
def test_words_of_a_page_that_mean_nothing_are_one_line(words, line, in_memory, tmp_path):
    with pytest.raises(InputError, match=line):
        in_memory.report(tmp_path / "page.html", **words)
    assert not list(tmp_path.iterdir())


def test_overwrite_trains_anew(tmp_path):
    one = SMALL._replace(axes=None, seeds=1, steps=3, images=20)
    first = run(one, tmp_path / "mine")
    second = run(one._replace(seeds=[1]), tmp_path / "mine", overwrite=True)
    assert first.table["seed"].tolist() == [0] and second.table["seed"].tolist() == [1]
    same(second, load_run(tmp_path / "mine"))


def test_numbers_of_numpy_and_paths_are_taken_for_pythons(tmp_path):
    """And the folder goes on as the same experiment."""
    plain = SMALL._replace(axes=None, seeds=1, steps=3, images=20, data_dir=str(tmp_path), notes={"at": str(tmp_path)})
    given = plain._replace(
        seeds=np.array(1), steps=np.array(3), images=np.array(20), batch_size=np.int32(plain.batch_size),
        width=np.array(plain.width), common_random_numbers=np.bool_(True), save_every=np.array(60.0), data_dir=tmp_path,
        notes={"at": tmp_path},
    )  # fmt: skip
    first = run(given, tmp_path / "mine", overwrite=np.bool_(False))
    assert {**first.config, "command": ""} == {**prepared(plain).config, "command": ""}
    same(first, run(plain, tmp_path / "mine"))


def test_running_brings_no_figures_along(tmp_path):
    code = (
        "import sys, vaejax\n"
        "e = vaejax.Experiment('digits', 'vae', seeds=1, steps=2, network='mlp', width=8, images=20)\n"
        "vaejax.run(e)\nprint('matplotlib' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.strip() == "False", ran.stderr


def test_codes_of_a_streamed_source_are_of_more_than_the_images_shown(tmp_path, monkeypatch):
    from vaejax.report import pictures

    np.savez(tmp_path / "images.npz", x=np.random.default_rng(0).integers(0, 256, (300, 8, 8), np.uint8))
    name = f"npz:{tmp_path / 'images.npz'}"
    train, test = vaejax.data.load(name, window=40), vaejax.data.load(name, split="test", window=20)
    method = vaejax.build("vae", train.space, network="mlp", width=8, latents=2)
    sizes, encode = [], pictures.encode
    monkeypatch.setattr(
        pictures, "encode", lambda m, source, *rest: sizes.append(source.size) or encode(m, source, *rest)
    )
    run(Experiment(train, method, seeds=1, steps=2, batch_size=8, images=30, test=test)).report(tmp_path / "page.html")
    assert sizes == [30] and pictures.PICTURES < 30
