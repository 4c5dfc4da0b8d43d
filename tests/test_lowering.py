"""What an accelerator would be given: programs that are traced and lowered here, for CUDA and for TPU, and read.

Nothing is compiled or run. In a program of several runs there may be no float64, which TPUs emulate and GPUs are slow
at; no call of a function of the host, for which every step would wait; and no grouped convolution, which is what
`vmap` over weights makes of a convolution, and slow everywhere. Calls of libraries are listed where they are allowed.
"""

import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.test_methods import DIGITS, OTHERS, TABLE
from vaejax import Batch, InputError, build, code_prior, grid, train
from vaejax.apply.generate_codes import sample_codes
from vaejax.data import RENDERED, load
from vaejax.metrics import measure
from vaejax.metrics.annealed_importance_sampling import Annealing
from vaejax.metrics.log_likelihood import ImportanceSampling
from vaejax.metrics.records import SUITE
from vaejax.metrics.suite import _jitted, _Traced
from vaejax.networks.convolution import conv
from vaejax.target import target, traced_for
from vaejax.training import sweep

RUNS, IMAGES = 2, 8
ACCELERATORS = {"cuda": "gpu", "tpu": "tpu"}  # what they are called in lowering, and by jax.default_backend()
SOLVERS = {  # eigenvalues and singular values: of metrics, never of training
    "cuda": {"cusolver_syevd_ffi", "cusolver_gesvdj_ffi"},
    "tpu": {"Eigh", "Qr", "ProductOfElementaryHouseholderReflectors"},
}
FLOAT64 = re.compile(r"\b(?:\d+x)*f64\b")
GROUPS = re.compile(r"(?:feature|batch)_group_count = (\d+)")
CALLS = re.compile(r"stablehlo\.custom_call @(\S+?)\(|stablehlo\.(send|recv|infeed|outfeed)\b")


def faults(text, allowed=frozenset()):
    """What an accelerator should not be given, in the text of a lowered program."""
    assert text.startswith("module @") and "stablehlo." in text
    found = {"float64"} if FLOAT64.search(text) else set()
    found |= {"grouped convolution" for count in GROUPS.findall(text) if int(count) > 1}
    return found | {f"call of {a or b}" for a, b in CALLS.findall(text) if (a or b) not in allowed}


def lowered(function, *arguments, platforms=tuple(ACCELERATORS)):
    """Platform -> the text of the program, from one trace: forms are chosen between a CPU and everything else."""
    traced = (function if hasattr(function, "trace") else jax.jit(function)).trace(*arguments)
    return {platform: traced.lower(lowering_platforms=(platform,)).as_text() for platform in platforms}


def check(function, *arguments, allowed=None):
    """The texts for CUDA and TPU, in which nothing is at fault."""
    with traced_for("gpu"):
        texts = lowered(function, *arguments)
    for platform, text in texts.items():
        assert faults(text, (allowed or {}).get(platform, ())) == set(), platform
    return texts


def enlarged(data, key):
    """Digits of 16x16 pixels, so that a convolutional network has two layers."""
    batch = DIGITS.sample(data, key, IMAGES)
    return batch._replace(x=batch.x.repeat(2, axis=1).repeat(2, axis=2))


def digits(data, key):
    return DIGITS.sample(data, key, IMAGES)


@cache
def built(method, network, likelihood="bernoulli", blocks=None):
    convolutional = network in ("conv", "conv_k2", "residual")
    structure = {**TABLE[method].structure, **({"blocks": blocks} if blocks else {})}
    side, width = (16, 8) if convolutional else (8, 16)
    return build(method, (side, side, 1), network, latents=3, width=width, likelihood=likelihood, **structure)


def hypers(method):
    return jax.tree.map(lambda value: np.full(RUNS, value, np.float32), method.hyper)


def states(method, sample, data):
    """The shapes of what some runs are at step 0."""

    def of_run(hyper, seed, data):
        key = jax.random.key(seed)
        return train.init(method, hyper, key, sample(data, key))

    return jax.eval_shape(jax.vmap(of_run, (0, 0, None)), hypers(method), np.arange(RUNS), data)


