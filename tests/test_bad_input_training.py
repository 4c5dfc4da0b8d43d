"""What `plan` and the options of training get when they can't be used: one line for each."""

import jax
import numpy as np
import pandas as pd
import pytest
from jax.experimental import io_callback
from jax.sharding import AxisType, Mesh

from vaejax import InputError, build, fit, grid, measure, plan
from vaejax.data import load
from vaejax.data.source import example

METHOD, SOURCE = build("beta_vae", (8, 8, 1), "mlp", latents=2, width=8), load("digits")
ONE, RUNS = example(SOURCE), grid(METHOD.hyper, 2)
PARAMS = jax.tree.map(
    lambda leaf: np.asarray(leaf)[None], METHOD.init(jax.random.key(0), SOURCE.at(SOURCE.data, np.arange(1)))
)


def mesh(*names):
    """Both devices along the last of these axes."""
    return jax.make_mesh((1,) * (len(names) - 1) + (2,), names, axis_types=(AxisType.Auto,) * len(names))


def planned(runs=3, batch_size=16, method=METHOD, batch=ONE, **options):
    return lambda: plan(method, batch, runs, batch_size, **options)


def on_gpu(memory):
    return planned(backend="gpu", memory=memory)


def fitted(**options):
    return lambda: fit(METHOD, SOURCE, RUNS, **{"steps": 1, "batch_size": 4} | options)


def measured(**options):
    return lambda: measure(METHOD, SOURCE, PARAMS, **options)


MASKED = np.ma.array([1, 2], mask=[0, 1])


def selected(index):
    return lambda: RUNS.select(index)


def stepped(what):
    """Training by a method whose loss calls Python in this way."""

    def loss(params, hyper, batch, key, step):
        value, metrics = METHOD.loss(params, hyper, batch, key, step)
        number = jax.ShapeDtypeStruct((), np.float32)
        if what == "ordered":
            jax.debug.print("{}", value, ordered=True)
        else:
            metrics |= {"seen": jax.pure_callback(lambda x: x, number, jax.lax.stop_gradient(value))}
        return value, metrics

    return lambda: fit(METHOD._replace(loss=loss), SOURCE, RUNS, steps=1, batch_size=4, chunk=2)


def huge(name, **options):
    def call():
        method = build(name, (8, 8, 1), "mlp", **options)
        fit(method, SOURCE, grid(method.hyper, 1), steps=1, batch_size=4)

    return call


