"""Codes from finite sets, and the two methods made of them, against what is known by hand."""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.test_networks import parameters
from vaejax import InputError, build, fit, grid, measure, train
from vaejax.data import arrays, load
from vaejax.networks import network, quantizer
from vaejax.objectives import log_weight, reconstruction

SHAPE = (8, 8, 1)
DIGITS = load("digits")
RNG = np.random.default_rng(0)
O0 = {"xla_backend_optimization_level": 0}


@cache
def built(method="vq_vae", network="residual", **structure):
    structure = structure or {"vq_vae": {"codes": 6}, "fsq_vae": {"levels": (5, 4, 3)}}[method]
    return build(method, SHAPE, network, latents=3, width=8, **structure)


def digits(data, key):
    return DIGITS.sample(data, key, 16)


@cache
def started(method):
    return jax.jit(lambda: train.init(method, method.hyper, jax.random.key(0), batch()), compiler_options=O0)()


def batch(seed=1):
    return digits(DIGITS.data, jax.random.key(seed))


@cache
def compiled_loss(method):
    def both(params, hyper, batch, key):
        return jax.grad(method.loss, has_aux=True)(params, hyper, batch, key, jnp.array(0))

    return jax.jit(both, compiler_options=O0)


@cache
def compiled_encode(method):
    return jax.jit(method.encode, compiler_options=O0)


@cache
def distortion(method):
    """`(params, codes, x) -> -log p(x | codes)` of each."""
    return jax.jit(lambda params, z, x: reconstruction(method.decode(params, z), x), compiler_options=O0)


# The quantiser.


def test_nearest_is_the_nearest_by_brute_force():
    z, codebook = RNG.standard_normal((200, 4)), RNG.standard_normal((17, 4))
    distances = [[((a - b) ** 2).sum() for b in codebook] for a in z]
    found = quantizer.nearest(jnp.asarray(z, jnp.float32), jnp.asarray(codebook, jnp.float32))
    np.testing.assert_array_equal(found, np.argmin(distances, axis=1))
    assert len(set(found.tolist())) > 8


def test_straight_through_is_the_codes_with_the_gradient_of_identity():
    z, codes, weights = (jnp.asarray(RNG.standard_normal((5, 3)), jnp.float32) for _ in range(3))

    def weighed(z, codes):
        return (weights * quantizer.straight_through(z, codes)).sum()

    np.testing.assert_array_equal(quantizer.straight_through(z, codes), codes)
    of_z, of_codes = jax.grad(weighed, (0, 1))(z, codes)
    np.testing.assert_array_equal(of_z, weights)
    np.testing.assert_array_equal(of_codes, 0)


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ([0, 1, 2, 3] * 5, 4.0),
        ([2] * 20, 1.0),
        ([0, 0, 3, 1], 2.0**1.5),  # entropy 1.5 bits
        ([[0, 1], [4, 4]], 2.0**1.5),
    ],
)
def test_perplexity_of_known_assignments(indices, expected):
    counts = quantizer.counted(jnp.asarray(indices), 5)
    np.testing.assert_allclose(quantizer.perplexity(counts), expected, rtol=1e-6)


def test_uniform_codes_are_uniform():
    codebook = jnp.asarray(RNG.standard_normal((3, 2)), jnp.float32)
    prior = quantizer.UniformCodes.on(codebook, (400, 2, 1, 2))
    np.testing.assert_allclose(prior.mean[7, 1, 0], codebook.mean(axis=0), rtol=1e-5)
    z = prior.sample(jax.random.key(0))
    found = quantizer.nearest(z.reshape(-1, 2), codebook)
    np.testing.assert_array_equal(codebook[found].reshape(z.shape), z)
    assert np.abs(np.bincount(found, minlength=3) / 800 - 1 / 3).max() < 0.07
    np.testing.assert_allclose(prior.log_prob(z), np.full(400, -2 * np.log(3)), rtol=1e-6)


