"""Estimates of log p(x) on models of which it is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import linear_gaussian as linear
from vaejax import Batch, InputError, build, measure
from vaejax.data import arrays, load
from vaejax.distributions.basic import Delta, Gaussian
from vaejax.distributions.conditions import Conditioned
from vaejax.metrics import annealed_importance_sampling, evidence, log_likelihood, log_likelihood_of_runs
from vaejax.metrics.annealed_importance_sampling import schedule


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled():
    """Programs that are compiled in a third of the time; there are many here, and none has much to do."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


METHOD, PARAMS, KEY = linear.method(), linear.parameters(latents=3, seed=1), jax.random.key(0)
BATCH = linear.images(PARAMS, 30)
EXACT = linear.exact(PARAMS, BATCH)


def repeated(batch: Batch, times: int) -> Batch:
    """So many copies of every image, each of which gets noise of its own."""
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=0), batch)


def test_importance_sampling_is_exact_within_its_error():
    found = log_likelihood(METHOD, PARAMS, BATCH, KEY, samples=2000)
    assert next(iter(found)) == "log_likelihood"
    error = 1 / np.sqrt(len(BATCH.x) * found["effective_sample_size"])
    np.testing.assert_allclose(found["log_likelihood"], EXACT.evidence.mean(), atol=5 * error)
    np.testing.assert_allclose(found["elbo"], EXACT.elbo.mean(), atol=0.05)
    assert 50 < found["effective_sample_size"] < 2000
    np.testing.assert_allclose(found["bits_per_dim"], -found["log_likelihood"] / 6 / np.log(2), rtol=1e-6)
    spread = EXACT.evidence.std(ddof=1) / np.sqrt(len(BATCH.x))
    np.testing.assert_allclose(found["standard_error"], spread, rtol=0.05)


def test_it_is_a_lower_bound_in_expectation_that_rises_with_samples():
    """From the evidence lower bound, which is known, too; 500 draws of each of 8 images."""
    few = Batch(BATCH.x[:8])
    evidence, elbo = (values[:8].mean() for values in EXACT)
    many, bounds = repeated(few, 500), []
    for samples in (1, 8, 64):
        bounds.append(log_likelihood(METHOD, PARAMS, many, KEY, samples=samples)["log_likelihood"])
    np.testing.assert_allclose(bounds[0], elbo, atol=0.1)
    assert bounds[0] < bounds[1] - 0.1 < bounds[2] - 0.1 < evidence - 0.1


def test_a_posterior_that_is_exact_gives_the_evidence_from_any_sample():
    """One that depends between latents, so that its density is one number for an image."""
    params = {**PARAMS, "encoder": linear.parameters(latents=3, seed=1, off=0.0)["encoder"]}
    found = log_likelihood(linear.method(full=True), params, BATCH, KEY, samples=3)
    for name in ("log_likelihood", "elbo"):
        np.testing.assert_allclose(found[name], EXACT.evidence.mean(), rtol=1e-4)
    np.testing.assert_allclose(found["effective_sample_size"], 3, rtol=1e-3)


def test_chunks_don_t_change_what_is_sampled():
    whole = log_likelihood(METHOD, PARAMS, BATCH, KEY, samples=23, chunk=23)
    for chunk in (1, 7):
        found = log_likelihood(METHOD, PARAMS, BATCH, KEY, samples=23, chunk=chunk)
        np.testing.assert_allclose(list(found.values()), list(whole.values()), rtol=2e-5, err_msg=str(chunk))


@pytest.mark.parametrize("runs", [1, 3])
def test_it_tells_how_far_it_is_and_that_changes_nothing(runs):
    """1,210 images are 61 batches: 31 segments of one on each of two devices, or 50 of two (the last are filled up)."""
    images = Batch(jnp.tile(BATCH.x, (41, 1, 1, 1))[:1210])
    several = jax.tree.map(lambda leaf: jnp.stack([(1 + run) * leaf for run in range(runs)]), PARAMS)
    seen = []
    found, silent = (
        log_likelihood_of_runs(METHOD, several, images, KEY, samples=3, on_progress=on_progress)
        for on_progress in (lambda *progress: seen.append(progress), None)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, silent)
    done, total = zip(*seen, strict=True)
    assert set(total) == {1210 * runs} and done[-1] == 1210 * runs and 20 <= len(done) <= 50 * runs
    assert done[0] > 0 and (np.diff(done) > 0).all()


