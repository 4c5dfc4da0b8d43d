"""The ladder of latents: densities, KLs and importance weights that agree; the plain VAE where it has one latent."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

from vaejax import Batch, InputError, build, fit, grid, train, vae
from vaejax.data import load
from vaejax.methods.parts.optimizers import skip_above
from vaejax.networks import hierarchical
from vaejax.networks.hierarchical import Level, fitting_levels, read_levels
from vaejax.objectives import log_weight, reconstruction

SHAPE = (8, 8, 1)
DIGITS = load("digits")
quickly_compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
VECTORS, GRIDS = "1x2+1", "1x1,4x1"  # the latter of convolutions, a strided one before
BLOCKS = (VECTORS, GRIDS)


@cache
def built(blocks):
    return build("hierarchical_vae", SHAPE, latents=2, width=(12, 6), blocks=blocks)


def batch(count=6):
    return DIGITS.at(DIGITS.data, jnp.arange(count))


@cache
def rough(blocks):
    """Parameters at random, so that no prior is N(0, 1) and no layer is zero."""
    rng = np.random.default_rng(0)
    like = jax.eval_shape(built(blocks).init, jax.random.key(0), batch(2))
    return jax.tree.map(lambda leaf: jnp.asarray(0.25 * rng.standard_normal(leaf.shape), jnp.float32), like)


@cache
def fresh(blocks):
    return quickly_compiled(lambda key: built(blocks).init(key, batch(2)))(jax.random.key(0))


@cache
def everything(blocks):
    """What one draw gives, in one program."""
    method = built(blocks)
    assert method.prior is not None

    def of_draw(params, batch, key):
        posterior, prior = method.encode(params, batch), method.prior(params, batch)
        walk = posterior.walk(posterior.drawing(key))
        found = {
            "walk": walk,
            "q": posterior.log_prob(walk.z),
            "p": prior.log_prob(walk.z),
            "decoded": method.decode(params, walk.z).logits,
            "loss": method.loss(params, method.hyper, batch, key, jnp.array(0)),
        }
        if blocks == VECTORS:
            mean = posterior.mean
            at_mean = posterior.walk(hierarchical.given(mean, (1, 1), 2)).posteriors
            found |= {"z": posterior.sample(key), "mean": mean, "at_mean": at_mean, "prior_mean": prior.mean}
        return found

    return quickly_compiled(of_draw)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_log_prob_of_a_sample_is_the_sum_of_its_blocks(blocks):
    found = everything(blocks)(rough(blocks), batch(), jax.random.key(2))
    walk, z = found["walk"], np.asarray(found["walk"].z, np.float64)
    total = {VECTORS: 4, GRIDS: 2 + 32}[blocks]
    assert z.shape == (6, total)
    for name, of in (("q", walk.posteriors), ("p", walk.priors)):
        start, expected = 0, np.zeros(6)
        for block in of:
            mean, log_var = (np.asarray(part, np.float64).reshape(6, -1) for part in block)
            part = z[:, start : start + mean.shape[1]]
            start += mean.shape[1]
            expected += -0.5 * ((part - mean) ** 2 / np.exp(log_var) + log_var + np.log(2 * np.pi)).sum(axis=1)
        assert start == total
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-4)
    assert np.abs(np.asarray(found["q"]) - np.asarray(found["p"])).min() > 1e-3
    np.testing.assert_allclose(found["decoded"], walk.outputs[0], atol=1e-5)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_the_loss_is_distortion_and_the_closed_form_kls(blocks):
    found = everything(blocks)(rough(blocks), batch(), jax.random.key(2))
    loss, metrics = found["loss"]
    kls = []
    for q, p in zip(found["walk"].posteriors, found["walk"].priors, strict=True):
        (m, s), (n, t) = ([np.asarray(part, np.float64) for part in block] for block in (q, p))
        kls.append(0.5 * (np.exp(s - t) + (m - n) ** 2 / np.exp(t) - 1 + t - s).sum() / 6)
    np.testing.assert_allclose([metrics[f"kl_layer_{number}"] for number in range(len(kls))], kls, rtol=1e-4)
    assert f"kl_layer_{len(kls)}" not in metrics and min(kls) > 1e-3
    np.testing.assert_allclose(metrics["kl"], sum(kls), rtol=1e-4)
    logits, x = np.asarray(found["walk"].outputs[0], np.float64), np.asarray(batch().x, np.float64)
    distortion = (np.logaddexp(0, logits) - x * logits).sum() / 6
    np.testing.assert_allclose(metrics["reconstruction"], distortion, rtol=1e-5)
    np.testing.assert_allclose(loss, distortion + sum(kls), rtol=1e-5)


def test_the_mean_is_the_means_of_every_block_given_those_before():
    found = everything(VECTORS)(rough(VECTORS), batch(), jax.random.key(2))
    np.testing.assert_array_equal(found["z"], found["walk"].z)
    again = np.concatenate([np.asarray(block.mean).reshape(6, -1) for block in found["at_mean"]], axis=1)
    np.testing.assert_allclose(found["mean"], again, atol=1e-6)
    assert found["prior_mean"].shape == (6, 4)
    np.testing.assert_allclose(found["prior_mean"] - found["prior_mean"][:1], 0, atol=1e-6)  # of no image
    assert np.abs(found["mean"] - found["prior_mean"]).max() > 1e-3


@cache
def weights_of_many(count=20_000):
    """log q - log p, closed-form KL, and both kinds of importance weights, for draws of one image."""
    method, one = built(VECTORS), batch(1)
    assert method.prior is not None
    many = Batch(jnp.repeat(one.x, count, axis=0))

    def of_draws(params, key):
        posterior, prior = method.encode(params, many), method.prior(params, many)
        walk = posterior.walk(posterior.drawing(key))
        closed = [q.kl(p).reshape(count, -1).sum(axis=1) for q, p in zip(walk.posteriors, walk.priors, strict=True)]
        weight = log_weight(posterior, prior, method.decode(params, walk.z), walk.z, many.x)
        free = prior.sample(jax.random.fold_in(key, 99))
        simple = -reconstruction(method.decode(params, free), many.x)
        return posterior.log_prob(walk.z) - prior.log_prob(walk.z), sum(closed), weight, simple

    return [np.asarray(part, np.float64) for part in quickly_compiled(of_draws)(rough(VECTORS), jax.random.key(3))]


def test_the_kl_estimated_by_samples_is_the_closed_form():
    estimate, closed, *_ = weights_of_many()
    gap = estimate - closed
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(gap.size) < 0.2 * closed.mean()


def test_importance_weights_estimate_the_likelihood_that_prior_samples_do():
    """log p(x) = log E_q[p(x, z) / q(z | x)] = log E_p[p(x | z)]."""
    *_, weight, simple = weights_of_many()

    def log_mean(values):
        top = values.max()
        shifted = np.exp(values - top)
        return top + np.log(shifted.mean()), shifted.std() / shifted.mean() / np.sqrt(values.size)

    (first, error), (second, other) = log_mean(weight), log_mean(simple)
    assert abs(first - second) < 4 * np.hypot(error, other) < 0.5
    assert weight.mean() < first - 0.05  # the ELBO is below it


# One latent: the plain VAE.


class Encoder:
    """q(z | x) of a ladder with one vector of latents, as a network of its own."""

    def __init__(self, method):
        self.method = method

    def init(self, key, x, parameters):
        return {"both": self.method.init(key, Batch(x))}

    def apply(self, params, x, parameters) -> Any:
        posterior = self.method.encode(params["both"], Batch(x)).walk(lambda number, q, p: q.mean).posteriors[0]
        return tuple(part.reshape(len(x), -1) for part in posterior)


class Decoder:
    def __init__(self, method):
        self.method = method

    def init(self, key, z, parameters):
        return {"both": self.method.init(key, batch(1))}

    def apply(self, params, z, parameters) -> Any:
        return (self.method.decode(params["both"], z).logits,)


def test_one_latent_is_the_plain_vae_of_the_same_networks():
    """At the start, where the prior is N(0, 1): the same loss, and the same gradient but for the prior's own."""
    method = built("1x1")
    params = fresh("1x1")
    plain = vae(Encoder(method), Decoder(method))
    key = jax.random.key(5)

    def ladder(params):
        return method.loss(params, method.hyper, batch(), key, jnp.array(0))[0]

    def vae_loss(params):
        folded = noise_of(method, key)
        doubled = {"encoder": {"both": params}, "decoder": {"both": params}}
        return plain.loss(doubled, plain.hyper, batch(), folded, jnp.array(0))[0]

    (loss, gradient), (other, expected) = quickly_compiled(
        lambda params: (jax.value_and_grad(ladder)(params), jax.value_and_grad(vae_loss)(params))
    )(params)
    np.testing.assert_allclose(loss, other, rtol=1e-6)
    found = dict(jax.tree_util.tree_leaves_with_path(gradient))
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
        name = jax.tree_util.keystr(path)
        if "prior" not in name:
            np.testing.assert_allclose(found[path], leaf, rtol=1e-4, atol=1e-6, err_msg=name)
    assert np.abs(expected["encoder"]["params"]["Dense_0"]["kernel"]).max() > 1e-3


