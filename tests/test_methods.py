"""Every method through every property it has to have, and every capability it claims."""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from vaejax import METHODS, Batch, InputError, apply, build, fit, grid, load_run, testing, train
from vaejax.data import load
from vaejax.distributions.basic import Bernoulli, Delta, Gaussian
from vaejax.distributions.conditions import Conditioned
from vaejax.distributions.spaces import ALLOWED
from vaejax.method import Method
from vaejax.methods.hierarchical_vae import TopDownGaussian
from vaejax.networks.quantizer import Codes
from vaejax.storage.folder import claim
from vaejax.testing import check_method
from vaejax.training import sweep

SHAPE = (8, 8, 1)
DIGITS = load("digits")


class Row(NamedTuple):
    """What the property table has to know of a method.

    Fields:
      strengths: two values of the hyperparameter that makes it what it is.
      none: the strength at which it is `plain`.
      learns: the metric that training lowers.
      structure: small sizes.
      groups: of parameters, beside `encoder` and `decoder`.
      posterior: what `encode` gives.
      latents: how many numbers a code is, with the networks' 3.
      network: which it is trained with, and its `plain`, too.
    """

    strengths: dict[str, list[float]]
    none: dict[str, float] | None = None
    plain: str = "vae"
    learns: str = "loss"
    structure: dict[str, Any] = {}  # noqa: RUF012
    fixed: dict[str, float] = {}  # noqa: RUF012
    groups: tuple[str, ...] = ()
    posterior: type = Gaussian
    latents: int = 3
    network: str = "mlp"


TABLE = {
    "vae": Row({"learning_rate": [1e-3, 3e-3]}),
    "iwae": Row({"learning_rate": [1e-3, 3e-3]}, structure={"samples": 3, "estimator": "dreg"}),
    "beta_vae": Row({"beta": [2, 8]}, {"beta": 1}),
    "annealed_beta": Row({"beta": [1, 4]}, {"beta": 1, "anneal_steps": 0}, learns="reconstruction"),
    "annealed_capacity": Row(
        {"c_max": [5, 20]}, {"gamma": 1, "c_max": 0}, learns="reconstruction", fixed={"anneal_steps": 50}
    ),
    "factor_vae": Row(
        {"gamma": [5, 35]},
        {"gamma": 0},
        learns="reconstruction",  # its loss depends on an opponent who learns, too
        structure={"discriminator_width": 16, "discriminator_depth": 2},
        groups=("discriminator",),
    ),
    "beta_tcvae": Row({"beta": [2, 6]}, {"beta": 1}, structure={"estimator": "mss", "size": DIGITS.size}),
    "dip_vae_i": Row({"lambda_od": [1, 10]}, {"lambda_od": 0}),
    "dip_vae_ii": Row({"lambda_od": [1, 10]}, {"lambda_od": 0}),
    "autoencoder": Row({"learning_rate": [1e-3, 3e-3]}, posterior=Delta),
    "sparse_autoencoder": Row({"lambda_l1": [0.1, 1]}, {"lambda_l1": 0}, plain="autoencoder", posterior=Delta),
    "kl_sparse_autoencoder": Row({"lambda_kl": [0.3, 1]}, posterior=Delta),
    "k_sparse_autoencoder": Row({"learning_rate": [1e-3, 3e-3]}, structure={"k": 2}, posterior=Delta),
    "contractive_autoencoder": Row(
        {"lambda_contractive": [0.01, 0.1]},
        {"lambda_contractive": 0},
        plain="autoencoder",
        structure={"estimator": "hutchinson", "probes": 2},
        posterior=Delta,
    ),
    "denoising_autoencoder": Row({"level": [0.1, 0.4]}, {"level": 0}, plain="autoencoder", posterior=Delta),
    "denoising_vae": Row({"level": [0.05, 0.2]}, {"level": 0}),
    "stacked_autoencoder": Row(
        {"level": [0, 0.25]},
        {"pretrain_steps": 0},
        plain="autoencoder",
        fixed={"pretrain_steps": 30},  # three layers; the first learns as long as the loss is looked at
        posterior=Delta,
        network="mlp_sigmoid",
    ),
    "stacked_classifier": Row(
        {"level": [0, 0.25]},
        fixed={"pretrain_steps": 30},
        groups=("classifier",),
        posterior=Delta,
        network="mlp_sigmoid",
    ),
    "conditional_vae": Row(
        {"learning_rate": [1e-3, 3e-3]},
        structure={"condition": "label", "classes": 10, "prior": "learned"},
        groups=("prior",),
        posterior=Conditioned,
        latents=3 + 10,
    ),
    "vamp_vae": Row({"learning_rate": [1e-3, 3e-3]}, structure={"components": 5}, groups=("prior",)),
    "wae_mmd": Row({"lambda_mmd": [1, 10]}, {"lambda_mmd": 0}, plain="autoencoder", posterior=Delta),
    "info_vae": Row({"lambda_mmd": [10, 100]}, {"alpha": 0, "lambda_mmd": 1}),
    "adversarial_autoencoder": Row(
        {"lambda_adversarial": [1, 10]},
        {"lambda_adversarial": 0},
        plain="autoencoder",
        learns="reconstruction",
        structure={"discriminator_width": 16, "discriminator_depth": 2},
        groups=("discriminator",),
        posterior=Delta,
    ),
    "vq_vae": Row(
        {"commitment": [0.1, 1]},
        learns="reconstruction",
        structure={"codes": 8},
        groups=("codebook",),
        posterior=Codes,
    ),
    "fsq_vae": Row(
        {"learning_rate": [1e-3, 3e-3]}, structure={"levels": (5, 4, 3)}, groups=("scale",), posterior=Codes
    ),
    "hierarchical_vae": Row(
        {"free_bits": [0, 0.5]},
        fixed={"anneal_steps": 50, "skip_above": 1e4},
        learns="reconstruction",  # its loss begins without the KL
        structure={"blocks": "1x2"},
        posterior=TopDownGaussian,
        latents=2 * 3,
        network="hierarchical",
    ),
}
WITH_NONE = [name for name, row in TABLE.items() if row.none is not None]
OTHERS = [  # other networks and likelihoods, whose gradients and training the table doesn't see
    *[(method, "mlp", likelihood) for method in ("vae", "autoencoder") for likelihood in ALLOWED["unit"][1:]],
    ("factor_vae", "conv", "bernoulli"),
    ("autoencoder", "conv_k2", "bernoulli"),
    ("conditional_vae", "conv", "gaussian"),
]
quickly_compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
CASES = [*[(method, row.network, "bernoulli") for method, row in TABLE.items()], *OTHERS]


