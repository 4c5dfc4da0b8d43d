"""Bad input to every script: one line and exit code 2, and nothing on the disk; no row trains anything."""

import json
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import beta_sweep, checks, disentanglement_study, factor_traversal, script, train
from experiments.papers import __main__ as papers
from vaejax import InputError

SCRIPTS = {
    "beta_sweep": (beta_sweep.main, beta_sweep.PRESETS),
    "train": (train.main, {"": train.Config()}),
    "study": (disentanglement_study.main, disentanglement_study.PRESETS),
    "traversal": (factor_traversal.main, {"": factor_traversal.Config()}),
    "papers": (papers.main, {"": papers.Config()}),
}
NET = ["--network", "mlp", "--width", "16", "--latents", "3"]
SMALL = {
    "beta_sweep": ["--source", "digits", *NET],
    "train": ["--source", "digits", *NET],
    "study": ["--size", "8", *NET, "--methods", "beta_vae", "--correlated", "--no-mixing", "--metrics", "mig"],
    "traversal": [],
    "papers": [],
}
HUGE = "99999999999999999999"

ROWS = """
beta_sweep | --steps abc | Error parsing --steps: invalid literal for int()
beta_sweep | --steps 1.5 | Error parsing --steps
beta_sweep | --steps | Missing value for argument '--steps'
beta_sweep | --stps 3 | Unrecognized options: --stps, 3; did you mean --steps?
beta_sweep | --network transformer | invalid choice 'transformer' for argument '--network'
beta_sweep | --preset lapotp | invalid choice 'lapotp'
beta_sweep | --betas 1 x | Error parsing --betas
beta_sweep | stray | Unrecognized options: stray
beta_sweep | --steps 0 | steps has to be at least 1
beta_sweep | --steps HUGE | steps has to be at most 2,147,483,647
beta_sweep | --batch-size HUGE | batch_size has to be at most
beta_sweep | --batch-size 2000000000 | take 512.0 GB
beta_sweep | --seeds HUGE | more than 1,000,000 runs
beta_sweep | --seeds 0 | at least one beta and one seed, not 3 and 0
beta_sweep | --seeds -1 | at least one beta and one seed, not 3 and -1
beta_sweep | --chunk 0 | chunk has to be at least 1
beta_sweep | --chunk 2000000000 | give fewer
beta_sweep | --images -5 | images has to be at least 1
beta_sweep | --betas | at least one beta and one seed, not 0 and 5
beta_sweep | --betas 1 1 | every beta once
beta_sweep | --betas 1 1.00000000001 | every beta once, please, also as float32: 1.0, 1.00000000001
beta_sweep | --betas 0 -0.0 | every beta once
beta_sweep | --betas 1 inf | finite number
beta_sweep | --betas 1e39 | finite number
beta_sweep | --learning-rate nan | learning_rate has to be a finite number
beta_sweep | --latents 2000000000 | GB
beta_sweep | --latents -3 | at least 1 latent
beta_sweep | --save-every -1 | save_every has to be a number of seconds, 0 or more, not -1
beta_sweep | --save-every nan | save_every has to be a number of seconds
beta_sweep | --save-every inf | save_every has to be a number of seconds
beta_sweep | --save-every soon | Error parsing --save-every
beta_sweep | --name a/../../up | can't have / in it: 'a/../../up'
beta_sweep | --name .. | end with a space or a dot
beta_sweep | --name . | end with a space or a dot
beta_sweep | --name '' | --name has to have 1 to 100 characters, not 0
beta_sweep | --name LONG | --name has to have 1 to 100 characters, not 300
beta_sweep | --name a\\b | can't have
beta_sweep | --name C:x | can't have : in it
beta_sweep | --name what? | can't have ? in it
beta_sweep | --name NUL | a device on Windows
beta_sweep | --name com1.txt | a device on Windows
beta_sweep | --name 'x ' | end with a space or a dot
beta_sweep | --name ' x' | begin with a space
beta_sweep | --name NULBYTE | name has a character that can't be printed
beta_sweep | --name NEWLINE | name has a character that can't be printed
beta_sweep | --name SURROGATE | name has a character that can't be printed
beta_sweep | --source NULBYTE | source has a character that can't be printed
beta_sweep | --source '' | error
beta_sweep | --source npz:LONG | error
beta_sweep | --source mnist --data-dir /no/such/place | /no/such/place
beta_sweep | --size 0 | only rendered sources take a size
beta_sweep | --source sprites --size 0 | not 0
beta_sweep | --window 10 | takes no window
beta_sweep | --method vae | has no beta to sweep
train | --seeds HUGE | more than 1,000,000 runs
train | --seeds -1 | at least one seed
train | --source sprites --size 0 | not 0
train | --name a/../../up | can't have / in it
train | --name '' | 1 to 100 characters
train | --options codes=x | takes no 'codes'
train | --method vq_vae --network residual --options codes=x | codes
train | --options latents=3 | --options can't have latents, which is an argument of its own
train | --options shape=3 | --options can't have shape
train | --options =3 | --options takes NAME=VALUE
train | --network residual | for the method vq_vae or fsq_vae alone
train | --network hierarchical | network
train | --method wae_mmd --network residual | for the method vq_vae or fsq_vae alone
train | --method contractive_autoencoder --network residual | for the method vq_vae or fsq_vae alone
train | --method conditional_vae --options condition=label classes=3 | labels run from 0 to 9, but
train | --method conditional_vae --source sprites --size 8 --options condition=label classes=3 | labels
train | --method stacked_classifier --source sprites --size 8 --network mlp_relu | labels
train | --hyper beta=1 | unknown hyperparameter 'beta'
train | --hyper learning_rate=x | --hyper learning_rate takes numbers
train | --hyper learning_rate= | --hyper takes NAME=VALUE
train | --hyper learning_rate=1,,2 | takes numbers
train | --hyper learning_rate=1,1.00000000001 | --hyper learning_rate: every value once
train | --hyper learning_rate=nan | finite number
train | --prior-steps HUGE | --prior-steps has to be 0
train | --save-every -0.5 | save_every has to be a number of seconds
train | --width x | Error parsing --width
train | --window -3 | takes no window
study | --grid 1 | can't be thinned to 1 combinations
study | --grid 0 | grid has to be at least 1
study | --samples 1 | the metrics need at least 20 samples, not 1
study | --samples 2000000000 | samples has to be at most 10,000,000
study | --resamples 0 | resamples has to be at least 1
study | --resamples 2000000000 | resamples has to be at most 1,000,000
study | --metrics | --metrics takes at least one, and each once, not none
study | --metrics mig mig | each once, not mig mig
study | --seeds HUGE | seeds has to be at most
study | --methods beta_vae:1,1.00000000001 | every value once
study | --methods beta_vae: | can't be read
study | --methods beta_vae:nan | finite number
study | --discriminator-depth 0 | discriminator_depth has to be at least 1
study | --correlated x,x,0.2 | x
study | --correlated x,y,0 | sigma
study | --sources sprites+excluding:shape=2 | lacks
study | --sources sprites sprites | every name once
study | --latents 65 | PCA, a baseline, has no 65 components of sprites; give fewer --latents
study | --size 12 | not 12
study | --save-every nan | save_every has to be a number of seconds
study | --name a/b | can't have / in it
traversal | MISSING | is not the folder of a sweep
traversal | --steps 1 | at least 2 steps
traversal | --steps HUGE | at most 1000 steps
traversal | --images HUGE | images has to be at most
traversal | --runs x | Error parsing --runs
traversal | EMPTY | runs.csv can't be read
traversal | CUT | runs.csv is cut, or no table of runs
traversal | HEADER | runs.csv is cut, or no table of runs
traversal | OTHER | runs.csv is cut, or no table of runs
papers | nothing | unknown table 'nothing'
papers | static_vae | static
papers | iwae --data-dir /no/such/place | /no/such/place
papers | iwae --data-dir /no/such/place --overwrite | /no/such/place
"""
WORDS = {
    "HUGE": HUGE, "LONG": "n" * 300, "NULBYTE": "a\0b", "NEWLINE": "a\nb", "SURROGATE": "a\udcffb",
}  # fmt: skip
TABLES = {
    "EMPTY": "",
    "CUT": "run,learning_rate,seed,stream,status\n0,0.001,0,0,finished\n1,0.0",
    "HEADER": "run,learning_rate,seed,stream,status\n",
    "OTHER": "a,b\n1,2\n",
}