def noise_of(method, key):
    """The key that a plain VAE needs to draw the noise that the first block draws."""
    return jax.random.fold_in(key, 0)


# The rest of the loss, and the optimizer.


@pytest.mark.parametrize(("step", "weight"), [(0, 0.0), (25, 0.25), (100, 1.0), (5000, 1.0)])
def test_warm_up_and_free_bits(step, weight):
    method = built(VECTORS)
    hyper = method.hyper._replace(anneal_steps=100.0)
    program = looked_at()
    for free_bits in (0.0, 0.3, 50.0):
        loss, metrics = program(rough(VECTORS), hyper._replace(free_bits=free_bits), jnp.array(step))
        layers = np.array([metrics["kl_layer_0"], metrics["kl_layer_1"]])
        expected = metrics["reconstruction"] + weight * np.maximum(layers, free_bits).sum()
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-6)


@cache
def looked_at():
    method = built(VECTORS)
    return quickly_compiled(lambda params, hyper, step: method.loss(params, hyper, batch(), jax.random.key(2), step))


def test_a_gradient_above_the_limit_changes_nothing_and_others_are_adams():
    params = {"w": jnp.array([1.0, -2.0])}
    small, large = {"w": jnp.array([0.3, 0.4])}, {"w": jnp.array([3.0, 4.0])}
    plain = optax.adam(0.1)
    state = plain.update(small, plain.init(params), params)[1]
    for limit, gradient, skipped in [(1.0, small, False), (1.0, large, True), (0.0, large, False), (5.0, large, False)]:
        skipping = jax.jit(lambda limit, g: skip_above(limit, optax.adam(0.1)).update(g, state, params))
        updates, new = skipping(limit, gradient)
        expected, after = plain.update(gradient, state, params)
        if skipped:
            expected, after = jax.tree.map(jnp.zeros_like, expected), state
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), (updates, new), (expected, after))


