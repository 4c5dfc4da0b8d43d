"""Counts in CSR files: batches, losses and measures bit for bit those of the dense array; lines for broken files."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

import vaejax
from vaejax import InputError, build, fit, grid, measure
from vaejax.data import load, npz, partly_labelled

RANDOM = np.random.default_rng(0)
COUNTS = RANDOM.poisson(3, (60, 40)) * (RANDOM.random((60, 40)) < 0.1)
COUNTS[7] = 0
COUNTS[8] = RANDOM.poisson(400, 40)
LABEL = np.arange(60) % 3


def parts(matrix, suffix=""):
    """What `scipy.sparse.save_npz` writes of it."""
    matrix = sparse.csr_array(matrix)
    found = {"indptr": matrix.indptr, "indices": matrix.indices, "data": matrix.data, "shape": np.array(matrix.shape)}
    return {key + suffix: value for key, value in found.items()}


def saved(folder, name="x", **members):
    np.savez(folder / f"{name}.npz", **members)
    return f"npz:{folder / f'{name}.npz'}"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return (load(saved(folder, "dense", x=COUNTS, label=LABEL)),
            load(saved(folder, "csr", **parts(COUNTS), label=LABEL)))  # fmt: skip


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_batches_are_those_of_the_dense_array(pair, tmp_path):
    dense, csr = pair
    assert csr.space == dense.space and csr.size == dense.size == 54
    key, every = jax.random.key(3), jnp.arange(54)
    same(csr.at(csr.data, every), dense.at(dense.data, every))
    same(jax.jit(csr.sample, static_argnums=2)(csr.data, key, 16), dense.sample(dense.data, key, 16))
    runs = jax.random.split(key, 3)
    same(
        jax.vmap(lambda key: csr.sample(csr.data, key, 5))(runs),
        jax.vmap(lambda key: dense.sample(dense.data, key, 5))(runs),
    )
    for file in (tmp_path / "a.npz", tmp_path / "b.npz"):
        sparse.save_npz(file, sparse.csr_matrix(COUNTS), compressed=file.stem == "b")
        found = load(f"npz:{file}", "test")
        np.testing.assert_array_equal(found.at(found.data, jnp.arange(6)).x, COUNTS[::10])
    assert csr.data["indices"].dtype == np.uint8 and csr.data["values"].dtype == np.uint16


def test_entries_of_one_place_add_up_and_nothing_is_zeros(tmp_path):
    twice = dict(indptr=[0, 3, 3], indices=[1, 1, 0], data=[2.0, 3.0, 4.0], shape=[2, 3])
    found = load(
        saved(tmp_path, **{key: np.array(value) for key, value in twice.items()}, **parts(COUNTS[:, :3], "_test"))
    )
    np.testing.assert_array_equal(found.at(found.data, jnp.arange(2)).x, [[4, 5, 0], [0, 0, 0]])
    held = load(found.name, "test")
    np.testing.assert_array_equal(held.at(held.data, jnp.arange(60)).x, COUNTS[:, :3])
    empty = load(saved(tmp_path, "zeros", **parts(np.zeros((4, 2), int))))
    np.testing.assert_array_equal(empty.at(empty.data, jnp.arange(3)).x, np.zeros((3, 2)))


def test_training_and_measures_are_those_of_the_dense_array(pair, tmp_path):
    """And a run goes on bit for bit, and notices another file."""
    csr = pair[1]
    method = build("vae", csr.space, latents=2, width=8)
    runs = grid(method.hyper, seeds=2)
    found = [fit(method, source, runs, steps=20, batch_size=8) for source in pair]
    same(found[0].history, found[1].history)
    same(found[0].params, found[1].params)
    measures = [measure(method, source, found[0].params)["value"].to_numpy(float) for source in pair]
    same(*measures)

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.done:
            raise Stop

    more = dict(steps=40, batch_size=8, save_every=0)
    with pytest.raises(Stop):
        fit(method, csr, runs, **more, workdir=tmp_path / "run", on_progress=stop)
    again = pickle.loads(pickle.dumps(csr))
    same(fit(method, again, runs, **more, workdir=tmp_path / "run").params, fit(method, csr, runs, **more).params)
    changed = load(saved(tmp_path, **parts(COUNTS + (COUNTS > 5)), label=LABEL))._replace(name=csr.name)
    with pytest.raises(InputError, match="data"):
        fit(method, changed, runs, **more, workdir=tmp_path / "run")


@pytest.mark.slow
def test_what_takes_a_source_takes_this_one(pair):
    dense, csr = pair
    few = [partly_labelled(source, 6) for source in pair]
    same(*(source.sample(source.data, jax.random.key(0), 9) for source in few))
    method = build("vae", csr.space, latents=2, width=8)
    params = method.init(jax.random.key(0), csr.at(csr.data, jnp.arange(1)))
    key = jax.random.key(1)
    assert vaejax.metrics.log_likelihood(method, params, csr, key, samples=4) == vaejax.metrics.log_likelihood(
        method, params, dense, key, samples=4
    )
    size = vaejax.distributions.size_factor(csr.at(csr.data, jnp.arange(3)).x)
    np.testing.assert_array_equal(size, COUNTS[1:4].sum(1).clip(1))


def but(**changed):
    return {**parts(COUNTS), **{key: np.array(value) for key, value in changed.items()}}


HALF = parts(COUNTS)["data"] * 1.0
HALF[3] = 1.5
MINUS = parts(COUNTS)["data"].copy()
MINUS[-1] = -1
FAR = parts(COUNTS)["indices"].copy()
FAR[5] = 40
BAD = {  # id: (arrays, part of the line)
    "half a count": (but(data=HALF), r"has 1.5 in row \d+, column \d+; a count"),
    "a negative count": (but(data=MINUS), "has -1 in row 59, column"),
    "NaN": (but(data=HALF * np.nan), "has nan in row 0, column"),
    "infinity": (but(data=HALF + np.inf), "has inf in row 0, column"),
    "a column too far": (but(indices=FAR), r"row \d has a column 40, of 40"),
    "texts": (but(data=["a"] * 3), "'data' has dtype <U1"),
    "columns in floats": (but(indices=HALF), "'indices' has dtype float64"),
    "too few rows": (but(indptr=[0, 3]), "'indptr' has 2 numbers for 60 rows, not 61"),
    "too few values": (but(data=[1, 2]), "these have to be as many"),
    "falling": (but(indptr=[0, 30, 3, *parts(COUNTS)["indptr"][3:]]), "'indptr' falls in row 1"),
    "no shape": ({key: value for key, value in parts(COUNTS).items() if key != "shape"}, "has no 'shape'"),
    "a shape of three": (but(shape=[60, 40, 1]), "'shape' has to be two numbers"),
    "no columns": (but(shape=[60, 0]), "'shape' has to be two numbers"),
    "another format": (but(format=b"csc"), "of the format 'csc'; save matrix.tocsr"),
    "half a test": (but(indptr_test=[0, 1]), "has no 'indices_test'"),
    "a test of other columns": (dict(**parts(COUNTS), **parts(COUNTS[:, :4], "_test")), "other columns than the 40"),
    "few labels": (but(label=[1, 2]), "labels are 2 for 60"),
    "one row": (parts(COUNTS[:1]), "can't be split"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_matrix_is_one_line(tmp_path, case):
    arrays, line = BAD[case]
    with pytest.raises(InputError, match=line) as error, np.errstate(all="ignore"):
        npz(saved(tmp_path, **arrays)[4:])
    assert str(error.value).isprintable() and len(str(error.value)) <= 400


def test_other_formats_windows_and_black_and_white(tmp_path):
    sparse.save_npz(tmp_path / "c.npz", sparse.coo_array(COUNTS))
    for name, more, line in (("c", {}, "of the format 'coo'"), ("x", {"window": 5}, "stays sparse on the device"),
                             ("x", {"name": "+binarized"}, "can't be binarized")):  # fmt: skip
        saved(tmp_path, **parts(COUNTS))
        with pytest.raises(InputError, match=line):
            load(f"npz:{tmp_path}/{name}.npz{more.pop('name', '')}", **more)
