"""What can't be a source: each is refused by one clear line, whatever its type, held and streamed alike."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.test_data import GREY, LABEL, SHADES, image_feature, prepare
from vaejax import InputError, build
from vaejax.data import (
    arrays,
    binarized,
    code_grids,
    correlated,
    digits,
    dsprites,
    excluding,
    is_rendered,
    load,
    npz,
    partly_labelled,
    rectangles,
    shapes3d,
    sprites,
    static_mnist,
    tfds,
)

X = np.arange(12 * 16).reshape(12, 4, 4).astype(np.uint8)
Y = np.arange(12)
UNIT = X / 256
LONG = "a" * 300


def file(folder, **members):
    """The name of an npz file with these arrays."""
    np.savez(folder / "x.npz", **members)
    return f"npz:{folder / 'x.npz'}"


def raw(folder, content):
    """The name of a file with these bytes."""
    (folder / "x.npz").write_bytes(content)
    return f"npz:{folder / 'x.npz'}"


def odd_zip(folder, name, content):
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr(name, content)
    return f"npz:{folder / 'x.npz'}"


def locked(folder, monkeypatch):
    """A file that may not be read, also not by root."""
    name = file(folder, x=X)

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refuse)
    return name


def tiny(folder, examples=None, features=GREY):
    prepare(folder, features, SHADES if examples is None else examples)
    return dict(name="tiny", data_dir=str(folder))


def spoiled(folder, name, content):
    """A prepared data set, one of whose files has other content."""
    home = prepare(folder, GREY, SHADES)
    next(home.glob(name)).write_bytes(content)
    return dict(name="tiny", data_dir=str(folder))


BASE = sprites(16)
METHOD = build("vq_vae", (8, 8, 1), "mlp", latents=2, width=8)

LOAD = {  # id: (arguments of load, part of the line)
    "name None": ((None,), "loaded by its name"),
    "name number": ((3,), "loaded by its name, such as sprites; not by 3"),
    "name path": ((Path("x.npz"),), "for a file write npz:x.npz"),
    "name bytes": ((b"digits",), "loaded by its name"),
    "name list": ((["digits"],), "loaded by its name"),
    "name array": ((X,), "loaded by its name"),
    "name frame": ((pd.DataFrame({"x": [1]}),), "loaded by its name"),
    "name empty": (("",), "unknown source"),
    "name long": (("q" * 5000,), "unknown source"),
    "name lines": (("a\nb\0",), "unknown source"),
    "split None": (("digits", None), "split has to be a text, not None"),
    "split number": (("sprites", 1), "split has to be a text"),
    "split list": (("npz:x.npz", ["train"]), "split has to be a text"),
    "split long": (("digits", "t" * 5000), "unknown split"),
    "split of static_mnist": (("static_mnist:d", "all"), "unknown split of static_mnist"),
    "split of dsprites": (("dsprites:d", "all"), "unknown split 'all'"),
    "data_dir number": (("digits", "train", 3), "data_dir has to be the path of a folder, not 3"),
    "data_dir list": (("mnist", "train", ["a"]), "data_dir has to be the path of a folder"),
    "data_dir bool": (("sprites", "train", True), "data_dir has to be the path of a folder"),
    "data_dir long": (("mnist", "train", "/" + LONG), "tensorflow-datasets can't open it|not prepared in"),
    "data_dir NUL": (("mnist", "train", "/a\0b"), "tensorflow-datasets can't open it|not prepared in"),
    "data_dir nobody's": (("mnist", "train", "~nosuchuser/x"), "tensorflow-datasets can't open it|not prepared in"),
    "size text": (("sprites", "train", None, "32"), "sprites have size 64, 32, 16 or 8, not '32'"),
    "size float": (("sprites", "train", None, 32.0), "sprites have size .*, not 32.0"),
    "size bool": (("rectangles", "train", None, True), "rectangles have size 64, 32 or 16, not True"),
    "size 0": (("sprites", "train", None, 0), "sprites have size .*, not 0"),
    "size negative": (("shapes3d", "train", None, np.int64(-8)), "shapes3d have size .*, not .*-8"),
    "size list": (("color_sprites", "train", None, [32]), "color_sprites have size .*, not .32. .list."),
    "size array": (("noisy_sprites", "train", None, np.array([32])), "noisy_sprites have size"),
    "size NaN": (("sprites", "train", None, float("nan")), "not nan"),
    "size of digits": (("digits", "train", None, "8"), "only rendered sources take a size"),
    "window text": (("npz:x.npz", "train", None, None, "5"), "no such file|whole number"),
    "window of sprites": (("sprites", "train", None, None, "5"), "takes no window"),
    "home of nobody": (("npz:~nosuchuser/x",), "no home folder is known"),
    "home of nobody, dsprites": (("dsprites:~nosuchuser/x",), "no home folder is known"),
    "home of nobody, static_mnist": (("static_mnist:~nosuchuser/x",), "no home folder is known"),
    "home of nobody, streamed": (("npz:~nosuchuser/x", "train", None, None, 5), "no home folder is known"),
    "long path": ((f"npz:{LONG}.npz",), "File name too long"),
    "long path, streamed": ((f"npz:{LONG}.npz", "train", None, None, 5), "File name too long"),
    "very long path": (("dsprites:" + "a/" * 4000,), "File name too long"),
    "long folder": ((f"static_mnist:{LONG}",), "File name too long"),
    "NUL": (("npz:a\0b.npz",), "embedded null"),
    "NUL, static_mnist": (("static_mnist:a\0b",), "embedded null"),
    "NUL, streamed": (("npz:a\0b.npz", "train", None, None, 5), "embedded null"),
    "line break": (("npz:a\nb.npz",), "no such file"),
    "a file for a folder": ((f"npz:{__file__}/x.npz",), "Not a directory"),
    "a file for a folder, static_mnist": ((f"static_mnist:{__file__}",), "Not a directory"),
    "no folder": (("static_mnist:",), "no folder given"),
    "no file": (("dsprites:",), "no file given"),
    "a device": (("npz:/dev/null",), "folder or device"),
    "change long": (("sprites+correlated:" + "x" * 3000,), "can't be read; write"),
    "change of none": (("sprites+colored+binarized",), "unknown change of a source"),
    "sigma text": (("sprites+correlated:x,y,strong",), "can't be read; write"),
    "no such value": (("sprites+excluding:shape=7",), "values 0 to 2; 7 can't be excluded"),
}
CALLS = {  # id: (call, part of the line)
    "arrays name": (lambda: arrays(3, X), "name has to be a text, not 3"),
    "arrays None": (lambda: arrays("a", None), "dtype object"),
    "arrays text": (lambda: arrays("a", "x.png"), "dtype <U5"),
    "arrays ragged": (lambda: arrays("a", [[[1, 2]], [[3]]]), "images are no array .*give an array of numbers"),
    "arrays frame": (lambda: arrays("a", pd.DataFrame({"a": ["x", "y"]})), "vectors have dtype"),
    "arrays dict": (lambda: arrays("a", {"x": X}), "dtype object"),
    "arrays empty": (lambda: arrays("a", []), "reshape to"),
    "arrays no images": (lambda: arrays("a", X[:0]), "a: images have shape .* there are none"),
    "arrays labels text": (lambda: arrays("a", X, list("abcdefghijkl")), "labels have dtype <U1"),
    "arrays labels ragged": (lambda: arrays("a", X, [[1], [1, 2]]), "labels are no array"),
    "arrays labels bool": (lambda: arrays("a", X, Y > 3), "labels have dtype bool"),
    "arrays labels -2": (lambda: arrays("a", X, Y - 2), "labels run from -2 .*-1 for no label"),
    "arrays factors -1": (lambda: arrays("a", X, factors=Y[:, None] - 1), "factors run from -1 .*integers from 0"),
    "arrays factors frame": (lambda: arrays("a", X, factors=pd.DataFrame({"a": Y / 2})), "factors have dtype float"),
    "arrays white text": (lambda: arrays("a", X, white="255"), "white has to be a number above 0, not '255'"),
    "arrays white 0": (lambda: arrays("a", X, white=0), "white has to be a number above 0"),
    "arrays white NaN": (lambda: arrays("a", X, white=float("nan")), "white has to be a number above 0"),
    "arrays white bool": (lambda: arrays("a", X, white=True), "white has to be a number above 0"),
    "arrays beyond white": (lambda: arrays("a", X, white=16), "run up to 191, beyond the full pixel 16"),
    "arrays floats of 255": (lambda: arrays("a", X * 1.2), "divide by 255"),
    "arrays floats of 2": (lambda: arrays("a", UNIT * 2), r"rescale to bring them into \[0, 1\]"),
    "arrays floats of 1 + 1e-4": (lambda: arrays("a", UNIT / UNIT.max() * 1.0001), "run from 0 to 1.0001; rescale"),
    "arrays floats of -1e-3": (lambda: arrays("a", UNIT - 1e-3), "run from -0.001 to .*; rescale"),
    "arrays beyond white, floats": (lambda: arrays("a", UNIT * 20, white=10), r"rescale to bring them into \[0, 10\]"),
    "npz path": (lambda: npz(3), "path of a file has to be a text, not 3"),
    "npz None": (lambda: npz(None), "path of a file has to be a text, not None"),
    "dsprites path": (lambda: dsprites(b"x"), "path of a file has to be a text"),
    "static_mnist path": (lambda: static_mnist(["a"]), "path of a folder has to be a text"),
    "static_mnist split": (lambda: static_mnist("a", 3), "has to be a name, not 3"),
    "digits split": (lambda: digits(True), "split has to be a text, not True"),
    "tfds name": (lambda: tfds(None), "name has to be a text, not None"),
    "tfds split": (lambda: tfds("mnist", None), "split has to be a text, not None"),
    "tfds data_dir": (lambda: tfds("mnist", "train", 3), "data_dir has to be the path of a folder"),
    "sprites size": (lambda: sprites([32]), "sprites have size"),
    "rectangles size": (lambda: rectangles("64"), "rectangles have size"),
    "shapes3d size": (lambda: shapes3d({}), "shapes3d have size"),
    "is_rendered": (lambda: is_rendered(None), "loaded by its name"),
    "binarized None": (lambda: binarized(None), "None .* can't be binarized"),
    "binarized array": (lambda: binarized(X), "can't be binarized"),
    "correlated name": (lambda: correlated("sprites", ("x", "y"), 0.2), "is no full grid of factors"),
    "correlated arrays": (lambda: correlated(arrays("a", X), ("x", "y"), 0.2), "a is no full grid of factors"),
    "correlated pair text": (lambda: correlated(BASE, "xy", 0.2), "two factors are correlated, not 'xy'"),
    "correlated pair None": (lambda: correlated(BASE, None, 0.2), "two factors are correlated, not None"),
    "correlated factor None": (lambda: correlated(BASE, (None, "y"), 0.2), "factor of sprites has to be a name"),
    "correlated factor bool": (lambda: correlated(BASE, (True, "y"), 0.2), "factor of sprites has to be a name"),
    "correlated factor float": (lambda: correlated(BASE, (1.0, "y"), 0.2), "factor of sprites has to be a name"),
    "correlated sigma text": (lambda: correlated(BASE, ("x", "y"), "0.2"), "sigma has to be above 0"),
    "correlated sigma None": (lambda: correlated(BASE, ("x", "y"), None), "sigma has to be above 0"),
    "correlated sigma list": (lambda: correlated(BASE, ("x", "y"), [0.2]), "sigma has to be above 0"),
    "excluding text": (lambda: excluding(BASE, "shape=2"), "say what to exclude as .'shape': .2.., not as 'shape=2'"),
    "excluding int": (lambda: excluding(BASE, {"shape": 2}), "2 can't be excluded; give a list of values"),
    "excluding floats": (lambda: excluding(BASE, {"shape": [1.0]}), "1.0 can't be excluded"),
    "excluding text values": (lambda: excluding(BASE, {"shape": "12"}), "'12' .* can't be excluded"),
    "excluding bools": (lambda: excluding(BASE, {"shape": [True]}), "True can't be excluded"),
    "excluding None": (lambda: excluding(BASE, {None: [1]}), "factor of sprites has to be a name"),
    "excluding split": (lambda: excluding(BASE, {"shape": [1]}, split=None), "split has to be a text"),
    "partly_labelled count": (lambda: partly_labelled(arrays("a", X, Y % 2), "4"), "count has to be a whole number"),
    "partly_labelled float": (lambda: partly_labelled(arrays("a", X, Y % 2), 4.0), "count has to be a whole number"),
    "partly_labelled bool": (lambda: partly_labelled(arrays("a", X, Y % 2), True), "count has to be a whole number"),
    "partly_labelled seed": (lambda: partly_labelled(arrays("a", X, Y % 2), 4, seed=-1), "seed has to be at least 0"),
    "partly_labelled source": (lambda: partly_labelled("digits", 4), "can't keep some of its labels"),
    "partly_labelled no label": (lambda: partly_labelled(arrays("a", X, Y * 0 - 1), 4), "a has no labels to keep"),
    "code_grids method": (lambda: code_grids("vq_vae", {}, arrays("a", X)), "codes are those of a method from build"),
    "code_grids source": (lambda: code_grids(METHOD, {}, X), "codes are those of a method from build"),
    "code_grids params": (lambda: code_grids(METHOD, {}, arrays("a", X)), "give those of one run"),
    "code_grids images": (lambda: code_grids(METHOD, {}, arrays("a", X), images=0), "images has to be at least 1"),
}
HELD_AND_STREAMED = {  # id: (folder -> arguments of load, part of the line), without and with a window
    "empty file": (lambda folder: raw(folder, b""), r"x.npz can't be read as npz \(it is empty\)"),
    "text file": (lambda folder: raw(folder, b"a,b\n1,2\n"), "x.npz can't be read as npz"),
    "objects": (lambda folder: file(folder, x=np.array([None, 1])), "'x' holds pickled objects, which are not read"),
    "objects in labels": (lambda folder: file(folder, x=X, y=np.array([None] * 12)), "'y' holds pickled objects"),
    "empty array": (lambda folder: file(folder, x=X[:0]), r"x.npz: images have shape \(0, 4, 4, 1\): there are none"),
    "empty test": (lambda folder: file(folder, x=X, x_test=X[:0]), r"\(test\): images have shape \(0, 4, 4, 1\)"),
    "empty member": (lambda folder: odd_zip(folder, "x.npy", ""), "x.npz: 'x' is corrupt"),
    "many others": (lambda folder: file(folder, **{f"key{k}": X for k in range(200)}), "no array 'x' or"),
    "in a folder": (lambda folder: odd_zip(folder, "a/x.npy", ""), "it has: a/x"),
    "numbers": (lambda folder: file(folder, x=3), r"have shape \(\); reshape"),
    "text": (lambda folder: file(folder, x=np.array(["a", "b"])), "have dtype <U1"),
    "dates": (lambda folder: file(folder, x=X.astype("M8[D]")), "have dtype datetime64"),
    "records": (lambda folder: file(folder, x=np.zeros((9, 4, 4), [("a", "u1")])), "have dtype"),
    "labels of -2": (lambda folder: file(folder, x=X, label=Y - 2), "x.npz: labels run from -2 .*-1 for no label"),
    "factors of -1": (lambda folder: file(folder, x=X, factors=Y[:, None] - 1), "factors run from -1 .* from 0"),
    "one image": (lambda folder: file(folder, x=X[:1]), "one image can't be split"),
    "test of another size": (lambda folder: file(folder, x=X, x_test=X[:, :3]), "make them equal"),
    "few labels": (lambda folder: file(folder, x=X, label=Y[:4]), "labels are 4 for 12 images"),
    "no label": (lambda folder: tiny(folder, [{"image": SHADES[0]["image"]}] * 9), "files are broken .*no 'label'"),
    "no image": (lambda folder: tiny(folder, [{"label": 1}] * 9), "files are broken .*no 'image'"),
    "no feature": (lambda folder: tiny(folder, [{"label": 1}] * 9, {"label": LABEL}), "no feature 'image'"),
    "empty image": (lambda folder: tiny(folder, [{"image": b"", "label": 1}] * 9), "image 0 can't be decoded"),
    "floats": (lambda folder: tiny(folder, features={"image": image_feature(4, 4, 1, dtype="float32")}), "float32"),
    "no description": (lambda folder: spoiled(folder, "dataset_info.json", b""), "tiny: tensorflow-datasets can't"),
    "no features": (lambda folder: spoiled(folder, "features.json", b"{"), "tiny: tensorflow-datasets can't"),
    "no records": (lambda folder: spoiled(folder, "*array_record*", b""), "tiny: "),
}
WINDOWS = {  # id: (window, part of the line)
    "text": ("5", "window has to be a whole number, not '5'"),
    "float": (5.0, "window has to be a whole number, not 5.0"),
    "bool": (True, "window has to be a whole number, not True"),
    "list": ([5], "window has to be a whole number"),
    "NaN": (float("nan"), "window has to be a whole number, not nan"),
    "0": (0, "at least one image, not 0"),
    "negative": (np.int64(-3), "at least one image, not -3"),
    "all": (np.uint8(12), "would hold all 12 images; leave window out"),
    "huge": (10**30, "window has to be at most"),
}


def refuses(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    line = str(caught.value)
    assert len(line.splitlines()) == 1 and line.isprintable() and len(line) <= 400, line


@pytest.mark.parametrize("case", LOAD)
def test_load(case):
    arguments, message = LOAD[case]
    refuses(lambda: load(*arguments), message)


@pytest.mark.parametrize("case", CALLS)
def test_calls(case):
    refuses(*CALLS[case])


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("case", HELD_AND_STREAMED)
def test_files(tmp_path, case, window):
    make, message = HELD_AND_STREAMED[case]
    given = make(tmp_path)
    given = dict(name=given) if isinstance(given, str) else given

    def call():
        source = load(**given, window=window)
        return window and source.take(np.arange(3))

    refuses(call, message)


@pytest.mark.parametrize("case", WINDOWS)
def test_windows(tmp_path, case):
    window, message = WINDOWS[case]
    name = file(tmp_path, x=X, x_test=X)
    refuses(lambda: load(name, window=window), message)


TAKEN = [[-1], [99999], [], ["a"], [0.5], [True], [[0]], None, 3, np.ma.array([0, 1], mask=[0, 1])]


@pytest.mark.parametrize("index", TAKEN, ids=lambda index: str(index)[:20])
def test_numbers_of_images(tmp_path, index):
    source = load(file(tmp_path, x=X, x_test=X), window=5)
    refuses(lambda: source.take(index), "images 0 to 11; give a list of at least one|numbers of images are a masked")


@pytest.mark.parametrize("window", [None, 3])
def test_a_folder_that_is_locked(tmp_path, monkeypatch, window):
    name = locked(tmp_path, monkeypatch)
    refuses(lambda: load(name, window=window), r"x.npz can't be read \(Permission denied\); check the path")


def test_a_file_that_is_locked(tmp_path, monkeypatch):
    name = file(tmp_path, x=X)

    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    refuses(lambda: load(name), r"x.npz can't be read \(Permission denied\); check the file and its folder")


def test_what_is_right_stays_right(tmp_path):
    """NumPy's numbers, paths as objects, and lists."""
    name = file(tmp_path, x=X, x_test=X)
    assert load(name, window=np.int64(5)).window == 5 and type(load(name, window=np.int64(5)).window) is int
    assert npz(tmp_path / "x.npz").size == 12
    assert load("sprites", size=np.int32(16)) is sprites(16)
    assert load(**{**tiny(tmp_path), "data_dir": tmp_path}).size == 3
    assert arrays("a", X.tolist(), Y.tolist(), pd.DataFrame({"a": Y}), white=np.float32(255)).size == 12
    assert excluding(BASE, {np.int64(0): np.array([0, 1])}).size == BASE.size // 3
    assert partly_labelled(arrays("a", X, Y % 2), np.int64(4)).name == "a with 4 labels"