def step(method, sample):
    return lambda hyper, state, data: train.train_step(method, sample, hyper, data, state)


STEPS = [
    *[(name, row.network) for name, row in TABLE.items()],
    *[(name, "conv") for name, row in TABLE.items() if row.network == "mlp"],
    *[case for case in OTHERS if case[:2] == ("vae", "mlp") or case[1] == "conv_k2"],
    ("vq_vae", "residual"),
    ("hierarchical_vae", "hierarchical", "bernoulli", "4x1"),
]


@pytest.mark.parametrize("case", STEPS, ids="-".join)
def test_a_training_step_lowers_for_every_accelerator(case):
    method = built(*case)
    sample = digits if case[1] in ("mlp", "mlp_sigmoid", "hierarchical") else enlarged
    together = jax.vmap(step(method, sample), (0, 0, None))
    texts = check(together, hypers(method), states(method, sample, DIGITS.data), DIGITS.data)
    assert all("stablehlo.dot_general" in text for text in texts.values())


SOURCES = [*sorted(set(RENDERED) - {"shapes3d"}), "digits", "digits+binarized", "sprites+correlated:x,y,0.2"]


@pytest.mark.parametrize("name", [*SOURCES, pytest.param("shapes3d", marks=pytest.mark.slow)])  # 5 s to load
def test_a_source_draws_on_the_accelerator(name):
    source = load(name, size=None if name.startswith("digits") else 16)
    check(jax.vmap(lambda data, seed: source.sample(data, jax.random.key(seed), IMAGES), (None, 0)),
          source.data, np.arange(RUNS))  # fmt: skip


def one_device():
    axes = {"axis_types": (jax.sharding.AxisType.Auto,), "devices": jax.devices()[:1]}
    return jax.make_mesh((1,), ("runs",), **axes)


def test_a_sweep_lowers_as_fit_calls_it():
    method, source = build("beta_vae", (16, 16, 1), "conv", latents=3, width=8), load("sprites", size=16)
    runs = grid(method.hyper, RUNS)
    advance, begin = sweep.programs(method, source.sample, IMAGES, one_device())
    check(begin, runs, source.data)
    texts = check(partial(advance, steps=3), runs.hyper, source.data, begin.eval_shape(runs, source.data))
    assert all("stablehlo.while" in text for text in texts.values())


TRAINED = [("vae", "mlp"), ("beta_vae", "conv")]


@cache
def parameters(*case):
    """The shapes of the parameters of some runs of a method; images of its size."""
    method, sample = built(*case), digits if case[1] == "mlp" else enlarged
    batch = jax.eval_shape(sample, DIGITS.data, jax.random.key(0))
    return method, states(method, sample, DIGITS.data).params, batch


@pytest.mark.parametrize("case", TRAINED, ids="-".join)
def test_codes_and_images_of_trained_runs_lower(case):
    method, params, batch = parameters(*case)

    def remade(params, batch):
        posterior = method.encode(params, batch)
        return posterior, method.decode(params, posterior.mean).mean

    check(jax.vmap(remade, (0, None)), params, batch)


@pytest.mark.parametrize("estimate", [ImportanceSampling(samples=20, chunk=5), Annealing(4, chains=2, leapfrogs=2)])
@pytest.mark.parametrize("case", TRAINED, ids="-".join)
def test_the_log_likelihood_of_trained_runs_lowers(case, estimate):
    method, params, batch = parameters(*case)
    check(jax.vmap(lambda params, batch: estimate(method, params, batch, jax.random.key(0)), (0, None)), params, batch)


