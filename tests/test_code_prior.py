"""The autoregressive prior over grids of codes: exact, causal, and the same with its cache as without."""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import Batch, InputError, build, code_prior, sample_codes, train
from vaejax.apply import generate_codes
from vaejax.data import arrays, code_grids, example, load
from vaejax.data.source import examples
from vaejax.training.contract import check_method

O0 = {"xla_backend_optimization_level": 0}
RNG = np.random.default_rng(0)


K, GRID = 4, (2, 3)
ALL = np.asarray(list(itertools.product(range(K), repeat=6)))  # every grid there is


@cache
def prior(codes=K, grid=GRID, depth=2):
    return code_prior(codes, grid, width=8, depth=depth, heads=2)


@cache
def scaled():
    """Weights so large that every code matters."""
    rng = np.random.default_rng(0)
    like = jax.eval_shape(prior().init, jax.random.key(0), Batch(jnp.zeros((1, *GRID, 1))))
    return jax.tree.map(lambda leaf: jnp.asarray(0.4 * rng.standard_normal(leaf.shape), jnp.float32), like)


def grids_of(rows):
    return jnp.asarray(rows, jnp.float32).reshape(-1, *GRID, 1)


@cache
def logits_of():
    return jax.jit(lambda params, grids: prior().decode(params, grids).logits, compiler_options=O0)


@cache
def log_prob_of_all():
    method = prior()

    def everything(params):
        grids = grids_of(ALL)
        by_place = method.decode(params, grids).log_prob(grids)
        loss = method.loss(params, method.hyper, Batch(grids), jax.random.key(0), jnp.array(0))
        return method.prior(params, Batch(grids)).log_prob(grids), by_place, loss

    return jax.jit(everything, compiler_options=O0)(scaled())


def test_the_probabilities_of_all_grids_add_up_to_1():
    log_prob, by_place, (loss, metrics) = log_prob_of_all()
    np.testing.assert_allclose(np.exp(np.asarray(log_prob, np.float64)).sum(), 1, rtol=1e-5)
    assert log_prob.max() - log_prob.min() > 1
    np.testing.assert_allclose(loss, -log_prob.mean(), rtol=1e-5)
    assert set(metrics) == {"loss"}
    assert by_place.shape == (len(ALL), *GRID, 1)
    np.testing.assert_allclose(by_place.sum(axis=(1, 2, 3)), log_prob, rtol=1e-5)


def test_samples_come_as_often_as_their_probability_says():
    """The first two codes, and the last two."""
    mass = np.exp(log_prob_of_all()[0]).reshape((K,) * 6)
    drawn = np.asarray(sample_codes(prior(), scaled(), jax.random.key(1), (20_000, *GRID))).reshape(-1, 6)
    for pair, others in [((0, 1), (2, 3, 4, 5)), ((4, 5), (0, 1, 2, 3))]:
        expected = mass.sum(axis=others).ravel()
        found = np.bincount(drawn[:, pair] @ [K, 1], minlength=K * K) / 20_000
        assert np.abs(found - expected).max() < 4.5 * np.sqrt(expected.max() / 20_000)
        assert np.abs(expected - 1 / K**2).max() > 0.02


def test_a_later_code_changes_no_earlier_distribution():
    grids = np.repeat(RNG.integers(0, K, (1, 6)), 7, axis=0)
    grids[np.arange(1, 7), np.arange(6)] = (grids[0] + 1) % K  # row t + 1 has another code at place t
    found = np.asarray(logits_of()(scaled(), grids_of(grids))).reshape(7, 6, K)
    for place in range(6):
        np.testing.assert_array_equal(found[place + 1, : place + 1], found[0, : place + 1])
        assert (np.abs(found[place + 1, place + 1 :] - found[0, place + 1 :]).max(axis=-1) > 1e-4).all()


def test_what_samples_are_drawn_from_with_a_cache_is_what_the_whole_grid_gives():
    method, likes = prior(), Batch(jnp.zeros((7, *GRID, 1)))
    steps = jax.jit(lambda key: method.prior(scaled(), likes).steps(key), compiler_options=O0)
    grids, cached = steps(jax.random.key(0))
    whole = logits_of()(scaled(), grids)
    np.testing.assert_allclose(cached, whole, atol=1e-5)
    assert len(np.unique(grids)) == K and np.asarray(whole).std() > 0.1


def test_temperature_sharpens_and_0_is_the_likeliest():
    def drawn(temperature):
        return np.asarray(sample_codes(prior(), scaled(), jax.random.key(0), (7, *GRID), temperature))

    cold, compiled = drawn(0.0), sample_codes._cache_size()
    assert (cold == cold[:1]).all()
    logits = np.asarray(logits_of()(scaled(), grids_of(cold)))
    np.testing.assert_array_equal(logits[:, :, :, 0].argmax(axis=-1), cold)
    assert (drawn(1.0) != cold).mean() > (drawn(0.3) != cold).mean()
    assert sample_codes._cache_size() == compiled