PLACES = {  # id: (call, part of the line): values are found by their place
    "NaN": (lambda: arrays("a", np.where(X == X[5, 1, 2], np.nan, UNIT)), "the first in image 5, row 1, column 2; rem"),
    "above 255": (lambda: arrays("a", X.astype(int) * 2), "first beyond in image 8, row 0, column 0; rescale"),
    "above white": (lambda: arrays("a", X, white=16), "first in image 1, row 0, column 1"),
    "above 1": (lambda: arrays("a", UNIT * 2), "first beyond in image 8, row 0, column 1"),
    "beyond 16 bits": (lambda: arrays("a", X.astype(int) * 400, white=70000), "whole numbers from 0 to 76400, first"),
    "labels": (lambda: arrays("a", X, Y - 2), "first beyond in row 0; give"),
    "factors": (lambda: arrays("a", X, factors=np.stack([Y, 3 - Y], 1)), "first beyond in row 4, column 1; give"),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_line_says_where(case):
    refuses(*PLACES[case])


def test_rows_of_the_test_are_counted_by_themselves(tmp_path):
    x = np.ones((3, 2))
    refuses(lambda: load(file(tmp_path, x=x, x_test=x * [1, np.inf])), "inf in row 0 of the test, column 1")
    refuses(lambda: load(file(tmp_path, x=x, x_test=x), window=2), "takes no window, because it holds vectors")
    refuses(lambda: load(file(tmp_path, x=X, white=0)), "'white' has to be a whole number from 1 to 65,535, not 0")


def test_a_file_may_say_what_a_full_pixel_is(tmp_path):
    deep = X.astype(np.uint16) * 257
    for window in (None, 3):
        source = load(file(tmp_path, x=deep, white=65535), window=window)
        data = source.data if window is None else source.take(np.arange(source.size)).data
        assert data["x"].dtype == np.uint16 and data["scale"] == 65535
        np.testing.assert_array_equal(data["x"][..., 0], deep[np.arange(12) % 10 > 0])
    assert arrays("a", X, white=65535).data["x"].dtype == np.uint16
