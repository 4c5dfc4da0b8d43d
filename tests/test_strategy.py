"""Where runs are trained: one answer for each backend and memory, all tested on a CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from vaejax import Batch, build, plan
from vaejax.training.strategy import bytes_of_a_step, in_groups, pad

METHOD = build("beta_vae", (8, 8, 1), "conv", latents=3, width=4)
GB = 10**9


def images(side):
    return Batch(jnp.zeros((1, side, side, 1)))


def layout(runs, batch_size=16, **options):
    return plan(METHOD, images(8), runs, batch_size, **options)


def one_device():
    return jax.make_mesh((1,), ("runs",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])


def test_on_a_cpu_every_device_trains_one_run_at_a_time():
    found = layout(15)
    assert (found.chunk, found.group, found.split) == (1, 2, 1)
    assert str(found) == (
        "15 runs in 8 groups, one at a time on each of 2 cpu devices: vmapped convolutions are slow on a CPU"
    )


@pytest.mark.parametrize(("network", "side", "split"), [("conv", 64, 2), ("conv", 32, 2), ("mlp", 28, 1)])
def test_one_run_has_its_batches_split_if_images_are_most_of_the_work(network, side, split):
    method = build("beta_vae", (side, side, 1), network)
    found = plan(method, images(side), 1, 64)
    assert (found.chunk, found.group, found.split) == (1, 1, split)
    assert ("batches split over 2 cpu devices" in str(found)) == (split == 2)
    assert plan(method, images(side), 1, 63).split == 1  # which two devices can't share


@pytest.mark.parametrize("backend", ["gpu", "tpu"])
def test_on_an_accelerator_all_are_vmapped_if_memory_takes_them(backend):
    found = layout(15, backend=backend, memory=100 * GB)
    assert (found.chunk, found.group) == (8, 16)
    assert "8 vmapped on each of 2" in str(found) and "of 100" in found.reason


def test_where_memory_takes_fewer_the_groups_are_equal():
    need = bytes_of_a_step(METHOD, images(8), 16)
    found = layout(10, backend="gpu", memory=int(need * 4.5 / 0.8), mesh=one_device())
    assert (found.chunk, found.group) == (4, 4)  # 4 + 4 + 2, and not 4.5
    assert layout(10, backend="gpu", memory=int(need * 5.5 / 0.8), mesh=one_device()).chunk == 5
    assert layout(10, backend="gpu", memory=need // 2, mesh=one_device()).chunk == 1


def test_what_is_asked_for_is_done():
    assert layout(15, chunk=4).chunk == 4 and layout(15, chunk=4).reason == "as asked"
    assert layout(15, mesh=one_device()).group == 1


def test_the_memory_of_a_run_is_bounded_from_above():
    """By what XLA says a step takes: the state twice, and its temporary arrays."""
    from vaejax import train
    from vaejax.data import load

    method, source = build("beta_vae", (32, 32, 1), "mlp", width=64), load("sprites", size=32)
    state = train.init(method, method.hyper, jax.random.key(0), source.sample(source.data, jax.random.key(0), 4))

    def sample(data, key):
        return source.sample(data, key, 32)

    step = jax.jit(lambda state: train.train_step(method, sample, method.hyper, source.data, state))
    found = step.lower(state).compile().memory_analysis()
    taken = found.temp_size_in_bytes + found.output_size_in_bytes
    assert taken < bytes_of_a_step(method, images(32), 32) < 15 * taken


def test_every_branch_of_a_program_counts():
    """Vmapped, all are computed: the stages of greedy training, and the joined network."""
    options = {"network": "mlp_sigmoid", "latents": 3, "width": (16, 8)}
    methods = (build(name, (8, 8, 1), **options) for name in ("autoencoder", "stacked_autoencoder"))
    joined, stacked = (bytes_of_a_step(method, images(8), 64) for method in methods)
    assert stacked > 2 * joined


def test_padding_repeats_the_last_run():
    np.testing.assert_array_equal(pad(np.arange(5), 8), [0, 1, 2, 3, 4, 4, 4, 4])
    np.testing.assert_array_equal(pad(np.arange(4), 4), [0, 1, 2, 3])


def test_groups_are_put_together_again_without_padding():
    seen = []
    found = in_groups(lambda group: seen.append(group.shape) or {"double": 2 * group}, np.arange(15.0), layout(15))
    np.testing.assert_array_equal(found["double"], 2 * np.arange(15.0))
    assert seen == [(2,)] * 8
