"""One scale of pixels for all images of a file or data set, however they are loaded; marks of streamed data."""

import logging
import os
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from tests.test_data import GREY, encoded, prepare
from vaejax import InputError, build, fit, grid
from vaejax.data import arrays, load

BINARY = np.arange(4 * 16).reshape(4, 4, 4).astype(np.uint8) % 2
BYTES = (np.arange(4 * 16).reshape(4, 4, 4) * 4 + 1).astype(np.uint8)
KINDS = {  # x, x_test, and the value of a full pixel in each
    "x binary": (BINARY, BYTES, 255, 255),
    "x_test binary": (BYTES, BINARY, 255, 255),
    "both binary": (BINARY, BINARY, 1, 1),
    "both bytes": (BYTES, BYTES, 255, 255),
    "long and bytes": (BINARY.astype(np.int64), BYTES, 255, 255),
    "bool and bytes": (BINARY.astype(bool), BYTES, 1, 255),
    "floats and bytes": (BYTES.astype(np.float32) / 256, BYTES, 1, 255),
    "floats and binary": (BYTES.astype(np.float32) / 256, BINARY, 1, 1),
}


def pixels(source):
    """All images of a source, as training sees them."""
    held = source.take(np.arange(source.size)) if hasattr(source, "take") else source
    return np.asarray(held.at(held.data, jnp.arange(held.size)).x)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_has_one_scale(tmp_path, kind):
    """Of train and test, held and streamed."""
    x, x_test, white, white_test = KINDS[kind]
    np.savez(tmp_path / "x.npz", x=x, x_test=x_test)
    for window in (None, 2):
        for split, images, full in (("train", x, white), ("test", x_test, white_test)):
            found = pixels(load(f"npz:{tmp_path / 'x.npz'}", split, window=window))
            np.testing.assert_allclose(found[..., 0], images / full, rtol=1e-6)


def two_splits(folder, train, test):
    """A data set with a split of either."""
    home = prepare(folder, GREY, [{"image": encoded(image[..., None]), "label": 1} for image in train])
    other = prepare(folder / "other", GREY, [{"image": encoded(image[..., None]), "label": 1} for image in test])
    (record,) = other.glob("*array_record*")
    shutil.copy(record, home / record.name.replace("train", "test"))
    info = (home / "dataset_info.json").read_text()
    start, end = info.index('"splits": [') + len('"splits": ['), info.rindex("]")
    split = info[start:end]
    (home / "dataset_info.json").write_text(info[:end] + ", " + split.replace('"train"', '"test"') + info[end:])
    return str(folder)


@pytest.mark.parametrize("kind", ["x binary", "x_test binary", "both binary", "both bytes"])
def test_a_data_set_has_one_scale(tmp_path, kind):
    train, test, white, _ = KINDS[kind]
    folder = two_splits(tmp_path, train, test)
    for window in (None, 2):
        for split, images in (("train", train), ("test", test), ("train[:75%]", train[:3])):
            found = pixels(load("tiny", split, folder, window=window))
            np.testing.assert_allclose(found[..., 0], images / white, rtol=1e-6)


@pytest.mark.parametrize("window", [None, 2])
def test_a_guess_is_said_once(tmp_path, caplog, window):
    np.savez(tmp_path / "x.npz", x=BINARY, x_test=BYTES)
    folder = two_splits(tmp_path, BINARY, BINARY)
    with caplog.at_level(logging.INFO, "vaejax"):
        load(f"npz:{tmp_path / 'x.npz'}", window=window)
        load("tiny", data_dir=folder, window=window)
    said = [record.getMessage() for record in caplog.records if record.name == "vaejax"]
    assert len(said) == 2
    assert said[0].endswith("x.npz: pixels are whole numbers, some above 1, so 255 is taken to be a full (white) pixel")
    assert said[1] == "tiny: pixels are whole numbers, none above 1, so 1 is taken to be a full (white) pixel"


