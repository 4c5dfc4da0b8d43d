"""Where runs are trained: one answer for each backend and memory, all tested on a CPU."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from vaejax import METHODS, Batch, build, fit, grid, measure, metrics, plan, train
from vaejax.data import load
from vaejax.method import MeanOverExamples
from vaejax.target import traced_for
from vaejax.training.noise import share
from vaejax.training.strategy import bytes_of_a_step, in_groups, pad, split_gradient

METHOD = build("beta_vae", (8, 8, 1), "conv", latents=3, width=4)
GB = 10**9


def images(side):
    return Batch(jnp.zeros((1, side, side, 1)))


def layout(runs, batch_size=16, **options):
    return plan(METHOD, images(8), runs, batch_size, **options)


def one_device():
    return jax.make_mesh((1,), ("runs",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])


def two_sharing():
    return jax.make_mesh((1, 2), ("runs", "batch"), axis_types=(AxisType.Auto,) * 2)


def test_on_a_cpu_every_device_trains_one_run_at_a_time():
    found = layout(15)
    assert (found.chunk, found.group, found.split) == (1, 2, 1)
    assert str(found) == (
        "15 runs in 8 groups, one at a time on each of 2 cpu devices: vmapped runs are slower on a CPU"
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
    with traced_for("gpu"):
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


DRAWS = {
    "normal": lambda key, n: jax.random.normal(key, (n, 3)),
    "uniform": lambda key, n: jax.random.uniform(jax.random.fold_in(jax.random.split(key)[1], 7), (n,)),
    "bernoulli": lambda key, n: jax.random.bernoulli(key, 0.3, (n, 2, 2)),
    "randint": lambda key, n: jax.random.randint(key, (n,), 0, 1000),
    "categorical": lambda key, n: jax.random.categorical(key, jnp.zeros((n, 5))),
    "samples beside one another": lambda key, n: jax.random.normal(key, (2 * n,)),
    "samples along another axis": lambda key, n: jax.vmap(lambda key: jax.random.normal(key, (n, 3)))(
        jax.random.split(key, 4)
    ).swapaxes(0, 1),
}  # fmt: skip


@pytest.mark.parametrize("generator", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("name", DRAWS)
def test_parts_of_a_batch_draw_their_rows_of_its_noise(name, generator):
    key = jax.random.key(5, impl=generator)
    found = [DRAWS[name](share(key, 3, 4, jnp.int32(part)), 4) for part in range(3)]
    if generator == "threefry2x32" or "another axis" not in name:  # rbg's draws under vmap are others anyway
        np.testing.assert_array_equal(jnp.concatenate(found), DRAWS[name](key, 12))


def test_noise_that_is_not_of_images_is_the_same_for_all_parts():
    key = jax.random.key(5)
    for shape in ((), (7,), (3, 4)):
        for part in range(2):
            found = jax.random.normal(share(key, 2, 4, jnp.int32(part)), shape)
            np.testing.assert_array_equal(found, jax.random.normal(key, shape))


MEANS = {  # whose loss is a mean over examples
    "vae", "iwae", "beta_vae", "annealed_beta", "autoencoder", "sparse_autoencoder", "k_sparse_autoencoder",
    "contractive_autoencoder", "denoising_autoencoder", "denoising_vae", "stacked_autoencoder", "conditional_vae",
    "vamp_vae",
}  # fmt: skip
STRUCTURE = {
    "conditional_vae": {"classes": 3}, "stacked_classifier": {"classes": 3}, "vamp_vae": {"components": 6},
    "vq_vae": {"codes": 4}, "fsq_vae": {"levels": (3, 3)},
}  # fmt: skip
OWN = ("vq_vae", "fsq_vae", "hierarchical_vae")  # which have a network of their own
VARIANTS = [
    ("iwae", {"estimator": "dreg", "samples": 3}), ("denoising_vae", {"samples": 3}),
    ("denoising_autoencoder", {"corruption": "dropout"}),
    ("conditional_vae", {"condition": "quadrant1", "prior": "learned"}),
]  # fmt: skip


def small(name, structure):
    network = None if name in OWN else "mlp_sigmoid"
    return build(name, (8, 8, 1), network, latents=3, width=8, **structure)


def test_which_losses_are_means_over_examples_is_declared():
    found = {name for name in METHODS if name not in OWN}
    declared = {name for name in found if isinstance(small(name, STRUCTURE.get(name, {})).loss, MeanOverExamples)}
    assert declared == MEANS
    for name in OWN:
        structure = {"levels": (3, 3)} if name == "fsq_vae" else {"codes": 4} if name == "vq_vae" else {"blocks": "1x3"}
        assert not isinstance(build(name, (8, 8, 1), **structure).loss, MeanOverExamples)
    assert not isinstance(small("contractive_autoencoder", {"estimator": "hutchinson"}).loss, MeanOverExamples)
    assert not isinstance(build("beta_vae", (8, 8, 1))._replace(loss=lambda *given: None).loss, MeanOverExamples)


def whole_and_parts(name, structure):
    """The gradient and the metrics of a batch, and their means over its three parts with the same noise."""
    method, key = small(name, structure), jax.random.key(3)
    batch = Batch(jax.random.uniform(key, (12, 8, 8, 1)), label=jnp.arange(12) % 3)
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size).reshape(leaf.shape)), method.init(key, batch)
    )

    def of(batch, key):
        return train.gradient(method, params, method.hyper, batch, key, jnp.int32(0))

    def of_parts(batch, key):
        parts = jax.tree.map(lambda leaf: leaf.reshape(3, 4, *leaf.shape[1:]), batch)
        found = jax.lax.map(lambda part: of(part[0], share(key, 3, 4, part[1])), (parts, jnp.arange(3)))
        return jax.tree.map(lambda leaf: leaf.mean(axis=0), found)

    both = jax.jit(
        lambda *given: (of(*given), of_parts(*given)), compiler_options={"xla_backend_optimization_level": 0}
    )
    return both(batch, key)


def close(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: np.allclose(x, y, rtol=1e-4, atol=1e-5), a, b)))


@pytest.mark.parametrize(("name", "structure"), VARIANTS, ids=str)
def test_a_mean_over_examples_is_that_of_the_parts_with_the_same_noise(name, structure):
    """Of variants; tests/test_methods.py has every method that says so."""
    assert close(*whole_and_parts(name, structure))


@pytest.mark.parametrize("name", ["beta_tcvae", "dip_vae_i", "kl_sparse_autoencoder"])
def test_other_losses_are_not(name):
    assert not close(*whole_and_parts(name, {}))


@pytest.mark.parametrize("vmapped", [False, True])
def test_devices_that_share_a_batch_find_its_gradient(vmapped):
    """Alone and vmapped over runs, as on accelerators."""
    method, key, mesh = small("denoising_vae", {}), jax.random.key(3), two_sharing()
    batch = Batch(jax.random.uniform(key, (12, 8, 8, 1)))
    params, keys = method.init(key, batch), jax.random.split(key, 3)

    def of(gradient, key):
        return gradient(method, params, method.hyper, batch, key, jnp.int32(0))

    def both(gradient):
        return jax.jit(jax.vmap(partial(of, gradient)) if vmapped else lambda keys: of(gradient, keys[0]))

    with jax.set_mesh(mesh):
        split, whole = both(split_gradient(mesh)), both(train.gradient)
        assert "all-reduce" in str(split.lower(keys).compile().as_text())
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), split(keys), whole(keys))


@pytest.mark.slow
def test_everything_runs_without_jit():
    """`jax.disable_jit` is for looking at values: everything is computed one operation after another."""
    method, source = build("vae", (8, 8, 1), "mlp_tanh", latents=2, width=4), load("digits")
    random = np.random.default_rng(0)
    z, factors = random.standard_normal((2, 40, 2)), random.integers(2, size=(40, 2))
    arrays = z, factors, z, factors, z[:, :0], (2, 2)

    def everything():
        result = fit(method, source, grid(method.hyper, 2), steps=2, batch_size=4, mesh=two_sharing())
        assert result.status == ["finished"] * 2
        images = source.at(source.data, jnp.arange(4))
        given = result.params_of(0), images, jax.random.key(0)
        scored = metrics.scores(*arrays, jax.random.key(0), metrics=("modularity",))["value"].to_numpy()
        measured = measure(method, source, result.params, images=100, mesh=two_sharing())["value"].to_numpy()
        return result.params, result.history, scored, measured, metrics.log_likelihood(method, *given, samples=2)

    with jax.disable_jit():
        assert plan(method, images(8), 3, 4).group == 1
        eager = everything()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), eager, everything())
