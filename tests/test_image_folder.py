"""Folders of images: known pixels, labels, splits, sizes, what is kept, streaming, and lines for broken files."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from vaejax import InputError, build, fit, grid
from vaejax.data import image_folder, load

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (8, 8)).astype(np.uint8)
COLOUR = RANDOM.integers(0, 256, (8, 8, 3)).astype(np.uint8)
DEEP = RANDOM.integers(0, 65536, (8, 8)).astype(np.uint16)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder of one's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "vaejax" / "images"


def put(file, pixels, mode=None, **how):
    file.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(file, **how)


def x_of(folder, split="train", **more):
    source = load(f"images:{folder}", split, **more)
    batch = source.at(source.data, jnp.arange(source.size))
    x = np.asarray(source.data["x"]) / float(source.data["scale"])
    np.testing.assert_allclose(batch.x, x, rtol=1e-6)
    return x


def both(folder, **more):
    """All images of a folder without splits, in their order."""
    test, train = x_of(folder, "test", **more), x_of(folder, **more)
    return np.concatenate([test[:1], train])


def pair(folder, first, second=None, name="png", **how):
    """A folder of two images; `both` gives them in this order."""
    put(folder / f"a.{name}", first, **how)
    put(folder / f"b.{name}", first if second is None else second, **how)
    return folder


@pytest.mark.parametrize("name", ["png", "tif", "webp"])
def test_grey_and_colour_are_their_values_by_255(tmp_path, name):
    """WebP has no grey."""
    how = {"lossless": True} if name == "webp" else {}
    x = both(pair(tmp_path / "c", COLOUR, 255 - COLOUR, name, **how))
    np.testing.assert_array_equal(x, np.stack([COLOUR, 255 - COLOUR]) / 255)
    if name != "webp":
        x = both(pair(tmp_path / "g", GREY, 255 - GREY, name))
        np.testing.assert_array_equal(x, np.stack([GREY, 255 - GREY])[..., None] / 255)
        x = both(pair(tmp_path / "m", GREY, COLOUR, name))
        np.testing.assert_array_equal(x[0], np.repeat(GREY[..., None], 3, axis=-1) / 255)
        np.testing.assert_array_equal(x[1], COLOUR / 255)


def test_dark_images_stay_dark(tmp_path):
    """Without a value above 1, 255 is white all the same."""
    assert both(pair(tmp_path, np.eye(8, dtype=np.uint8))).max() == 1 / 255


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_16_bits_are_divided_by_65535_and_8_bits_beside_them_by_255(tmp_path, name):
    x = both(pair(tmp_path, DEEP, GREY, name))
    np.testing.assert_array_equal(x[0, ..., 0], DEEP / 65535)
    np.testing.assert_array_equal(x[1, ..., 0], GREY / 255)
    held = x_of(tmp_path, size=4)[0, ..., 0]
    np.testing.assert_allclose(held, GREY.reshape(4, 2, 4, 2).mean((1, 3)) / 255, atol=0.51 / 255)
    averages = x_of(tmp_path, "test", size=4)[0, ..., 0] * 65535
    np.testing.assert_allclose(averages, DEEP.reshape(4, 2, 4, 2).mean((1, 3)), atol=0.51)


def test_jpegs_are_near_what_was_saved(tmp_path):
    smooth = np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8)[None], (32, 32)).copy()
    x = both(pair(tmp_path, smooth, name="jpg", quality=95))
    np.testing.assert_allclose(x[0, ..., 0], smooth / 255, atol=0.02)


def test_what_is_transparent_is_before_black_and_palettes_are_colours(tmp_path):
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:4] = 255
    wanted = np.where(alpha[..., None] > 0, COLOUR, 0) / 255
    x = both(pair(tmp_path / "a", np.dstack([COLOUR, alpha]), COLOUR))
    np.testing.assert_array_equal(x, np.stack([wanted, COLOUR / 255]))
    la = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    x = both(pair(tmp_path / "la", la))
    np.testing.assert_array_equal(x[0, ..., 0], np.where(alpha > 0, GREY, 0) / 255)
    palette = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert("P")
    palette.putpalette(COLOUR.ravel().tolist())
    x = both(pair(tmp_path / "p", palette))
    np.testing.assert_array_equal(x[0], COLOUR / 255)
    x = both(pair(tmp_path / "cmyk", Image.fromarray(COLOUR).convert("CMYK"), name="tif"))
    np.testing.assert_array_equal(x[0], COLOUR / 255)
    x = both(pair(tmp_path / "bits", Image.fromarray(GREY > 99)))
    np.testing.assert_array_equal(x[0, ..., 0], GREY > 99)


def test_an_image_is_the_right_way_up(tmp_path):
    lying = Image.fromarray(GREY[:, :4])
    exif = lying.getexif()
    exif[0x0112] = 6  # was turned by 90 degrees
    x = both(pair(tmp_path, lying, exif=exif))
    assert x.shape == (2, 4, 8, 1)
    np.testing.assert_array_equal(x[0, ..., 0], np.rot90(GREY[:, :4], -1) / 255)


def test_size_crops_the_middle_and_averages(tmp_path):
    wide = np.zeros((8, 14), np.uint8)
    wide[:, 3:11] = np.kron(GREY[:4, :4] // 2 * 2, np.ones((2, 2), np.uint8))
    small = np.full((2, 2), 77, np.uint8)
    put(tmp_path / "a.png", wide)
    put(tmp_path / "b.png", wide.T)
    put(tmp_path / "c.png", small)
    x = both(tmp_path, size=4)[..., 0]
    np.testing.assert_array_equal(x[0], (GREY[:4, :4] // 2 * 2) / 255)
    np.testing.assert_array_equal(x[1], x[0].T)
    np.testing.assert_array_equal(x[2], np.full((4, 4), 77 / 255))
    np.testing.assert_array_equal(both(tmp_path, size=8)[0, ..., 0], wide[:, 3:11] / 255)


def classes(folder):
    """Ten images in folders of classes, in two splits; and what isn't one."""
    for number, (split, name) in enumerate([("train", "cat"), ("train", "ant/deep"), ("test", "bee")] * 3):
        put(folder / split / name / f"{number}.png", np.full((4, 4), number, np.uint8))
    put(folder / "train" / "loose.PNG", np.full((4, 4), 9, np.uint8))
    put(folder / "other" / "z.png", GREY)
    (folder / "train" / "cat" / "notes.txt").write_text("none")
    (folder / "train" / ".hidden.png").write_text("none")
    return folder