def test_a_stated_scale_is_no_guess(caplog):
    with caplog.at_level(logging.INFO, "vaejax"):
        for x in (BINARY, BYTES, BINARY.astype(np.float32), BYTES.astype(float)):
            found = pixels(arrays("a", x, white=255))
            np.testing.assert_allclose(found[..., 0], x / 255, rtol=1e-6)
        load("digits")
    assert not caplog.records


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize(("low", "high"), [(0, 1 + 2e-7), (-1e-8, 1), (-9e-7, 1 + 9e-7)])
def test_rounding_is_clipped(tmp_path, low, high, window):
    x = np.linspace(low, high, 4 * 16).reshape(4, 4, 4).astype(np.float64)
    np.savez(tmp_path / "x.npz", x=x, x_test=x)
    found = pixels(load(f"npz:{tmp_path / 'x.npz'}", window=window))
    assert (found.min(), found.max()) == (0, 1)
    np.testing.assert_array_equal(found[..., 0], x.astype(np.float32).clip(0, 1))


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (BYTES[::-1].astype(float), "run from .* to 253; divide by 255"),
        (BYTES[::-1] / 10, "run from .* to 25.3; divide by a full pixel's value"),
        (BYTES[::-1] / 253 + 1e-4, "run from .* to 1.0001; rescale"),
        (BYTES[::-1] / 253 * 1.9, "run from .* to 1.9; rescale"),
        (BYTES[::-1] / 253 - 0.8, "run from -0.* to .*; rescale"),
        (BYTES[::-1] * 257.0, "run from .* to .*; rescale"),
    ],
)
def test_the_same_line_held_and_streamed(tmp_path, x, message, window):
    np.savez(tmp_path / "x.npz", x=x, x_test=x)
    with pytest.raises(InputError, match=message):
        pixels(load(f"npz:{tmp_path / 'x.npz'}", window=window))


def test_images_without_a_label_are_read(tmp_path):
    label = np.array([-1, 2, -1, 0])
    np.savez(tmp_path / "x.npz", x=BYTES, label=label, x_test=BYTES, label_test=label)
    held, streamed = load(f"npz:{tmp_path / 'x.npz'}"), load(f"npz:{tmp_path / 'x.npz'}", window=2)
    for data in (held.data, streamed.take(np.arange(4)).data, arrays("a", BYTES, label).data):
        assert np.asarray(data["label"]).tolist() == label.tolist()


@pytest.mark.parametrize("window", [None, 2])
def test_methods_that_read_labels_ask_for_all_of_them(tmp_path, window):
    np.savez(tmp_path / "x.npz", x=BYTES, label=np.array([-1, 2, -1, 0]), x_test=BYTES)
    source = load(f"npz:{tmp_path / 'x.npz'}", window=window)
    method = build("conditional_vae", source.shape, "mlp", latents=2, width=8, classes=3)
    with pytest.raises(InputError, match=r"labels run from -1 to .*, .* leave out images without a label"):
        fit(method, source, grid(method.hyper, 1), steps=1, batch_size=4 if window is None else 2)


# --- marks -----------------------------------------------------------------------------------------------------------


def mark_of(folder, split="train", window=2, **members):
    folder.mkdir(exist_ok=True)
    np.savez(folder / "x.npz", **members)
    return load(f"npz:{folder / 'x.npz'}", split, window=window).mark


def test_the_mark_of_a_file_is_its_content(tmp_path):
    given = dict(x=BYTES, label=np.arange(4), other=np.arange(3))
    mark = mark_of(tmp_path / "a", **given)
    assert mark and mark == mark_of(tmp_path / "b", window=1, **given)
    os.utime(tmp_path / "a" / "x.npz", (0, 0))
    assert load(f"npz:{tmp_path / 'a' / 'x.npz'}", window=2).mark == mark
    assert mark_of(tmp_path / "c", images=BYTES, y=np.arange(4)) == mark  # other keys for the same
    others = [
        mark_of(tmp_path / "d", **{**given, "x": BYTES[::-1].copy()}),
        mark_of(tmp_path / "d", **{**given, "label": np.arange(4)[::-1]}),
        mark_of(tmp_path / "d", **given, factors=np.arange(4)[:, None]),
        mark_of(tmp_path / "d", **given, x_test=BYTES),
    ]
    assert len({mark, *others}) == 5
    binary = [mark_of(tmp_path / "e", x=BINARY, x_test=test) for test in (BINARY, BYTES)]
    assert binary[0] != binary[1]  # the same images, but with another scale


def test_the_mark_of_a_data_set_is_its_content(tmp_path):
    first = two_splits(tmp_path / "a", BYTES, BINARY)
    same, other = two_splits(tmp_path / "b", BYTES, BINARY), two_splits(tmp_path / "c", BYTES[::-1], BINARY)
    mark = load("tiny", data_dir=first, window=2).mark
    assert mark.startswith("tiny/1.0.0 train: 4 examples in ")
    assert mark == load("tiny", data_dir=same, window=3).mark
    marks = [load("tiny", data_dir=other, window=2).mark, load("tiny", "test", first, window=2).mark]
    assert len({mark, *marks, load("tiny", "train[:3]", first, window=2).mark}) == 4


def test_the_mark_of_genuine_mnist(shared):
    mark = load("mnist", "test", str(shared / "tfds"), window=100).mark
    assert mark.startswith("mnist/3.0.1 test: 10000 examples in 3932160 bytes") and mark.endswith("white 255")