@pytest.mark.parametrize("runs", [2, 3])
def test_runs_are_what_each_would_be_alone(runs):
    """On two devices: two runs have one each, three are three times two halves of the images."""
    several = [linear.parameters(latents=3, seed=seed) for seed in range(runs)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
    together = log_likelihood_of_runs(METHOD, stacked, BATCH, KEY, samples=10)
    for run, params in enumerate(several):
        alone = log_likelihood(METHOD, params, BATCH, KEY, samples=10)
        np.testing.assert_allclose([together[name][run] for name in alone], list(alone.values()), rtol=1e-5)


def test_a_run_that_diverged_has_no_likelihood_and_the_others_do():
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf * jnp.nan]), PARAMS)
    found = log_likelihood_of_runs(METHOD, stacked, BATCH, KEY, samples=5)
    assert np.isfinite(found["log_likelihood"][0]) and np.isnan(found["log_likelihood"][1])


def test_images_of_a_source_are_counted_once():
    """25 images in batches of 20 over two devices: the mean is over 25; `images` takes different ones."""
    x = np.random.default_rng(0).integers(0, 2, (25, 8, 8)).astype(np.uint8)
    source = arrays("noise", x)
    method = build("vae", source.shape, "mlp", latents=2, width=8)
    batch = source.at(source.data, jnp.arange(25))
    params = jax.jit(method.init)(KEY, batch)
    whole = log_likelihood(method, params, source, KEY, samples=20)
    parts = Batch(batch.x[:20]), Batch(batch.x[20:])
    first, last = (log_likelihood(method, params, part, KEY, samples=20) for part in parts)
    name = "log_likelihood"
    np.testing.assert_allclose(whole[name], (20 * first[name] + 5 * last[name]) / 25, rtol=2e-3)
    np.testing.assert_allclose(log_likelihood(method, params, batch, KEY, samples=20)[name], whole[name], rtol=1e-5)
    table = measure(method, source, jax.tree.map(lambda leaf: leaf[None], params)).set_index("metric")["value"]
    np.testing.assert_allclose(whole["elbo"], table["elbo"], atol=0.5)
    single = log_likelihood(method, params, source, KEY, samples=20, images=1)
    assert np.isnan(single["standard_error"]) and np.isfinite(single[name])


@pytest.fixture(scope="module")
def bernoulli():
    """A VAE with one latent, all 64 binary images of 6 pixels, and log p(x) of each by quadrature."""
    method = build("vae", linear.SHAPE, "mlp", latents=1, width=16)
    x = (np.arange(64)[:, None] >> np.arange(6)) & 1
    batch = Batch(jnp.asarray(x.reshape(-1, *linear.SHAPE), jnp.float32))
    params = jax.jit(method.init)(KEY, batch)
    of_group = {"encoder": 0.3, "decoder": 3.0}  # so that q(z | x) is near the prior, and the images differ
    params = {group: jax.tree.map(lambda leaf, by=by: by * leaf, params[group]) for group, by in of_group.items()}
    z = np.linspace(-8, 8, 2001)
    logits = np.asarray(method.decode(params, jnp.float32(z[:, None])).logits, np.float64).reshape(len(z), 6)
    given = np.exp(x @ logits.T - np.logaddexp(0, logits).sum(axis=1))
    mass = given @ np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    np.testing.assert_allclose(mass.sum(), 1, rtol=1e-6)
    return method, params, batch, np.log(mass)


def test_a_network_with_binary_pixels_agrees_with_quadrature(bernoulli):
    method, params, batch, exact = bernoulli
    found = log_likelihood(method, params, batch, KEY, samples=3000)
    np.testing.assert_allclose(found["log_likelihood"], exact.mean(), atol=0.01)
    found = annealed_importance_sampling(method, params, batch, KEY, steps=100, chains=16, leapfrogs=3)
    np.testing.assert_allclose(found["log_likelihood"], exact.mean(), atol=0.05)


# --- annealed importance sampling ------------------------------------------------------------------------------------


def test_annealing_is_exact_within_a_tenth_of_a_nat_without_an_encoder():
    wrong = {**PARAMS, "encoder": jax.tree.map(jnp.zeros_like, PARAMS["encoder"])}
    found = annealed_importance_sampling(METHOD, wrong, BATCH, KEY, steps=300, chains=16, leapfrogs=5)
    np.testing.assert_allclose(found["log_likelihood"], EXACT.evidence.mean(), atol=0.1)
    assert 0.55 < found["acceptance"] < 0.85 and 1 < found["effective_sample_size"] <= 16
    assert list(found)[:3] == ["log_likelihood", "standard_error", "bits_per_dim"]


def test_more_steps_are_a_tighter_bound():
    few = annealed_importance_sampling(METHOD, PARAMS, BATCH, KEY, steps=3, chains=4, leapfrogs=3)["log_likelihood"]
    more = annealed_importance_sampling(METHOD, PARAMS, BATCH, KEY, steps=30, chains=4, leapfrogs=3)["log_likelihood"]
    assert few < more - 1 < EXACT.evidence.mean() - 1 + 0.2