SELECTED = "runs are selected by numbers from 0 to 1, a slice, or a mask of 2, not"
NO_MESH, NO_AXIS = "a mesh has to be what jax.make_mesh gives", "the mesh of a sweep needs an axis 'runs'"
NO_MEMORY, WHOLE = "memory has to be a number of bytes above 0", "has to be a whole number, not"
BAD = [
    ("runs 0", planned(0), "runs has to be at least 1, not 0"),
    ("runs negative", planned(-1), "runs has to be at least 1, not -1"),
    ("runs text", planned("3"), f"runs {WHOLE} '3' (str)"),
    ("runs fraction", planned(2.5), f"runs {WHOLE} 2.5"),
    ("runs True", planned(True), f"runs {WHOLE} True"),
    ("runs themselves", planned(RUNS), f"runs {WHOLE} Runs("),
    ("runs as a table", planned(pd.DataFrame({"beta": [1]})), f"runs {WHOLE}"),
    ("runs beyond 32 bits", planned(2**31), "runs has to be at most"),
    ("batch 0", planned(batch_size=0), "batch_size has to be at least 1, not 0"),
    ("batch text", planned(batch_size="16"), f"batch_size {WHOLE} '16' (str)"),
    ("batch float", planned(batch_size=16.0), f"batch_size {WHOLE} 16.0"),
    ("batch array", planned(batch_size=np.array([16])), f"batch_size {WHOLE}"),
    ("chunk 0", planned(chunk=0), "chunk has to be at least 1, not 0"),
    ("chunk text", planned(chunk="2"), f"chunk {WHOLE} '2' (str)"),
    ("chunk float", planned(chunk=1.0), f"chunk {WHOLE} 1.0"),
    ("chunk list", planned(chunk=[2]), f"chunk {WHOLE} [2] (list)"),
    ("backend unknown", planned(backend="cuda"), "unknown backend 'cuda'"),
    ("backend number", planned(backend=3), "backend has to be a name, not 3"),
    ("backend capital", planned(backend="GPU"), "unknown backend 'GPU'"),
    ("memory 0", on_gpu(0), f"{NO_MEMORY}, not 0"),
    ("memory negative", on_gpu(-1), f"{NO_MEMORY}, not -1"),
    ("memory text", on_gpu("8GB"), f"{NO_MEMORY}, not '8GB' (str)"),
    ("memory NaN", on_gpu(float("nan")), f"{NO_MEMORY}, not nan"),
    ("memory infinite", on_gpu(float("inf")), f"{NO_MEMORY}, not inf"),
    ("memory True", on_gpu(True), f"{NO_MEMORY}, not True"),
    ("memory of a CPU", planned(memory="8GB"), f"{NO_MEMORY}, not '8GB' (str)"),
    ("method's name", planned(method="vae"), "a method has to be one that vaejax.build"),
    ("method None", planned(method=None), "a method has to be one that vaejax.build"),
    ("constructor", planned(method=build), "a method has to be one that vaejax.build"),
    ("source as batch", planned(batch=SOURCE), "a batch has to be what vaejax.data.source.example gives"),
    ("array as batch", planned(batch=np.zeros((1, 8, 8, 1))), "a batch has to be what vaejax.data.source.example"),
    ("no batch", planned(batch=None), "a batch has to be what vaejax.data.source.example gives"),
    ("mesh text", planned(mesh="runs"), f"{NO_MESH}, with an axis 'runs', not 'runs' (str)"),
    ("mesh number", planned(mesh=2), NO_MESH),
    ("mesh True", planned(mesh=True), NO_MESH),
    ("mesh shape", planned(mesh=(1, 2)), NO_MESH),
    ("mesh devices", planned(mesh=jax.devices()), NO_MESH),
    ("mesh mapping", planned(mesh={"runs": 2}), NO_MESH),
    ("mesh abstract", planned(mesh=mesh("runs").abstract_mesh), NO_MESH),
    ("mesh without runs", planned(mesh=mesh("batch")), f"{NO_AXIS}, may have 'batch'"),
    ("mesh of models", planned(mesh=mesh("models")), "it has 'models' of 2"),
    ("mesh with a third axis", planned(mesh=mesh("runs", "batch", "model")), "'model' of 2"),
    ("mesh with another axis", planned(mesh=mesh("runs", "data")), "it has 'runs' of 1, 'data' of 2"),
    ("mesh without devices", planned(mesh=Mesh(np.empty(0, object), ("runs",))), "it has 'runs' of 0"),
    ("mesh without axes", planned(mesh=Mesh(np.array(jax.devices()[0], object), ())), "it has none"),
    ("fit: mesh text", fitted(mesh="runs"), NO_MESH),
    ("fit: mesh devices", fitted(mesh=jax.devices()), NO_MESH),
    ("fit: mesh of batches", fitted(mesh=mesh("batch")), NO_AXIS),
    ("fit: chunk 0", fitted(chunk=0), "chunk has to be at least 1, not 0"),
    ("fit: chunk text", fitted(chunk="all"), f"chunk {WHOLE} 'all' (str)"),
    ("fit: chunk fraction", fitted(chunk=0.5), f"chunk {WHOLE} 0.5"),
    ("fit: precision unknown", fitted(precision="float16"), "unknown precision 'float16'"),
    ("fit: precision of jax", fitted(precision="highest"), "unknown precision 'highest'"),
    ("fit: precision capital", fitted(precision="BF16"), "unknown precision 'BF16'"),
    ("fit: precision number", fitted(precision=32), "precision has to be a name, not 32"),
    ("fit: precision None", fitted(precision=None), "precision has to be a name, not None"),
    ("fit: precision list", fitted(precision=["bf16"]), "precision has to be a name, not ['bf16'] (list)"),
    ("fit: precision type", fitted(precision=np.float32), "precision has to be a name, not <class 'numpy.float32'>"),
    *((f"select {index!r}"[:40], selected(index), f"{SELECTED} {words}") for index, words in (
        ([9], "[9] (list)"), ("0", "'0' (str)"), ([-1], "[-1]"), (-1, "-1"), (2, "2"), (0.5, "0.5"), (True, "True"),
        ([True], "[True]"), (None, "None"), ({}, "{}"), ([[0]], "[[0]]"), (slice("a"), "slice(None, 'a'"),
        (MASKED, "masked_array("), (np.array([0, np.nan]), "array([ 0., nan])"), (np.ones(3, bool), "array([ True"),
    )),
    ("grid: masked values", lambda: grid(METHOD.hyper, 1, beta=MASKED), "several as in beta=[1, 4], not masked"),
    ("grid: a masked value", lambda: grid(METHOD.hyper, 1, beta=MASKED[1]), "not masked"),
    ("grid: masked seeds", lambda: grid(METHOD.hyper, MASKED), "a seed has to be a whole number, not masked"),
    ("grid: a masked number of seeds", lambda: grid(METHOD.hyper, MASKED[1]), "seeds has to be a whole number"),
    ("build: masked widths", lambda: build("vae", (8, 8, 1), "mlp_relu", width=MASKED), "whole number, not masked"),
    ("grid: randomness 1", lambda: grid(METHOD.hyper, 1, common_random_numbers=1), "has to be True or False, not 1"),
    ("fit: a huge batch", fitted(batch_size=2**31 - 1), "2147483647 images of 8 x 8 x 1 take 549.8 GB"),
    ("fit: a huge chunk", fitted(chunk=2**31 - 1), "2147483647 runs of 1,372 parameters take"),
    ("fit: too many steps", fitted(steps=2**40), "steps has to be at most 2,147,483,647"),
    ("fit: a wide network", huge("vae", width=10**7), "300,001,630,000,084 parameters take"),
    ("fit: many latents", huge("vae", width=8, latents=10**9), "GB, and this machine has"),
    ("fit: many codes", huge("vq_vae", width=8, codes=10**9), "parameters take"),
    ("fit: many classes", huge("conditional_vae", width=8, classes=10**9), "parameters take"),
    ("fit: many samples", huge("iwae", width=8, samples=10**9), "batches of 4 images of 8 x 8 x 1 take 1,024.0 GB"),
    ("fit: a deep network", huge("factor_vae", discriminator_depth=10**6), "1 to 1,000 layers, not 1,000,000"),
    ("fit: a callback that can't be vmapped", stepped("pure"), "give vmap_method='sequential' and ordered=False"),
    ("fit: ordered printing on several devices", stepped("ordered"), "give vmap_method='sequential' and ordered=False"),
    ("measure: mesh text", measured(mesh="runs"), NO_MESH),
    ("measure: mesh axis", measured(mesh=mesh("models")), NO_AXIS),
    ("measure: chunk 0", measured(chunk=0), "chunk has to be at least 1, not 0"),
    ("measure: chunk text", measured(chunk="2"), f"chunk {WHOLE} '2' (str)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input_gets_one_line(call, words):
    with pytest.raises(InputError) as caught:
        call()
    line = str(caught.value)
    assert words in line and "\n" not in line and len(line) <= 400


def test_whole_numbers_of_numpy_and_any_kind_of_mesh_are_fine():
    found = plan(METHOD, ONE, np.int64(3), np.int32(16), chunk=np.int8(2))
    assert (found.chunk, found.group) == (2, 4)
    assert plan(METHOD, ONE, 3, 16, backend="gpu", memory=np.float64(8e9)).chunk == 2
    explicit = jax.make_mesh((2,), ("runs",))  # what is made where nothing is said of its axes
    assert plan(METHOD, ONE, 3, 16, mesh=explicit).mesh.axis_types == (AxisType.Auto,)
    assert plan(METHOD, ONE, 3, 16, mesh=jax.make_mesh((2, 1), ("runs", "idle"))).group == 2
    assert fit(METHOD, SOURCE, RUNS, steps=1, batch_size=4, mesh=explicit).status == ["finished"] * 2


def test_runs_are_selected_by_numbers_slices_and_masks():
    runs = grid(METHOD.hyper, [5, 6, 7])
    for index in ([0, 2], (0, 2), np.array([True, False, True]), slice(0, 3, 2), np.uint8([0, 2]), range(0, 3, 2)):
        assert runs.select(index).seeds.tolist() == [5, 7]
    assert int(runs.select(np.int64(1)).seeds) == 6


def test_arrays_without_axes_and_truth_values_of_numpy_are_taken_for_pythons():
    streams = grid(METHOD.hyper, 2, common_random_numbers=np.array(False)).streams
    assert streams.tolist() == [0, 1]
    options = {"steps": np.array(2), "batch_size": jax.numpy.array(4), "chunk": np.array(1)}
    result = fit(METHOD, SOURCE, RUNS, **options, save_every=np.float32(1))
    assert result.taken.tolist() == [2, 2]
    assert measured(images=np.array(20), chunk=np.array(1))().equals(measured(images=20, chunk=1)())


@pytest.mark.parametrize("what", ["print", "pure", "io"])
def test_a_loss_may_print_and_call_python(what, capfd, tmp_path):
    """In either place of a run, also vmapped; what it prints is no part of the sweep, what it calls is."""
    seen, text = [], ["loss {}"]

    def loss(params, hyper, batch, key, step):
        value, metrics = METHOD.loss(params, hyper, batch, key, step)
        number, now = jax.ShapeDtypeStruct((), np.float32), jax.lax.stop_gradient(value)
        if what == "print":
            jax.debug.print(text[-1], now)
        elif what == "pure":
            double = jax.pure_callback(lambda x: np.float32(2 * x), number, now, vmap_method="sequential")
            metrics |= {"double": double}
        else:
            metrics |= {"double": io_callback(lambda x: seen.append(float(x)) or np.float32(2 * x), number, now)}
        return value, metrics

    method, plain = METHOD._replace(loss=loss), fit(METHOD, SOURCE, RUNS, steps=2, batch_size=4)
    for chunk in (1, 2):
        result = fit(method, SOURCE, RUNS, steps=2, batch_size=4, chunk=chunk, workdir=tmp_path / str(chunk))
        np.testing.assert_allclose(result.history["loss"], plain.history["loss"], rtol=1e-5)
        if what != "print":
            np.testing.assert_allclose(result.history["double"], 2 * plain.history["loss"], rtol=1e-5)
    jax.effects_barrier()
    calls = 2 * (2 + 4)  # of two steps; vmapped by two, on two devices, both runs are trained twice
    assert what != "print" or capfd.readouterr().out.count("loss ") == calls
    assert what != "io" or len(seen) == calls
    if what == "print":
        text.append("another {}")
        again = METHOD._replace(loss=lambda *arguments: loss(*arguments))
        fit(again, SOURCE, RUNS, steps=2, batch_size=4, workdir=tmp_path / "1")
