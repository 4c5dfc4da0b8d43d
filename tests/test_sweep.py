"""The sweep is one program, and how it is split changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from vaejax import InputError, build, fit, grid, sweep, train
from vaejax.data import load

METHOD = build("beta_vae", (8, 8, 1), "conv", latents=3, width=4)
DIGITS = load("digits")
STEPS = 12


def devices(count):
    return jax.make_mesh((count,), ("runs",), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])


def quick(runs, **options):
    return fit(METHOD, DIGITS, runs, **{"steps": STEPS, "batch_size": 16, "mesh": devices(1), **options})


RUNS = grid(METHOD.hyper, 2, beta=[0.5, 4, 16])


@pytest.fixture(scope="module")
def mapped():
    return quick(RUNS, chunk=1)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a.states.params, b.states.params)
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


@pytest.mark.parametrize(
    ("arguments", "axes", "message"),
    [
        ((2,), {"bta": [1]}, "unknown hyperparameter 'bta'; did you mean 'beta'"),
        ((2,), {"beta": [1, -1]}, r"beta has to be .* not negative, not \[1.0, -1.0\]"),
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
        alone, together = state.params, mapped.params(run)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), alone, together)


@pytest.mark.parametrize("chunk", [2, 4, 6])
def test_vmapped_in_chunks_is_mapped(mapped, chunk):
    chunked = quick(RUNS, chunk=chunk)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), chunked.states.params, mapped.states.params)
    np.testing.assert_allclose(chunked.history["loss"], mapped.history["loss"], rtol=1e-4)


def test_two_devices_give_the_same_bits_as_one(mapped):
    same(quick(RUNS, chunk=1, mesh=devices(2)), mapped)


def test_runs_that_do_not_fill_the_devices_are_not_lost(mapped):
    odd = RUNS.select(slice(0, 5))
    result = quick(odd, chunk=1, mesh=devices(2))
    assert result.history["loss"].shape == (5, STEPS)
    np.testing.assert_array_equal(result.history["loss"], mapped.history["loss"][:5])


def test_new_hyperparameters_seeds_and_calls_compile_nothing(mapped):
    compiled = sweep._advance._cache_size(), sweep._init._cache_size()
    again = build("beta_vae", (8, 8, 1), "conv", latents=3, width=4)
    runs = grid(again.hyper, [5, 6], beta=[0, 3, 7], learning_rate=0.02)
    fit(again, load("digits"), runs, steps=STEPS, batch_size=16, mesh=devices(1), chunk=1)
    assert (sweep._advance._cache_size(), sweep._init._cache_size()) == compiled


def test_runs_of_one_seed_share_weights_data_and_noise():
    same_twice = quick(grid(METHOD.hyper, [3, 3], beta=[4, 4]))
    for leaf in jax.tree.leaves(same_twice.states.params):
        assert (np.asarray(leaf) == np.asarray(leaf)[:1]).all()
    own = quick(grid(METHOD.hyper, [3, 3], common_random_numbers=False, beta=[4, 4]))
    assert len(set(own.history["loss"][:, 0].tolist())) == 4


def test_progress_is_told_after_every_segment():
    seen = []
    result = quick(RUNS, on_progress=seen.append)
    assert [progress.step for progress in seen] == result.steps.tolist() == list(range(1, STEPS + 1))
    np.testing.assert_array_equal(seen[-1].metrics["loss"], result.history["loss"][:, -1])
    table = result.table()
    assert list(table.columns[:2]) == ["run", "step"] and len(table) == RUNS.count * STEPS
    np.testing.assert_array_equal(table[table["run"] == 2]["loss"], result.history["loss"][2])


@pytest.mark.parametrize("steps", [1, 7, 100, 101, 250, 300_001])
def test_segments_cover_all_steps(steps):
    ends = sweep.segments(steps)
    lengths = np.diff(ends, prepend=0)
    assert ends[-1] == steps and (lengths > 0).all() and len(set(lengths.tolist())) <= 2


def test_a_resumed_sweep_is_the_uninterrupted_one_bit_for_bit(tmp_path, mapped):
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.step == 7:
            raise Stop

    with pytest.raises(Stop):
        quick(RUNS, chunk=1, workdir=tmp_path, on_progress=stop, save_every=0)
    steps = []
    resumed = quick(RUNS, chunk=1, workdir=tmp_path, on_progress=lambda progress: steps.append(progress.step))
    assert steps[0] == 7  # the sixth step was the last that was saved
    same(resumed, mapped)
    done = quick(RUNS, chunk=1, workdir=tmp_path, on_progress=lambda progress: pytest.fail("trained again"))
    same(done, mapped)


def test_a_folder_is_not_continued_with_other_settings(tmp_path):
    quick(RUNS, steps=2, workdir=tmp_path)
    with pytest.raises(InputError, match=r"holds another sweep \(steps is 2 there, 3 here\)"):
        quick(RUNS, steps=3, workdir=tmp_path)
    with pytest.raises(InputError, match="holds another sweep"):
        quick(grid(METHOD.hyper, 2, beta=[0.5, 4, 8]), steps=2, workdir=tmp_path)


def test_a_diverged_run_is_marked_and_changes_no_other_bit(mapped):
    rates = np.full(RUNS.count, METHOD.hyper.learning_rate, np.float32)
    rates[2] = 1e30
    runs = RUNS._replace(hyper=RUNS.hyper._replace(learning_rate=rates))
    result = quick(runs, chunk=1)
    assert result.status == ["finished", "finished", "diverged", "finished", "finished", "finished"]
    others = [0, 1, 3, 4, 5]
    for a, b in zip(jax.tree.leaves(result.states.params), jax.tree.leaves(mapped.states.params), strict=True):
        np.testing.assert_array_equal(np.asarray(a)[others], np.asarray(b)[others])


def test_the_strategy_follows_the_backend():
    assert sweep.default_chunk("cpu", 15) == 1
    assert sweep.default_chunk("gpu", 15) == sweep.default_chunk("tpu", 15) == 15


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


def test_padding_repeats_the_last_run():
    np.testing.assert_array_equal(sweep.pad(jnp.arange(5), 4), [0, 1, 2, 3, 4, 4, 4, 4])
    np.testing.assert_array_equal(sweep.pad(jnp.arange(4), 4), [0, 1, 2, 3])