def test_folders_are_labels_and_splits(tmp_path):
    train, test = (load(f"images:{classes(tmp_path)}", split) for split in ("train", "test"))
    assert train.classes == test.classes == ("ant", "bee", "cat") and train.name == f"images:{tmp_path}"
    np.testing.assert_array_equal(train.data["x"][:, 0, 0, 0], [1, 4, 7, 0, 3, 6, 9])
    np.testing.assert_array_equal(train.data["label"], [0, 0, 0, 2, 2, 2, -1])
    np.testing.assert_array_equal(test.data["x"][:, 0, 0, 0], [2, 5, 8])
    np.testing.assert_array_equal(test.data["label"], [1, 1, 1])


def test_every_10th_is_the_test_where_there_are_no_splits(tmp_path):
    for number in range(25):
        put(tmp_path / f"{number:02}.png", np.full((4, 4), number, np.uint8))
    for split, wanted in (("test", [0, 10, 20]), ("train", [n for n in range(25) if n % 10])):
        np.testing.assert_array_equal(x_of(tmp_path, split)[:, 0, 0, 0], np.array(wanted) / 255)


def test_windows_hold_the_same_images(tmp_path):
    for number in range(12):
        put(tmp_path / f"{number:02}.png", DEEP + number)
    held, streamed = load(f"images:{tmp_path}"), load(f"images:{tmp_path}", window=4)
    taken = streamed.take(np.arange(streamed.size))
    jax.tree.map(np.testing.assert_array_equal, taken.data, held.data)
    assert streamed.name == held.name and streamed.space == held.space
    windows = streamed.windows(0)
    load(f"images:{tmp_path}", "test")  # of the same file, which is not changed by it
    x = np.asarray(next(windows)["x"])
    windows.close()
    assert x.shape == (4, 8, 8, 1) and all((image == np.asarray(held.data["x"])).all((1, 2, 3)).any() for image in x)


