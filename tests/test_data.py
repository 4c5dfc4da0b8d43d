"""Sources: every image and label as its file has it, sampled uniformly on the device, and one clear line otherwise."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import vaejax
from vaejax.data import RENDERED, SOURCES, Arrays, Factors, arrays, load
from vaejax.errors import InputError
from vaejax.methods import build
from vaejax.metrics.measure import measure

ROOT = Path(__file__).parents[1]
MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # images of each digit, as published
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def mnist(shared):
    folder = str(shared / "tfds")
    return {split: load("mnist", split, data_dir=folder) for split in ("train", "test")}


def at(source, index):
    return jax.jit(source.at)(source.data, index)


def save(file, **members):
    np.savez(file, **members)
    return file


def sprite_like(sizes, seed=0):
    """A file in the dSprites format whose images encode their row's number, so that each is known."""
    classes = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=-1)
    images = np.random.default_rng(seed).integers(0, 2, (len(classes), 64, 64)).astype(np.uint8)
    return images, classes


def prepare(folder, features, examples, form="array_record", name="tiny"):
    """A data set as tensorflow-datasets leaves it on the disk."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    home = folder / name / "1.0.0"
    home.mkdir(parents=True)
    shard = {
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "name": "train",
        "numBytes": "1",
        "shardLengths": [str(len(examples))],
    }
    info = {"fileFormat": form, "moduleName": "x.tiny", "name": name, "version": "1.0.0", "splits": [shard]}
    (home / "dataset_info.json").write_text(json.dumps(info))
    core = "tensorflow_datasets.core.features"
    (home / "features.json").write_text(
        json.dumps({"pythonClassName": f"{core}.features_dict.FeaturesDict", "featuresDict": {"features": features}})
    )
    writer = ArrayRecordWriter(str(home / f"{name}-train.{form}-00000-of-00001"), "group_size:1")
    for example in examples:
        record = tf_example_pb2.Example()
        for key, value in example.items():
            if isinstance(value, bytes):
                record.features.feature[key].bytes_list.value.append(value)
            else:
                record.features.feature[key].int64_list.value.append(int(value))
        writer.write(record.SerializeToString())
    writer.close()
    return home


def image_feature(*shape, dtype="uint8"):
    dimensions = [str(-1 if size is None else size) for size in shape]
    kind = "tensorflow_datasets.core.features.image_feature.Image"
    return {"pythonClassName": kind, "image": {"dtype": dtype, "shape": {"dimensions": dimensions}}}


LABEL = {
    "pythonClassName": "tensorflow_datasets.core.features.class_label_feature.ClassLabel",
    "classLabel": {"numClasses": "9"},
}


def encoded(pixels, form="PNG", **options):
    out = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(out, form, **options)
    return out.getvalue()


# --- what is there ---------------------------------------------------------------------------------------------------


def test_sources_are_a_plain_table():
    assert type(SOURCES) is dict
    assert {"sprites", "digits", "dsprites:", "npz:"} <= set(SOURCES)


def test_sprites_take_a_size():
    source = load("sprites", size=32)
    assert isinstance(source, Factors)
    assert source.shape == (32, 32, 1)
    assert load("sprites").shape == (64, 64, 1)
    assert load("sprites", "test").size == source.size


@pytest.mark.parametrize("name", RENDERED)
def test_rendered_sources_load_by_name(name):
    assert {*RENDERED} == {"sprites", "color_sprites", "noisy_sprites", "shapes3d", "rectangles"} <= {*SOURCES}
    source = load(name, size=16)
    assert isinstance(source, Factors) and source.name == name and source.joint is None
    assert source.shape[:2] == (16, 16) and source.size == np.prod(source.sizes)
    assert load(name, "test", size=16) is source and load(name).shape[0] == 64
    assert load(f"{name}+correlated:0,1,0.2", size=16).name.startswith(name)


@pytest.mark.parametrize("name", ["shapes3d+correlated:floor_hue,wall_hue,0.2", "noisy_sprites+excluding:shape=0"])
def test_rendered_sources_are_trained_on_and_measured(name):
    source = load(name, size=8)
    method = build("beta_vae", source.shape, network="mlp", latents=2, width=8)
    runs = vaejax.grid(method.hyper, 1, beta=[1, 4])
    result = vaejax.fit(method, source, runs, steps=3, batch_size=4)
    assert result.status == ["finished", "finished"] and np.isfinite(result.history["loss"]).all()
    table = measure(method, source, result.params, images=50)
    assert np.isfinite(table["value"]).all()


def test_digits():
    from sklearn.datasets import load_digits

    train, test = load("digits"), load("digits", "test")
    assert (train.size, test.size, train.shape) == (1437, 360, (8, 8, 1))
    assert train.data["x"].dtype == jnp.uint8
    assert float(at(train, jnp.arange(100)).x.max()) == 1
    x, label = (np.concatenate([source.data[key] for source in (train, test)]) for key in ("x", "label"))
    images, digits = load_digits(return_X_y=True)
    rows = {tuple(row): digit for row, digit in zip(images, digits, strict=True)}  # no image appears under two labels
    assert sorted(map(tuple, x.reshape(-1, 64))) == sorted(map(tuple, images))
    assert all(rows[tuple(row)] == digit for row, digit in zip(x.reshape(-1, 64), label, strict=True))


@pytest.mark.parametrize(("split", "counts"), [("train", MNIST_TRAIN), ("test", MNIST_TEST)])
def test_mnist_is_genuine(mnist, split, counts):
    source = mnist[split]
    assert isinstance(source, Arrays)
    assert (source.name, source.shape, source.size) == ("mnist", (28, 28, 1), sum(counts))
    assert source.data["x"].dtype == jnp.uint8 and source.data["x"].nbytes == sum(counts) * 784
    assert np.bincount(np.asarray(source.data["label"])).tolist() == counts
    batch = at(source, jnp.arange(1000))
    assert batch.x.dtype == jnp.float32 and batch.label.dtype == jnp.int32 and batch.factors is None
    assert (float(batch.x.min()), float(batch.x.max())) == (0.0, 1.0)


def test_mnist_pixels_and_labels_go_together(mnist, shared):
    """The same images as tensorflow-datasets' own decoding gives, and classes that tell themselves apart."""
    import tensorflow_datasets

    folder = str(shared / "tfds")
    reference = tensorflow_datasets.data_source("mnist", split="test", data_dir=folder, download=False)
    source = mnist["test"]
    for i in (0, 1, 77, 4999, 9999):
        assert np.array_equal(source.data["x"][i], reference[i]["image"])
        assert int(source.data["label"][i]) == reference[i]["label"]
    x, label = (np.asarray(mnist["train"].data[key]) for key in ("x", "label"))
    means = np.stack([x[label == digit][:500].reshape(-1, 784).mean(0) for digit in range(10)])
    test = np.asarray(source.data["x"][:2000]).reshape(-1, 784).astype(float)
    nearest = ((test**2).sum(1)[:, None] - 2 * test @ means.T + (means**2).sum(1)).argmin(1)
    assert (nearest == np.asarray(source.data["label"][:2000])).mean() > 0.75


