"""What a sweep leaves in its folder is its own, whole, and never another's."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pandas as pd
import pytest
from jax.sharding import AxisType

from vaejax import InputError, build, fit, grid, load_run
from vaejax.data import arrays, load
from vaejax.storage.checkpoint import Block, Checkpoints, flat, unflat
from vaejax.storage.files import read_table, write_text
from vaejax.storage.folder import claim, claimed
from vaejax.storage.lock import held
from vaejax.storage.marker import MARKER, is_marked, record
from vaejax.training import sweep
from vaejax.training.fingerprint import contents, program

SHAPE = (8, 8, 1)
MODEL = {"method": "beta_vae", "network": "mlp", "latents": 3, "width": 16}
METHOD = build(shape=SHAPE, **MODEL)
DIGITS = load("digits")
RUNS = grid(METHOD.hyper, 2, beta=[1, 4])
CONFIG = {"command": "none", "source": {"name": "digits"}, "model": MODEL, "shape": SHAPE}
STEPS = 6


@pytest.fixture(scope="module", autouse=True)
def segments_of_one_step():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sweep, "SHORTEST_SEGMENT", 1)
        yield


def train(path, method=METHOD, source=DIGITS, runs=RUNS, **options):
    one = jax.make_mesh((1,), ("runs",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    options = {"steps": STEPS, "batch_size": 8, "chunk": 1, "mesh": one, "workdir": path, **options}
    return fit(method, source, runs, **options)


@pytest.fixture(scope="module")
def whole():
    """The sweep as it is without a folder."""
    return train(None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    claim(path, CONFIG)
    train(path)
    write_text(path / "results.csv", "run,metric,value\n0,elbo,-12.5\n1,elbo,-13.25\n")
    return path


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A folder of the same sweep, saved after each segment and stopped in the second half of its first two runs."""
    path = tmp_path_factory.mktemp("half") / "run"
    claim(path, CONFIG)
    stopped(path, 9)
    return path


def stopped(path, after, **options):
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.done >= after:
            raise Stop

    with pytest.raises(Stop):
        train(path, on_progress=stop, save_every=0, **options)


def copied(path, tmp_path):
    return shutil.copytree(path, tmp_path / "copy")


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
    jax.tree.map(np.testing.assert_array_equal, a.history, b.history)


# --- what determines a sweep -----------------------------------------------------------------------------------------

IMAGES = np.random.default_rng(0).random((40, 8, 8)).astype(np.float32)
OTHERS = {
    "likelihood": ({"likelihood": "gaussian"}, {}),
    "network": ({"network": "mlp_relu"}, {}),
    "activation": ({"network": "mlp_tanh"}, {}),
    "latents": ({"latents": 4}, {}),
    "width": ({"width": 17}, {}),
    "method": ({"method": "annealed_beta"}, {}),
    "split": ({}, {"source": load("digits", split="test")}),
    "batch size": ({}, {"batch_size": 9}),
    "precision": ({}, {"precision": "bf16"}),
    "seeds": ({}, {"runs": grid(METHOD.hyper, [0, 5], beta=[1, 4])}),
    "hyperparameters": ({}, {"runs": grid(METHOD.hyper, 2, beta=[1, 5])}),
}


@pytest.mark.parametrize("what", OTHERS)
def test_the_folder_of_another_sweep_is_refused(what, finished):
    model, options = OTHERS[what]
    method = build(shape=SHAPE, **{**MODEL, **model})
    runs = grid(method.hyper, 2, beta=[1, 4])
    with pytest.raises(InputError, match="holds another sweep") as refused:
        train(finished, method, **{"runs": runs, **options})
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_other_images_of_the_same_name_are_refused(tmp_path):
    train(tmp_path, source=arrays("mine", IMAGES))
    changed = IMAGES.copy()
    changed[17, 3, 3] += 0.001
    with pytest.raises(InputError, match="its data are others"):
        train(tmp_path, source=arrays("mine", changed))
    with pytest.raises(InputError, match="holds another sweep"):
        train(tmp_path, source=arrays("mine", IMAGES, label=np.arange(40) % 3))


def test_a_streamed_file_that_was_replaced_is_noticed(tmp_path):
    file = tmp_path / "x.npz"
    np.savez(file, x=IMAGES, x_test=IMAGES[:5])
    train(tmp_path / "run", source=load(f"npz:{file}", window=20))
    np.savez(file, x=IMAGES[::-1], x_test=IMAGES[:5])
    with pytest.raises(InputError, match="its data are others"):
        train(tmp_path / "run", source=load(f"npz:{file}", window=20))