def stripes(count=60):
    """Grids whose first code decides all others: c_t = (c_0 + t) mod 4."""
    x = (RNG.integers(0, K, (count, 1)) + np.arange(6)) % K
    data = {"x": jnp.asarray(x.reshape(count, *GRID, 1), jnp.int32), "scale": jnp.float32(1)}
    like = arrays("stripes", np.zeros((count, *GRID), np.uint8))
    return like._replace(data=data)


def test_it_learns_a_pattern_down_to_its_entropy():
    method, source = prior(), stripes()

    def train_it(data):

        def sample(data, key):
            return source.sample(data, key, 16)

        hyper = method.hyper._replace(learning_rate=1e-2)
        state = train.init(method, hyper, jax.random.key(0), sample(data, jax.random.key(0)))
        state, metrics = train.train(method, sample, 300, hyper, data, state)
        return state.params, metrics["loss"]

    params, loss = jax.jit(train_it, compiler_options=O0)(source.data)
    shares = np.bincount(np.asarray(source.data["x"])[:, 0, 0, 0]) / source.size
    entropy = -(shares * np.log(shares)).sum()  # of the first code
    np.testing.assert_allclose(loss[0], 6 * np.log(4), atol=0.5)
    np.testing.assert_allclose(loss[-50:].mean(), entropy, atol=0.15)
    drawn = np.asarray(sample_codes(method, params, jax.random.key(0), (7, *GRID))).reshape(-1, 6)
    np.testing.assert_array_equal(drawn, (drawn[:, :1] + np.arange(6)) % K)


DIGITS = load("digits")


@cache
def vq(name="vq_vae", network="residual"):
    structure = {"levels": (3, 3, 3)} if name == "fsq_vae" else {} if name == "vae" else {"codes": 6}
    method = build(name, DIGITS.shape, network, latents=3, width=8, **structure)
    start = jax.jit(lambda: method.init(jax.random.key(0), DIGITS.at(DIGITS.data, jnp.arange(8))), compiler_options=O0)
    return method, start()


@pytest.mark.parametrize(("name", "network", "shape"), [("fsq_vae", "residual", (2, 2)), ("vq_vae", "mlp", (1, 1))])
def test_from_images_to_codes_to_images(name, network, shape):
    method, params = vq(name, network)
    source = DIGITS._replace(size=150)
    grids = code_grids(method, params, source)
    assert grids.shape == (*shape, 1) and grids.size == 150
    batch = DIGITS.at(DIGITS.data, jnp.arange(100, 150))
    expected = jax.jit(method.encode, compiler_options=O0)(params, batch).indices
    found = grids.at(grids.data, jnp.arange(100, 150))
    np.testing.assert_array_equal(found.x.ravel(), expected.ravel())
    np.testing.assert_array_equal(found.label, batch.label)
    assert grids.sample(grids.data, jax.random.key(0), 9).x.shape == (9, *shape, 1)
    chosen = examples(source, 40)
    some = code_grids(method, params, source, images=40)
    assert some.size == 40
    np.testing.assert_array_equal(some.data["x"], grids.data["x"][chosen])

    codes = 6 if name == "vq_vae" else 27
    over = prior(codes, shape, 1)
    check_method(over, example(grids))  # as `fit` does
    init = jax.jit(lambda: over.init(jax.random.key(0), grids.at(grids.data, jnp.arange(2))), compiler_options=O0)
    weights = init()
    images = generate_codes(method, params, over, weights, jax.random.key(5), batch)
    drawn = sample_codes(over, weights, jax.random.key(5), (50, *shape))
    codebook = method.prior(params, batch).codebook
    decode = jax.jit(lambda z: method.decode(params, z).mean, compiler_options=O0)
    by_hand = decode(codebook[drawn.reshape(expected.shape)])
    np.testing.assert_allclose(images, by_hand, atol=1e-5)

    with pytest.raises(InputError, match=f"one over {codes} codes on a grid of {shape[0]}x{shape[1]}"):
        generate_codes(method, params, prior(5, shape, 1), weights, jax.random.key(5), batch)


def test_what_has_no_codes_is_refused():
    method, params = vq("vae", "mlp")
    with pytest.raises(InputError, match="only a quantising autoencoder gives indices"):
        code_grids(method, params, DIGITS)
    with pytest.raises(InputError, match="only a quantising autoencoder has codes"):
        generate_codes(method, params, prior(), scaled(), jax.random.key(0), Batch(jnp.zeros((2, 8, 8, 1))))


@pytest.mark.parametrize(
    ("codes", "sizes"), [(1, {}), (4, {"width": 0}), (4, {"heads": 3, "width": 16}), (4, {"depth": 0})]
)
def test_sizes_that_cannot_be_are_refused_in_one_line(codes, sizes):
    with pytest.raises(InputError, match="a prior needs at least 2 codes") as caught:
        code_prior(codes, (2, 2), **sizes)
    assert "\n" not in str(caught.value)
