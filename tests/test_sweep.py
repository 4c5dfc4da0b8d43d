"""The sweep is one program, and how it is split changes nothing."""

import importlib
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
import pytest
from jax.sharding import AxisType

from tests.conftest import ROOT
from vaejax import METHODS, InputError, build, fit, grid, train
from vaejax.data import load
from vaejax.hyper import Share, listed, ranges
from vaejax.methods.parts.codebook import AverageHyper, GradientHyper
from vaejax.networks import network
from vaejax.storage.ledger import Ledger
from vaejax.training import sweep

METHOD = build("beta_vae", (8, 8, 1), "mlp", latents=3, width=16)
CONV = build("beta_vae", (8, 8, 1), "conv", latents=3, width=4)  # takes ten times as long to compile
DIGITS = load("digits")
NETWORKS = network("mlp", (8, 8, 1), 3, 16)
STEPS = 12


def devices(runs, batch=1):
    axes = {"axis_types": (AxisType.Auto,) * 2, "devices": jax.devices()[: runs * batch]}
    return jax.make_mesh((runs, batch), ("runs", "batch"), **axes)


def quick(runs, method=METHOD, **options):
    return fit(method, DIGITS, runs, **{"steps": STEPS, "batch_size": 16, "mesh": devices(1), **options})


RUNS = grid(METHOD.hyper, 2, beta=[0.5, 4, 16])


@pytest.fixture(scope="module", autouse=True)
def segments_of_one_step():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sweep, "SHORTEST_SEGMENT", 1)
        yield


@pytest.fixture(scope="module")
def mapped():
    return quick(RUNS, chunk=1)


def sizes_of_caches(method=METHOD):
    """How many programs have been compiled for a method, one at a time on one device."""
    advance, begin = sweep.programs(method, DIGITS.sample, 16, devices(1))
    return sweep.programs.cache_info().currsize, advance._cache_size(), begin._cache_size()


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
    jax.tree.map(np.testing.assert_array_equal, a.history, b.history)


def test_grid_is_every_combination_with_seeds_fastest():
    runs = grid(METHOD.hyper, [7, 9], beta=[1, 2], learning_rate=0.01)
    assert runs.table().to_dict("list") == {
        "run": [0, 1, 2, 3],
        "beta": [1, 1, 2, 2],
        "learning_rate": [0.01] * 4,
        "seed": [7, 9, 7, 9],
        "stream": [0] * 4,
    }
    assert grid(METHOD.hyper, 3).table()["beta"].tolist() == [METHOD.hyper.beta] * 3
    assert grid(METHOD.hyper, 2, common_random_numbers=False, beta=[1, 2]).streams.tolist() == [0, 1, 2, 3]


def test_every_number_of_a_range_may_be_swept():
    class Hyper(NamedTuple):
        log_scale: float = -1.0
        level: Share = 0.5

    found = grid(Hyper(), 1, log_scale=[-2, 0, 3], level=[0, 1]).hyper
    assert found.log_scale.tolist() == [-2, -2, 0, 0, 3, 3] and found.level.tolist() == [0, 1] * 3


@pytest.mark.parametrize("name", METHODS)
def test_every_hyperparameter_of_a_method_states_its_range(name):
    module = importlib.import_module(f"vaejax.methods.{name}")
    kinds = [each for each in vars(module).values() if isinstance(each, type) and each.__name__.endswith("Hyper")]
    kinds = kinds or [AverageHyper, GradientHyper, type(METHODS["vae"](*NETWORKS).hyper)]
    page = (ROOT / "docs" / "methods.md").read_text()
    row = next((line for line in page.splitlines() if line.startswith(f"| `{name}` |")), "")
    assert any(row.endswith(f"| {listed(kind)} |") for kind in kinds), row
    assert kinds and all(own.low == 0 and own.high in (1, np.inf) for kind in kinds for own in ranges(kind).values())


@pytest.mark.parametrize(
    ("arguments", "axes", "message"),
    [
        ((2,), {"bta": [1]}, "unknown hyperparameter 'bta'; did you mean 'beta'"),
        ((2,), {"beta": [1, -1]}, r"beta has to be .* not negative, not \[1, -1\]"),
        ((2,), {"beta": [np.nan]}, "beta has to be a finite number"),
        ((2,), {"learning_rate": np.inf}, "learning_rate has to be a finite number"),
        ((0,), {"beta": [1]}, "at least one seed"),
        ((2,), {"beta": []}, "at least one seed and one value"),
    ],
)
def test_bad_grids(arguments, axes, message):
    with pytest.raises(InputError, match=message):
        grid(METHOD.hyper, *arguments, **axes)


