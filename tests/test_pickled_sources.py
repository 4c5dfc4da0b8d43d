"""Sources that another process gets: pickled, they give the same batches, and where they are cached the same object."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.test_data import GREY, SHADES, prepare, save, sprite_like
from vaejax import build
from vaejax.data import (
    RENDERED,
    Factors,
    Streamed,
    arrays,
    code_grids,
    correlated,
    excluding,
    load,
    partly_labelled,
    sprites,
    static_mnist,
)

X = np.random.default_rng(0).integers(0, 256, (24, 8, 8)).astype(np.uint8)
CHANGES = ("binarized", "correlated:0,1,0.3", "excluding:0=1+correlated:1,2,0.4+binarized")
NAMES = [*RENDERED, *(f"sprites+{change}" for change in CHANGES), "shapes3d+excluding:0=1+binarized"]


def dsprites_file(folder, rows=slice(None)):
    images, classes = sprite_like((1, 2, 2, 2, 2))
    return f"dsprites:{save(folder / 'd.npz', imgs=images[rows], latents_classes=classes[rows])}"


def amat(folder):
    for split in ("train", "valid", "test"):
        np.savetxt(folder / f"binarized_mnist_{split}.amat", np.eye(4, 784, dtype=int), fmt="%d")
    return str(folder)


def npz_file(folder):
    return f"npz:{save(folder / 'x.npz', x=X, label=np.arange(24) % 3 - 1)}"


def grids():
    source = arrays("a", X, np.arange(24) % 3)
    method = build("vq_vae", source.shape, "mlp", latents=2, width=8)
    return code_grids(method, method.init(jax.random.key(0), source.at(source.data, jnp.arange(1))), source)


def tiny(folder, **options):
    prepare(folder, GREY, SHADES * 4)
    return load("tiny", data_dir=str(folder), **options)


MADE = {
    **{name: lambda folder, name=name: load(name, size=16) for name in NAMES},
    "digits": lambda folder: load("digits", "test"),
    "digits+binarized": lambda folder: load("digits+binarized"),
    "arrays": lambda folder: arrays("a", X, np.arange(24) - 1),
    "partly labelled": lambda folder: partly_labelled(load("digits"), 20),
    "code grids": lambda folder: grids(),
    "npz": lambda folder: load(npz_file(folder)),
    "npz, streamed": lambda folder: load(npz_file(folder), window=5),
    "tfds": tiny,
    "tfds, streamed": lambda folder: tiny(folder, window=5),
    "static_mnist": lambda folder: static_mnist(amat(folder)),
    "dsprites": lambda folder: load(dsprites_file(folder)),
    "dsprites+binarized": lambda folder: load(f"{dsprites_file(folder)}+binarized"),
    "a part of dsprites": lambda folder: load(dsprites_file(folder, slice(5))),
    "another name": lambda folder: sprites(16)._replace(name="mine"),
    "correlated": lambda folder: correlated(sprites(8), ("x", "y"), 0.2),
    "excluded": lambda folder: excluding(load("rectangles", size=16), {0: [1]}, split="test"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {name: make(tmp_path_factory.mktemp("source")) for name, make in MADE.items()}


def told(source):
    """What a source is and gives, in NumPy's arrays; any process can tell it."""
    fields = {key: getattr(source, key) for key in ("name", "shape", "size")}
    if isinstance(source, Streamed):
        windows = source.windows(3)
        found = [*islice(windows, 2), source.take(np.arange(2)).data]
        windows.close()
        fields |= {"mark": source.mark, "window": source.window}
    else:
        index = jnp.array([0, source.size - 1])
        found = [source.at(source.data, index), source.sample(source.data, jax.random.key(3), 2)]
    if isinstance(source, Factors):
        factors = source.sample_factors(jax.random.key(1), 2)
        found += [factors, source.render(factors)]
        fields |= {key: getattr(source, key) for key in ("sizes", "names")}
        fields["joint"] = source.joint and (source.joint.columns, source.joint.weights.tobytes())
    return fields, [np.asarray(leaf) for leaf in jax.tree.leaves(found)]


def same(a, b):
    assert a[0] == b[0]
    for one, other in zip(a[1], b[1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("library", [pickle, cloudpickle])
@pytest.mark.parametrize("name", MADE)
def test_what_is_pickled_gives_the_same(made, name, library):
    source = made[name]
    again = library.loads(library.dumps(source))
    assert type(again) is type(source)
    assert again.at is source.at and again.sample is source.sample  # so that nothing is traced again
    same(told(again), told(source))


@pytest.mark.slow
def test_spawned_processes_give_the_same(made):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for name, found in zip(made, pool.map(told, made.values()), strict=True):
            try:
                same(found, told(made[name]))
            except AssertionError as error:
                raise AssertionError(name) from error


@pytest.mark.parametrize("name", RENDERED)
def test_a_cached_source_is_the_same_object_and_small(name):
    for source in (load(name), load(name, size=16), load(name, size=np.int64(16))):
        raw = pickle.dumps(source)
        assert pickle.loads(raw) is source and len(raw) < 200
    assert load(name) is load(name, size=64)


def test_a_copy_is_not_pickled_as_the_original():
    copy = sprites(16)._replace(size=7, sample=load("sprites+binarized", size=16).sample)
    again = pickle.loads(pickle.dumps(copy))
    assert again is not sprites(16) and again == copy and again.size == 7


def test_nothing_is_compiled_again(made):
    traces = []

    def step(sample, data):
        traces.append(sample)
        return sample(data, jax.random.key(0), 4).x.sum()

    run = jax.jit(step, static_argnums=0)
    for name in ("sprites", "sprites+binarized", "shapes3d+excluding:0=1+binarized", "digits+binarized", "npz"):
        traces.clear()
        for source in (made[name], pickle.loads(pickle.dumps(made[name]))):
            run(source.sample, source.data)
        assert len(traces) == 1, name