def rows():
    for line in ROWS.strip().splitlines():
        name, arguments, message = line.split(" | ")
        words = re.findall(r"'[^']*'|\S+", arguments)
        yield pytest.param(name, words, message, id=f"{name} {arguments}")


def filled(word, folder):
    """The argument that a word of the table stands for."""
    if word in TABLES:
        place = folder / word
        place.mkdir()
        (place / "config.json").write_text(json.dumps({"shape": [8, 8, 1], "model": {"method": "vae"}}))
        (place / "runs.csv").write_text(TABLES[word])
        return str(place)
    if word == "MISSING":
        return str(folder / "missing")
    for short, whole in WORDS.items():
        word = word.replace(short, whole)
    return word.strip("'")


def launch(monkeypatch, name, *arguments):
    """The script as `python -m` would run it, in this process."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    main, presets = SCRIPTS[name]
    script.run(main, presets, "")


def said(capsys):
    """The one line on stderr."""
    printed = capsys.readouterr().err
    line = printed.rstrip("\n")
    assert line.startswith("error: ") and "\n" not in line and "Traceback" not in line, printed
    assert len(line) <= 400
    return line


@pytest.mark.parametrize(("name", "words", "message"), list(rows()))
def test_bad_input_is_one_line_and_nothing_is_written(name, words, message, monkeypatch, capsys, tmp_path):
    arguments = [filled(word, tmp_path) for word in words]
    out = tmp_path / "out"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        launch(monkeypatch, name, *SMALL[name], *arguments, "--out", out)
    assert stopped.value.code == 2
    assert message in said(capsys)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["beta_sweep", "train", "study", "papers"])
@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("file", "file is no folder; choose another"),
        ("file/below/it", "file is no folder; choose another"),
        ("n" * 300, "can't be a folder (File name too long)"),
        ("a\0b", "out has a character that can't be printed"),
        ("dangling/x", "dangling is no folder"),
    ],
    ids=["file", "below a file", "too long", "NUL", "dangling"],
)
def test_a_place_that_cannot_be_is_found_first(name, out, message, monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        launch(monkeypatch, name, *SMALL[name], "--out", tmp_path / out)
    assert stopped.value.code == 2 and message in said(capsys)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["beta_sweep", "train", "study"])
@pytest.mark.parametrize(
    ("inside", "message"),
    [("checkpoints", "is no folder"), ("figures", "is no folder"), ("report.html", "is a folder"),
     ("results.csv", "is a folder")],
)  # fmt: skip
def test_what_stands_in_the_way_is_found_first(name, inside, message, monkeypatch, capsys, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    if "." in inside:
        (folder / inside).mkdir()
    else:
        (folder / inside).write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        launch(monkeypatch, name, *SMALL[name], "--out", tmp_path, "--name", "mine")
    line = said(capsys)
    assert stopped.value.code == 2 and f"{folder / inside} {message} and stands in the way" in line
    assert [path.name for path in folder.iterdir()] == [inside]


CONFIGS = [
    ("None", None, "not None"),
    ("a dictionary", {"steps": 3}, "takes a experiments.beta_sweep.Config"),
    ("another script's", train.Config(), "takes a experiments.beta_sweep.Config"),
    ("its class", beta_sweep.Config, "takes a experiments.beta_sweep.Config"),
    ("steps as a text", beta_sweep.Config(steps="10"), "steps has to be a whole number, not '10' (str)"),
    ("steps as a float", beta_sweep.Config(steps=10.0), "steps has to be a whole number, not 10.0"),
    ("steps as a bool", beta_sweep.Config(steps=True), "steps has to be a whole number, not True"),
    ("no steps", beta_sweep.Config(steps=None), "steps has to be a whole number, not None"),
    ("one beta", beta_sweep.Config(betas=4.0), "betas takes several values in a tuple, not 4.0"),
    ("betas as a text", beta_sweep.Config(betas="16"), "betas takes several values in a tuple"),
    ("betas as texts", beta_sweep.Config(betas=("1", "6")), "each of betas has to be a number, not '1' (str)"),
    ("seeds as a list", beta_sweep.Config(seeds=[0, 1]), "seeds has to be a whole number"),
    ("a rate as a text", beta_sweep.Config(learning_rate="1e-3"), "learning_rate has to be a number"),
    ("a name that is none", beta_sweep.Config(name=3), "name has to be a text, not 3"),
    ("a path that is none", beta_sweep.Config(out=3), "out has to be a path, not 3"),
    ("a network that isn't", beta_sweep.Config(network="residual"), "unknown network 'residual'"),
    ("a source that is none", beta_sweep.Config(source=None), "source has to be a text, not None"),
    ("a flag as a text", beta_sweep.Config(overwrite="no"), "overwrite has to be True or False, not 'no' (str)"),
    ("a table", beta_sweep.Config(betas=pd.DataFrame({"beta": [1, 2]})), "betas takes several values in a tuple"),
]


@pytest.mark.parametrize(("config", "message"), [pytest.param(*row[1:], id=row[0]) for row in CONFIGS])
def test_a_config_of_wrong_types_is_one_line(config, message):
    with pytest.raises(InputError) as error:
        beta_sweep.main(config)
    line = str(error.value)
    assert message in line and "\n" not in line and len(line) <= 400


@pytest.mark.parametrize("kind", [train.Config, disentanglement_study.Config, factor_traversal.Config, papers.Config])
def test_every_main_looks_at_its_config(kind):
    main = sys.modules[kind.__module__].main
    with pytest.raises(InputError, match=r"this takes a .*Config, not None"):
        main(None)
    assert checks.checked(kind(), kind) == kind()


def test_numpys_numbers_lists_and_texts_of_paths_are_taken():
    config = beta_sweep.Config(betas=[1, np.float32(4)], seeds=np.int64(2), out="runs/mine", latents=np.int32(3))
    found = checks.checked(config, beta_sweep.Config)
    assert found.betas == (1, 4.0) and found.out == Path("runs/mine")
    assert type(found.seeds) is int and type(found.latents) is int and type(found.betas[1]) is float
    assert checks.checked(beta_sweep.Config(betas=np.array([1.0, 2.0])), beta_sweep.Config).betas == (1.0, 2.0)


def test_a_warning_waits_until_the_script_is_done(monkeypatch, capsys):
    def warns(config, bad):
        warnings.warn("a library's own affair", RuntimeWarning, stacklevel=1)
        if bad:
            raise InputError("this can't be")

    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(SystemExit):
        script.run(lambda config: warns(config, True), {"": train.Config()}, "")
    assert said(capsys) == "error: this can't be"
    with pytest.warns(RuntimeWarning, match="own affair"):
        script.run(lambda config: warns(config, False), {"": train.Config()}, "")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied", "/x/y"), "/x/y can't be used (Permission denied)"),
        (OSError(28, "No space left on device"), "a file can't be used (No space left on device)"),
        (MemoryError("Unable to allocate 3 TiB"), "the memory is full (Unable to allocate 3 TiB)"),
        (RuntimeError("Unable to initialize backend 'tpu':\n x"), "JAX finds no such device"),
    ],
    ids=["permission", "space", "memory", "device"],
)
def test_what_lies_outside_of_the_program_is_one_line(error, message, monkeypatch, capsys):
    def fails(_):
        raise error

    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(SystemExit, match="2"):
        script.run(fails, {"": train.Config()}, "")
    assert message in said(capsys)


def test_a_fault_of_the_program_stays_a_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train"])
    for fault in (RuntimeError("a fault"), KeyError("x"), AttributeError("y")):

        def fails(_, fault=fault):
            raise fault

        with pytest.raises(type(fault)):
            script.run(fails, {"": train.Config()}, "")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("npz:C:\\x\\mine.npz", "npz_C__x_mine.npz"),
        ("sprites+correlated:x,y,0.2", "sprites_correlated_x_y_0.2"),
        ("digits", "digits"),
        ("npz:x.", "npz_x"),
    ],
)
def test_default_names_are_portable(text, name):
    assert script.portable(text) == name == script.check_name(name)
    assert len(script.portable(text * 40)) <= 50 and script.portable(text * 40) != script.portable(text * 41)