def test_what_is_decoded_is_kept_until_a_file_changes(tmp_path, cache, monkeypatch):
    pair(tmp_path, GREY)
    first = both(tmp_path)
    (kept,) = cache.iterdir()
    written = kept.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "load", lambda image: 1 / 0)
        np.testing.assert_array_equal(both(tmp_path), first)
    assert kept.stat().st_mtime_ns == written
    os.utime(kept, ns=(written - 10**12, written))
    put(tmp_path / "a.png", 255 - GREY)
    assert not np.array_equal(both(tmp_path), first) and len(list(cache.iterdir())) == 2
    module = __import__("sys").modules["vaejax.data.image_folder"]
    monkeypatch.setattr(module, "MOST", 1500)
    put(tmp_path / "c.png", GREY)
    both(tmp_path)
    assert kept not in cache.iterdir() and sum(file.stat().st_size for file in cache.iterdir()) <= 1500


def test_a_run_goes_on_and_notices_another_image(tmp_path):
    for number in range(6):
        put(tmp_path / "f" / f"{number}.png", np.roll(GREY, number))
    source = load(f"images:{tmp_path / 'f'}")
    method = build("vae", source.space, "mlp", latents=2, width=8)
    words = dict(steps=4, batch_size=4, workdir=tmp_path / "run")
    first = fit(method, source, grid(method.hyper, seeds=1), **words)
    again = fit(method, load(source.name), grid(method.hyper, seeds=1), **words)
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
    put(tmp_path / "f" / "3.png", GREY)
    with pytest.raises(InputError, match="data"):
        fit(method, load(source.name), grid(method.hyper, seeds=1), **words)


def broken(folder, content, name="b.png"):
    pair(folder, GREY)
    (folder / name).write_bytes(content)


def empty_test(folder):
    put(folder / "train/a.png", GREY)
    (folder / "test").mkdir()


def cut(folder):
    pair(folder, RANDOM.integers(0, 256, (64, 64)).astype(np.uint8))
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])


def locked_cache(folder):
    pair(folder, GREY)
    os.environ["XDG_CACHE_HOME"] = str(folder / "a.png")


BAD = {  # id: (what is in the folder, more arguments of load, part of the line)
    "no folder": (lambda folder: None, {"name": "/none"}, "no such folder"),
    "a file": (lambda folder: pair(folder, GREY), {"name": "/a.png"}, "no such folder"),
    "empty": (lambda folder: None, {}, r"has no images; .*\.png"),
    "an empty test": (empty_test, {}, "/test has no images"),
    "train alone": (lambda folder: put(folder / "train/a.png", GREY), {}, "'train' alone"),
    "one image": (lambda folder: put(folder / "a.png", GREY), {}, "can't be split"),
    "several sizes": (lambda folder: pair(folder, GREY, GREY[:4]), {}, "a.png 8 x 8 and b.png 4 x 8.; give a size"),
    "no image": (lambda folder: broken(folder, b"none"), {}, "b.png can't be decoded"),
    "an empty file": (lambda folder: broken(folder, b""), {}, "b.png can't be decoded"),
    "half an image": (cut, {}, "b.png can't be decoded .*; repair or remove it"),
    "floats": (lambda folder: pair(folder, DEEP.astype(np.float32), name="tif"), {}, "pixels are floats; save 8 or 16"),
    "32 bits": (lambda folder: pair(folder, GREY.astype(np.int32) * 999, name="tif"), {}, "pixels run from .*save 8"),
    "size 0": (lambda folder: pair(folder, GREY), {"size": 0}, "size has to be at least 1"),
    "size text": (lambda folder: pair(folder, GREY), {"size": "8"}, "size has to be a whole number"),
    "size huge": (lambda folder: pair(folder, GREY), {"size": 10**6}, "GB are kept at most; give a smaller size"),
    "split": (lambda folder: pair(folder, GREY), {"split": "valid"}, "unknown split 'valid'"),
    "a window of all": (lambda folder: pair(folder, GREY), {"window": 5}, "leave window out"),
    "no cache": (locked_cache, {}, "can't be written .*set XDG_CACHE_HOME"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_folder_of_images_is_one_line(tmp_path, case, cache):
    make, more, line = BAD[case]
    make(tmp_path)
    more = {"name": f"images:{tmp_path}{more.get('name', '')}", **{k: v for k, v in more.items() if k != "name"}}
    with pytest.raises(InputError, match=line) as error:
        load(**more)
    text = str(error.value)
    assert text.isprintable() and len(text) <= 400
    assert not list(cache.glob("*.part"))


def test_a_path_is_a_text():
    with pytest.raises(InputError, match="path of a folder has to be a text"):
        image_folder(3)
