"""Vectors, counts, categories and tables with missing values: read, refused, trained, masked, kept and opened again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy.stats import multivariate_normal

import vaejax
from vaejax import METHODS, Batch, Experiment, InputError, Space, build, load_run, metrics, vae
from vaejax.data import arrays, load
from vaejax.distributions import FixedGaussian
from vaejax.metrics.codes import codes

RANDOM = np.random.default_rng(0)
REAL = RANDOM.normal(size=(60, 5)).astype(np.float32)
REAL[RANDOM.random(REAL.shape) < 0.2] = np.nan
COUNTS = RANDOM.poisson(3, size=(60, 6))
GROUPS = RANDOM.integers(0, 3, size=(60, 4))
MIXED = np.stack([RANDOM.normal(size=60), RANDOM.poisson(2, 60), RANDOM.integers(0, 3, 60), RANDOM.random(60) > 0.5], 1)
MIXED[3, 0] = np.nan
LABEL = np.arange(60) % 3
SOURCES = {
    "real": arrays("real", REAL, LABEL),
    "count": arrays("count", COUNTS, LABEL),
    "category": arrays("category", GROUPS, LABEL, kind="category"),
    "mixed": arrays("mixed", MIXED, LABEL, kind=("real", "count", "category", "unit")),
    "unit": arrays("unit", REAL > 0, LABEL),
}
OPTIONS = {
    "factor_vae": {"discriminator_width": 8, "discriminator_depth": 1},
    "adversarial_autoencoder": {"discriminator_width": 8, "discriminator_depth": 1},
    "beta_tcvae": {"size": 60},
    "conditional_vae": {"condition": "label", "classes": 3},
    "stacked_classifier": {"classes": 3},
    "vamp_vae": {"components": 3},
    ("vamp_vae", "category"): {"components": 3, "prior": "mixture"},
    ("vamp_vae", "mixed"): {"components": 3, "prior": "mixture"},
    "denoising_vae": {"corruption": "masking"},
    "vq_vae": {"codes": 4},
    "fsq_vae": {"levels": (3, 4)},
    "k_sparse_autoencoder": {"k": 1},
}
REFUSED = {  # methods, and the spaces that they don't serve
    "hierarchical_vae": tuple(SOURCES),
    "contractive_autoencoder": ("category", "mixed"),
    **dict.fromkeys(("stacked_autoencoder", "stacked_classifier"), ("real", "count", "category", "mixed")),
}  # fmt: skip


def test_the_kind_follows_from_the_type_and_nan_is_missing():
    spaces = {name: source.space for name, source in SOURCES.items()}
    assert spaces["real"] == Space((5,), "real", None, 1) and spaces["count"] == Space((6,), "count")
    assert spaces["category"] == Space((4,), "category", 3) and spaces["unit"] == Space((5,), "unit")
    assert spaces["mixed"] == Space((4,), ("real", "count", "category", "unit"), (None, None, 3, None), 1)
    batch = SOURCES["real"].at(SOURCES["real"].data, jnp.arange(60))
    np.testing.assert_array_equal(np.asarray(batch.mask), np.isfinite(REAL))
    np.testing.assert_array_equal(np.asarray(batch.x), np.nan_to_num(REAL))
    assert SOURCES["count"].data["x"].dtype == np.uint8


BAD = [
    ("a text", lambda: arrays("t", np.array([["a"]])), "dtype"),
    ("infinity", lambda: arrays("t", np.array([[1.0, 2.0], [3.0, np.inf]])), "inf in row 1, column 1"),
    ("an empty column", lambda: arrays("t", np.array([[1.0, np.nan]])), "no value at all in column 1"),
    ("half a count", lambda: arrays("t", np.array([[1.5]]), kind="count"), "1.5 in row 0, column 0"),
    ("a negative count", lambda: arrays("t", np.array([[2], [-1]]), kind="count"), "-1 in row 1, column 0"),
    ("a category too many", lambda: arrays("t", np.array([[3]]), kind="category", levels=3), "levels have to be"),
    ("above 1", lambda: arrays("t", np.array([[0.5, 1.5]]), kind="unit"), "1.5 in row 0, column 1"),
    ("an unknown kind", lambda: arrays("t", REAL, kind="reel"), "unknown kind 'reel'"),
    ("too few kinds", lambda: arrays("t", REAL, kind=("real", "real")), "one for each column"),
    ("a kind of images", lambda: arrays("t", np.zeros((3, 8, 8)), kind="real"), "only vectors"),
    ("a white of vectors", lambda: arrays("t", REAL, white=255), "only images have a full pixel"),
    ("a mask of integers", lambda: arrays("t", REAL, mask=np.ones(REAL.shape, int)), "mask has to be bool"),
    ("no rows", lambda: arrays("t", np.zeros((0, 3))), "at least one row"),
    ("Bernoulli counts", lambda: build("vae", Space((6,), "count"), likelihood="bernoulli"), "is none for counts"),
    ("Poisson reals", lambda: build("vae", Space((6,), "real"), likelihood="poisson"), "is none for real numbers"),
    ("a likelihood of columns", lambda: build("vae", SOURCES["mixed"].space, likelihood="poisson"), "'mixed'"),
    ("a convolution", lambda: build("vae", (6,), "conv"), "takes images, not vectors of 6 numbers; choose one of: mlp"),
    ("pseudo-inputs", lambda: build("vamp_vae", SOURCES["category"].space), "choose prior='mixture'"),
    ("noisy counts", lambda: build("denoising_vae", SOURCES["count"].space), "choose 'masking'"),
    (
        "noisy columns",
        lambda: build("denoising_autoencoder", SOURCES["mixed"].space, corruption="gaussian"),
        "'masking'",
    ),
    ("a kind of one's own", lambda: build("vamp_vae", (6,), kind="count"), "takes no 'kind'"),
    ("a grid of a vector", lambda: build("vq_vae", (6,), "residual"), "takes images, not vectors of 6 numbers"),
    ("quadrants", lambda: quadrants(), "a vector has no quadrants"),
]


def quadrants():
    method = build("conditional_vae", (6,), latents=2, width=4, condition="quadrant1")
    method.init(jax.random.key(0), Batch(jnp.zeros((2, 6))))


@pytest.mark.parametrize(("call", "line"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_does_not_fit_is_one_line(call, line):
    with pytest.raises(InputError) as error:
        call()
    assert line in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) <= 400


@pytest.mark.parametrize("space", SOURCES)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_serves_a_space_or_says_what_does(name, space):
    """A step of training has finite gradients, of which padding changes no bit."""
    source, options = SOURCES[space], OPTIONS.get((name, space), OPTIONS.get(name, {}))
    width = (6, 4) if name.startswith("stacked") else 6
    if space in REFUSED.get(name, ()):
        with pytest.raises(InputError, match=r"is for (images|data of kind|data without missing)") as refused:
            build(name, source.space, latents=2, width=width, **options)
        assert "choose 'vae'" in str(refused.value)
        return
    method = build(name, source.space, latents=2, width=width, **options)
    batch = source.at(source.data, jnp.arange(12))
    params = method.init(jax.random.key(0), batch)
    slope = jax.jit(jax.grad(method.loss, has_aux=True), compiler_options={"xla_backend_optimization_level": 0})

    def gradient(x):
        return slope(params, method.hyper, batch._replace(x=x), jax.random.key(1), jnp.int32(0))

    found = gradient(batch.x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    if batch.mask is not None:
        padded = gradient(jnp.where(batch.mask, batch.x, 50.0))
        jax.tree.map(np.testing.assert_array_equal, found, padded)


class Linear(nn.Module):
    """x -> parameters [B, out], one dense layer for each."""

    out: int

    @nn.compact
    def __call__(self, x, parameters):
        return tuple(nn.Dense(self.out)(x) for _ in range(parameters))


def test_factor_analysis_with_missing_values_has_its_exact_likelihood():
    """x = W z + b + noise: what is there of x is Gaussian, too. Importance samples come from the prior."""
    scale, data = 0.7, 5
    method = vae(Linear(2), Linear(data), FixedGaussian(scale))
    source = arrays("table", REAL)
    batch = source.at(source.data, jnp.arange(40))
    params = method.init(jax.random.key(0), batch)
    nothing = jax.tree.map(jnp.zeros_like, params["encoder"])  # q(z | x) = N(0, I)
    params = {**params, "encoder": nothing}
    found = metrics.log_likelihood(method, params, batch, jax.random.key(2), samples=20_000)
    dense = params["decoder"]["params"]["Dense_0"]
    weights, bias = np.asarray(dense["kernel"], np.float64), np.asarray(dense["bias"], np.float64)
    whole = weights.T @ weights + scale**2 * np.eye(data)
    exact = []
    for x, there in zip(np.asarray(batch.x, np.float64), np.asarray(batch.mask), strict=True):
        part = whole[np.ix_(there, there)]
        exact.append(multivariate_normal(bias[there], part).logpdf(x[there]) if there.any() else 0.0)
    assert found["log_likelihood"] == pytest.approx(np.mean(exact), abs=0.05)
    elements = np.asarray(batch.mask).sum() / 40
    assert elements < data and found["bits_per_dim"] == pytest.approx(-found["log_likelihood"] / elements / np.log(2))
    annealed = metrics.annealed_importance_sampling(
        method, params, batch, jax.random.key(3), steps=100, chains=4, leapfrogs=3, images=None
    )
    assert annealed["log_likelihood"] == pytest.approx(np.mean(exact), abs=0.05)
    assert annealed["bits_per_dim"] == pytest.approx(-annealed["log_likelihood"] / elements / np.log(2))


def test_what_is_measured_does_not_depend_on_what_is_hidden():
    """KL, active units, squared error, codes and estimates of log p(x) of a table padded by 0, and by 50."""
    source = SOURCES["real"]
    method = build("vae", source.space, latents=2, width=6)
    params = jax.tree.map(
        lambda leaf: leaf[None], method.init(jax.random.key(0), source.at(source.data, jnp.arange(2)))
    )
    one = jax.tree.map(lambda leaf: leaf[0], params)
    hidden = jnp.where(jnp.isfinite(REAL), source.data["x"], 50.0)
    assert (hidden == 50).any()
    found = []
    for each in (source, source._replace(data=source.data | {"x": hidden})):
        table = vaejax.measure(method, each, params).set_index("metric")["value"].to_dict()
        estimate = metrics.log_likelihood(method, one, each, jax.random.key(1), samples=10)
        found.append((table, estimate, codes(method, each, params, np.arange(60))))
    assert {"elbo", "kl_latent_1", "active_units", "squared_error"} <= set(found[0][0])
    assert found[0][:2] == found[1][:2]
    np.testing.assert_array_equal(found[0][2], found[1][2])


def test_a_table_goes_the_whole_way_to_a_page_and_is_opened_again(tmp_path):
    path = tmp_path / "run"
    sizes = {"seeds": 1, "steps": 20, "batch_size": 16, "latents": 2, "width": 8, "images": 40}
    run = vaejax.run(Experiment(SOURCES["mixed"], "beta_vae", {"beta": [1, 4]}, **sizes), path)
    assert run.report().exists() and np.isfinite(run.results["value"]).all()
    opened = load_run(path, source=SOURCES["mixed"])
    assert opened.method == run.method
    jax.tree.map(np.testing.assert_array_equal, opened.params, run.params)


def test_vectors_of_a_file_have_one_kind_in_both_splits(tmp_path):
    np.savez(tmp_path / "x.npz", x=REAL, label=LABEL)
    train, test = (load(f"npz:{tmp_path / 'x.npz'}", split) for split in ("train", "test"))
    assert train.size + test.size == 60 and train.space == test.space == SOURCES["real"].space
    np.savez(tmp_path / "y.npz", x=COUNTS, x_test=COUNTS[:7], kind="category", label_test=LABEL[:7])
    both = [load(f"npz:{tmp_path / 'y.npz'}", split) for split in ("train", "test")]
    assert [source.size for source in both] == [60, 7] and both[0].space == both[1].space
    levels = tuple((COUNTS.max(axis=0) + 1).tolist())
    assert both[0].space.levels == (levels if len(set(levels)) > 1 else levels[0])


@pytest.mark.slow
def test_counts_give_back_their_dispersion_and_their_groups(tmp_path):
    """Simulated cells of five kinds, of known depth, with a variance of mean + mean^2 / 2."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    random, theta = np.random.default_rng(0), 2.0
    group, depth = random.integers(0, 5, 2000), 1000 * np.exp(random.normal(0, 0.4, 2000))
    mean = random.dirichlet(np.full(30, 0.5), 5)[group] * depth[:, None]
    np.savez(tmp_path / "counts.npz", x=random.negative_binomial(theta, theta / (theta + mean)), label=group)
    run = vaejax.run(
        Experiment(f"npz:{tmp_path / 'counts.npz'}", "vae", seeds=1, steps=2000, latents=4, width=64, images=200)
    )
    source, params = run.source("train"), run.params_of(0)
    batch = source.at(source.data, jnp.arange(source.size))
    codes = run.method.encode(params, batch).mean
    found = KMeans(5, n_init=20, random_state=0).fit_predict(np.asarray(codes, np.float64))
    assert adjusted_rand_score(np.asarray(batch.label), found) >= 0.9
    likelihood = run.method.decode(params, codes, batch)
    assert np.median(np.exp(likelihood.log_theta)) == pytest.approx(theta, rel=0.1)
