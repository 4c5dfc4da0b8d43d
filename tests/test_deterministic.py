"""The mathematics of the autoencoders without a posterior: denoising, sparse and contractive."""

from functools import cache, partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import Batch, InputError, build
from vaejax.data import load
from vaejax.methods import contractive_autoencoder
from vaejax.methods.contractive_autoencoder import all_rows, random_signs, squared_rows
from vaejax.methods.k_sparse_autoencoder import largest
from vaejax.methods.kl_sparse_autoencoder import kl_of_activation
from vaejax.methods.parts.corruptions import CORRUPTIONS
from vaejax.networks.mlp import MLPDecoder, MLPEncoder

SHAPE = (8, 8, 1)
DIGITS = load("digits")
KEY, STEP = jax.random.key(4), jnp.array(0)
quickly_compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@cache
def started(name: str, *, network: str = "mlp", width: int = 16, latents: int = 3, images: int = 16, **structure):
    """A method, its parameters, and a batch."""
    method = build(name, SHAPE, network, latents, width, **structure)
    batch = DIGITS.sample(DIGITS.data, jax.random.key(3), images)
    return method, quickly_compiled(method.init)(jax.random.key(0), batch), batch


@cache
def made(name: str, **structure):
    """`started`, the method's functions compiled."""
    method, params, batch = started(name, **structure)
    compiled = {part: quickly_compiled(getattr(method, part)) for part in ("loss", "encode", "decode")}
    return method._replace(**compiled), params, batch


def cross_entropy(logits, x):
    """-log p(x | logits) in float64, summed over pixels, mean over images."""
    logits, x = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (logits, x))
    return (np.logaddexp(0, logits) - x * logits).sum(axis=1).mean()


@pytest.mark.parametrize("corruption", ["gaussian", "salt_and_pepper"])
def test_a_denoising_autoencoder_sees_the_corrupted_image_and_is_held_to_the_clean_one(corruption):
    method, params, batch = made("denoising_autoencoder", corruption=corruption)
    loss, _ = method.loss(params, method.hyper._replace(level=0.4), batch, KEY, STEP)
    seen = Batch(CORRUPTIONS[corruption](KEY, batch.x, 0.4))
    logits = method.decode(params, method.encode(params, seen).mean).logits
    np.testing.assert_allclose(loss, cross_entropy(logits, batch.x), rtol=1e-5)
    clean = method.decode(params, method.encode(params, batch).mean).logits
    assert abs(cross_entropy(clean, batch.x) - float(loss)) > 1e-3  # what is encoded after training is not corrupted


def test_dropout_of_features_spoils_the_codes_and_not_the_image():
    method, params, batch = made("denoising_autoencoder", corruption="dropout", latents=20)
    z = np.asarray(method.encode(params, batch).mean)
    dropped = np.asarray(jax.random.bernoulli(KEY, 0.4, z.shape))
    logits = method.decode(params, jnp.asarray(np.where(dropped, 0, z / 0.6))).logits
    loss, _ = method.loss(params, method.hyper._replace(level=0.4), batch, KEY, STEP)
    np.testing.assert_allclose(loss, cross_entropy(logits, batch.x), rtol=1e-5)


def test_denoising_removes_noise_that_a_plain_autoencoder_keeps():
    """Blank images but for noise: trained at this level, the noise does not come back."""
    from vaejax import fit, grid

    method = build("denoising_autoencoder", SHAPE, "mlp", 30, 64, likelihood="gaussian")
    runs = grid(method.hyper, 1, level=[0, 0.4], learning_rate=3e-3)
    result = fit(method, DIGITS, runs, steps=400, batch_size=64)
    test = load("digits", "test")
    clean = test.at(test.data, jnp.arange(360))
    noisy = Batch(CORRUPTIONS["masking"](KEY, clean.x, 0.4))

    def error(run):
        params = result.params_of(run)
        return float(((method.decode(params, method.encode(params, noisy).mean).mean - clean.x) ** 2).sum() / 360)

    assert error(1) < 0.8 * error(0)