def test_a_run_with_a_low_limit_stays_where_it_was():
    method = built("1x1")

    def sample(data, key):
        return DIGITS.sample(data, key, 8)

    def run(limit):
        hyper = method.hyper._replace(skip_above=limit)
        state = train.State(jnp.array(0), jax.random.key(0), before, method.optimizer(hyper).init(before))
        return train.train(method, sample, 3, hyper, DIGITS.data, state)[0]

    program, before = quickly_compiled(run), fresh("1x1")
    for limit, moves in ((1e-6, False), (1e6, True), (0.0, True)):
        after = program(limit)
        moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before, after.params)
        assert (max(jax.tree.leaves(moved)) > 0) == moves and int(after.step) == 3


def test_the_priors_begin_as_standard_normals_and_last_layers_small():
    params = fresh("1x1")
    assert not np.any(params["decoder"]["params"]["blocks_0"]["prior"]["Dense_3"]["kernel"])
    prior = quickly_compiled(lambda params: built("1x1").prior(params, batch(2)).mean)(params)
    assert not np.any(prior)
    block = hierarchical.Block(64, scale=1 / 3)
    weights = quickly_compiled(lambda key: block.init(key, jnp.zeros((1, 1, 1, 256))))(jax.random.key(0))["params"]
    np.testing.assert_allclose(weights["Dense_3"]["kernel"].std(), (1 / 64) ** 0.5 / 3, rtol=0.05)  # fan-in 64
    np.testing.assert_allclose(weights["Dense_0"]["kernel"].std(), (1 / 256) ** 0.5, rtol=0.05)