def test_the_sweep_is_every_run_trained_alone(mapped):
    step = jax.jit(
        lambda hyper, state: train.train_step(
            METHOD, lambda data, key: DIGITS.sample(data, key, 16), hyper, DIGITS.data, state
        )
    )
    for run in (0, 3, 5):
        hyper = RUNS.select(run).hyper
        key = jax.random.fold_in(jax.random.key(RUNS.seeds[run]), 0)
        state = train.init(METHOD, hyper, key, DIGITS.sample(DIGITS.data, key, 16))
        for _ in range(STEPS):
            state, _ = step(hyper, state)
        alone, together = state.params, mapped.params_of(run)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), alone, together)


@pytest.mark.parametrize("chunk", [2, 4, 6])
def test_vmapped_in_chunks_is_mapped(mapped, chunk):
    chunked = quick(RUNS, chunk=chunk)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), chunked.params, mapped.params)
    np.testing.assert_allclose(chunked.history["loss"], mapped.history["loss"], rtol=1e-4)


def test_two_devices_give_the_same_bits_as_one(mapped):
    same(quick(RUNS, chunk=1, mesh=devices(2)), mapped)


EIGHT = """
import sys
import jax
import numpy as np
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
from vaejax import build, fit, grid
from vaejax.training import sweep
from vaejax.data import load
sweep.SHORTEST_SEGMENT = 1
method = build("beta_vae", (8, 8, 1), "mlp", latents=3, width=16)
result = fit(method, load("digits"), grid(method.hyper, 4, beta=[0.5, 4, 16]), steps=12, batch_size=16)
np.savez(sys.argv[1], *jax.tree.leaves(result.params), loss=result.history["loss"])
"""


def test_eight_devices_give_the_same_bits_as_two(tmp_path):
    subprocess.run([sys.executable, "-c", EIGHT, tmp_path / "eight.npz"], check=True, capture_output=True)
    two = quick(grid(METHOD.hyper, 4, beta=[0.5, 4, 16]), mesh=devices(2))
    with np.load(tmp_path / "eight.npz") as eight:
        for number, leaf in enumerate(jax.tree.leaves(two.params)):
            np.testing.assert_array_equal(eight[f"arr_{number}"], leaf)
        np.testing.assert_array_equal(eight["loss"], two.history["loss"])


def test_runs_that_do_not_fill_the_devices_are_not_lost(mapped):
    odd = RUNS.select(slice(0, 5))
    result = quick(odd, chunk=1, mesh=devices(2))
    assert result.history["loss"].shape == (5, STEPS)
    np.testing.assert_array_equal(result.history["loss"], mapped.history["loss"][:5])


def test_padding_is_cut_off_without_a_program_on_the_devices(monkeypatch, caplog):
    def block(self, index, states, block=Ledger.block):
        with jax.log_compiles():
            return block(self, index, states)

    fresh = build("beta_vae", (8, 8, 1), "mlp", latents=2, width=11)  # whose shapes nothing was compiled for yet
    monkeypatch.setattr(Ledger, "block", block)
    quick(grid(fresh.hyper, 3), fresh, chunk=1, mesh=devices(2))
    assert "Compiling jit(" not in caplog.text


def test_convolutions_vmapped_or_with_batches_split_over_devices_are_the_same():
    runs = RUNS.select(slice(0, 2))
    plain = quick(runs, CONV, chunk=1)
    for other in (quick(runs, CONV, chunk=2), quick(runs, CONV, chunk=1, mesh=devices(1, 2))):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), other.params, plain.params)
        np.testing.assert_allclose(other.history["loss"], plain.history["loss"], rtol=1e-5)