def blobs(data, key) -> Batch:
    """32 images of one bright square each, at a random place; the label says in which row."""
    corner = jax.random.randint(key, (32, 2), 0, 5)
    inside = (jnp.arange(8) - corner[..., None]) // 4 == 0  # [32, 2, 8]
    x = (inside[:, 0, :, None] & inside[:, 1, None, :])[..., None].astype(jnp.float32)
    return Batch(x, label=corner[:, 0])


@cache
def built(method: str, network: str | None = None, likelihood: str = "bernoulli") -> Method:
    network = network or TABLE[method].network
    width = 4 if network.startswith("conv") else 32
    return build(method, SHAPE, network, latents=3, width=width, likelihood=likelihood, **TABLE[method].structure)


def digits(data, key) -> Batch:
    return DIGITS.sample(data, key, 32)


def started(case, seed: int = 0) -> train.State:
    """The state at step 0 that `fit` starts from."""
    method = built(*case)
    return testing.alone(method, DIGITS.sample, 32)[0](as_floats(method.hyper), seed, DIGITS.data)


def as_floats(hyper):
    return jax.tree.map(jnp.float32, hyper)


def alone(name: str, steps: int, hyper, seed: int = 0, network: str | None = None):
    """The parameters of one run after so many steps of a program of its own, and the metrics of each."""
    network = network or TABLE[name].network
    go_on = testing.alone(built(name, network), DIGITS.sample, 32)[1]
    state, found = started((name, network, "bernoulli"), seed), []
    for _ in range(steps):
        state, metrics = go_on(as_floats(hyper), DIGITS.data, state)
        found.append(metrics)
    return state.params, {metric: np.array([step[metric] for step in found]) for metric in found[0]}


def trained(name: str, steps: int, network: str | None = None, **axes) -> sweep.Result:
    """The runs of `axes`, two of them vmapped on each of two devices."""
    return fit(built(name, network), DIGITS, runs_of(name, network, **axes), steps=steps, batch_size=32, chunk=2)