def test_part_of_a_split(mnist, shared):
    folder = str(shared / "tfds")
    part = load("mnist:3.0.1", "test[:1%]", data_dir=folder)
    assert part.size == 100
    assert np.array_equal(part.data["x"], mnist["test"].data["x"][:100])


def test_tfds_factors_and_jpeg(tmp_path):
    ramp = np.broadcast_to(np.linspace(0, 255, 16).astype(np.uint8)[None, :, None], (16, 16, 3))
    shades = [encoded(ramp // (k + 1), "JPEG", quality=95) for k in range(5)]
    examples = [{"image": shades[k], "label_b": k, "label_a": 4 - k} for k in range(5)]
    prepare(tmp_path, {"image": image_feature(None, None, 3), "label_b": LABEL, "label_a": LABEL}, examples)
    source = load("tiny", data_dir=str(tmp_path))
    assert source.shape == (16, 16, 3)
    batch = at(source, jnp.arange(5))
    assert batch.label is None
    assert batch.factors.tolist() == [[4 - k, k] for k in range(5)]
    assert np.abs(np.asarray(batch.x[0]) - ramp / 255).max() < 0.03


def test_tfds_unlabelled_images_have_no_label(tmp_path):
    examples = [{"image": encoded(np.full((4, 4, 1), k, np.uint8)), "label": -1} for k in range(3)]
    prepare(tmp_path, {"image": image_feature(4, 4, 1), "label": LABEL}, examples)
    source = load("tiny", data_dir=str(tmp_path))
    assert set(source.data) == {"x", "scale"}
    assert source.data["x"][:, 0, 0, 0].tolist() == [0, 1, 2]


# --- dSprites --------------------------------------------------------------------------------------------------------


def test_genuine_dsprites(shared):
    file = shared / "dsprites" / "dsprites_downsampled.npz"
    source = load(f"dsprites:{file}")
    assert isinstance(source, Factors)
    assert source.sizes == (3, 6, 10, 16, 16) and source.size == 46080
    assert source.names == ("shape", "scale", "orientation", "x", "y")
    with np.load(file) as archive:
        images, classes = archive["imgs"], archive["latents_classes"]
    index = jnp.asarray(rng.integers(0, 46080, 500))
    batch = at(source, index)
    place = np.ravel_multi_index(classes.T, source.sizes)  # the classes of this file are already 0, 1, ...
    rows = np.argsort(place)[np.ravel_multi_index(np.asarray(batch.factors).T, source.sizes)]
    assert np.array_equal(batch.x[..., 0], images[rows])
    rendered = jax.jit(lambda render, factors: render(factors))(source.render, batch.factors)
    assert np.array_equal(rendered, batch.x)
    assert load(f"dsprites:{file}", "test").size == 46080


@pytest.mark.parametrize("colour", [True, False])
def test_order_of_rows_does_not_matter(tmp_path, colour):
    images, classes = sprite_like((2, 1, 3, 2, 4))
    columns = np.concatenate([np.zeros((48, 1), int), classes * 3 + 1], axis=1) if colour else classes
    order = rng.permutation(48)
    straight = load(f"dsprites:{save(tmp_path / 'a.npz', imgs=images, latents_classes=columns)}")
    shuffled = load(f"dsprites:{save(tmp_path / 'b.npz', imgs=images[order], latents_classes=columns[order])}")
    for source in (straight, shuffled):
        assert isinstance(source, Factors) and source.sizes == (2, 1, 3, 2, 4)
        batch = at(source, jnp.arange(48))
        assert np.array_equal(batch.x[..., 0], images)
        assert np.array_equal(batch.factors, classes)
    factors = np.asarray(straight.sample_factors(jax.random.key(0), 4000))
    for column, size in enumerate(straight.sizes):
        assert np.abs(np.bincount(factors[:, column], minlength=size) * size / 4000 - 1).max() < 0.2
    assert straight.sample_factors is shuffled.sample_factors


def test_part_of_a_grid_is_arrays_with_factors(tmp_path):
    images, classes = sprite_like((2, 1, 3, 2, 4))
    for rows in (np.arange(47), np.append(np.arange(47), 0)):  # one missing; one missing and another twice
        file = save(tmp_path / "part.npz", imgs=images[rows], latents_classes=classes[rows])
        source = load(f"dsprites:{file}")
        assert isinstance(source, Arrays)
        batch = at(source, jnp.arange(len(rows)))
        assert np.array_equal(batch.x[..., 0], images[rows]) and np.array_equal(batch.factors, classes[rows])


def test_pickled_metadata_is_never_loaded(tmp_path):
    images, classes = sprite_like((1, 1, 1, 2, 2))
    metadata = np.array({"title": "dSprites"}, dtype=object)
    file = save(tmp_path / "d.npz", imgs=images, latents_classes=classes, metadata=metadata)
    assert load(f"dsprites:{file}").size == 4


# --- npz -------------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(2, 25), h=st.integers(1, 6), c=st.sampled_from([0, 1, 3]), seed=st.integers(0, 99),
    kind=st.sampled_from(["uint8", "k/255", "float64", "bool", "int64"]),
)  # fmt: skip
def test_npz_round_trip(tmp_path_factory, n, h, c, seed, kind):
    random = np.random.default_rng(seed)
    shape = (n, h, 5, c) if c else (n, h, 5)
    levels = random.integers(0, 256, shape)
    levels.flat[0] = 255
    x, expected = {
        "uint8": lambda: (levels.astype(np.uint8), levels / 255),
        "int64": lambda: (levels, levels / 255),
        "k/255": lambda: (levels / 255, levels / 255),
        "float64": lambda: (levels / 256, levels / 256),
        "bool": lambda: (levels > 127, levels > 127),
    }[kind]()
    label, factors = random.integers(0, 9, n), random.integers(0, 9, (n, 2))
    file = save(tmp_path_factory.mktemp("npz") / "x.npz", x=x, label=label, factors=factors)
    held_out = np.arange(n) % 10 == 0
    for split, rows in (("test", held_out), ("train", ~held_out)):
        source = load(f"npz:{file}", split)
        assert source.size == rows.sum() and source.shape == (h, 5, c or 1)
        assert source.data["x"].dtype == (jnp.float32 if kind == "float64" else jnp.uint8)
        data = {key: np.asarray(value) for key, value in source.data.items()}
        x = data["x"].astype(np.float32) / data["scale"]
        assert np.array_equal(x, expected[rows].astype(np.float32).reshape(x.shape))
        assert np.array_equal(data["label"], label[rows]) and np.array_equal(data["factors"], factors[rows])


def test_npz_with_its_own_test_images(tmp_path):
    x, x_test = rng.integers(0, 256, (7, 4, 4)).astype(np.uint8), rng.integers(0, 256, (3, 4, 4)).astype(np.uint8)
    file = save(tmp_path / "x.npz", images=x, y=np.arange(7), x_test=x_test, label_test=np.arange(3))
    train, test = load(f"npz:{file}"), load(f"npz:{file}", "test")
    assert np.array_equal(train.data["x"][..., 0], x) and np.array_equal(test.data["x"][..., 0], x_test)
    assert train.data["label"].tolist() == list(range(7)) and test.data["label"].tolist() == [0, 1, 2]


def test_bytes_of_zero_and_one_are_binary_images():
    source = arrays("binary", rng.integers(0, 2, (20, 3, 3)).astype(np.uint8))
    assert set(np.unique(at(source, jnp.arange(20)).x)) == {0.0, 1.0}


# --- sampling --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["arrays", "grid"])
def small(request, tmp_path):
    images, classes = sprite_like((2, 2, 2, 2, 2))
    if request.param == "arrays":
        return arrays("small", images, factors=classes, label=np.arange(32))
    return load(f"dsprites:{save(tmp_path / 'd.npz', imgs=images, latents_classes=classes)}")


def test_sample_is_pure_and_jittable(small):
    drawn = jax.jit(small.sample, static_argnums=2)
    key = jax.random.key(3)
    first, again = drawn(small.data, key, 16), drawn(small.data, key, 16)
    for a, b in zip(*map(jax.tree.leaves, (first, again)), strict=True):
        assert np.array_equal(a, b) and len(a) == 16
    assert not np.array_equal(first.factors, drawn(small.data, jax.random.key(4), 16).factors)
    assert first.x.dtype == jnp.float32
    whole = at(small, jnp.arange(32))
    rows = np.asarray(first.factors) @ (16, 8, 4, 2, 1)
    assert np.array_equal(first.x, whole.x[rows])


def test_sample_is_uniform_with_replacement(small):
    drawn = jax.jit(small.sample, static_argnums=2)
    factors = np.asarray(drawn(small.data, jax.random.key(0), 32 * 200).factors)
    counts = np.bincount(factors @ (16, 8, 4, 2, 1), minlength=32)
    chi2 = ((counts - 200) ** 2 / 200).sum()
    assert 10 < chi2 < 70  # 31 degrees of freedom: outside with probability 2e-4


def test_sample_inside_scan_and_vmap(small):
    keys = jax.random.split(jax.random.key(0), 4)

    @jax.jit
    def both(data, keys):
        scanned = jax.lax.scan(lambda carry, key: (carry, small.sample(data, key, 3).x), 0, keys)[1]
        return scanned, jax.vmap(lambda key: small.sample(data, key, 3).x)(keys)

    assert np.array_equal(*both(small.data, keys))


def test_a_second_load_does_not_retrace(tmp_path):
    images, classes = sprite_like((2, 1, 2, 2, 2))
    save(tmp_path / "d.npz", imgs=images, latents_classes=classes)
    save(tmp_path / "x.npz", x=images, label=np.arange(16))
    traces = []

    def step(sample, data, key):
        traces.append(sample)
        return sample(data, key, 4).x.sum()

    run = jax.jit(step, static_argnums=0)
    for name in (f"dsprites:{tmp_path / 'd.npz'}", f"npz:{tmp_path / 'x.npz'}"):
        traces.clear()
        for _ in range(2):
            source = load(name)
            run(source.sample, source.data, jax.random.key(0))
        assert len(traces) == 1, name


# --- bad input -------------------------------------------------------------------------------------------------------

IMAGES = rng.integers(0, 256, (12, 4, 4)).astype(np.uint8)
UNIT = rng.random((12, 4, 4))


def changed(value, where=(2, 1, 3)):
    x = UNIT.copy()
    x[where] = value
    return x


BAD_ARRAYS = {
    "no images key": (dict(pictures=IMAGES), "no array 'x' or 'imgs' or 'images'; it has: pictures"),
    "rank 1": (dict(x=IMAGES.ravel()), "reshape to"),
    "rank 5": (dict(x=IMAGES[..., None, None]), "reshape to"),
    "empty": (dict(x=IMAGES[:0]), "at least one image"),
    "no pixels": (dict(x=IMAGES[:, :0]), "at least one image"),
    "one image": (dict(x=IMAGES[:1]), "can't be split"),
    "2 channels": (dict(x=np.stack([IMAGES] * 2, -1)), "have 2 channels"),
    "channels first": (dict(x=np.stack([IMAGES] * 3, 1)), "move axis 1 to the end"),
    "text": (dict(x=IMAGES.astype(str)), "dtype <U3"),
    "complex": (dict(x=IMAGES.astype(complex)), "dtype complex128"),
    "NaN": (dict(x=changed(np.nan)), r"1 NaN or infinite values, the first in image 2, row 1, column 3"),
    "infinite": (dict(x=changed(np.inf, 3)), r"16 NaN or infinite values, the first in image 3, row 0, column 0"),
    "0..255 floats": (dict(x=IMAGES.astype(float)), "divide by 255"),
    "negative": (dict(x=changed(-0.25)), "from -0.25 to .*; rescale"),
    "large": (dict(x=UNIT * 1e4), "rescale"),
    "16 bits": (dict(x=IMAGES.astype(np.uint16) * 257), "rescale to 0..255"),
    "negative int": (dict(x=IMAGES.astype(int) - 9), "rescale to 0..255"),
    "pickled": (dict(x=np.array([None, 1], dtype=object)), "'x' holds pickled objects"),
    "few labels": (dict(x=IMAGES, label=np.arange(11)), "labels are 11 for 12 images"),
    "float labels": (dict(x=IMAGES, label=np.arange(12.0)), "labels have dtype float64"),
    "negative labels": (dict(x=IMAGES, y=np.arange(12) - 2), "labels run from -2 .* or -1 for no label"),
    "one-hot labels": (dict(x=IMAGES, labels=np.eye(12, dtype=int)), r"labels have shape \(12, 12\)"),
    "huge labels": (dict(x=IMAGES, labels=np.arange(12) + 2**40), "labels run from"),
    "few factors": (dict(x=IMAGES, factors=np.zeros((11, 2), int)), "factors are 11 for 12 images"),
    "flat factors": (dict(x=IMAGES, factors=np.arange(12)), r"factors have shape \(12,\)"),
    "labels alone": (dict(x=IMAGES, label_test=np.arange(3)), "no 'x_test'"),
    "other size": (dict(x=IMAGES, x_test=IMAGES[:, 1:]), "make them equal"),
    "bad test": (dict(x=IMAGES, x_test=IMAGES, label_test=np.arange(3)), "labels are 3 for 12 images"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(tmp_path, case):
    members, message = BAD_ARRAYS[case]
    file = save(tmp_path / "x.npz", **members)
    with pytest.raises(InputError, match=message) as caught:
        load(f"npz:{file}")
    assert "\n" not in str(caught.value)


def corrupt(file):
    """The file with one member's bytes overwritten, behind an intact directory."""
    np.savez_compressed(file, x=rng.integers(0, 256, (50, 9, 9)).astype(np.uint8))
    raw = bytearray(file.read_bytes())
    raw[400:440] = bytes(40)
    file.write_bytes(raw)


def with_member(file, content):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", content)


def truncate(file):
    np.savez(file, x=IMAGES)
    file.write_bytes(file.read_bytes()[:-60])


BAD_FILES = {
    "absent": (lambda file: None, "no such file"),
    "folder": (lambda file: file.mkdir(), "folder"),
    "text": (lambda file: file.write_text("not a zip\n"), "can't be read as npz"),
    "nothing": (lambda file: file.write_bytes(b""), "can't be read as npz"),
    "truncated": (truncate, "can't be read as npz"),
    "npy": (lambda file: file.write_bytes(np.lib.format.magic(1, 0)), "can't be read as npz"),
    "corrupt member": (corrupt, "'x' is corrupt"),
    "not an array": (lambda file: with_member(file, "hello"), "'x' is corrupt"),
    "empty member": (lambda file: with_member(file, ""), "'x' is corrupt"),
    "empty zip": (lambda file: zipfile.ZipFile(file, "w").close(), "it has: none"),
}


@pytest.mark.parametrize("prefix", ["npz:", "dsprites:"])
@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(tmp_path, case, prefix):
    make, message = BAD_FILES[case]
    file = tmp_path / "x.npz"
    make(file)
    if prefix == "dsprites:" and "corrupt" in message:
        message = "no array 'imgs'; it has: x"
    with pytest.raises(InputError, match=message) as caught:
        load(f"{prefix}{file}")
    assert "\n" not in str(caught.value)


SPRITES, CLASSES = sprite_like((1, 1, 1, 2, 2))
BAD_DSPRITES = {
    "no classes": (dict(imgs=SPRITES), "no array 'latents_classes'; it has: imgs"),
    "no images": (dict(latents_classes=CLASSES), "no array 'imgs'"),
    "0..255": (dict(imgs=SPRITES * 255, latents_classes=CLASSES), "a pixel 255 in image 0; dSprites are 0 and 1"),
    "a grey": (dict(imgs=SPRITES * 0.5, latents_classes=CLASSES), "a pixel 0.5"),
    "NaN": (dict(imgs=SPRITES * np.nan, latents_classes=CLASSES), "a pixel nan"),
    "32x32": (dict(imgs=SPRITES[:, ::2, ::2], latents_classes=CLASSES), r"\[N, 64, 64\]"),
    "no rows": (dict(imgs=SPRITES[:0], latents_classes=CLASSES[:0]), "at least one image"),
    "text": (dict(imgs=SPRITES.astype(str), latents_classes=CLASSES), "dtype <U3"),
    "few classes": (dict(imgs=SPRITES, latents_classes=CLASSES[:3]), "are 3 for 4 images"),
    "4 columns": (dict(imgs=SPRITES, latents_classes=CLASSES[:, 1:]), "has 4 columns"),
    "fractions": (dict(imgs=SPRITES, latents_classes=CLASSES / 2), "dtype float64"),
    "negative": (dict(imgs=SPRITES, latents_classes=CLASSES - 1), "run from -1"),
}


@pytest.mark.parametrize("case", BAD_DSPRITES)
def test_bad_dsprites(tmp_path, case):
    members, message = BAD_DSPRITES[case]
    file = save(tmp_path / "d.npz", **members)
    with pytest.raises(InputError, match=message) as caught:
        load(f"dsprites:{file}")
    assert "\n" not in str(caught.value)


BAD_CALLS = {
    "split of digits": (dict(name="digits", split="valid"), "unknown split 'valid'; choose one of: train, test"),
    "split of sprites": (dict(name="sprites", split="all"), "unknown split"),
    "split of a file": (dict(name="npz:x.npz", split="all"), "unknown split"),
    "size of digits": (dict(name="digits", size=32), "only rendered sources take a size"),
    "size of a file": (dict(name="npz:x.npz", size=32), "only rendered sources take a size"),
    "no path": (dict(name="npz:"), "no file given"),
    "near a source": (dict(name="sprite"), "unknown source 'sprite'; did you mean 'sprites'"),
    "near a data set": (dict(name="fashion_mnits"), "did you mean 'fashion_mnist'"),
    "near nothing": (dict(name="qqqqqq"), "unknown source 'qqqqqq'; choose one of"),
    "no name": (dict(name=""), "unknown source"),
    "odd name": (dict(name="what is this?"), "unknown source"),
    "not prepared": (dict(name="cifar10"), r"not prepared in .*tfds-prepare.*tfds build cifar10 --file_format="),
    "a configuration": (dict(name="mnist/large"), "BuilderConfig large not found"),
    "a version": (dict(name="mnist:1.0.0"), "version 1.0.0"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls(tmp_path, case, capfd):
    arguments, message = BAD_CALLS[case]
    with pytest.raises(InputError, match=message) as caught:
        load(**arguments, data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []  # nothing was downloaded or prepared


SHADES = [{"image": encoded(np.full((4, 4, 1), k, np.uint8)), "label": k} for k in range(3)]
GREY = {"image": image_feature(4, 4, 1), "label": LABEL}
BAD_TFDS = {
    "split": (dict(features=GREY, examples=SHADES), "other", "split 'other' can't be read .*; it has: train"),
    "empty part": (dict(features=GREY, examples=SHADES), "train[:0]", "no examples|can't be read"),
    "no image": (
        dict(features={"label": LABEL}, examples=[{"label": 1}]),
        "train",
        "no feature 'image'; it has: label",
    ),
    "16 bits": (dict(features={"image": image_feature(4, 4, 1, dtype="uint16")}, examples=SHADES), "train", "uint16"),
    "transparent": (dict(features={"image": image_feature(4, 4, 4)}, examples=SHADES), "train", "1 or 3 channels"),
    "tfrecord": (dict(features=GREY, examples=SHADES, form="tfrecord"), "train", "tfrecord, not array_record"),
    "broken image": (
        dict(features=GREY, examples=[*SHADES, {"image": b"oops", "label": 1}]),
        "train",
        "image 3 can't be decoded",
    ),
    "sizes": (
        dict(
            features={"image": image_feature(None, None, 1)},
            examples=[*SHADES, {"image": encoded(np.zeros((5, 4, 1), np.uint8))}],
        ),
        "train",
        r"differ in size \(image 0 is \(4, 4, 1\), image 3 is \(5, 4, 1\)\)",
    ),
}


@pytest.mark.parametrize("case", BAD_TFDS)
def test_bad_data_sets(tmp_path, case):
    arguments, split, message = BAD_TFDS[case]
    prepare(tmp_path, **arguments)
    with pytest.raises(InputError, match=message) as caught:
        load("tiny", split, data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("harm", [lambda file: file.unlink(), lambda file: file.write_bytes(file.read_bytes()[:100])])
def test_broken_files_of_a_data_set(tmp_path, harm):
    home = prepare(tmp_path, GREY, SHADES)
    harm(next(home.glob("*.array_record*")))
    with pytest.raises(InputError) as caught:
        load("tiny", data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)


# --- imports ---------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
from importlib.util import spec_from_loader
class TensorFlow:  # installed, so to speak, but to import it is an error
    def find_spec(self, name, path=None, target=None):
        return spec_from_loader(name, self) if name == "tensorflow" else None
    def create_module(self, spec):
        raise AssertionError("TensorFlow is imported")
sys.meta_path.insert(0, TensorFlow())
from vaejax.data import load
heavy = {"tensorflow", "tensorflow_datasets", "sklearn", "pandas", "matplotlib", "grain"} & set(sys.modules)
assert not heavy, heavy
for name, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    load(name, data_dir=folder)
    next(load(name, data_dir=folder, window=1).windows(0))
assert "tensorflow" not in sys.modules
"""


def test_nothing_heavy_is_imported_early_and_tensorflow_never(tmp_path):
    prepare(tmp_path, GREY, SHADES)
    command = [sys.executable, "-c", SCRIPT, "tiny", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""  # and nothing is said