def test_a_mesh_without_runs_is_refused():
    mesh = jax.make_mesh((1,), ("models",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    with pytest.raises(InputError, match="the mesh of a sweep needs an axis 'runs'"):
        quick(RUNS, mesh=mesh)


def test_new_hyperparameters_seeds_and_numbers_of_runs_compile_nothing(mapped):
    compiled = sizes_of_caches()
    again = build("beta_vae", (8, 8, 1), "mlp", latents=3, width=16)
    runs = grid(again.hyper, [5, 6, 8], beta=[0, 3, 7], learning_rate=0.02)
    fit(again, load("digits"), runs, steps=STEPS, batch_size=16, mesh=devices(1), chunk=1)
    assert sizes_of_caches() == compiled


def test_runs_of_one_seed_share_weights_data_and_noise():
    four = grid(METHOD.hyper, 2, beta=[4, 5])
    four = four._replace(hyper=four.hyper._replace(beta=np.full(4, 4, np.float32)), seeds=np.full(4, 3, np.int32))
    same_twice = quick(four)
    for leaf in jax.tree.leaves(same_twice.params):
        assert (np.asarray(leaf) == np.asarray(leaf)[:1]).all()
    own = quick(four._replace(streams=np.arange(4, dtype=np.int32)))
    assert len(set(own.history["loss"][:, 0].tolist())) == 4


def test_progress_is_told_after_every_segment_of_every_group():
    seen = []
    result = quick(RUNS, chunk=4, on_progress=seen.append)
    assert [progress.step for progress in seen] == result.steps.tolist() * 2 == list(range(1, STEPS + 1)) * 2
    assert [progress.done for progress in seen] == [*range(4, 49, 4), *range(50, 73, 2)]
    assert seen[0].total == 72 and seen[0].diverged == 0
    assert seen[0].runs.tolist() == [0, 1, 2, 3] and seen[-1].runs.tolist() == [4, 5]
    np.testing.assert_array_equal(seen[-1].metrics["loss"], result.history["loss"][4:, -1])
    table = result.table()
    assert list(table.columns[:2]) == ["run", "step"] and len(table) == RUNS.count * STEPS
    np.testing.assert_array_equal(table[table["run"] == 2]["loss"], result.history["loss"][2])


@pytest.mark.parametrize("steps", [1, 7, 100, 101, 250, 300_001])
def test_segments_cover_all_steps(steps):
    ends = sweep.segments(steps)
    lengths = np.diff(ends, prepend=0)
    assert ends[-1] == steps and (lengths > 0).all() and len(set(lengths.tolist())) <= 2


def interrupted(workdir, runs, when, **options):
    """Stops a sweep in the middle of the segment after `when` run-steps."""

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.done >= when:
            raise Stop

    with pytest.raises(Stop):
        quick(runs, chunk=1, workdir=workdir, on_progress=stop, save_every=0, **options)


def test_a_resumed_sweep_is_the_uninterrupted_one_bit_for_bit(tmp_path, mapped):
    interrupted(tmp_path, RUNS, 2 * STEPS + 7)  # two runs are finished, the third is saved at its seventh step
    assert pd.read_csv(tmp_path / "runs.csv")["status"].tolist() == ["finished"] * 2 + ["training"] + ["waiting"] * 3
    assert len(pd.read_csv(tmp_path / "history.csv")) == 2 * STEPS + 7
    seen = []
    resumed = quick(RUNS, chunk=1, workdir=tmp_path, on_progress=seen.append)
    assert seen[0].runs.tolist() == [2] and seen[0].step == 8 and len(seen) == 4 * STEPS - 7
    same(resumed, mapped)
    assert resumed.taken.tolist() == [STEPS] * RUNS.count
    done = quick(RUNS, chunk=1, workdir=tmp_path, on_progress=lambda progress: pytest.fail("trained again"))
    same(done, mapped)


def test_what_one_device_began_two_can_finish(tmp_path, mapped):
    interrupted(tmp_path, RUNS, 7)
    same(quick(RUNS, chunk=1, workdir=tmp_path, mesh=devices(2)), mapped)


KILLED = """
import sys
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
from vaejax import build, fit, grid
from vaejax.data import load
method = build("beta_vae", (8, 8, 1), "mlp", latents=3, width=16)
runs = grid(method.hyper, 2, beta=[0.5, 4, 16])
told = lambda progress: print(progress.done, flush=True)
fit(method, load("digits"), runs, steps=1000, batch_size=16, workdir=sys.argv[1], on_progress=told, save_every=0.02)
print("end", flush=True)
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(tmp_path):
    """SIGKILL, five times, wherever the process is: training, between two files, or in the middle of one."""
    moments = np.random.default_rng().uniform(0.0, 0.6, 5)
    for moment in moments:
        process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if process.stdout.readline().strip() == "end":
            break
        time.sleep(moment)
        process.kill()
        process.wait()
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=True, capture_output=True)
    never = quick(RUNS, steps=1000, mesh=None)
    resumed = quick(RUNS, steps=1000, mesh=None, workdir=tmp_path, on_progress=lambda _: pytest.fail("trained again"))
    same(resumed, never)
    assert set(pd.read_csv(tmp_path / "runs.csv")["status"]) == {"finished"}, moments


def test_a_folder_is_not_continued_with_other_settings(tmp_path):
    quick(RUNS, steps=2, workdir=tmp_path)
    with pytest.raises(InputError, match=r"holds another sweep \(steps is 2 there, 3 here\)"):
        quick(RUNS, steps=3, workdir=tmp_path)
    with pytest.raises(InputError, match="holds another sweep"):
        quick(grid(METHOD.hyper, 2, beta=[0.5, 4, 8]), steps=2, workdir=tmp_path)


def with_rates(rates):
    """RUNS with these learning rates, and the usual one elsewhere."""
    leaf = np.full(RUNS.count, METHOD.hyper.learning_rate, np.float32)
    leaf[list(rates)] = list(rates.values())
    return RUNS._replace(hyper=RUNS.hyper._replace(learning_rate=leaf))


@pytest.mark.parametrize("chunk", [1, 3])
def test_a_diverged_run_is_frozen_and_marked_and_changes_no_other_bit(mapped, chunk, tmp_path):
    expected = mapped if chunk == 1 else quick(RUNS, chunk=chunk)
    result = quick(with_rates({2: 1e30}), chunk=chunk, workdir=tmp_path)
    assert result.status == ["finished", "finished", "diverged", "finished", "finished", "finished"]
    assert pd.read_csv(tmp_path / "runs.csv")["status"].tolist() == result.status
    others = [0, 1, 3, 4, 5]
    for a, b in zip(jax.tree.leaves(result.params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_array_equal(np.asarray(a)[others], np.asarray(b)[others])
    loss = result.history["loss"]
    assert np.isfinite(loss[others]).all() and result.taken[others].tolist() == [STEPS] * 5
    assert 0 < result.taken[2] < STEPS and np.isfinite(loss[2, : result.taken[2]]).all()
    assert np.isnan(loss[2, result.taken[2] :]).all()
    assert all(np.isfinite(leaf[2]).all() for leaf in jax.tree.leaves(result.params))


def test_a_frozen_run_stays_as_it_was_before():
    sample, hyper = lambda data, key: DIGITS.sample(data, key, 16), METHOD.hyper._replace(learning_rate=1e30)
    step = jax.jit(lambda state: train.train_step(METHOD, sample, hyper, DIGITS.data, state))
    state = train.init(METHOD, hyper, jax.random.key(0), sample(DIGITS.data, jax.random.key(0)))
    trail = [state]
    for _ in range(6):
        state, metrics = step(state)
        trail.append(state)
    assert np.isnan(metrics["loss"]) and int(state.step) < 6
    alive = trail[int(state.step)]
    jax.tree.map(np.testing.assert_array_equal, state.params, alive.params)
    jax.tree.map(np.testing.assert_array_equal, state.opt_state, alive.opt_state)


def test_runs_that_have_all_diverged_are_not_trained_on(mapped):
    seen = []
    result = quick(with_rates({0: 1e30}), chunk=1, on_progress=seen.append)
    assert sum(progress.runs.tolist() == [0] for progress in seen) == result.taken[0] + 1 < STEPS
    assert result.status[0] == "diverged" and seen[-1].diverged == 1
    np.testing.assert_array_equal(result.history["loss"][1:], mapped.history["loss"][1:])


@pytest.mark.parametrize("size", ["steps", "batch_size", "chunk"])
def test_sizes_are_at_least_1(size):
    with pytest.raises(InputError, match=f"{size} has to be at least 1, not 0"):
        quick(RUNS, **{size: 0})


def test_images_of_another_shape_are_refused():
    with pytest.raises(
        InputError, match=r"makes images of shape \(8, 8, 1\), but those of the source have \(16, 16, 1\)"
    ):
        fit(METHOD, load("sprites", size=16), RUNS, steps=1)


def test_float_hyperparameters_survive_the_table_exactly():
    values = np.float32([0.1, 1 / 3, 1e-7, 123456.789])
    runs = grid(METHOD.hyper, 1, beta=values)
    np.testing.assert_array_equal(np.asarray(runs.table()["beta"], np.float32), values)
    assert runs.table()["beta"][0] == 0.1
