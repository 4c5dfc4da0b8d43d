"""What is wrong with a method, its options, its networks or its runs is said in one line before anything compiles."""

import dataclasses
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from flax import linen as nn

import vaejax
from vaejax import METHODS, Batch, InputError, Method, Runs, build, fit, grid, iwae, vae
from vaejax.distributions import (
    Bernoulli,
    FixedGaussian,
    Gaussian,
    LearnedGaussian,
    LogisticMixture,
    PixelLevels,
)
from vaejax.hyper import Range
from vaejax.methods.parts.constructor import options_of
from vaejax.networks import network
from vaejax.training.contract import check_method, check_runs

SHAPE = (8, 8, 1)
IMAGE = Batch(jax.ShapeDtypeStruct((1, *SHAPE), jnp.float32))
SOURCE = vaejax.data.load("digits")
MLP = network("mlp", SHAPE, 3, 8)
GOOD = vae(*MLP)
HYPER = build("beta_vae", SHAPE, "mlp").hyper
RUNS = grid(GOOD.hyper, 2)
RESULT = vaejax.Result(
    GOOD, RUNS, {"w": np.arange(4.0).reshape(2, 2)}, np.arange(1), {}, np.ones(2, int), ["finished"] * 2
)


class Rate(NamedTuple):
    rate: Any = 1e-3


@dataclasses.dataclass(frozen=True)
class Data:
    rate: float = 1e-3


class Encoder(nn.Module):
    """What a user writes; `how` says what is wrong with it."""

    how: str = ""

    @nn.compact
    def __call__(self, x, parameters):
        h = x.reshape(len(x), -1)
        if self.how == "batch norm":
            h = nn.BatchNorm(use_running_average=False)(h)
        if self.how == "batch norm undecided":
            h = nn.BatchNorm()(h)
        if self.how == "state":
            self.variable("seen", "count", lambda: jnp.zeros(()))
        z = nn.Dense(3)(h)
        return {
            "one array": lambda: z,
            "too many": lambda: (z,) * (parameters + 1),
            "too few": lambda: (z,) * (parameters - 1),
            "dict": lambda: {"mean": z, "log_var": z},
            "whole numbers": lambda: (z.astype(int),) * parameters,
            "no batch": lambda: (z[0],) * parameters,
            "two shapes": lambda: (z, z[:, :1])[:parameters],
            "grid": lambda: (x.reshape(len(x), 4, 4, 4),) * parameters,
            "bug": lambda: undefined,  # noqa: F821
        }.get(self.how, lambda: (z,) * parameters)()


class Decoder(nn.Module):
    shape: tuple[int, ...] = SHAPE

    @nn.compact
    def __call__(self, z, parameters):
        return (nn.Dense(int(np.prod(self.shape)))(z).reshape(-1, *self.shape),) * parameters


class Ranged(NamedTuple):
    log_scale: float = -1.0
    scale: Annotated[float, Range(0.5, 2)] = 1.0
    steps: Annotated[float, Range(2)] = 10.0


class Sampled(NamedTuple):
    """A posterior that doesn't say that it has no density."""

    mean: Any

    def sample(self, key):
        return self.mean