def devices(split):
    axes = {"axis_types": (AxisType.Auto,) * 2, "devices": jax.devices()[:split]}
    return jax.make_mesh((1, split), ("runs", "batch"), **axes)


@pytest.mark.slow
def test_batches_split_over_two_devices_give_what_one_gives():
    method = built("1x1")
    runs = grid(method.hyper, 1, learning_rate=3e-3)
    one, two = (fit(method, DIGITS, runs, steps=4, batch_size=8, chunk=1, mesh=devices(n)) for n in (1, 2))
    np.testing.assert_allclose(two.history["loss"], one.history["loss"], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), two.params, one.params)


# Networks and their sizes.


def test_the_published_network_has_39_million_parameters_and_43_latents():
    """Child 2021, table 1: CIFAR-10, 39M (with 45 layers there)."""
    method = build(
        "hierarchical_vae", (32, 32, 3), latents=16, width=384, blocks=hierarchical.CIFAR10,
        likelihood="discretized_logistic",
    )  # fmt: skip
    params = jax.eval_shape(method.init, jax.random.key(0), Batch(jnp.zeros((1, 32, 32, 3))))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert 38.5e6 < count < 39.5e6
    assert sum(name.startswith("blocks_") for name in params["decoder"]["params"]) == 43
    assert params["decoder"]["params"]["start_32"].shape == (32, 32, 384)


def test_levels_are_read_and_fitted():
    assert read_levels("1x1, 7x2,14x3/1") == (Level(1, 1, 1), Level(7, 2, 2), Level(14, 3, 1))
    assert read_levels("1x1+8/5,4x2+1") == (Level(1, 1, 5, 8), Level(4, 2, 2, 1))
    assert [level.side for level in fitting_levels((28, 28, 1))] == [1, 7, 14]
    assert [level.side for level in fitting_levels((64, 64, 3))] == [1, 4, 8, 16]
    assert [level.side for level in fitting_levels((8, 8, 1))] == [1, 4, 8]
    assert fitting_levels((28, 20, 1)) == fitting_levels((30, 31, 1)) == (Level(1, 3, 3),)


@pytest.mark.parametrize(
    ("shape", "blocks", "total"),
    [
        ((28, 20, 1), None, 3 * 2),
        ((16, 16, 3), None, 2 * (1 + 2 * (16 + 64 + 256))),
        ((12, 12, 1), "3x1,6x2,12x1", 2 * (9 + 72 + 144)),
        ((8, 8, 1), "2x1+2", 2 * 4),
        ((1, 1, 1), "1x2", 4),
    ],
)
def test_every_shape_goes_in_and_comes_out(shape, blocks, total):
    method = build("hierarchical_vae", shape, latents=2, width=8, blocks=blocks)

    def both(key):
        batch = Batch(jnp.zeros((3, *shape)))
        params = method.init(key, batch)
        z = method.encode(params, batch).mean
        return z, method.decode(params, z).mean

    z, x = jax.eval_shape(both, jax.random.key(0))
    assert z.shape == (3, total) and x.shape == (3, *shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": "1x1;4x2"}, "blocks '1x1;4x2' can't be read; write blocks as SIDExNUMBER"),
        ({"blocks": "1x0"}, "can't be read"),
        ({"blocks": "4x2,1x1"}, "every side has to be a multiple of the one before"),
        ({"blocks": "1x1,3x1,8x1"}, "a multiple"),
        ({"blocks": "1x1,3x1"}, "not 3 of 8x8"),
        ({"blocks": "1x1,16x1"}, "not 16 of 8x8"),
        ({"network": "mlp"}, "hierarchical_vae needs the network 'hierarchical'"),
        ({"width": (8, 4, 2)}, "takes a width, or it and that inside"),
    ],
)
def test_bad_input_is_one_clear_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        build("hierarchical_vae", SHAPE, latents=2, **options)
    assert "\n" not in str(caught.value)


def test_other_methods_cannot_have_the_network():
    with pytest.raises(InputError, match="'hierarchical' is for the method hierarchical_vae alone"):
        fit(build("vae", SHAPE, "hierarchical", latents=2), DIGITS, grid(vae(Encoder(0), Decoder(0)).hyper, 1), steps=1)