def test_the_schedule_rises_from_0_to_1_and_slowly_at_both_ends():
    b = schedule(100)
    assert (b[0], b[-1], len(b)) == (0, 1, 101) and (np.diff(b) > 0).all()
    assert np.diff(b)[[0, -1]].max() < np.diff(b)[50] / 5
    np.testing.assert_allclose(b + b[::-1], 1)


# --- other methods ---------------------------------------------------------------------------------------------------


def test_conditions_and_priors_that_depend_on_the_image_s_label():
    """x = W z + b + c, with z from N(label, 1) and a condition c at the end of the latents: the evidence is shifted."""
    label = jnp.arange(len(BATCH.x)) % 3
    condition = 0.1 * jnp.arange(len(BATCH.x) * 6.0).reshape(-1, 6) / len(BATCH.x)
    W = PARAMS["decoder"]["W"]
    centre = jnp.broadcast_to(label[:, None].astype(jnp.float32), (len(label), 3))
    moved = (BATCH.x.reshape(-1, 6) + centre @ W.T + condition).reshape(BATCH.x.shape)
    batch = Batch(moved, factors=None, label=jnp.arange(len(label)))

    def given(batch):
        return condition[batch.label], centre[batch.label]

    def encode(params, batch):
        extra, centre = given(batch)
        plain = METHOD.encode(params, Batch((batch.x.reshape(-1, 6) - extra - centre @ W.T).reshape(batch.x.shape)))
        return Conditioned(plain._replace(mean=plain.mean + centre), extra)

    def prior(params, batch):
        extra, centre = given(batch)
        return Conditioned(Gaussian(centre, jnp.zeros_like(centre)), extra)

    def decode(params, z, batch=None):
        likelihood = METHOD.decode(params, z[:, :3])
        return likelihood._replace(mean=likelihood.mean + z[:, 3:].reshape(likelihood.mean.shape))

    method = METHOD._replace(encode=encode, prior=prior, decode=decode)
    found = log_likelihood(method, PARAMS, batch, KEY, samples=1000)
    np.testing.assert_allclose(found["log_likelihood"], EXACT.evidence.mean(), atol=0.05)
    found = annealed_importance_sampling(method, PARAMS, batch, KEY, steps=200, chains=16, leapfrogs=5)
    np.testing.assert_allclose(found["log_likelihood"], EXACT.evidence.mean(), atol=0.1)


def test_bad_input_is_one_clear_line():
    plain = build("autoencoder", linear.SHAPE, "mlp", latents=2, width=4)
    params = jax.jit(plain.init)(KEY, BATCH)
    certain = METHOD._replace(encode=lambda params, batch: Delta(METHOD.encode(params, batch).mean))
    for call, message in [
        (lambda: log_likelihood(plain, params, BATCH, KEY), "a prior over its latents"),
        (lambda: annealed_importance_sampling(plain, params, BATCH, KEY), "a prior over its latents"),
        (lambda: log_likelihood(certain, PARAMS, BATCH, KEY), "a posterior with a density"),
        (lambda: log_likelihood(METHOD, PARAMS, BATCH, KEY, samples=0), "samples has to be at least 1, not 0"),
        (lambda: log_likelihood(METHOD, PARAMS, BATCH, KEY, chunk=0), "chunk has to be at least 1, not 0"),
        (lambda: log_likelihood(METHOD, PARAMS, BATCH, KEY, images=0), "images has to be at least 1, not 0"),
        (lambda: annealed_importance_sampling(METHOD, PARAMS, BATCH, KEY, chains=0), "chains has to be at least 1"),
        (lambda: annealed_importance_sampling(METHOD, PARAMS, BATCH, KEY, steps=0), "steps has to be at least 1"),
        (lambda: annealed_importance_sampling(METHOD, PARAMS, BATCH, KEY, leapfrogs=0), "leapfrogs has to be at least"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_certain_encoder_can_be_annealed():
    """An adversarial autoencoder has a prior and no density: annealing needs only its decoder."""
    certain = METHOD._replace(encode=lambda params, batch: Delta(METHOD.encode(params, batch).mean))
    found = annealed_importance_sampling(certain, PARAMS, BATCH, KEY, steps=10, chains=2, leapfrogs=2, images=20)
    assert np.isfinite(found["log_likelihood"])


def test_a_second_call_compiles_nothing():
    source = load("digits", "test")
    method = build("vae", source.shape, "mlp", latents=2, width=8)
    params = jax.jit(method.init)(KEY, source.at(source.data, jnp.arange(2)))
    log_likelihood(method, params, source, KEY, samples=3, images=30)
    compiled = evidence._estimate.__wrapped__._cache_size
    before = compiled()
    again = load("digits", "test")
    log_likelihood(method, jax.tree.map(lambda leaf: 2 * leaf, params), again, jax.random.key(1), samples=3, images=30)
    assert compiled() == before