def test_a_prior_over_codes_learns_and_draws_on_the_accelerator():
    prior = code_prior(codes=8, grid=(2, 2), width=8, depth=1, heads=2)
    grids = np.zeros((IMAGES, 2, 2, 1), np.float32)
    together = states(prior, lambda data, key: Batch(data), grids)
    one = step(prior, lambda data, key: Batch(data))
    check(jax.vmap(one, (0, 0, None)), hypers(prior), together, grids)
    drawn = lambda params: sample_codes(prior, params, jax.random.key(0), (IMAGES, 2, 2), 1.0)  # noqa: E731
    check(jax.vmap(drawn), together.params)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_the_measures_of_trained_runs_lower(network):
    source = load("sprites", size=16)  # has factors, so MIG is among them
    method = build("beta_vae", source.shape, network, latents=3, width=8)
    params = states(method, lambda data, key: source.sample(data, key, IMAGES), source.data).params
    check(lambda params, shared: measure._measure(
        method, source.at, 2 * IMAGES, max(source.sizes), one_device(), params, shared),
        params, (source.data, np.zeros((2, IMAGES), np.int32)))  # fmt: skip


@pytest.mark.parametrize("name", [name for name, record in SUITE.items() if not record.intervenes])
def test_a_metric_of_several_runs_lowers(name):
    images, test, codes, sizes = 40, 20, 4, (3, 2)
    z, z_test = np.zeros((RUNS, images, codes), np.float32), np.zeros((RUNS, test, codes), np.float32)
    known = {"z": z, "moved": z, "near_zero": z, "z_test": z_test, "moved_test": z_test, "near_zero_test": z_test}
    known |= dict.fromkeys(("unit", "weight", "deviation"), np.ones((RUNS, codes), np.float32))
    known |= {"triangle": np.zeros((RUNS, codes, codes), np.float32)}
    metric = SUITE[name]
    per_run = {need: known[need] for need in metric.needs if need in known} or {"z": z}
    shared = {"factors": np.zeros((images, 2), np.int32), "factors_test": np.zeros((test, 2), np.int32)}
    check(lambda per_run, shared: _jitted(_Traced(*metric[:3]), sizes, one_device(), per_run, shared),
          per_run, shared, allowed=SOLVERS)  # fmt: skip


def test_on_a_cpu_a_run_alone_has_plain_convolutions_and_vmapped_ones_would_be_grouped():
    method = built("vae", "conv")
    one, together = step(method, enlarged), states(method, enlarged, DIGITS.data)
    alone = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), together)
    (text,) = lowered(one, method.hyper, alone, DIGITS.data, platforms=["cpu"]).values()
    assert faults(text) == set() and "stablehlo.convolution" in text
    vmapped = jax.vmap(one, (0, 0, None))
    (text,) = lowered(vmapped, hypers(method), together, DIGITS.data, platforms=["cpu"]).values()
    assert faults(text) == {"grouped convolution"}


def calls_back(x):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


def prints(x):
    jax.debug.print("{}", x[0])
    return x


@pytest.mark.parametrize("function", [calls_back, prints])
@pytest.mark.parametrize("platform", ["cuda", "tpu", "cpu"])
def test_a_call_of_the_host_would_be_found(function, platform):
    """Either it can't be lowered from here, or it is a call that is not on the list."""
    try:
        (text,) = lowered(function, jnp.ones(3), platforms=[platform]).values()
    except ValueError as refusal:
        assert platform != "cpu" and "platform" in str(refusal)
    else:
        assert [fault for fault in faults(text) if fault.startswith("call of ")]


def test_float64_would_be_found():
    with jax.enable_x64(True):
        for value in (np.ones(()), np.ones(3), np.ones((2, 3))):
            assert all(faults(text) == {"float64"} for text in lowered(lambda x: 2 * x, value).values())
    assert all(faults(text) == set() for text in lowered(lambda x: 2 * x, np.ones((2, 3))).values())


def test_programs_for_another_backend_are_kept_apart_and_give_the_same_numbers():
    rng, halved = np.random.default_rng(0), jax.jit(lambda x, w: conv(x, w))
    arrays = rng.normal(size=(2, 8, 8, 6)).astype(np.float32), rng.normal(size=(4, 4, 6, 5)).astype(np.float32)
    plain = halved(*arrays)
    with traced_for("tpu"):
        assert target() == "tpu"
        other = halved(*arrays)
    assert target() == "cpu"
    assert halved._cache_size() == 2
    np.testing.assert_allclose(other, plain, rtol=1e-5, atol=1e-4)
    with pytest.raises(InputError, match="unknown backend 'cuda'"):
        traced_for("cuda")