def runs_of(name: str, network: str | None = None, **axes):
    """Two seeds of every combination of `axes`."""
    axes = {"learning_rate": 3e-3, **TABLE[name].fixed, **(axes or TABLE[name].strengths)}
    return grid(built(name, network).hyper, 2, **axes)


@cache
def table_run(name: str) -> sweep.Result:
    """Two strengths by two seeds, 200 steps: 20 calls of one program of 10 steps."""
    return trained(name, 200)


def test_every_method_is_in_the_property_table():
    assert set(TABLE) == set(METHODS)


@pytest.mark.parametrize("name", TABLE)
def test_200_steps_lower_the_loss_and_every_metric_is_finite_from_step_0(name):
    result = table_run(name)
    assert result.status == ["finished"] * 4 and (result.taken == 200).all()
    assert all(np.isfinite(values).all() for values in result.history.values())  # means that hold every step
    learnt = result.history[TABLE[name].learns]
    assert (learnt[:, -3:].mean(axis=1) < learnt[:, :3].mean(axis=1) - 1).all()


@pytest.mark.parametrize("name", TABLE)
def test_gradients_reach_every_parameter(name):
    result, earlier = table_run(name), trained(name, 10)
    assert set(result.params) == {"encoder", "decoder", *TABLE[name].groups}
    for run in range(4):
        assert unmoved(result.params_of(run), earlier.params_of(run)) == []


@pytest.mark.parametrize("name", TABLE)
def test_a_method_has_every_property_that_is_checked_of_anybodys(name):
    check_method(built(name), DIGITS, runs=runs_of(name))


@pytest.mark.parametrize(("name", "more"), [*((name, {}) for name in TABLE), ("denoising_vae", {"samples": 4})])
def test_devices_that_share_a_batch_share_its_work(name, more):
    """Of the operations of a gradient, each of two devices has about half; those of the parameters are few here."""
    row, batch = TABLE[name], Batch(jnp.zeros((256, *SHAPE)), label=jnp.zeros(256, jnp.int32))
    method = build(name, SHAPE, row.network, latents=3, width=32, **row.structure, **more)
    params = jax.eval_shape(method.init, jax.random.key(0), batch)

    def operations(devices: int) -> float:
        mesh = jax.make_mesh((devices,), ("batch",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
        everywhere, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("batch",)))
        shardings = {"in_shardings": (everywhere, split, everywhere), "out_shardings": everywhere}
        slope = quickly_compiled(
            lambda params, batch, key: jax.grad(method.loss, has_aux=True)(params, method.hyper, batch, key, 0),
            **shardings,
        )
        return slope.lower(params, batch, jax.random.key(0)).compile().cost_analysis()["flops"]

    assert operations(2) < 0.6 * operations(1)


@pytest.mark.parametrize("name", WITH_NONE)
def test_the_strength_none_is_exactly_the_plain_method(name):
    """Three steps give the same bits, where the compiler keeps to the order of the operations.

    At full effort it adds up the same numbers in an order of its own, which differs between programs: there the last
    bit of a float32 is free.
    """
    row, method, plain = TABLE[name], built(name), built(TABLE[name].plain, TABLE[name].network)
    params, metrics = alone(name, 3, method.hyper._replace(**row.none))
    expected, plain_metrics = alone(row.plain, 3, plain.hyper, network=row.network)
    jax.tree.map(np.testing.assert_array_equal, {group: params[group] for group in expected}, expected)
    for metric, values in plain_metrics.items():
        np.testing.assert_allclose(metrics[metric], values, rtol=1e-6)
    result = trained(name, 10, **row.none).params
    for group, leaves in trained(row.plain, 10, row.network, learning_rate=3e-3).params.items():
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), result[group], leaves)


@pytest.mark.parametrize("case", OTHERS, ids="-".join)
def test_other_networks_and_likelihoods_learn_with_every_parameter(case):
    method, begun = built(*case), started(case)
    hyper = method.hyper._replace(learning_rate=3e-3)
    state, metrics = quickly_compiled(lambda state: train.train(method, blobs, 200, hyper, (), state))(begun)
    assert int(state.step) == 200
    assert all(np.isfinite(values).all() for values in metrics.values())
    assert metrics["reconstruction"][-20:].mean() < metrics["reconstruction"][:20].mean() - 1
    assert unmoved(state.params, begun.params) == []


