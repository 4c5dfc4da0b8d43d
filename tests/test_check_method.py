"""check_method names the property that a method lacks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaejax import InputError, Method, data
from vaejax.distributions.basic import Bernoulli, Delta, StandardNormal
from vaejax.method import MeanOverExamples
from vaejax.networks.quantizer import Codes
from vaejax.testing import check_method

SOURCE = data.arrays("noise", np.random.default_rng(0).random((64, 2, 2, 1)).astype(np.float32))


class Hyper(NamedTuple):
    weight: float = 1.0


def init(key, batch):
    return {"w": 0.1 * jax.random.normal(key, (4, 3))}


def encode(params, batch):
    return Delta(batch.x.reshape(-1, 4) @ params["w"])


def decode(params, z, batch=None):
    return Bernoulli((z @ params["w"].T).reshape(-1, 2, 2, 1))


def of_each(params, hyper, batch):
    likelihood = decode(params, encode(params, batch).mean)
    return -hyper.weight * likelihood.log_prob(batch.x).sum(axis=(1, 2, 3))


def means(params, hyper, batch, key, step):
    loss = of_each(params, hyper, batch).mean()
    return loss, {"loss": loss}


def no_mean(params, hyper, batch, key, step):
    loss = of_each(params, hyper, batch).std()
    return loss, {"loss": loss}


def soon_nan(params, hyper, batch, key, step):
    loss = of_each(params, hyper, batch).mean() + jnp.where(step > 12, jnp.nan, 0.0)
    return loss, {"loss": loss}


@jax.custom_batching.custom_vmap
def tenfold_in_a_vmap(weight):
    return weight


@tenfold_in_a_vmap.def_vmap
def tenfold(count, batched, weight):
    return 10 * weight, True


def other_in_a_vmap(params, hyper, batch, key, step):
    return means(params, Hyper(tenfold_in_a_vmap(hyper.weight)), batch, key, step)


def five(params, batch):
    return StandardNormal(jnp.zeros((len(batch.x), 5)))


def numbered(params, batch):
    return Codes(encode(params, batch).mean, jnp.zeros(2, int))


def make():
    return METHOD


METHOD = Method(Hyper(), init, MeanOverExamples(means), encode, decode, lambda hyper: optax.sgd(0.1))
LACKS = [
    ("nothing", METHOD, None),
    ("finite", METHOD._replace(loss=soon_nan), r"finite: run 0 .* at step 13; not finite there: .*loss"),
    ("vmapped = serial", METHOD._replace(loss=other_in_a_vmap), r"vmapped = serial: \['w'\] of run 0 differs"),
    ("mean over examples", METHOD._replace(loss=MeanOverExamples(no_mean)), r"mean over examples: \[0\]\['w'\]"),
    (
        "shapes",
        METHOD._replace(prior=five),
        "shapes: a draw of the prior",
    ),
    ("generated", METHOD._replace(generate=lambda params, key, batch: jnp.zeros((2, 2, 2, 1))), "shapes: what it gen"),
    ("classes", METHOD._replace(classify=lambda params, batch: jnp.zeros((2, 3))), r"shapes: log p\(class \| x\)"),
    ("codes", METHOD._replace(encode=numbered, codebook=lambda params: jnp.zeros((9, 3))), "shapes: the vector of"),
    ("pickling", METHOD.made_by(lambda: METHOD), "pickling: "),
    ("another after pickling", METHOD._replace(hyper=Hyper(2.0)).made_by(make), "pickling: it comes back with Hyper"),
]


@pytest.mark.parametrize(("method", "line"), [row[1:] for row in LACKS], ids=[row[0] for row in LACKS])
def test_what_a_method_lacks_is_named(method, line):
    if line is None:
        return check_method(method, SOURCE)
    with pytest.raises(AssertionError, match=line) as error:
        check_method(method, SOURCE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_method("vae", SOURCE), "a method is what"),
        (lambda: check_method(METHOD._replace(encode=None), SOURCE), "encode"),
        (lambda: check_method(METHOD, SOURCE, steps=10), "steps has to be at least 11"),
        (lambda: check_method(METHOD, SOURCE, steps="20"), "steps has to be a whole number"),
        (lambda: check_method(METHOD, SOURCE, batch_size=31), "batch_size has to be even"),
        (lambda: check_method(METHOD, SOURCE, runs=3), "runs are what"),
        (lambda: check_method(METHOD, data.load("digits")), "encode has to give floats"),
    ],
)
def test_a_breach_of_the_contract_is_an_input_error(call, message):
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
