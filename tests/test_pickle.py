"""Methods are pickled as the call that made them, and what holds them can be pickled with them."""

import copy
import multiprocessing
import pickle

import jax
import joblib
import numpy as np
import pytest

import vaejax
from tests.test_methods import TABLE
from vaejax import METHODS, Result, build, grid
from vaejax.data import example, load
from vaejax.experiment import prepared
from vaejax.methods.autoencoder import Hyper
from vaejax.networks import network

cloudpickle = pytest.importorskip("cloudpickle")
SHAPE = (8, 8, 1)
MODEL = {"method": "beta_vae", "shape": SHAPE, "network": "mlp", "latents": 3, "width": 8}
METHOD = build(**MODEL)


@pytest.fixture(autouse=True)
def fresh():
    """The method as `build` knows it now: it keeps only so many, and other tests build others."""
    global METHOD
    METHOD = build(**MODEL)


def again(value, with_=pickle):
    return pickle.loads(with_.dumps(value))


def other_loss(params, hyper, batch, key, step):
    raise NotImplementedError


def beta_of(method):
    return method.hyper.beta, method == build(**MODEL)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_comes_back_as_the_same_object(name):
    row = TABLE[name]
    method = build(name, SHAPE, row.network, 3, (8, 8) if row.network == "mlp_sigmoid" else 8, **row.structure)
    assert again(method) is method and again(method, cloudpickle) is method
    assert copy.deepcopy(method) is method


def test_plans_go_by_the_numbers_of_their_devices():
    shared = jax.make_mesh((1, 2), ("runs", "batch"))
    for options in ({}, {"chunk": 2}, {"mesh": shared}, {"mesh": jax.sharding.Mesh(jax.devices()[1:], ("runs",))}):
        layout = vaejax.plan(METHOD, example(load("digits")), 3, 8, **options)
        found = again(layout)
        assert found == layout and str(found) == str(layout)


def test_what_is_prepared_comes_back():
    ready = prepared(vaejax.Experiment("digits", "beta_vae", network="mlp", width=8, latents=3, steps=2))
    found = again(ready)
    assert found.layout == ready.layout and found.config == ready.config and found.method is ready.method
    assert found.runs.table().equals(ready.runs.table())


def test_what_was_replaced_comes_back_replaced():
    method = METHOD._replace(hyper=METHOD.hyper._replace(beta=9.0), loss=other_loss)
    found = again(method)
    assert found == method and hash(found) == hash(method) and found != METHOD
    assert found.hyper.beta == 9.0 and found.loss is other_loss and found.encode is METHOD.encode


def test_what_cannot_be_pickled_says_so_and_is_not_the_original():
    with pytest.raises((pickle.PicklingError, AttributeError), match="pickle"):
        pickle.dumps(METHOD._replace(loss=lambda *arguments: METHOD.loss(*arguments)))
    with pytest.raises((pickle.PicklingError, AttributeError), match="pickle"):
        pickle.dumps(vaejax.Method(*METHOD[:-1]))


def test_a_constructor_called_with_networks_is_called_again():
    method = vaejax.autoencoder(*network("mlp", SHAPE, 3, 8))
    found = again(method)
    assert found.hyper == Hyper() and found.recipe.arguments == method.recipe.arguments
    assert found.recipe.call is vaejax.autoencoder


def test_runs_and_results():
    runs = grid(METHOD.hyper, 2, beta=[1, 4])
    result = Result(
        METHOD, runs, {"w": np.ones((4, 2))}, np.arange(1), {"loss": np.ones((4, 1))}, np.ones(4), ["finished"]
    )
    found = again(result)
    assert found.method is METHOD and found.runs.table().equals(runs.table())
    np.testing.assert_array_equal(found.params_of(1)["w"], [1, 1])


def test_other_processes_take_them(tmp_path):
    joblib.dump(METHOD, tmp_path / "method")
    assert joblib.load(tmp_path / "method") is METHOD
    method = METHOD._replace(hyper=METHOD.hyper._replace(beta=9.0))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(beta_of, [METHOD, method]) == [(4.0, True), (9.0, False)]


def test_the_cache_is_bounded():
    from vaejax import methods
    from vaejax.training import contract

    assert methods._built.cache_info().maxsize == methods.KEPT
    assert contract._traced.cache_info().maxsize is not None
