"""What went on without a word: files that a page would replace, numbers that float32 loses, parts that are none."""

import pickle

import jax
import numpy as np
import pytest

import vaejax
from vaejax import InputError, apply, data, load_run, metrics

RNG = np.random.default_rng(0)
V, Z = RNG.normal(size=(40, 3)), RNG.integers(0, 90, (300, 2))
SOURCE = data.load("digits")
METHOD = vaejax.build("vae", SOURCE.space, network="mlp", width=8, latents=2)
RUNS = vaejax.grid(METHOD.hyper, 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    asks = vaejax.Experiment("digits", "vae", network="mlp", width=8, latents=2, steps=3, batch_size=8, images=50)
    return vaejax.run(asks, tmp_path_factory.mktemp("runs") / "a")


LINES = {  # id: (call, part of the line)
    "too large": (lambda: data.arrays("a", V * 1e200), "which float32 can't hold; give it in another unit"),
    "far away": (lambda: data.arrays("a", V + 1e12), "in column 0, which float32 can't tell apart; subtract"),
    "levels of reals": (lambda: data.arrays("a", V, levels=3), "column 0 is real, and only categories have levels"),
    "whole codes": (lambda: metrics.mig(Z + 2**55, Z // 30), "up to 2\\*\\*53; subtract their smallest first"),
    "values that are one": (lambda: apply.data_values(Z * 0.01 + 1e8, 4), "float32, in which models compute, has few"),
    "negative KLs": (lambda: metrics.udr(RNG.normal(size=(3, 50, 3)), -np.ones((3, 3))), "the smallest is -1"),
    "a table of fewer values": (lambda: of_table(metrics.factor_vae_score), "factor_vae_score takes finite codes"),
    "the same": (lambda: of_table(metrics.beta_vae_score), "beta_vae_score takes finite codes"),
    "unlabelled": (lambda: fit(unlabelled=3), "unlabelled has to be True or False, not 3"),
    "recipe": (lambda: fit(recipe=fit), "recipe is what Method.made_by gives, or None"),
}


def of_table(metric):
    sizes = {"train": 20, "test": 20, "batch": 4}
    return metric(metrics.table(RNG.normal(size=(16, 3)), (4, 4)), (4, 5), jax.random.key(0), **sizes)


def fit(**changes):
    return vaejax.fit(METHOD._replace(**changes), SOURCE, RUNS, steps=2, batch_size=8)


@pytest.mark.parametrize("case", LINES)
def test_a_line_in_place_of_a_silent_number(case):
    call, line = LINES[case]
    with pytest.raises(InputError, match=line):
        call()


def test_what_float32_can_tell_apart_stays_right():
    source = data.arrays("a", V + 1e3)
    np.testing.assert_allclose(source.data["x"] - 1e3, V, atol=1e-4)
    assert metrics.mig(Z + 2**40, Z // 30) == metrics.mig(Z, Z // 30)


@pytest.mark.parametrize("file", ["config.json", "runs.csv", "results.csv"])
def test_a_page_replaces_nothing_but_a_page(run, file):
    before = (run.path / file).read_bytes()
    with pytest.raises(InputError, match="is a file, and no page of ours, so it isn't overwritten"):
        run.report(run.path / file)
    assert (run.path / file).read_bytes() == before
    with pytest.raises(InputError, match="it is a folder; give the path of a page in it"):
        run.report(run.path)
    assert load_run(run.path).report() == run.report() == run.path / "report.html"


def test_parameters_that_are_no_floats_are_not_measured(run):
    for kind in (int, str, object):
        params = jax.tree.map(lambda leaf, kind=kind: np.asarray(leaf).astype(kind), run.params)
        with pytest.raises(InputError, match="parameters are floats, and some of these are"):
            vaejax.measure(METHOD, SOURCE, params, images=20)


def test_images_of_another_shape_are_not_taken_for_those_of_the_run(run):
    with pytest.raises(InputError, match=r"trained on examples of shape \(8, 8, 1\), and those of sprites are \(16"):
        load_run(run.path, source=data.load("sprites", size=16))


@pytest.mark.parametrize("name", metrics.RECORDS)
def test_a_record_comes_back_as_itself(name):
    assert pickle.loads(pickle.dumps(metrics.RECORDS[name])) is metrics.RECORDS[name]


def test_a_record_of_ones_own_is_pickled_as_what_it_is():
    mine = metrics.Metric("mine", np.mean, ("z",))
    assert pickle.loads(pickle.dumps(mine)) == mine
