"""Streaming: every image once an epoch, windows that depend on their number alone, and errors that reach the caller."""

import contextlib
import gc
import subprocess
import sys
import threading
import time
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import ROOT
from tests.test_data import GREY, LABEL, SHADES, encoded, image_feature, prepare
from vaejax import build, fit, grid, measure
from vaejax.data import Streamed, load
from vaejax.data.arrays import placed
from vaejax.data.stream import Reader, streamed
from vaejax.errors import InputError

rng = np.random.default_rng(0)
KINDS = {
    "bytes": rng.integers(0, 256, (57, 4, 5, 3)).astype(np.uint8),
    "binary bytes": rng.integers(0, 2, (57, 4, 5)).astype(np.uint8),
    "bool": rng.integers(0, 2, (57, 4, 5)).astype(bool),
    "long": rng.integers(0, 256, (57, 4, 5)),
    "float64": rng.random((57, 4, 5)),
    "big-endian": rng.random((57, 4, 5)).astype(">f4"),
}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Several pieces in a window, the last one shorter."""
    monkeypatch.setattr("vaejax.data.stream.MOST", 7)


def numbered(folder, size, window):
    """A streamed source whose images and labels are their own numbers."""
    x = np.stack(np.divmod(np.arange(size), 256), axis=-1).astype(np.uint8)[:, None]
    x[:, 0, 0] |= 128
    np.savez(folder / "x.npz", x=x, label=np.arange(size), factors=np.arange(size)[:, None] * [1, 2], x_test=x[:2])
    return load(f"npz:{folder / 'x.npz'}", window=window)


def numbers(data):
    """The numbers of these images, after a check that labels and factors came along."""
    found = (data["x"][:, 0, 0, 0] & 127).astype(int) * 256 + data["x"][:, 0, 1, 0]
    assert np.array_equal(found, data["label"]) and np.array_equal(found[:, None] * [1, 2], data["factors"])
    return found


def some(source, count, start=0):
    """The first windows from start."""
    generator = source.windows(start)
    found = list(islice(generator, count))
    generator.close()
    return found


def same(a, b):
    assert set(a) == set(b)
    for key in a:
        assert (a[key] is None) == (b[key] is None), key
        assert a[key] is None or (a[key].dtype == b[key].dtype and np.array_equal(a[key], b[key])), key


def part(memory, index):
    """The data of these images of a source in memory."""
    return {key: np.asarray(leaf)[index] if leaf.ndim else leaf for key, leaf in memory.data.items()}


def pairs(data):
    """Images and labels in an order that doesn't depend on theirs."""
    return sorted(
        (x.tobytes(), int(label)) for x, label in zip(*map(np.asarray, (data["x"], data["label"])), strict=True)
    )


def counted(size=1000, block=10):
    """A source without a file, and the numbers of images that were read so far."""
    asked = []

    def read(index):
        asked.append(len(index))
        return {"x": np.zeros((len(index), 1, 1, 1), np.uint8), "scale": np.float32(255)}

    return Reader("counted", (1, 1, 1), size, block, read), asked