def test_the_kl_of_the_mean_activation_is_the_equation():
    method, params, batch = made("kl_sparse_autoencoder")
    loss, metrics = method.loss(params, method.hyper._replace(lambda_kl=2.0, rho=0.1), batch, KEY, STEP)
    z = np.asarray(method.encode(params, batch).mean, np.float64)
    assert ((z > 0) & (z < 1)).all()
    mean = z.mean(axis=0)
    kl = (0.1 * np.log(0.1 / mean) + 0.9 * np.log(0.9 / (1 - mean))).sum()
    np.testing.assert_allclose(metrics["sparsity"], kl, rtol=1e-4)
    logits = method.decode(params, jnp.asarray(z, jnp.float32)).logits
    np.testing.assert_allclose(loss, cross_entropy(logits, batch.x) + 2 * kl, rtol=1e-5)


@pytest.mark.parametrize("rho", [0.0, 0.05, 1.0])
def test_the_kl_and_its_gradient_are_finite_where_every_code_is_saturated(rho):
    logits = jnp.array([[-200.0, 200.0, 0.0], [-200.0, 200.0, 0.0]])
    kl, gradient = jax.value_and_grad(lambda a: kl_of_activation(rho, a).sum())(logits)
    assert np.isfinite(kl) and np.isfinite(gradient).all()
    expected = [rho * 200, (1 - rho) * 200, np.log(2)]
    entropy = -sum(p * np.log(p) for p in (rho, 1 - rho) if p)
    np.testing.assert_allclose(kl_of_activation(rho, logits), np.array(expected) - entropy, rtol=1e-5)


def test_the_kl_is_0_at_its_target():
    logits = jnp.full((5, 2), jnp.log(0.2 / 0.8))
    np.testing.assert_allclose(kl_of_activation(0.2, logits), 0, atol=1e-6)


def test_the_k_largest_are_kept_and_nothing_else():
    a = jnp.array([[3.0, -5.0, 1.0, 2.0], [-4.0, -1.0, -2.0, -3.0], [7.0, 7.0, 7.0, 7.0]])
    expected = [[3.0, 0, 0, 2.0], [0, -1.0, -2.0, 0], [7.0, 7.0, 0, 0]]
    np.testing.assert_array_equal(largest(a, 2), expected)
    np.testing.assert_array_equal(largest(a, 4), a)
    gradient = jax.grad(lambda a: (largest(a, 2) * jnp.arange(1.0, 5.0)).sum())(a)
    np.testing.assert_array_equal(gradient, [[1, 0, 0, 4], [0, 2, 3, 0], [1, 2, 0, 0]])


def test_a_k_sparse_autoencoder_encodes_k_codes_and_decodes_those():
    method, params, batch = made("k_sparse_autoencoder", latents=8, k=2)
    z = method.encode(params, batch).mean
    assert ((z != 0).sum(axis=1) == 2).all()
    loss, _ = method.loss(params, method.hyper, batch, KEY, STEP)
    np.testing.assert_allclose(loss, cross_entropy(method.decode(params, z).logits, batch.x), rtol=1e-5)
    plain = made("autoencoder", latents=8)[0].encode(params, batch).mean
    np.testing.assert_array_equal(z, jnp.where(z != 0, plain, 0))  # linear


def contraction(encode, x, rows):
    """By `squared_rows`; `rows` is v [P, B, D], or makes it."""
    z, pull = jax.vjp(encode, x)
    return squared_rows(pull, rows(KEY, z) if callable(rows) else rows)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_the_squared_norm_is_that_of_the_jacobian(network):
    method, params, batch = started("contractive_autoencoder", network=network, width=8, images=3)

    def encode(x):
        return method.encode(params, Batch(x)).mean

    exact = quickly_compiled(lambda x: contraction(encode, x, all_rows))(batch.x)
    jacobian = quickly_compiled(jax.vmap(jax.jacrev(lambda x: encode(x[None])[0])))(batch.x)
    np.testing.assert_allclose(exact, (np.asarray(jacobian, np.float64) ** 2).sum(axis=(1, 2, 3, 4)), rtol=1e-4)


def test_hutchinson_over_all_signs_is_exact():
    """Its expectation: the mean over all 2^3 vectors of signs, one and the same for every image."""
    method, params, batch = started("contractive_autoencoder")

    def encode(x):
        return method.encode(params, Batch(x)).mean

    signs = jnp.array(list(product([-1.0, 1.0], repeat=3)))[:, None] * jnp.ones((1, 16, 1))
    rows = {"exact": all_rows, "signs": signs, "one": signs[:1], "many": random_signs(4000)}
    found = quickly_compiled(lambda x: {name: contraction(encode, x, v) for name, v in rows.items()})(batch.x)
    np.testing.assert_allclose(found["signs"] / 8, found["exact"], rtol=1e-4)
    assert np.abs(found["one"] / found["exact"] - 1).max() > 0.1  # one alone is not
    np.testing.assert_allclose(found["many"], found["exact"], rtol=0.1)