# Finite scalars.


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (3,), (4, 3), (6, 7, 3)])
def test_every_code_of_finite_scalars_has_its_own_index_and_can_be_reached(levels):
    codebook = quantizer.scalar_codebook(levels)
    expected = [
        [(digit - size // 2) / (size // 2) for digit, size in zip(digits, levels, strict=True)]
        for digits in itertools.product(*map(range, levels))
    ]
    np.testing.assert_allclose(codebook, expected, rtol=1e-6)
    np.testing.assert_array_equal(quantizer.scalar_indices(jnp.asarray(codebook), levels), np.arange(len(codebook)))
    wide = jnp.asarray(RNG.uniform(-4, 4, (20_000, len(levels))), jnp.float32)
    reached = quantizer.scalar_indices(quantizer.finite_scalars(wide, levels), levels)
    if len(codebook) < 200:
        assert set(reached.tolist()) == set(range(len(codebook)))
    extreme = jnp.asarray([[-1e3] * len(levels), [1e3] * len(levels)])
    ends = quantizer.scalar_indices(quantizer.finite_scalars(extreme, levels), levels)
    np.testing.assert_array_equal(ends, [0, len(codebook) - 1])


def test_bounded_is_the_formula_and_0_stays_0():
    z = RNG.standard_normal((9, 2)) * 2
    found = quantizer.bounded(jnp.asarray(z, jnp.float32), (8, 5))
    half = np.array([3.5, 2.0]) * (1 - 1e-3)
    expected = np.tanh(z + np.array([np.arctanh(0.5 / half[0]), 0.0])) * half - [0.5, 0.0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(quantizer.bounded(jnp.zeros((1, 2)), (8, 5)), 0, atol=1e-6)


def test_finite_scalars_pass_the_gradient_of_the_bounded():
    z = jnp.asarray(RNG.standard_normal((6, 2)), jnp.float32)
    scale = jnp.array([4.0, 2.0])
    found = jax.grad(lambda z: quantizer.finite_scalars(z, (8, 5)).sum())(z)
    expected = jax.grad(lambda z: (quantizer.bounded(z, (8, 5)) / scale).sum())(z)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.abs(found).min() > 0


# The methods.


@pytest.mark.parametrize("network", ["residual", "mlp"])
def test_vq_vae_encodes_to_the_nearest_codes_and_its_loss_is_the_equation(network):
    method = built("vq_vae", network)
    params = started(method).params
    posterior = compiled_encode(method)(params, batch())
    shape = (16, 2, 2) if network == "residual" else (16,)
    assert posterior.indices.shape == shape and posterior.mean.shape == (*shape, 3)

    sizes, sums = (np.asarray(params["codebook"][name], np.float64) for name in ("sizes", "sums"))
    codebook = sums / ((sizes + 1e-5) / (sizes.sum() + 6e-5) * sizes.sum())[:, None]
    np.testing.assert_allclose(posterior.mean, codebook[np.asarray(posterior.indices)], rtol=1e-5, atol=1e-6)
    z = np.asarray(before(method, params, batch().x), np.float64)
    distances = ((z[..., None, :] - codebook) ** 2).sum(axis=-1)
    chosen = np.take_along_axis(distances, np.asarray(posterior.indices)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(chosen, distances.min(axis=-1), rtol=1e-3, atol=1e-6)

    hyper = method.hyper._replace(commitment=0.5)
    _, metrics = compiled_loss(method)(params, hyper, batch(), jax.random.key(0))
    commitment = chosen.reshape(16, -1).sum(axis=1).mean()
    nats = distortion(method)(params, posterior.mean, batch().x).mean()
    np.testing.assert_allclose(metrics["commitment"], commitment, rtol=1e-4)
    np.testing.assert_allclose(metrics["reconstruction"], nats, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], nats + 0.5 * commitment, rtol=1e-5)
    share = np.bincount(np.asarray(posterior.indices).ravel(), minlength=6) / posterior.indices.size
    entropy = -sum(p * np.log(p) for p in share if p > 0)
    np.testing.assert_allclose(metrics["perplexity"], np.exp(entropy), rtol=1e-5)


def before(method, params, x):
    """What the encoder gives before it is quantised: the modules are built anew, with the same weights."""
    name = "residual" if "Convolution_0" in params["encoder"]["params"] else "mlp"
    return compiled_encoder(name)(params["encoder"], x)


@cache
def compiled_encoder(name):
    encoder, _ = network(name, SHAPE, 3, 8)
    return jax.jit(lambda params, x: encoder.apply(params, x, 1)[0], compiler_options=O0)


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_gradients_go_where_they_should(codebook):
    """In "ema" mode neither the reconstruction nor the commitment reaches the codebook, but its own loss does."""
    method = built("vq_vae", "mlp", codes=6, codebook=codebook)
    params = started(method).params

    def gradients(hyper):
        return compiled_loss(method)(params, hyper, batch(), jax.random.key(0))[0]

    without, strong = gradients(method.hyper._replace(commitment=0.0)), gradients(method.hyper._replace(commitment=9.0))
    jax.tree.map(np.testing.assert_array_equal, without["codebook"], strong["codebook"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), without["decoder"], strong["decoder"])
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), without["encoder"], strong["encoder"])
    assert min(jax.tree.leaves(moved)) > 0
    for leaf in jax.tree.leaves(without["encoder"]):  # straight through
        assert np.abs(leaf).max() > 0

    posterior = compiled_encode(method)(params, batch())
    z, indices = np.asarray(before(method, params, batch().x), np.float64).reshape(-1, 3), posterior.indices.ravel()
    if codebook == "gradient":
        expected = np.zeros((6, 3))
        for vector, k in zip(z, np.asarray(indices), strict=True):
            expected[k] += 2 * (np.asarray(params["codebook"]["codes"][k], np.float64) - vector) / 16
        np.testing.assert_allclose(without["codebook"]["codes"], expected, rtol=1e-4, atol=1e-5)


def test_the_straight_through_gradient_is_that_of_the_decoder_at_the_codes():
    """d loss / d z is d reconstruction / d codes, as if quantising were the identity."""
    method = built("vq_vae", "mlp")
    params, x = started(method).params, batch().x
    bias = params["encoder"]["params"]["Dense_2"]["bias"]
    found = compiled_loss(method)(params, method.hyper._replace(commitment=0.0), batch(), jax.random.key(0))[0]
    codes = compiled_encode(method)(params, batch()).mean
    at_codes = jax.grad(lambda codes: reconstruction(method.decode(params, codes), x).mean())(codes)
    expected = at_codes.sum(axis=0)  # of the bias, which is added to every z
    assert bias.shape == (3,)
    np.testing.assert_allclose(found["encoder"]["params"]["Dense_2"]["bias"], expected, rtol=1e-4, atol=1e-6)


@cache
def stepped(method):
    return jax.jit(
        lambda hyper, state: train.train_step(method, digits, hyper, DIGITS.data, state), compiler_options=O0
    )


@pytest.mark.parametrize("network", ["mlp", "residual"])
def test_moving_averages_are_the_textbook_recursion(network):
    method = built("vq_vae", network)
    places = 4 if network == "residual" else 1
    hyper = method.hyper._replace(decay=0.9, restart_below=0.0, learning_rate=3e-3)
    state = started(method)
    sizes, sums = (np.asarray(state.params["codebook"][name], np.float64) for name in ("sizes", "sums"))
    for _ in range(4):
        data_key, _ = jax.random.split(jax.random.fold_in(state.key, state.step))
        images = digits(DIGITS.data, data_key)
        z = np.asarray(before(method, state.params, images.x), np.float64).reshape(-1, 3)
        indices = np.asarray(compiled_encode(method)(state.params, images).indices).ravel()
        counts, total = np.zeros(6), np.zeros((6, 3))
        for vector, k in zip(z, indices, strict=True):
            counts[k] += 1
            total[k] += vector
        sizes, sums = 0.9 * sizes + 0.1 * counts, 0.9 * sums + 0.1 * total
        state, _ = stepped(method)(hyper, state)
        np.testing.assert_allclose(state.params["codebook"]["sizes"], sizes, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(state.params["codebook"]["sums"], sums, rtol=1e-4, atol=1e-4)
    assert np.abs(sizes - 16 * places / 6).max() > 0.5


def test_a_code_that_is_hardly_used_is_moved_onto_an_output_of_the_encoder():
    method = built("vq_vae", "mlp")
    state = started(method)
    book = state.params["codebook"]
    sizes = book["sizes"].at[2].set(0.0125)  # the average use is 16 / 6 = 2.7
    sums = book["sums"].at[2].set(0.0125 * jnp.array([50.0, 50.0, 50.0]))
    state = state._replace(params={**state.params, "codebook": {"sizes": sizes, "sums": sums}})
    data_key, _ = jax.random.split(jax.random.fold_in(state.key, state.step))
    z = np.asarray(before(method, state.params, digits(DIGITS.data, data_key).x)).reshape(-1, 3)
    for threshold, moves in [(0.0, False), (0.001, False), (0.01, True), (0.1, True)]:
        hyper = method.hyper._replace(restart_below=threshold)
        after = stepped(method)(hyper, state)[0].params["codebook"]
        code = np.asarray(after["sums"][2] / after["sizes"][2])
        distance = np.abs(z - code).max(axis=1).min()
        assert (distance < 1e-4) == moves
        np.testing.assert_allclose(after["sizes"][2], 16 / 6 if moves else 0.99 * 0.0125, rtol=1e-3)
        np.testing.assert_array_less(1, np.asarray(after["sizes"])[[0, 1, 3, 4, 5]])


def test_restarts_bring_dead_codes_to_life():
    """With all codes but one far from every output, those that restart come into use, and without it none does."""
    method = built("vq_vae", "mlp", codes=16)
    state = started(method)
    book = state.params["codebook"]
    far = book["sums"].at[1:].add(100.0 * book["sizes"][1:, None])
    state = state._replace(params={**state.params, "codebook": {**book, "sums": far}})
    program = jax.jit(
        lambda hyper, state: train.train(method, digits, 300, hyper, DIGITS.data, state), compiler_options=O0
    )
    found = {}
    for threshold in (0.0, 0.1):
        hyper = method.hyper._replace(restart_below=threshold, decay=0.95)
        found[threshold] = float(np.mean(program(hyper, state)[1]["perplexity"][-50:]))
    assert found[0.0] < 1.01 and found[0.1] > 4


@pytest.mark.parametrize(
    ("name", "network", "nats"), [("vq_vae", "mlp", np.log(6)), ("fsq_vae", "residual", 4 * np.log(60))]
)
def test_the_elbo_with_a_uniform_prior_is_minus_log_k_for_every_place(name, network, nats):
    method = built(name, network)
    params, x = started(method).params, batch()

    def weight(params):
        posterior = method.encode(params, x)
        assert method.prior is not None
        z, likelihood = posterior.mean, method.decode(params, posterior.mean)
        return log_weight(posterior, method.prior(params, x), likelihood, z, x.x), reconstruction(likelihood, x.x)

    found, nats_of_images = jax.jit(weight, compiler_options=O0)(params)
    np.testing.assert_allclose(found, -nats_of_images - nats, rtol=1e-5)


def test_measures_of_a_quantising_autoencoder():
    method = built("vq_vae", "mlp")
    params = jax.tree.map(lambda leaf: leaf[None], started(method).params)
    values = measure(method, DIGITS._replace(size=50), params).set_index("metric")["value"]
    np.testing.assert_allclose(values["kl"], np.log(6), rtol=1e-5)
    np.testing.assert_allclose(values["elbo"], -values["reconstruction"] - values["kl"], rtol=1e-5)


def test_fsq_vae_encodes_to_codes_with_their_indices_and_its_gradients_reach_every_parameter():
    method = built("fsq_vae")
    params = started(method).params
    posterior = compiled_encode(method)(params, batch())
    assert posterior.mean.shape == (16, 2, 2, 3) and posterior.indices.shape == (16, 2, 2)
    codebook = quantizer.scalar_codebook((5, 4, 3))
    np.testing.assert_allclose(posterior.mean, codebook[np.asarray(posterior.indices)], rtol=1e-6)
    gradients, metrics = compiled_loss(method)(params, method.hyper, batch(), jax.random.key(0))
    networks = gradients["encoder"], gradients["decoder"]  # the averages begin as this batch's
    assert min(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(networks)) > 0
    nats = distortion(method)(params, posterior.mean, batch().x).mean()
    np.testing.assert_allclose(metrics["loss"], nats, rtol=1e-5)
    share = np.bincount(np.asarray(posterior.indices).ravel()) / posterior.indices.size
    np.testing.assert_allclose(metrics["perplexity"], np.exp(-sum(p * np.log(p) for p in share if p > 0)), rtol=1e-5)


@pytest.mark.parametrize(
    ("method", "structure", "message"),
    [
        ("vq_vae", {"codes": 1}, "a codebook needs at least 2 codes, not 1"),
        ("vq_vae", {"codes": 0}, "a codebook needs at least 2 codes, not 0"),
        ("vq_vae", {"codebook": "emma"}, "unknown codebook 'emma'; did you mean 'ema'"),
        ("fsq_vae", {"levels": (8, 2)}, "every latent needs at least 3 levels, not"),
        ("fsq_vae", {"levels": ()}, "every latent needs at least 3 levels, not"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(method, structure, message):
    with pytest.raises(InputError, match=message) as caught:
        build(method, SHAPE, "mlp", **structure)
    assert "\n" not in str(caught.value)


def test_fsq_needs_as_many_latents_as_levels():
    method = build("fsq_vae", SHAPE, "mlp", latents=3, width=8)
    with pytest.raises(InputError, match=r"4 levels \(8, 5, 5, 5\) are for 4 latents, not 3"):
        fit(method, DIGITS, grid(method.hyper, 1), steps=1)


def test_residual_network_is_the_papers():
    encoder, decoder = network("residual", (32, 32, 3), latents=64)
    weights = parameters(encoder, jnp.zeros((1, 32, 32, 3)), 1)
    kernels = {name: leaf["kernel"].shape for name, leaf in weights.items() if "kernel" in leaf}
    assert kernels["Convolution_0"] == (4, 4, 3, 64) and kernels["Convolution_1"] == (4, 4, 64, 128)
    assert kernels["Convolution_2"] == (3, 3, 128, 128) and kernels["Dense_0"] == (128, 64)
    block = weights["Residual_1"]
    assert block["Convolution_0"]["kernel"].shape == (3, 3, 128, 32) and block["Dense_0"]["kernel"].shape == (32, 128)
    weights = parameters(decoder, jnp.zeros((1, 8, 8, 64)), 1)
    assert weights["Convolution_1"]["kernel"].shape == (4, 4, 128, 64)
    assert weights["Convolution_2"]["kernel"].shape == (4, 4, 64, 3)
    with pytest.raises(InputError, match="sides are multiples of 4, not 30x28"):
        network("residual", (30, 28, 1), latents=4)


def test_small_outputs_of_the_encoder_use_many_finite_scalars_from_the_start():
    """Where the encoder gives almost nothing, all codes would be 0, and no gradient would reach it."""
    method = built("fsq_vae")
    _, metrics = compiled_loss(method)(started(method).params, method.hyper, batch(), jax.random.key(0))
    assert metrics["perplexity"] > 8


def test_finite_scalars_do_not_collapse_on_images_that_are_mostly_black():
    """They would where a batch isn't normalised: everything is pushed to be darker, and so to the end of every tanh."""
    image = np.zeros((64, 16, 16, 1), np.float32)
    for number, (row, column) in enumerate(np.random.default_rng(0).integers(0, 12, (64, 2))):
        image[number, row : row + 4, column : column + 4] = 1
    source = arrays("squares", image)
    method = build("fsq_vae", source.shape, "residual", latents=3, width=16, levels=(8, 5, 5))
    result = fit(method, source, grid(method.hyper, 2, learning_rate=3e-3), steps=200, batch_size=32)
    blank = -16 * np.log(16 / 256) - 240 * np.log(240 / 256)  # nats of the same grey for all pixels
    assert (result.history["loss"][:, -1] < blank / 3).all() and (result.history["perplexity"][:, -1] > 4).all()
    table = measure(method, source, result.params).pivot(index="run", columns="metric", values="value")
    np.testing.assert_allclose(table["reconstruction"], result.history["loss"][:, -1], atol=0.15 * blank)