OPTIONS = [
    ({"method": "iwae", "samples": 5}, {"method": "iwae", "samples": 50}),
    ({"method": "denoising_autoencoder", "corruption": "gaussian"}, {"method": "denoising_autoencoder"}),
    ({"method": "beta_tcvae", "size": 100}, {"method": "beta_tcvae", "size": 101}),
    ({"method": "wae_mmd"}, {"method": "autoencoder"}),
    ({"method": "vae"}, {"method": "dip_vae_i"}),
]


@pytest.mark.parametrize(("one", "other"), OPTIONS)
def test_a_program_is_known_by_what_it_computes(one, other):
    def of(model):
        return program(build(shape=SHAPE, **{**MODEL, **model}), DIGITS, DIGITS.data, 8)

    assert of(one) == of(one) != of(other)


def test_what_determines_a_sweep_is_the_same_in_another_process():
    code = (
        "from vaejax import build; from vaejax.data import load; from vaejax.training.fingerprint import *\n"
        f"digits = load('digits'); print(program(build(shape={SHAPE}, **{MODEL}), digits, digits.data, 8))\n"
        "print(contents(digits))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert printed == [program(METHOD, DIGITS, DIGITS.data, 8), contents(DIGITS)]


# --- damage ----------------------------------------------------------------------------------------------------------


def files_of(path):
    return sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size)


def flip(file, bit):
    content = bytearray(file.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    file.write_bytes(content)


def test_every_kind_of_file_with_one_bit_flipped_is_noticed_or_harmless(finished, half, whole, tmp_path):
    """Opened, a finished sweep gives its parameters or one line; continued, a half-finished one ends as ever."""
    random = np.random.default_rng(7)
    opened = load_run(finished)
    for _ in range(24):
        path = copied(finished, tmp_path)
        flip(random.choice(files_of(path)), int(random.integers(10**6)))
        try:
            run = load_run(path)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            jax.tree.map(np.testing.assert_array_equal, run.params, opened.params)
            pd.testing.assert_frame_equal(run.results, opened.results)
        shutil.rmtree(path)
    for _ in range(16):
        path = copied(half, tmp_path)
        flip(random.choice(files_of(path / "checkpoints")), int(random.integers(10**6)))
        same(train(path), whole)
        shutil.rmtree(path)


def newest(path):
    """The last save of the run that was being trained, the second."""
    saves = list((path / "checkpoints" / "00001-00001-1").iterdir())
    assert len(saves) == 2
    return max(saves, key=lambda save: int(save.name))


def test_the_save_before_a_damaged_one_is_used_with_a_line(half, whole, tmp_path, caplog):
    path = copied(half, tmp_path)
    save = newest(path)
    shutil.rmtree(save / "state")
    seen = []
    same(train(path, on_progress=seen.append), whole)
    assert seen[0].step == int(save.name) and "is damaged" in caplog.text and "was put aside" in caplog.text
    assert (path / "checkpoints" / "damaged" / f"{save.parent.name}_{save.name}").is_dir()


def test_a_save_under_another_number_is_not_taken_for_that(half, whole, tmp_path, caplog):
    path = copied(half, tmp_path)
    save = newest(path)
    save.rename(save.with_name("6"))
    same(train(path), whole)
    assert "is damaged (what it says of itself was changed)" in caplog.text


def test_a_finished_sweep_without_its_checkpoint_says_which_runs_are_missing(finished, tmp_path):
    path = copied(finished, tmp_path)
    shutil.rmtree(next((path / "checkpoints").glob("*-*-*")))
    with pytest.raises(InputError, match=r"holds no checkpoint|lacks the checkpoint of runs 0, 1, 2, 3"):
        load_run(path)


@pytest.mark.parametrize("name", ["history.csv", "results.csv", "runs.csv", "config.json"])
def test_a_file_that_was_cut_is_not_read(name, finished, tmp_path):
    path = copied(finished, tmp_path)
    lines = (path / name).read_text().splitlines(keepends=True)
    (path / name).write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match=rf"{name} was cut or changed since it was written"):
        load_run(path)
    (path / name).unlink()
    with pytest.raises(InputError, match=rf"{name}.* (is missing|can't be read)"):
        load_run(path)