def test_random_signs_are_independent_signs():
    v = random_signs(4)(KEY, jnp.zeros((500, 2)))
    assert v.shape == (4, 500, 2) and set(np.abs(np.asarray(v)).ravel().tolist()) == {0.5}  # 1 / sqrt(4)
    np.testing.assert_allclose(jnp.einsum("pbi,pbj->ij", v, v) / 500, np.eye(2), atol=0.1)


@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_the_contractive_penalty_of_a_linear_encoder_is_the_norm_of_its_weights(estimator):
    """|| W ||_F^2, whose gradient is 2 W; with all of the randomness left in for Hutchinson's."""
    method = contractive_autoencoder(
        MLPEncoder(3, ()), MLPDecoder(SHAPE, ()), estimator=estimator, probes=1 if estimator == "exact" else 3000
    )
    batch = DIGITS.sample(DIGITS.data, jax.random.key(3), 4)
    params = quickly_compiled(method.init)(jax.random.key(0), batch)
    weights = params["encoder"]["params"]["Dense_0"]["kernel"]

    def loss(params, strength):
        return method.loss(params, method.hyper._replace(lambda_contractive=strength), batch, KEY, STEP)

    gradient = quickly_compiled(jax.grad(loss, has_aux=True))
    (with_it, metrics), (without, _) = gradient(params, 5.0), gradient(params, 0.0)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if estimator == "exact" else {"rtol": 0.05, "atol": 0.05}
    np.testing.assert_allclose(metrics["contraction"], (weights**2).sum(), **tolerance)
    np.testing.assert_allclose(metrics["loss"], metrics["reconstruction"] + 5 * metrics["contraction"], rtol=1e-5)
    reached = jax.tree.map(lambda a, b: (a - b) / 10, with_it, without)
    np.testing.assert_allclose(reached["encoder"]["params"]["Dense_0"]["kernel"], weights, **tolerance)
    assert all((np.abs(leaf) < 1e-6).all() for leaf in jax.tree.leaves(reached["decoder"]))


def test_a_contractive_convolutional_network_has_a_gradient():
    """The penalty differentiates hand-written gradients once more: compared with differences of the penalty."""
    method, params, batch = started("contractive_autoencoder", network="conv", width=4, images=2)

    @quickly_compiled
    @jax.value_and_grad
    def penalty(params):
        return method.loss(params, method.hyper, batch, KEY, STEP)[1]["contraction"]

    def changed(by):
        """The penalty is quadratic in the last layer, so that differences are exact."""
        encoder = params["encoder"]["params"]
        kernel = encoder["Dense_1"]["kernel"].at[3, 1].add(by)
        layers = {**encoder, "Dense_1": {**encoder["Dense_1"], "kernel": kernel}}
        return penalty({**params, "encoder": {"params": layers}})

    gradient = changed(0.0)[1]["encoder"]["params"]["Dense_1"]["kernel"]
    np.testing.assert_allclose(gradient[3, 1], (changed(0.1)[0] - changed(-0.1)[0]) / 0.2, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "structure", "message"),
    [
        ("denoising_autoencoder", {"corruption": "mask"}, "unknown corruption 'mask'; did you mean 'masking'"),
        ("k_sparse_autoencoder", {"k": 0}, "keeps at least k=1 code of an image, not 0"),
        ("contractive_autoencoder", {"estimator": "hutchinsson"}, "did you mean 'hutchinson'"),
        ("contractive_autoencoder", {"probes": 0}, "at least probes=1 random vector, not 0"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(method, structure, message):
    with pytest.raises(InputError, match=message):
        build(method, SHAPE, "mlp", **structure)


def test_more_codes_kept_than_there_are_is_refused_when_it_is_first_given_images():
    from vaejax import fit, grid

    method = build("k_sparse_autoencoder", SHAPE, "mlp", latents=3, width=8, k=4)
    with pytest.raises(InputError, match="there are 3 latents, so 4 of them can't be kept"):
        fit(method, DIGITS, grid(method.hyper, 1), steps=1)
