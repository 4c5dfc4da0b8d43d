"""Priors that are learned, and those of adversarial autoencoders: densities, samples, and how they are made."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from vaejax import Batch, InputError, build, objectives
from vaejax.data import load
from vaejax.distributions.basic import Delta, Gaussian, StandardNormal
from vaejax.distributions.declared import has_density
from vaejax.distributions.priors import GaussianMixture, Ring, SwissRoll, ring, swiss_roll

RNG = np.random.default_rng(0)
SHAPE = (8, 8, 1)
DIGITS = load("digits")
BATCH = DIGITS.at(DIGITS.data, jnp.arange(16))
quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

WEIGHTS = np.array([0.2, 0.5, 0.3])
MEANS, STDS = RNG.normal(size=(3, 2)) * 2, RNG.uniform(0.3, 1.5, size=(3, 2))
MIXTURE = GaussianMixture(
    jnp.tile(jnp.log(jnp.asarray(WEIGHTS, jnp.float32)), (4000, 1)),
    jnp.asarray(MEANS, jnp.float32),
    jnp.asarray(2 * np.log(STDS), jnp.float32),
)


def mixture_log_pdf(z):
    given = stats.norm(MEANS, STDS).logpdf(np.asarray(z, np.float64)[:, None]).sum(axis=-1)
    return logsumexp(np.log(WEIGHTS) + given, axis=1)


def test_the_density_of_a_mixture_is_scipys():
    z = RNG.normal(size=(4000, 2)) * 3
    np.testing.assert_allclose(MIXTURE.log_prob(jnp.asarray(z, jnp.float32)), mixture_log_pdf(z), rtol=1e-4, atol=1e-4)


def test_samples_of_a_mixture_have_its_moments():
    z = np.asarray(MIXTURE.sample(jax.random.key(0)), np.float64)
    mean = WEIGHTS @ MEANS
    spread = (MEANS - mean).T @ np.diag(WEIGHTS) @ (MEANS - mean) + np.diag(WEIGHTS @ STDS**2)
    np.testing.assert_allclose(MIXTURE.mean, np.tile(mean, (4000, 1)), rtol=1e-5)
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.15)
    np.testing.assert_allclose(np.cov(z.T), spread, atol=0.3)
    near = np.argmin(((z[:, None] - MEANS) ** 2 / STDS**2).sum(axis=2) / 2 + np.log(STDS).sum(axis=1), axis=1)
    assert np.abs(np.bincount(near) / 4000 - WEIGHTS).max() < 0.2


def test_one_standard_component_is_the_standard_normal():
    z = jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32)
    one = GaussianMixture(jnp.zeros((5, 1)), jnp.zeros((1, 3)), jnp.zeros((1, 3)))
    normal, posterior = StandardNormal(jnp.zeros((5, 3))), Gaussian(0.5 * z, z - 1)
    np.testing.assert_allclose(one.log_prob(z), normal.log_prob(z).sum(axis=1), rtol=1e-6)
    sampled = objectives.rate(posterior, one, z)
    assert sampled.shape == (5,) and objectives.rate_per_latent(posterior, one) is None
    by_hand = objectives.total_log_prob(posterior, z) - objectives.total_log_prob(normal, z)
    np.testing.assert_allclose(sampled, by_hand, rtol=1e-5)


def test_the_sampled_rate_has_the_expectation_of_the_closed_form():
    posterior = Gaussian(jnp.tile(jnp.array([[0.7, -1.0]]), (20_000, 1)), jnp.full((20_000, 2), -1.0))
    one = GaussianMixture(jnp.zeros((20_000, 1)), jnp.zeros((1, 2)), jnp.zeros((1, 2)))
    nats = objectives.rate(posterior, one, posterior.sample(jax.random.key(0)))
    assert abs(nats.mean() - posterior.kl()[0].sum()) < 4 * nats.std() / 20_000**0.5


def grid_of_the_plane(limit=6.0, steps=601):
    line = np.linspace(-limit, limit, steps)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2), (line[1] - line[0]) ** 2


@pytest.mark.parametrize("label", [None, 3])
def test_the_density_of_the_ring_integrates_to_1_and_is_that_of_its_samples(label):
    points, area = grid_of_the_plane()
    labels = None if label is None else jnp.full(len(points), label)
    density = np.exp(
        np.asarray(jax.jit(ring(len(points), 10, labels).log_prob)(jnp.asarray(points, jnp.float32)), np.float64)
    )
    assert density.sum() * area == pytest.approx(1, abs=1e-3)
    mean = density @ points * area
    spread = (points - mean).T @ ((points - mean) * density[:, None]) * area
    prior = ring(20_000, 10, None if label is None else jnp.full(20_000, label))
    z = np.asarray(prior.sample(jax.random.key(0)))
    np.testing.assert_allclose(prior.mean[0], mean, atol=1e-3)
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(z.T), spread, atol=0.05)
    inside = density[np.argsort(density)[::-1]]
    level = inside[np.searchsorted(np.cumsum(inside) * area, 0.5)]  # half of all samples are where it is denser
    assert (np.exp(np.asarray(prior.log_prob(jnp.asarray(z)))) > level).mean() == pytest.approx(0.5, abs=0.02)


def test_the_gaussian_of_a_label_lies_at_its_angle():
    labels = jnp.arange(1000) % 10
    z = np.asarray(ring(1000, 10, labels).sample(jax.random.key(1)))
    angle = np.arctan2(z[:, 1], z[:, 0])
    assert (np.round(angle / (2 * np.pi / 10)) % 10 == np.asarray(labels)).mean() > 0.95
    across = z[:, 1][np.asarray(labels) == 0].std(), z[:, 0][np.asarray(labels) == 0].std()
    assert across[0] < across[1]  # long along the radius


def test_the_roll_is_a_spiral_of_two_turns_and_its_mean_is_the_integral():
    whole = swiss_roll(5000, 10)
    z = np.asarray(whole.sample(jax.random.key(0)), np.float64)
    radius, angle = np.hypot(*z.T), np.arctan2(z[:, 1], z[:, 0])
    np.testing.assert_allclose(np.cos(4 * np.pi * radius / 3 - angle), 1, atol=1e-5)
    assert radius.max() < 3 and np.mean((radius / 3) ** 2) == pytest.approx(0.5, abs=0.02)
    for low, high in ((0.0, 1.0), (0.3, 0.4)):
        s = np.sqrt(np.linspace(low, high, 200_001))
        exact = 3 * np.stack([s * np.cos(4 * np.pi * s), s * np.sin(4 * np.pi * s)]).mean(axis=1)
        found = SwissRoll(jnp.full(1, low), jnp.full(1, high)).mean[0]
        np.testing.assert_allclose(found, exact, atol=1e-4)


def test_the_pieces_of_the_roll_follow_one_another():
    labels = jnp.arange(1000) % 10
    z = np.asarray(swiss_roll(1000, 10, labels).sample(jax.random.key(1)))
    assert (np.floor(10 * (np.hypot(*z.T) / 3) ** 2) == np.asarray(labels)).mean() > 0.99


def test_a_roll_has_no_density_and_says_so():
    roll = swiss_roll(2, 10)
    assert not has_density(roll) and not has_density(Delta(jnp.zeros(2))) and has_density(ring(2, 10))
    assert isinstance(ring(2, 10), Ring)
    with pytest.raises(InputError, match="a swiss roll is a curve and has no density"):
        roll.log_prob(jnp.zeros((2, 2)))


@pytest.fixture(scope="module", params=["vamp", "mixture"])
def model(request):
    method = build("vamp_vae", SHAPE, "mlp", latents=3, width=16, prior=request.param, components=4)
    return request.param, method, quickly(method.init)(jax.random.key(0), BATCH)


def test_the_prior_is_what_its_parameters_say_by_hand(model):
    """The mean of q(z | u_k) over pseudo-inputs; or the weighted Gaussians, once the weights differ."""
    kind, method, params = model
    z = RNG.normal(size=(16, 3))
    if kind == "vamp":
        images = 1 / (1 + np.exp(-np.asarray(params["prior"]["v"], np.float64)))
        assert images.shape == (4, *SHAPE) and 0.02 < images.min() and images.max() < 0.98
        mean, log_var = (
            np.asarray(a, np.float64) for a in method.encode(params, Batch(jnp.asarray(images, jnp.float32)))
        )
        log_weights = np.full(4, -np.log(4))
    else:
        params = {**params, "prior": {**params["prior"], "weights": jnp.array([0.0, 1.0, 2.0, -1.0])}}
        mean, log_var, weights = (
            np.asarray(params["prior"][name], np.float64) for name in ("means", "log_vars", "weights")
        )
        log_weights = weights - logsumexp(weights)
    given = stats.norm(mean, np.exp(log_var / 2)).logpdf(z[:, None]).sum(axis=-1)
    prior = method.prior(params, BATCH)
    assert isinstance(prior, GaussianMixture) and mean.std(axis=0).min() > 1e-3
    np.testing.assert_allclose(
        prior.log_prob(jnp.asarray(z, jnp.float32)), logsumexp(log_weights + given, axis=1), rtol=1e-4
    )
    assert prior.sample(jax.random.key(0)).shape == prior.mean.shape == (16, 3)


def test_the_loss_is_the_equation_and_its_gradient_reaches_everything(model):
    _, method, params = model
    key = jax.random.key(1)

    def total(params):
        return method.loss(params, method.hyper, BATCH, key, 0)

    (loss, found), gradient = quickly(jax.value_and_grad(total, has_aux=True))(params)
    posterior = method.encode(params, BATCH)
    z = posterior.sample(key)
    rate = np.asarray(posterior.log_prob(z), np.float64).sum(axis=1) - np.asarray(
        method.prior(params, BATCH).log_prob(z)
    )
    distortion = np.asarray(objectives.reconstruction(method.decode(params, z), BATCH.x), np.float64)
    np.testing.assert_allclose(loss, (distortion + rate).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["kl"], rate.mean(), rtol=1e-4)
    assert set(params) == {"encoder", "decoder", "prior"}
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_the_gradient_of_the_prior_reaches_what_it_is_made_of(model):
    """Pseudo-inputs are encoded: the prior draws the encoder to them, too."""
    kind, method, params = model
    z = jnp.asarray(RNG.normal(size=(16, 3)), jnp.float32)
    gradient = quickly(jax.grad(lambda p: method.prior(p, BATCH).log_prob(z).sum()))(params)
    reached = {
        group for group, tree in gradient.items() if any(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(tree))
    }
    assert reached == ({"prior", "encoder"} if kind == "vamp" else {"prior"})
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient["prior"]))


def test_pseudo_inputs_start_as_images_of_the_batch():
    method = build("vamp_vae", SHAPE, "mlp", latents=3, width=16, components=50)
    images = jax.nn.sigmoid(quickly(method.init)(jax.random.key(0), BATCH)["prior"]["v"]).reshape(50, 1, -1)
    distance = np.abs(np.asarray(images) - (0.05 + 0.9 * np.asarray(BATCH.x).reshape(1, 16, -1))).mean(axis=2)
    assert distance.min(axis=1).max() < 0.03 and np.unique(distance.argmin(axis=1)).size > 8
    assert np.unique(np.asarray(images).reshape(50, -1), axis=0).shape[0] == 50  # equal images are told apart by noise


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({"prior": "vampire"}, "unknown prior 'vampire'; did you mean 'vamp'"),
        ({"components": 0}, "at least 1 component, not 0"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(structure, message):
    with pytest.raises(InputError, match=message):
        build("vamp_vae", SHAPE, "mlp", **structure)