def unmoved(now, before) -> list[str]:
    """The parameters that no gradient has reached: Adam moves every number whose gradient was ever not 0."""
    leaves = jax.tree_util.tree_leaves_with_path(now)
    pairs = zip(leaves, jax.tree.leaves(before), strict=True)
    return [jax.tree_util.keystr(path) for (path, a), b in pairs if not np.abs(np.asarray(a) - b).max() > 0]


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_encode_decode_and_apply(case):
    method, state = built(*case), started(case)
    batch = blobs((), jax.random.key(2))
    posterior = method.encode(state.params, batch)
    assert posterior.mean.shape == (32, TABLE[case[0]].latents)
    assert isinstance(posterior, TABLE[case[0]].posterior)
    assert method.decode(state.params, posterior.mean).log_prob(batch.x).shape == batch.x.shape
    remade = apply.reconstruct(method, state.params, batch)
    np.testing.assert_allclose(remade, method.decode(state.params, posterior.mean).mean)
    if method.prior is not None:
        assert apply.generate(method, state.params, jax.random.key(0), batch).shape == (32, *SHAPE)


def test_a_traversal_moves_one_code_and_leaves_the_others():
    case = ("beta_vae", "mlp", "bernoulli")
    method, params = built(*case), started(case).params
    z, values = jnp.array([0.3, -1.0, 2.0]), jnp.array([-2.0, 0.3, 1.0])
    rows = apply.traverse(method, params, z, values)
    assert rows.shape == (3, 3, *SHAPE)
    for latent in range(3):
        for step, value in enumerate(values):
            alone = method.decode(params, z.at[latent].set(value)[None]).mean[0]
            np.testing.assert_allclose(rows[latent, step], alone, atol=1e-6)


def terms(name: str, **hyper):
    """The loss and its metrics with posteriors that differ; distortion, rate, posterior and z in float64 by hand."""
    method, params = built(name), started((name, "mlp", "bernoulli")).params
    params = {**params, "encoder": jax.tree.map(lambda leaf: 2 * leaf, params["encoder"])}
    batch, key = digits(DIGITS.data, jax.random.key(3)), jax.random.key(4)
    step = jnp.array(hyper.pop("step", 0))
    loss, metrics = jax.jit(method.loss)(params, method.hyper._replace(**hyper), batch, key, step)
    posterior = method.encode(params, batch)
    z = posterior.sample(key)
    likelihood = method.decode(params, z)
    assert isinstance(posterior, Gaussian) and isinstance(likelihood, Bernoulli)
    mean, log_var, logits, z = (np.asarray(a, np.float64) for a in (*posterior, likelihood.logits, z))
    p, x = 1 / (1 + np.exp(-logits)), np.asarray(batch.x, np.float64)
    distortion = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=(1, 2, 3)).mean()
    rate = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).sum(axis=1).mean()
    np.testing.assert_allclose([metrics["reconstruction"], metrics["kl"]], [distortion, rate], rtol=1e-5)
    return loss, metrics, distortion, rate, mean, log_var, z


def test_the_loss_of_the_beta_vae_is_the_equation():
    loss, _, distortion, rate, *_ = terms("beta_vae", beta=3.0)
    np.testing.assert_allclose(loss, distortion + 3 * rate, rtol=1e-5)


@pytest.mark.parametrize(("step", "beta"), [(0, 0.5), (30, 0.5 + 0.3 * 2.5), (100, 3.0), (10**6, 3.0)])
def test_the_loss_of_annealed_beta_is_the_equation(step, beta):
    loss, _, distortion, rate, *_ = terms("annealed_beta", beta=3.0, beta_start=0.5, anneal_steps=100.0, step=step)
    np.testing.assert_allclose(loss, distortion + beta * rate, rtol=1e-5)


@pytest.mark.parametrize(("step", "capacity"), [(0, 0.0), (30, 6.0), (100, 20.0), (10**6, 20.0)])
def test_the_loss_of_annealed_capacity_is_the_equation(step, capacity):
    loss, metrics, distortion, rate, *_ = terms(
        "annealed_capacity", gamma=7.0, c_max=20.0, anneal_steps=100.0, step=step
    )
    np.testing.assert_allclose(metrics["capacity"], capacity, rtol=1e-6)
    np.testing.assert_allclose(loss, distortion + 7 * abs(rate - capacity), rtol=1e-5)