def settles(condition, seconds=10.0):
    """Whether the condition comes true in this time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


# --- what a window holds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "window"), [(300, 300 - 1), (300, 100), (301, 23), (300, 1)])
def test_every_epoch_is_another_permutation(tmp_path, size, window):
    source = numbered(tmp_path, size, window)
    found = np.concatenate([numbers(data) for data in some(source, -(-3 * size // window))])
    epochs = found[: 3 * size].reshape(3, size)
    assert (np.sort(epochs) == np.arange(size)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 3
    for epoch in epochs:
        assert abs(np.corrcoef(epoch, np.arange(size))[0, 1]) < 0.2


@pytest.mark.parametrize("window", [23, 101])
def test_a_window_is_a_function_of_its_number(tmp_path, window):
    source = numbered(tmp_path, 301, window)
    for straight, resumed in zip(some(source, 20)[13:], some(source, 7, start=13), strict=True):
        same(straight, resumed)


def test_a_far_window_needs_none_of_those_before():
    reader, asked = counted()
    some(streamed(reader, 95), 1, start=10**9)
    assert sum(asked) <= 2 * 95


def test_a_window_is_what_a_source_in_memory_holds(tmp_path):
    source = numbered(tmp_path, 300, 64)
    assert isinstance(source, Streamed)
    assert (source.shape, source.size, source.window) == ((1, 2, 1), 300, 64)
    (data,) = some(source, 1)
    assert {key: (value.shape, value.dtype) for key, value in data.items()} == {
        "x": ((64, 1, 2, 1), np.uint8), "scale": ((), np.float32), "label": ((64,), np.int32),
        "factors": ((64, 2), np.int32),
    }  # fmt: skip
    data = jax.tree.map(jnp.asarray, data)
    batch = jax.jit(source.sample, static_argnums=2)(data, jax.random.key(0), 1000)
    assert set(np.asarray(batch.label)) <= set(np.asarray(data["label"])) and len(set(np.asarray(batch.label))) > 40
    memory = load(source.name)
    same(batch._asdict(), jax.jit(memory.at)(memory.data, batch.label)._asdict())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("split", ["train", "test"])
def test_npz_equals_the_source_in_memory(tmp_path, kind, own, split):
    x = KINDS[kind]
    test = dict(x_test=x[::-1], label_test=np.arange(57)[::-1]) if own else {}
    np.savez(tmp_path / "x.npz", factors=rng.integers(0, 9, (57, 2)), images=x, y=np.arange(57), **test)
    memory = load(f"npz:{tmp_path / 'x.npz'}", split)
    source = load(f"npz:{tmp_path / 'x.npz'}", split, window=5)
    assert (source.name, source.shape, source.size) == (memory.name, memory.shape, memory.size)
    same(source.take(np.arange(source.size)).data, memory.data)
    index = rng.integers(0, source.size, 40)
    same(source.take(index).data, part(memory, index))
    place = {int(label): k for k, label in enumerate(np.asarray(memory.data["label"]))}
    for data in some(source, 3):
        same(data, part(memory, [place[int(label)] for label in data["label"]]))


def test_floats_stay_floats(tmp_path):
    """So that all windows have one type, whatever values are in each."""
    x = (rng.integers(0, 256, (57, 4, 5)) / 255).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, x_test=x)
    (data,) = some(load(f"npz:{tmp_path / 'x.npz'}", window=56), 1)
    assert data["x"].dtype == np.float32 and data["scale"] == 1
    assert {image.tobytes() for image in data["x"]} <= {image.tobytes() for image in x}


def test_genuine_mnist_equals_the_source_in_memory(shared, monkeypatch):
    monkeypatch.undo()
    memory = load("mnist", "test[:3000]", str(shared / "tfds"))
    source = load("mnist", "test[:3000]", str(shared / "tfds"), window=2500)
    assert (source.name, source.shape, source.size) == ("mnist", (28, 28, 1), 3000)
    index = rng.integers(0, 3000, 500)
    taken = source.take(index)
    same(taken.at(taken.data, jnp.arange(500))._asdict(), memory.at(memory.data, jnp.asarray(index))._asdict())
    first, second = some(source, 2)
    found = {key: np.concatenate([first[key], second[key]])[:3000] for key in ("x", "label")}
    assert pairs(found) == pairs(memory.data)
    assert first["scale"] == memory.data["scale"]


def test_tfds_factors_shapes_and_labels(tmp_path):
    shades = [encoded(np.full((4, 5, 3), 9 * k, np.uint8), "JPEG" if k % 2 else "PNG") for k in range(20)]
    examples = [{"image": shades[k], "label_b": k, "label_a": 20 - k, "label": -1} for k in range(20)]
    columns = {"label_b": LABEL, "label_a": LABEL, "label": LABEL}
    prepare(tmp_path, {"image": image_feature(None, None, 3), **columns}, examples)
    memory, source = load("tiny", data_dir=str(tmp_path)), load("tiny", data_dir=str(tmp_path), window=9)
    same(source.take(np.arange(20)).data, memory.data)
    (data,) = some(source, 1)
    assert set(data) == {"x", "scale", "factors"}
    assert np.abs(data["x"][:, 0, 0, 0] - 9.0 * data["factors"][:, 1]).max() <= 2


def test_binary_images_of_a_data_set(tmp_path):
    examples = [{"image": encoded(np.full((4, 4, 1), k % 2, np.uint8)), "label": k} for k in range(20)]
    prepare(tmp_path, GREY, examples)
    source = load("tiny", data_dir=str(tmp_path), window=3)
    same(source.take(np.arange(20)).data, load("tiny", data_dir=str(tmp_path)).data)


# --- errors ----------------------------------------------------------------------------------------------------------

BAD_CALLS = {
    "rendered": (dict(name="sprites", window=5), "nothing is read from the disk; leave it out"),
    "bundled": (dict(name="digits", window=5), "nothing is read from the disk; leave it out"),
    "small": (dict(name="dsprites:x.npz", window=5), "takes no window"),
    "size": (dict(name="npz:x.npz", size=32, window=5), "only rendered sources take a size"),
    "absent": (dict(name="npz:x.npz", window=5), "no such file"),
    "split": (dict(name="npz:x.npz", split="all", window=5), "unknown split"),
    "unknown": (dict(name="fashion_mnits", window=5), "did you mean 'fashion_mnist'"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls(case):
    arguments, message = BAD_CALLS[case]
    with pytest.raises(InputError, match=message) as caught:
        load(**arguments)
    assert "\n" not in str(caught.value)


IMAGES = KINDS["bytes"]
BAD_FILES = {
    "few images": (dict(x=IMAGES[:1]), "can't be split"),
    "window 0": (dict(x=IMAGES, x_test=IMAGES), "at least one image, not 0"),
    "window 57": (dict(x=IMAGES, x_test=IMAGES), "would hold all 57 images; leave window out"),
    "window 99": (dict(x=IMAGES, x_test=IMAGES), "would hold all 57 images; leave window out"),
    "no images": (dict(x=IMAGES[:0]), "at least one image"),
    "text": (dict(x=IMAGES.astype(str)), "dtype <U3"),
    "objects": (dict(x=np.array([None, 1], dtype=object)), "'x' holds pickled objects, which are not read"),
    "rank 2": (dict(x=IMAGES.reshape(57, -1)), "takes no window, because it holds vectors"),
    "2 channels": (dict(x=IMAGES[..., :2].copy()), "have 2 channels"),
    "transposed": (dict(x=np.asfortranarray(IMAGES)), "'x' is in Fortran's order"),
    "other size": (dict(x=IMAGES, x_test=IMAGES[:, 1:]), "make them equal"),
    "labels alone": (dict(x=IMAGES, label_test=np.arange(3)), "no 'x_test'"),
    "few labels": (dict(x=IMAGES, label=np.arange(3)), "labels are 3 for 57 images"),
    "flat factors": (dict(x=IMAGES, factors=np.arange(57)), r"factors have shape \(57,\)"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(tmp_path, case):
    members, message = BAD_FILES[case]
    np.savez(tmp_path / "x.npz", **members)
    window = int(case.split()[1]) if case.startswith("window") else 3
    with pytest.raises(InputError, match=message) as caught:
        load(f"npz:{tmp_path / 'x.npz'}", window=window)
    assert "\n" not in str(caught.value)


def test_a_compressed_file_cannot_be_streamed(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=IMAGES)
    with pytest.raises(InputError, match=r"'x' is compressed, so it can't be streamed; save it with numpy.savez"):
        load(f"npz:{tmp_path / 'x.npz'}", window=3)


def damaged(value):
    x = KINDS["float64"].copy()
    x[50, 1, 2] = value
    return dict(x=x, x_test=x)


BAD_VALUES = {
    "NaN": (damaged(np.nan), "image 50: images have 1 NaN"),
    "large": (damaged(300), "image 50: images run from"),
    "16 bits": (dict(x=IMAGES.astype(np.uint16) * 257, x_test=IMAGES), r"image \d+: images are whole numbers from"),
    "below 0": (dict(x=IMAGES.astype(int) - 300, x_test=IMAGES), "rescale to 0..255"),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_bad_values_are_found_when_they_are_read(tmp_path, case):
    members, message = BAD_VALUES[case]
    np.savez(tmp_path / "x.npz", **members)
    source = load(f"npz:{tmp_path / 'x.npz'}", window=30)
    with pytest.raises(InputError, match=message) as caught:
        some(source, 3)
    assert "\n" not in str(caught.value)


def test_a_label_that_cannot_be_is_found_when_it_is_read(tmp_path):
    prepare(tmp_path, GREY, [*(SHADES * 6), {"image": SHADES[0]["image"], "label": -2}])
    with pytest.raises(InputError, match="image 18: labels run from -2"):
        some(load("tiny", data_dir=str(tmp_path), window=10), 3)


@pytest.mark.parametrize("where", [0, 18])
def test_images_without_a_label_among_those_with_one(tmp_path, where):
    """Held and streamed alike, whether they come first or last."""
    blank = {"image": SHADES[0]["image"], "label": -1}
    examples = [*(SHADES * 6)]
    examples[where:where] = [blank] * 8
    prepare(tmp_path, GREY, examples)
    memory, source = load("tiny", data_dir=str(tmp_path)), load("tiny", data_dir=str(tmp_path), window=10)
    assert memory.data["label"].tolist() == [example["label"] for example in examples]
    same(source.take(np.arange(source.size)).data, memory.data)


HARM = {
    "deleted": (lambda file: file.unlink(), r"can't be read any more \(No such file"),
    "cut short": (lambda file: file.write_bytes(file.read_bytes()[:2000]), "has changed while it was read"),
    "written anew": (lambda file: file.write_bytes(file.read_bytes()), "has changed while it was read"),
}


@pytest.mark.parametrize("case", HARM)
def test_a_file_that_changes_while_it_is_read(tmp_path, case):
    harm, message = HARM[case]
    before = threading.active_count()
    source = numbered(tmp_path, 3000, 50)
    windows = source.windows(0)
    next(windows)
    time.sleep(0.01)  # so that a file written anew has another time
    harm(tmp_path / "x.npz")
    with pytest.raises(InputError, match=message) as caught:
        list(islice(windows, 20))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=message):
        source.take(np.arange(20))
    assert settles(lambda: threading.active_count() <= before)


def zeros(file):
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 4 : len(raw) // 2] = bytes(len(raw) // 2 - len(raw) // 4)
    file.write_bytes(raw)


@pytest.mark.parametrize("harm", [lambda file: file.write_bytes(file.read_bytes()[:70000]), zeros])
def test_records_that_break_while_they_are_read(tmp_path, harm):
    pixels = rng.integers(0, 256, (400, 16, 16, 1)).astype(np.uint8)
    home = prepare(tmp_path, {"image": image_feature(16, 16, 1)}, [{"image": encoded(image)} for image in pixels])
    source = load("tiny", data_dir=str(tmp_path), window=50)
    windows = source.windows(0)
    next(windows)
    harm(next(home.glob("*.array_record*")))
    with pytest.raises(InputError, match="tiny: ") as caught:
        list(islice(windows, 20))
    assert "\n" not in str(caught.value)


# --- threads ---------------------------------------------------------------------------------------------------------


def test_the_next_window_is_read_ahead_and_no_further():
    reader, asked = counted()
    windows = streamed(reader, 95).windows(0)
    for k in range(1, 4):
        next(windows)
        assert settles(lambda k=k: sum(asked) == 95 * (k + 1))
    time.sleep(0.05)
    assert sum(asked) == 95 * 4
    windows.close()


@pytest.mark.parametrize("end", ["close", "let go", "never started"])
def test_threads_end(tmp_path, end):
    before = set(threading.enumerate())  # those of other tests may end meanwhile
    windows = numbered(tmp_path, 3000, 500).windows(0)
    if end != "never started":
        next(windows)
        assert set(threading.enumerate()) - before
    if end == "close":
        windows.close()
        assert next(windows, None) is None
    del windows
    gc.collect()
    assert settles(lambda: set(threading.enumerate()) <= before)


SCRIPT = """
import sys
from vaejax.data import load
assert "grain" not in sys.modules
windows = load(sys.argv[1], window=100).windows(3)
print(next(windows)["x"].shape)
assert "tensorflow" not in sys.modules
"""


def test_nothing_is_said_and_an_open_stream_does_not_keep_the_process(tmp_path):
    numbered(tmp_path, 3000, 500)
    command = [sys.executable, "-c", SCRIPT, f"npz:{tmp_path / 'x.npz'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(100, 1, 2, 1)\n", "")


# --- in a sweep ------------------------------------------------------------------------------------------------------

METHOD = build("vae", (8, 8, 1), "mlp", latents=2, width=8)
RUNS = grid(METHOD.hyper, 2, learning_rate=[1e-3, 1e-2])


@pytest.fixture(scope="module")
def streaming(tmp_path_factory):
    """100 images, 32 at a time."""
    path = tmp_path_factory.mktemp("npz") / "images.npz"
    np.savez(path, x=np.random.default_rng(0).integers(0, 256, (125, 8, 8), np.uint8))
    return load(f"npz:{path}", window=32)


def trained(source, steps, **options):
    return fit(METHOD, source, RUNS, steps=steps, batch_size=8, **options)


def test_training_on_a_window_is_training_on_its_images(streaming):
    with contextlib.closing(streaming.windows(0)) as windows:
        first = next(windows)
    held = placed("window", first)
    a, b = trained(streaming, 4), trained(held, 4)  # 4 steps of 8 images use up the first window
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)


def test_a_window_is_replaced_when_as_many_images_were_drawn_as_it_holds(streaming):
    given = []

    def windows(start):
        for number, window in enumerate(streaming.windows(start), start):
            given.append(number)
            yield window

    result = trained(streaming._replace(windows=windows), 10)
    assert given == [0, 1, 2] * 2  # for each of two groups: steps 0-3, 4-7, 8-9
    assert np.isfinite(result.history["loss"]).all()


def test_a_streamed_sweep_goes_on_bit_for_bit(streaming, tmp_path):
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.done >= 14:  # of 20 run-steps of the first group
            raise Stop

    with pytest.raises(Stop):
        trained(streaming, 10, workdir=tmp_path, on_progress=stop, save_every=0)
    resumed = trained(streaming, 10, workdir=tmp_path)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, trained(streaming, 10).params)


def test_a_streamed_source_is_measured_on_a_sample_of_it(streaming):
    wide = measure(METHOD, streaming, trained(streaming, 2).params, images=20)
    assert np.isfinite(wide["value"]).all() and wide["run"].nunique() == RUNS.count