class Alone(nn.Module):
    """It doesn't take the number of arrays."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x.reshape(len(x), -1))


def loss(params, hyper, batch, key, step):
    return GOOD.loss(params, hyper, batch, key, step)


def changed(gives=None, **fields):
    """The VAE with other fields, or with what this makes of its loss and its metrics."""
    if gives is not None:
        fields["loss"] = lambda *arguments: gives(*GOOD.loss(*arguments))
    return lambda: check_method(GOOD._replace(**fields), IMAGE)


def own(encoder=None, decoder=None, make=vae):
    return lambda: check_method(make(encoder or Encoder(), decoder or Decoder()), IMAGE)


def built(method="vae", shape=SHAPE, network="mlp", **options):
    return lambda: build(method, shape, network, **options)


def runs(*arguments, **axes):
    return lambda: grid(*(arguments or (HYPER, 2)), **axes)


def of(method, network="mlp", corruption=None, **axes):
    """Runs of a method by name."""
    structure = {} if corruption is None else {"corruption": corruption}
    return lambda: grid(build(method, SHAPE, network, **structure).hyper, 2, **axes)


def mixed(params, batch):
    return GOOD.encode(params, batch).mean


OPTIONS = [  # a value of another type for every option of every method
    (f"{method}-{name}-{value!r}"[:60], partial(build, method, SHAPE, **{name: value}), "has to be")
    for method, make in METHODS.items()
    for name, parameter in options_of(make).items()
    for value in (("x", 1.5, True, [[1]]) if "int" in str(parameter.annotation) else (3, ("a",), True))
]
BUILD = [
    ("method-None", partial(build, None, SHAPE), "method has to be a name, not None"),
    ("method-3", partial(build, 3, SHAPE), "method has to be a name, not 3"),
    ("method-constructor", partial(build, vae, SHAPE), "method has to be a name"),
    ("method-list", partial(build, ["vae"], SHAPE), "method has to be a name"),
    ("shape-2", built(shape=(8, 8)), "such as (28, 28, 1), or (D,) of a vector, not (8, 8)"),
    ("shape-4", built(shape=(1, 8, 8, 1)), "a shape is (height, width, channels)"),
    ("shape-text", built(shape="8x8x1"), "a shape is (height, width, channels)"),
    ("shape-texts", built(shape=("8", "8", "1")), "whole number, not '8'"),
    ("shape-None", built(shape=None), "a shape is (height, width, channels)"),
    ("shape-8", built(shape=8), "a shape is (height, width, channels)"),
    ("shape-0", built(shape=(0, 8, 1)), "at least 1, not 0"),
    ("shape-negative", built(shape=[8, -8, 1]), "at least 1, not -8"),
    ("shape-floats", built(shape=(8.0, 8.0, 1.0)), "whole number, not 8.0"),
    ("shape-nested", built(shape=[[8], [8], [1]]), "a shape is (height, width, channels)"),
    ("shape-source", built(shape=SOURCE), "a shape is (height, width, channels)"),
    ("latents-text", built(latents="10"), "latents has to be a whole number, not '10'"),
    ("latents-3.0", built(latents=3.0), "latents has to be a whole number, not 3.0"),
    ("latents-None", built(latents=None), "latents has to be a whole number, not None"),
    ("latents-True", built(latents=True), "latents has to be a whole number, not True"),
    ("latents-0", built(latents=0), "at least 1 latent"),
    ("latents-list", built(latents=[3]), "latents has to be a whole number"),
    ("width-text", built(width="16"), "width has to be whole numbers"),
    ("width-list", built(width=[16, 16]), "takes one width, not (16, 16)"),
    ("width-float", built(width=16.0), "width has to be a whole number, not 16.0"),
    ("width-texts", built(network="mlp_relu", width=["16"]), "width has to be a whole number, not '16'"),
    ("width-empty", built(network="mlp_relu", width=[]), "at least 1 latent and width 1"),
    ("width-0", built(network="mlp_relu", width=(16, 0)), "at least 1 latent and width 1"),
    ("width-dict", built(width={"a": 1}), "width has to be whole numbers"),
    ("network-3", built(network=3), "network has to be a name, not 3"),
    ("network-empty", built(network=""), "unknown network ''"),
    ("network-modules", built(network=MLP), "network has to be a name"),
    ("network-residual", built(network="residual"), "for the method vq_vae or fsq_vae alone; for vae choose 'conv'"),
    ("network-residual-ae", built("autoencoder", network="residual"), "for autoencoder choose 'conv'"),
    ("network-hierarchical", built(network="hierarchical"), "for the method hierarchical_vae alone"),
    ("network-of-hierarchical", built("hierarchical_vae", network="conv"), "needs the network 'hierarchical'"),
    ("network-of-stacked", built("stacked_autoencoder", network="conv"), "use the network 'mlp_sigmoid'"),
    ("conv-odd", built(shape=(9, 9, 1), network="conv"), "use the network 'mlp'"),
    ("residual-odd", built("vq_vae", (9, 9, 1), "residual"), "pad or crop"),
    ("likelihood-3", built(likelihood=3), "likelihood has to be a name, not 3"),
    ("likelihood-class", built(likelihood=Bernoulli), "likelihood has to be a name"),
    ("option-unknown", built(codes=3), "the method 'vae' takes no 'codes'"),
    ("levels-text", built("fsq_vae", levels="8"), "levels has to be whole numbers"),
    ("levels-floats", built("fsq_vae", levels=(8.0, 5)), "levels has to be a whole number, not 8.0"),
    ("levels-many", built("fsq_vae", levels=[100] * 5), "10,000,000,000 codes"),
    ("levels-2", built("fsq_vae", levels=[2, 3]), "at least 3 levels"),
    ("k-0", built("k_sparse_autoencoder", k=0), "at least k=1"),
    ("k-negative", built("k_sparse_autoencoder", k=-2), "at least k=1"),
    ("samples-1.5", built("iwae", samples=1.5), "samples has to be a whole number, not 1.5"),
    ("samples-None", built("iwae", samples=None), "samples has to be a whole number, not None"),
    ("samples-huge", built("iwae", samples=10**20), "samples has to be at most"),
    ("corruption-3", built("denoising_autoencoder", corruption=3), "corruption has to be a name, such as 'masking'"),
    ("classes-text", built("stacked_classifier", network="mlp_relu", classes="ten"), "whole number, not 'ten'"),
    ("blocks-3", partial(build, "hierarchical_vae", SHAPE, blocks=3), "blocks has to be a name, not 3"),
    ("blocks-text", partial(build, "hierarchical_vae", SHAPE, blocks="x"), "can't be read"),
    ("constructor-option", lambda: iwae(*MLP, samples="5"), "samples has to be a whole number, not '5'"),
    ("constructor-one", lambda: vae(MLP[0]), "vae takes (encoder, decoder, likelihood): missing"),
    ("constructor-pair", lambda: vae(MLP, Bernoulli), "the encoder has to be a network"),
    ("constructor-name", lambda: vae("mlp", "mlp"), "vaejax.build takes networks by their names"),
    ("constructor-class", lambda: vae(Encoder, Decoder), "give an instance, Encoder(...)"),
    ("constructor-None", lambda: vae(Encoder(), None), "the decoder has to be a network"),
    ("constructor-likelihood", lambda: vae(*MLP, "bernoulli"), "vaejax.build takes likelihoods by their names"),
    ("constructor-family-class", lambda: vae(*MLP, LogisticMixture), "give an instance, LogisticMixture()"),
    ("constructor-family-None", lambda: vae(*MLP, None), "a family of distributions"),
    ("code-prior-codes", lambda: vaejax.code_prior("4", (2, 2)), "codes has to be a whole number, not '4'"),
    ("code-prior-grid", lambda: vaejax.code_prior(4, 4), "a prior needs"),
    ("gaussian-text", lambda: FixedGaussian("1"), "positive number, not '1'"),
    ("gaussian-None", lambda: LearnedGaussian(None), "positive, not None"),
    ("mixture-text", lambda: LogisticMixture("5"), "components has to be a whole number"),
    ("levels-of-pixels", lambda: PixelLevels(2.5), "levels has to be a whole number, not 2.5"),
]
GRID = [
    ("beta-text", runs(beta="16"), "beta has to be a number, or several as in beta=[1, 4], not '16'"),
    ("beta-texts", runs(beta=["1", "4"]), "beta has to be a number"),
    ("beta-bool", runs(beta=True), "beta has to be a number"),
    ("beta-bools", runs(beta=[True, 2]), "not True"),
    ("beta-numpy-bool", runs(beta=np.array([True])), "not True"),
    ("beta-None", runs(beta=None), "not None"),
    ("beta-nested", runs(beta=[[1, 2]]), "not [1, 2]"),
    ("beta-matrix", runs(beta=np.ones((2, 2))), "beta has to be a number"),
    ("beta-table", runs(beta=pd.DataFrame({"a": [1]})), "not 'a'"),
    ("beta-complex", runs(beta=1j), "not 1j"),
    ("beta-dict", runs(beta={1: 4}), "beta has to be a number"),
    ("beta-nan", runs(beta=[1, np.nan]), "finite number"),
    ("beta-huge", runs(beta=1e39), "at most 3.4e+38, not 1e+39"),
    ("beta-int-huge", runs(beta=10**400), "at most 3.4e+38"),
    ("beta-tiny", runs(beta=1e-50), "which float32 takes for 0"),
    ("beta-negative", runs(beta=-1), "not negative, not -1"),
    ("beta-less-than-tiny", runs(beta=-1e-50), "not negative"),
    (
        "level-above",
        runs(build("denoising_autoencoder", SHAPE, "mlp").hyper, 2, level=1.5),
        "a number from 0 to 1, not 1.5",
    ),
    (
        "level-below",
        of("stacked_autoencoder", "mlp_relu", level=[0.5, -0.1]),
        "a number from 0 to 1, not [",
    ),
    (
        "level-of-noise",
        of("denoising_vae", corruption="gaussian", level=-1),
        "not negative",
    ),
    (
        "decay-above",
        of("vq_vae", "residual", decay=1.01),
        "decay has to be a number from 0 to 1, not 1.01",
    ),
    (
        "rho-above",
        of("kl_sparse_autoencoder", rho=2),
        "rho has to be a number from 0 to 1",
    ),
    ("own-below", runs(Ranged(), 2, scale=0), "scale has to be a number from 0.5 to 2, not 0"),
    ("own-least", runs(Ranged(), 2, steps=1), "steps has to be a finite number that is at least 2, not 1"),
    ("own-any", runs(Ranged(), 2, log_scale=-np.inf), "log_scale has to be a finite number, not -inf"),
    ("own-huge", runs(Ranged(), 2, log_scale=-1e39), "at most 3.4e+38 in size, not -1e+39"),
    ("own-tiny", runs(Ranged(), 2, log_scale=-1e-50), "which float32 takes for 0"),
    ("own-default", runs(Ranged(scale=3.0), 2), "scale has to be a number from 0.5 to 2, not 3.0"),
    ("own-unknown", runs(Ranged(), 2, scal=1), "choose one of: log_scale, scale (0.5 to 2), steps (from 2)"),
    ("unknown-with-ranges", runs(alpha=1), "choose one of: beta (from 0), learning_rate (from 0)"),
    ("beta-twice", runs(beta=[1, 4, 1]), "give every value once"),
    ("beta-close", runs(beta=[1, 1 + 1e-9]), "1 and 1.000000001, which float32 takes for the same"),
    ("beta-none", runs(beta=[]), "at least one seed and one value"),
    ("name", runs(bta=1), "did you mean 'beta'"),
    ("seeds-text", runs(HYPER, "12"), "seeds has to be a whole number, not '12'"),
    ("seeds-None", runs(HYPER, None), "seeds has to be a whole number, not None"),
    ("seeds-True", runs(HYPER, True), "seeds has to be a whole number, not True"),
    ("seeds-3.0", runs(HYPER, 3.0), "seeds has to be a whole number, not 3.0"),
    ("seeds-floats", runs(HYPER, [0.5, 1.7]), "a seed has to be a whole number, not 0.5"),
    ("seeds-texts", runs(HYPER, ["0", "1"]), "a seed has to be a whole number, not '0'"),
    ("seeds-bools", runs(HYPER, [True, False]), "a seed has to be a whole number"),
    ("seeds-nones", runs(HYPER, [None]), "a seed has to be a whole number, not None"),
    ("seeds-twice", runs(HYPER, [0, 0]), "the seed 0 is given twice"),
    ("seeds-twice-numpy", runs(HYPER, np.array([3, 1, 3])), "the seed 3 is given twice"),
    ("seeds-negative", runs(HYPER, [-1]), "at least 0, not -1"),
    ("seeds-minus", runs(HYPER, -3), "seeds has to be at least 0"),
    ("seeds-2^31", runs(HYPER, [2**31]), "at most 2,147,483,647"),
    ("seeds-2^32", runs(HYPER, [2**32]), "at most 2,147,483,647"),
    ("seeds-huge", runs(HYPER, 99999999999999999999), "at most 2,147,483,647"),
    ("seeds-many", runs(HYPER, 10**9), "too many runs"),
    ("seeds-dict", runs(HYPER, {0: 1}), "seeds has to be a whole number"),
    ("seeds-none", runs(HYPER, []), "at least one seed"),
    ("seeds-matrix", runs(HYPER, np.zeros((2, 2), int)), "a seed has to be a whole number"),
    ("runs-many", runs(HYPER, 10**4, beta=range(1000)), "10,000,000 runs"),
    ("common", runs(HYPER, 2, common_random_numbers="no"), "True or False, not 'no'"),
    ("hyper-dict", runs({"beta": 1.0}, 2), "a NamedTuple of numbers"),
    ("hyper-dataclass", runs(Data(), 2), "a NamedTuple of numbers"),
    ("hyper-class", runs(type(HYPER), 2), "give an instance"),
    ("hyper-None", runs(None, 2), "a NamedTuple of numbers"),
    ("hyper-method", runs(GOOD, 2), "not the method itself"),
    ("hyper-tuple", runs((1.0,), 2), "a NamedTuple of numbers"),
    ("run-2", lambda: RESULT.params_of(2), "there are 2 runs, 0 to 1; not 2"),
    ("run-minus", lambda: RESULT.params_of(-1), "run has to be at least 0"),
    ("run-float", lambda: RESULT.params_of(1.0), "run has to be a whole number, not 1.0"),
    ("run-text", lambda: RESULT.params_of("0"), "run has to be a whole number"),
    ("run-None", lambda: RESULT.params_of(None), "0 to 1; not None"),
    ("run-list", lambda: RESULT.params_of([0, 1]), "run has to be a whole number"),
]
CONTRACT = [
    ("method-text", lambda: check_method("vae", IMAGE), "a method is what vaejax.build"),
    ("method-class", lambda: check_method(Method, IMAGE), "a method is what vaejax.build"),
    ("method-None", lambda: check_method(None, IMAGE), "a method is what vaejax.build"),
    ("method-constructor", lambda: check_method(vae, IMAGE), "call it with its networks"),
    ("method-result", lambda: check_method(RESULT, IMAGE), "give its .method"),
    ("method-module", lambda: check_method(Encoder(), IMAGE), "a method is what vaejax.build"),
    ("fit-text", lambda: fit("vae", SOURCE, RUNS, steps=1), "a method is what vaejax.build"),
    (
        "fit-runs",
        lambda: fit(GOOD, SOURCE, grid(HYPER, 1), steps=1),
        "the hyperparameters beta, learning_rate, and the",
    ),
    ("fit-batch-norm", lambda: fit(vae(Encoder("batch norm"), Decoder()), SOURCE, RUNS, steps=1), "nn.LayerNorm"),
    ("runs-text", lambda: check_runs(GOOD, "3"), "runs are what vaejax.grid"),
    ("runs-number", lambda: check_runs(GOOD, 3), "runs are what vaejax.grid"),
    ("runs-table", lambda: check_runs(GOOD, RUNS.table()), "runs are what vaejax.grid"),
    ("runs-one", lambda: check_runs(GOOD, RUNS.select(0)), "select runs by a slice"),
    ("runs-none", lambda: check_runs(GOOD, RUNS.select(slice(0))), "R at least 1"),
    ("runs-dict", lambda: check_runs(GOOD, Runs({"a": 1}, RUNS.seeds, RUNS.streams)), "these runs have the"),
    ("hyper-dict", changed(hyper={"learning_rate": 1e-3}), "a NamedTuple of numbers"),
    ("hyper-dataclass", changed(hyper=Data()), "a NamedTuple of numbers"),
    ("hyper-array", changed(hyper=Rate(np.ones(2))), "rate is array([1., 1.])"),
    ("hyper-jax", changed(hyper=Rate(jnp.ones(()))), "a NamedTuple of numbers"),
    ("hyper-text", changed(hyper=Rate("0.1")), "rate is '0.1'"),
    ("hyper-None", changed(hyper=Rate(None)), "rate is None"),
    ("hyper-bool", changed(hyper=Rate(True)), "rate is True"),
    ("hyper-nan", changed(hyper=Rate(float("nan"))), "rate has to be a finite number"),
    ("hyper-nested", changed(hyper=Rate(Rate())), "a NamedTuple of numbers"),
    ("hyper-other", changed(hyper=Rate()), "AttributeError: 'Rate' object has no attribute 'learning_rate'"),
    ("hyper-none", changed(hyper=None), "a NamedTuple of numbers"),
    ("init-None", changed(init=None), "init has to be a function, (key, batch) ->"),
    ("init-arguments", changed(init=lambda key: {}), "init has to be called as init(key, batch); this one takes (key)"),
    ("init-empty", changed(init=lambda key, batch: {}), "there are none in {}"),
    ("init-text", changed(init=lambda key, batch: {"w": "x"}), "init"),
    ("init-count", changed(init=lambda key, batch: {"n": jnp.zeros((), int)}), "['n'] is int32[], which no gradient"),
    (
        "init-state",
        changed(init=lambda key, batch: {"params": {"w": jnp.ones(1)}, "batch_stats": jnp.ones(1)}),
        "LayerNorm",
    ),
    ("encode-None", changed(encode=None), "encode has to be a function"),
    ("encode-array", changed(encode=mixed), "this one gives float32[2, 3], without sample"),
    ("encode-tuple", changed(encode=lambda p, b: (mixed(p, b),) * 2), "tuple of 2, without mean and sample"),
    ("encode-nothing", changed(encode=lambda p, b: None), "without mean and sample"),
    ("encode-no-batch", changed(encode=lambda p, b: Gaussian(*(mixed(p, b)[0],) * 2)), "floats [B, latents]"),
    ("encode-arguments", changed(encode=lambda params: 1), "encode has to be called as encode(params, batch)"),
    ("decode-array", changed(decode=lambda p, z, b: z), "decode has to give a distribution over examples"),
    ("decode-shape", changed(decode=lambda p, z, b: Bernoulli(z)), "images of shape (3,), but those of the source"),
    ("decode-arguments", changed(decode=lambda p: p), "decode has to be called as decode(params, latents, batch)"),
    ("prior-text", changed(prior="gaussian"), "prior has to be a function"),
    ("prior-distribution", changed(prior=Gaussian(0, 1)), "prior has to be a function"),
    ("encode-density", changed(encode=lambda p, b: Sampled(mixed(p, b)[:, 0])), "or say has_density = False"),
    ("generate-array", changed(generate=jnp.zeros(3)), "generate has to be a function"),
    ("generate-arguments", changed(generate=lambda p: p), "generate has to be called as generate(params, key, batch)"),
    ("generate-shape", changed(generate=lambda p, k, b: b.x[0]), "generate has to give new examples"),
    ("generate-fails", changed(generate=lambda p, k, b: b.x.undefined), "generate fails when it is traced"),
    ("classify-text", changed(classify="label"), "classify has to be a function"),
    (
        "classify-number",
        changed(classify=lambda p, b: 1.0),
        "give log p(class | x), floats [B, classes]",
    ),
    ("classify-other", changed(classify=lambda p, b: jnp.zeros((2, 4)), classes=3), "here [2, 3], not float32[2, 4]"),
    ("codebook-shape", changed(codebook=lambda p: jnp.zeros(3)), "codebook has to give the vectors of all codes"),
    ("codebook-alone", changed(codebook=lambda p: jnp.zeros((8, 3))), "without indices"),
    ("prior-array", changed(prior=lambda p, b: b.x), "without sample"),
    ("optimizer-optax", changed(optimizer=optax.adam(1e-3)), "optimizer has to be a function, (hyper) ->"),
    ("optimizer-text", changed(optimizer="adam"), "optimizer has to be a function"),
    ("optimizer-gives-text", changed(optimizer=lambda hyper: "adam"), "optax.adam(hyper.learning_rate), not 'adam'"),
    ("optimizer-gives-None", changed(optimizer=lambda hyper: None), "not None"),
    ("optimizer-gives-function", changed(optimizer=lambda hyper: optax.adam), "an optax.GradientTransformation"),
    ("optimizer-groups", changed(optimizer=lambda hyper: optax.multi_transform({}, {"a": "b"})), "optimizer fails"),
    ("loss-None", changed(loss=None), "loss has to be a function"),
    ("loss-arguments", changed(loss=lambda params, batch, key: 0), "loss(params, hyper, batch, key, step); this one"),
    ("loss-alone", changed(lambda loss, metrics: loss), "the pair (loss, metrics), a scalar and a dict of scalars"),
    ("loss-three", changed(lambda loss, metrics: (loss, metrics, 1)), "not tuple of 3"),
    ("loss-None-metrics", changed(lambda loss, metrics: (loss, None)), "its second part is NoneType"),
    ("loss-array-metrics", changed(lambda loss, metrics: (loss, loss)), "its second part is float32[]"),
    ("loss-turned", changed(lambda loss, metrics: (metrics, loss)), "its second part is float32[]"),
    ("loss-no-loss", changed(lambda loss, metrics: (loss, {"elbo": loss})), "(elbo) there is no 'loss'"),
    ("loss-no-metrics", changed(lambda loss, metrics: (loss, {})), "(none) there is no 'loss'"),
    ("loss-vector", changed(lambda loss, metrics: (loss[None], metrics)), "one float, such as a mean over the batch"),
    ("loss-int", changed(lambda loss, metrics: (loss.astype(int), metrics)), "one float"),
    ("loss-complex", changed(lambda loss, metrics: (loss + 0j, metrics)), "one float"),
    ("loss-text", changed(lambda loss, metrics: ("0.1", metrics)), "one float"),
    (
        "metric-vector",
        changed(lambda loss, metrics: (loss, {**metrics, "kl": loss[None]})),
        "the metric 'kl' has to be",
    ),
    (
        "metric-text",
        changed(lambda loss, metrics: (loss, {**metrics, "a": "b"})),
        "the metric 'a' has to be one number",
    ),
    (
        "metric-None",
        changed(lambda loss, metrics: (loss, {**metrics, "a": None})),
        "the metric 'a' has to be one number",
    ),
    ("metric-number", changed(lambda loss, metrics: (loss, {**metrics, 3: loss})), "metrics have to have names"),
    ("metric-step", changed(lambda loss, metrics: (loss, {**metrics, "step": loss})), "none of run, step"),
    ("classes-text", changed(classes="ten"), "classes have to be None or how many"),
    ("network-one-array", own(Encoder("one array")), "the encoder has to give a tuple of 2 arrays"),
    ("network-one-array-ae", own(Encoder("one array"), make=vaejax.autoencoder), "a tuple of one array"),
    ("network-too-many", own(Encoder("too many")), "a tuple of 2 arrays (as its `parameters` says), not of 3"),
    ("network-too-few", own(Encoder("too few")), "not of 1"),
    ("network-dict", own(Encoder("dict")), "not dict"),
    ("network-whole-numbers", own(Encoder("whole numbers")), "arrays of floats, not of int32"),
    ("network-no-batch", own(Encoder("no batch")), "begins with the batch"),
    ("network-two-shapes", own(Encoder("two shapes")), "of one shape"),
    (
        "network-grid",
        own(Encoder("grid")),
        "gives codes of shape (4, 4, 4) for an image, and this method takes one vector",
    ),
    ("network-bug", own(Encoder("bug")), "NameError: name 'undefined' is not defined"),
    ("network-batch-norm", own(Encoder("batch norm")), "use nn.LayerNorm or nn.GroupNorm"),
    ("network-undecided", own(Encoder("batch norm undecided")), "use nn.LayerNorm or nn.GroupNorm"),
    ("network-state", own(Encoder("state")), "the encoder keeps 'seen' beside its parameters"),
    ("network-arguments", own(Alone()), "has to take inputs and `parameters`"),
    ("network-decoder", own(decoder=Alone()), "the decoder has to take inputs and `parameters`"),
    ("network-shape", own(decoder=Decoder((8, 8))), "images of shape (8, 8), but those of the source have (8, 8, 1)"),
    (
        "network-size",
        own(decoder=Decoder((4, 4, 1))),
        "images of shape (4, 4, 1), but those of the source have (8, 8, 1)",
    ),
]
ROWS = [
    *((f"build-{name}", call, words) for name, call, words in [*BUILD, *OPTIONS]),
    *((f"grid-{name}", call, words) for name, call, words in GRID),
    *((f"contract-{name}", call, words) for name, call, words in CONTRACT),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("call", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_it_is_one_line(call, words):
    with pytest.raises(InputError) as caught:
        call()
    line = str(caught.value)
    assert words in line
    assert "\n" not in line and len(line) <= 400 + 100 * words.startswith("method has to be a name")  # there are many


@pytest.mark.parametrize(
    "seeds", [np.int64(3), np.array(3), np.arange(3), (n for n in range(3)), range(3), jnp.arange(3)]
)
def test_seeds_as_numpy_has_them(seeds):
    assert grid(HYPER, seeds).seeds.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "beta", [1.5, np.float32(1.5), np.array(1.5), [1.5], (1.5,), np.array([1.5]), jnp.array([1.5]), pd.Series([1.5])]
)
def test_values_as_numpy_has_them(beta):
    assert grid(HYPER, 1, beta=beta).hyper.beta.tolist() == [1.5]


def test_sizes_as_numpy_has_them_give_the_same_object():
    method = build("fsq_vae", (8, 8, 1), "mlp_relu", 3, (8, 8), levels=(8, 5, 5))
    assert method is build("fsq_vae", [8, 8, 1], "mlp_relu", np.int64(3), [8, np.int32(8)], levels=[8, 5, 5])
    assert method is build("fsq_vae", np.array(SHAPE), "mlp_relu", 3, np.array([8, 8]), levels=np.array([8, 5, 5]))


def test_a_method_that_is_one_passes_and_its_runs_do():
    assert check_method(GOOD, IMAGE) == ("kl", "loss", "reconstruction")
    assert check_method(vae(Encoder(), Decoder()), IMAGE) == ("kl", "loss", "reconstruction")
    check_runs(GOOD, RUNS)
    assert RESULT.params_of(np.int64(1))["w"].tolist() == [2, 3]


def test_a_method_is_traced_once():
    seen = []

    def counted(*arguments):
        seen.append(1)
        return GOOD.loss(*arguments)

    method = GOOD._replace(loss=counted)
    check_method(method, IMAGE)
    check_method(method, IMAGE)
    assert len(seen) == 1


def test_what_fails_within_is_the_cause():
    with pytest.raises(InputError) as caught:
        own(Encoder("bug"))()
    assert isinstance(caught.value.__cause__, NameError)