@pytest.mark.parametrize(("field", "value"), [("latents", 4), ("width", 8), ("network", "mlp_relu"), ("width", None)])
def test_a_config_that_does_not_fit_the_checkpoint_is_refused(field, value, finished, tmp_path):
    path = copied(finished, tmp_path)
    (path / MARKER).unlink()  # so that the file's own checksum isn't what tells
    config = json.loads((path / "config.json").read_text())
    config["model"][field] = value
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="and the checkpoints don't fit each other"):
        load_run(path)


def test_a_stray_file_among_the_checkpoints_is_no_checkpoint(finished, tmp_path):
    path = copied(finished, tmp_path)
    for name in ("notes.txt", "a-b-c", ".DS_Store"):
        (path / "checkpoints" / name).write_text("mine")
    (path / "checkpoints" / "my-own-folder").mkdir()
    assert len(load_run(path).table) == RUNS.count


def test_opening_a_folder_changes_nothing_in_it(half, tmp_path):
    path = copied(half, tmp_path)
    saving = next((path / "checkpoints").glob("*-*-*")) / "9.orbax-checkpoint-tmp-1"  # of a process that is saving
    saving.mkdir()
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert load_run(path).table["status"].tolist() == ["finished", "training", "waiting", "waiting"]
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


def test_trees_are_flat_by_path_and_back():
    tree = {
        "a": (np.arange(3, dtype=np.int32), {"b": np.ones((3, 2), np.float32)}),
        "key": jax.random.split(jax.random.key(0), 3),
    }
    back = unflat(jax.eval_shape(lambda: tree), flat(tree))
    assert set(flat(tree)) == {"a/0", "a/1/b", "key"}
    assert (jax.random.key_data(back["key"]) == jax.random.key_data(tree["key"])).all() and back["a"][1]["b"].sum() == 6
    with pytest.raises(InputError, match=r"the checkpoint's a/0 is missing"):
        unflat(jax.eval_shape(lambda: tree), {name: leaf for name, leaf in flat(tree).items() if name != "a/0"})


def test_two_saves_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, {})
    for segments in (1, 2, 3):
        checkpoints.save(Block(np.arange(2), segments, {"x": np.full(2, segments)}))
    assert sorted(save.name for save in (tmp_path / "00000-00001-2").iterdir()) == ["2", "3"]
    ((block,), damaged) = checkpoints.load()
    assert block.segments == 3 and block.tree["x"].tolist() == [3, 3] and not damaged


# --- whose folder it is ----------------------------------------------------------------------------------------------


def test_overwriting_deletes_what_sweeps_wrote_and_nothing_else(finished, tmp_path):
    path = copied(finished, tmp_path)
    (path / "thesis.txt").write_text("precious")
    (path / "figures").mkdir()
    for name in ("ours.png", "mine.png"):
        (path / "figures" / name).write_text("picture")
    record(path / "figures" / "ours.png")
    (path / "checkpoints" / "notes.txt").write_text("precious")
    assert not claim(path, {**CONFIG, "steps": 7}, overwrite=True)
    left = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    assert left == {"thesis.txt", "figures/mine.png", "checkpoints/notes.txt", "config.json", MARKER} | left & {".lock"}


@pytest.mark.parametrize("name", ["config.json", "thesis.txt"])
def test_a_folder_that_no_sweep_has_marked_is_never_overwritten(name, tmp_path):
    (tmp_path / name).write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="no sweep of ours has marked it"):
            claim(tmp_path, CONFIG, overwrite=overwrite)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_finished_sweep_says_so_and_another_says_what_differs(finished, tmp_path):
    path = copied(finished, tmp_path)
    assert claim(path, {**CONFIG, "command": "typed otherwise"})
    with pytest.raises(InputError, match=r"holds another sweep \(model: latents is 3 there, 4 here\)"):
        claim(path, {**CONFIG, "model": {**MODEL, "latents": 4}})
    write_text(path / "report.html", "page")
    with pytest.raises(InputError, match=r"is finished, and its page is .*report.html; to train more"):
        claim(path, CONFIG)


@pytest.mark.parametrize("name", ["checkpoints", "figures"])
def test_a_file_in_the_place_of_a_folder_is_noticed_before_training(name, tmp_path):
    (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=f"{name} is a file, but a sweep's is a folder"):
        train(tmp_path, on_progress=lambda _: pytest.fail("trained"))