@pytest.mark.parametrize("name", ["dip_vae_i", "dip_vae_ii"])
def test_the_loss_of_dip_vae_is_the_equation(name):
    loss, metrics, distortion, rate, mean, log_var, _ = terms(name, lambda_od=3.0, lambda_d_ratio=5.0)
    spread = np.cov(mean.T, bias=True)
    if name == "dip_vae_ii":
        spread += np.diag(np.exp(log_var).mean(axis=0))
    off = (spread**2).sum() - (np.diag(spread) ** 2).sum()
    penalty = 3 * off + 15 * ((np.diag(spread) - 1) ** 2).sum()
    np.testing.assert_allclose(metrics["dip"], penalty, rtol=1e-4)
    np.testing.assert_allclose(loss, distortion + rate + penalty, rtol=1e-5)


def test_the_loss_of_beta_tcvae_is_the_equation():
    """Minibatch-stratified sampling for batches of 32, by loops: 1/N itself, (N-M)/(N M) the next, 1/M the others."""
    loss, metrics, distortion, rate, mean, log_var, z = terms("beta_tcvae", beta=3.0)
    count, others = DIGITS.size, 31
    found = []
    for i in range(32):
        weights = np.full(32, 1 / others)
        weights[i], weights[(i + 1) % 32] = 1 / count, (count - others) / (count * others)
        given = np.exp(-0.5 * (z[i] - mean) ** 2 / np.exp(log_var)) / np.sqrt(2 * np.pi * np.exp(log_var))
        found.append(np.log(weights @ given.prod(axis=1)) - np.log(weights @ given).sum())
    assert np.abs(found).max() > 0.5
    np.testing.assert_allclose(metrics["total_correlation"], np.mean(found), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(loss, distortion + rate + 2 * np.mean(found), rtol=1e-5)


def test_the_loss_of_the_sparse_autoencoder_is_the_equation():
    case = ("sparse_autoencoder", "mlp", "bernoulli")
    (method, state), batch = (built(*case), started(case)), blobs((), jax.random.key(3))
    key, step, hyper = jax.random.key(0), jnp.array(0), method.hyper
    loss, metrics = method.loss(state.params, hyper._replace(lambda_l1=2.0), batch, key, step)
    codes = np.abs(np.asarray(method.encode(state.params, batch).mean)).sum(axis=1).mean()
    np.testing.assert_allclose(loss, metrics["reconstruction"] + 2 * codes, rtol=1e-5)


def test_equal_names_give_the_same_object_and_unknown_ones_the_nearest():
    assert build("vae", SHAPE, "mlp") is build("vae", SHAPE, "mlp")
    with pytest.raises(InputError, match="unknown method 'beta-vae'; did you mean 'beta_vae'"):
        build("beta-vae", SHAPE, "mlp")
    with pytest.raises(InputError, match="unknown likelihood 'gauss'; did you mean 'gaussian'"):
        build("vae", SHAPE, "mlp", likelihood="gauss")


@pytest.mark.parametrize(
    ("method", "structure", "message"),
    [
        ("vae", {"size": 9}, "the method 'vae' takes no 'size'; it has no options of its own"),
        ("beta_tcvae", {"sizes": 9}, "takes no 'sizes'; its options are: estimator, size"),
        ("beta_tcvae", {"estimator": "mvs"}, "unknown estimator 'mvs'; did you mean 'mws'"),
        ("beta_tcvae", {"estimator": "mss"}, "'mss' has to know the number of images: give size=N"),
        ("beta_tcvae", {"size": 0}, "at least 1 image"),
        ("factor_vae", {"discriminator_depth": 0}, "at least 1 layer of width 1, not 0 of 1000"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(method, structure, message):
    with pytest.raises(InputError, match=message):
        build(method, SHAPE, "mlp", **structure)


def test_options_are_rebuilt_from_a_run(tmp_path):
    """A FactorVAE with options goes through checkpoints and `load_run` to the same parameters."""
    model = {"method": "factor_vae", "network": "mlp", "latents": 3, "width": 32, **TABLE["factor_vae"].structure}
    path = tmp_path / "run"
    claim(path, {"source": {"name": "digits"}, "model": model, "shape": SHAPE}, overwrite=False)
    method = built("factor_vae")
    runs = grid(method.hyper, 2, learning_rate=3e-3, gamma=[5, 35])
    result = fit(method, DIGITS, runs, steps=10, batch_size=32, chunk=2, workdir=path)
    run = load_run(path)
    assert run.method.hyper == method.hyper
    jax.tree.map(np.testing.assert_array_equal, run.params, result.params)