WORKDIRS = [
    ("", "has to be the path of a folder"),
    (3, "has to be the path"),
    ("a\0b", "has a NUL in it"),
    ("x" * 300, "too long"),
]


@pytest.mark.parametrize(("workdir", "line"), WORKDIRS)
def test_what_is_no_folder_is_one_line(workdir, line):
    with pytest.raises(InputError, match=line) as refused:
        train(workdir)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400
    if workdir != "":
        with pytest.raises(InputError):
            load_run(workdir)


@pytest.mark.parametrize("pause", [-1, float("nan"), "60", None, True])
def test_a_pause_is_a_number_of_seconds(pause, tmp_path):
    with pytest.raises(InputError, match="save_every has to be a number of seconds"):
        train(tmp_path / "run", save_every=pause)
    assert not (tmp_path / "run").exists()


HOLDING = """
import sys, time
from pathlib import Path
from vaejax.storage.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_processes_do_not_share_a_folder(tmp_path):
    path = tmp_path / "run"
    claim(path, CONFIG)
    other = subprocess.Popen([sys.executable, "-c", HOLDING, path], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        line = rf"is in use by process {other.pid} on .* since 20"
        with pytest.raises(InputError, match=line):
            train(path)
        for overwrite in (False, True):
            with pytest.raises(InputError, match=line), claimed(path, CONFIG, overwrite=overwrite):
                pytest.fail("claimed")
        assert is_marked(path)
    finally:
        other.kill()
        other.wait()
    train(path)  # a process that was killed holds nothing
    with held(path), held(path):
        pass


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_segment_end_and_saves_it(number, tmp_path, whole, caplog):
    class Told(Exception):
        pass

    def tell(*_):
        raise Told

    def on_progress(progress):
        if progress.done == 9:
            os.kill(os.getpid(), number)

    before = signal.signal(number, tell)
    try:
        with pytest.raises(Told):
            train(tmp_path, on_progress=on_progress)
        assert signal.getsignal(number) is tell and "stopping when this segment is trained" in caplog.text
    finally:
        signal.signal(number, before)
    assert len(read_table(tmp_path / "history.csv")) == 9
    same(train(tmp_path), whole)


def test_a_second_signal_stops_at_once(tmp_path):
    def on_progress(progress):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_progress=on_progress)


def test_in_another_thread_signals_are_left_alone(tmp_path, whole):
    found = []
    thread = threading.Thread(target=lambda: found.append(train(tmp_path)))
    thread.start()
    thread.join()
    same(found[0], whole)


# --- more of the same kinds ------------------------------------------------------------------------------------------


def test_another_window_is_another_sweep(tmp_path):
    file = tmp_path / "x.npz"
    np.savez(file, x=IMAGES, x_test=IMAGES[:5])
    train(tmp_path / "run", source=load(f"npz:{file}", window=20))
    with pytest.raises(InputError, match="window is 20 there, 25 here"):
        train(tmp_path / "run", source=load(f"npz:{file}", window=25))


def test_the_checkpoints_of_another_sweep_are_not_opened(finished, tmp_path):
    path = copied(finished, tmp_path)
    train(tmp_path / "other", runs=grid(METHOD.hyper, [5, 6], beta=[1, 4]))
    shutil.rmtree(path / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", path / "checkpoints")
    with pytest.raises(InputError, match="holds checkpoints of another sweep"):
        load_run(path)


@pytest.mark.parametrize("other", [{"likelihood": "gaussian"}, {"method": "vae"}, {"network": "mlp_relu"}])
def test_another_method_does_not_open_a_sweep(other, finished):
    with pytest.raises(InputError, match="was trained with another method"):
        load_run(finished, method=build(shape=SHAPE, **{**MODEL, **other}))
    assert load_run(finished, method=METHOD).method == METHOD


def test_overwriting_leaves_what_a_user_put_among_the_checkpoints(finished, tmp_path):
    path = copied(finished, tmp_path)
    block = next((path / "checkpoints").glob("*-*-*"))
    mine = [block / "notes.txt", next(block.iterdir()) / "mine.txt"]
    for file in mine:
        file.write_text("precious")
    claim(path, {**CONFIG, "steps": 7}, overwrite=True)
    assert all(file.read_text() == "precious" for file in mine)
    assert sum(file.is_file() for file in (path / "checkpoints").rglob("*")) == 2


def test_numbers_of_numpy_are_numbers(tmp_path, whole):
    same(train(tmp_path, steps=np.int64(STEPS), batch_size=np.int32(8)), whole)


@pytest.mark.parametrize("source", ["digits", IMAGES, None])
def test_what_is_no_source_is_one_line(source):
    with pytest.raises(InputError, match="a source is what vaejax"):
        train(None, source=source)


def test_a_link_to_nowhere_is_called_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for call in (lambda: train(tmp_path / "link"), lambda: load_run(tmp_path / "link")):
        with pytest.raises(InputError, match=r"link is a link to what isn't there \(.*gone\); remove it") as refused:
            call()
        assert str(refused.value).count(str(tmp_path)) == 2


# --- a folder that says something else than was written ---------------------------------------------------------------

TOLD = {  # of config.json: a value of another kind, and what the line says of it
    "shape": [(8, "'shape' has to be one or three whole numbers"), ([8, 0, 1], "'shape'"), (None, "'shape'")],
    "model": [(None, "'model' has to be an object"), ("vae", "'model'"), ([], "'model'"), ({}, "'model'")],
    "source": [(8, "'source' has to be an object"), ({"name": 3}, "'source'"), (None, "'source'")],
    "space": [(3, "'space' has to be an object"), ({"kind": "odd"}, "'space'")],
    "steps": [("x", "'steps' has to be a whole number"), (True, "'steps'"), (1.5, "'steps'"), (0, "'steps'")],
    "batch_size": [(None, "'batch_size' has to be a whole number")],
    "command": [(3, "'command' has to be a text")],
}


@pytest.mark.parametrize(("name", "value", "line"), [(name, *row) for name, rows in TOLD.items() for row in rows])
def test_a_config_of_another_kind_names_its_key_and_its_file(name, value, line, finished, tmp_path):
    path = copied(finished, tmp_path)
    (path / ".vaejax.json").unlink()
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, name: value}))
    with pytest.raises(InputError, match=rf"config.json: {line}.*put the file back") as refused:
        load_run(path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


EDITED = {  # of a folder without its marker: a file, what is replaced in it by what, and the line
    "a hyperparameter": ("runs.csv", ",4.0,", ",5.0,", "doesn't fit the checkpoints"),
    "a seed": ("runs.csv", ",1,0,finished", ",7,0,finished", "doesn't fit the checkpoints"),
    "a loss of text": ("history.csv", "\n0,", "\n0,x", "is no number"),
    "another run": ("history.csv", "\n0,", "\n99,", "other runs than runs.csv"),
    "the numbers of runs": ("runs.csv", "\n0,", "\n5,", "doesn't list the runs 0 to 3"),
}


@pytest.mark.parametrize("what", EDITED)
def test_a_folder_without_its_marker_is_checked_by_its_checkpoints(what, finished, tmp_path, caplog):
    path = copied(finished, tmp_path)
    (path / ".vaejax.json").unlink()
    load_run(path)
    assert "has lost its .vaejax.json" in caplog.text
    name, old, new, line = EDITED[what]
    text = (path / name).read_text()
    assert old in text
    (path / name).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=line):
        load_run(path)


@pytest.mark.parametrize(
    ("rows", "line"),
    [("0,elbo,x", "'value' has something"), ("9,elbo,1", "other runs"), ("0,elbo,1\n0,elbo,2", "twice")],
)
def test_results_are_one_number_for_every_run_and_metric(rows, line, finished, tmp_path):
    path = copied(finished, tmp_path)
    (path / ".vaejax.json").unlink()
    (path / "results.csv").write_text(f"run,metric,value\n{rows}\n")
    with pytest.raises(InputError, match=line):
        load_run(path)


def test_another_method_than_ones_own_that_was_trained_is_refused(tmp_path):
    """Equal shapes of parameters don't make it the same."""

    def own(method):
        return method._replace(loss=lambda *arguments: method.loss(*arguments))

    train(tmp_path, own(METHOD))
    again = load_run(tmp_path, own(build(shape=SHAPE, **MODEL)))
    assert again.table["status"].tolist() == ["finished"] * 4
    for other in ({"likelihood": "gaussian"}, {"network": "mlp_relu", "width": (16, 16)}, {"method": "iwae"}):
        with pytest.raises(InputError, match="was trained with another method"):
            load_run(tmp_path, own(build(shape=SHAPE, **{**MODEL, **other})))
