"""How a codebook is learned: by gradients (van den Oord et al. 2017, equation 3) or as moving averages (appendix A.1).

See `vaejax.methods.vq_vae` for the equations and the departures.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from vaejax.hyper import NotNegative, Share
from vaejax.method import Hyper, Params

SMOOTHING = 1e-5  # eps
SPREAD = 1e-2  # of the noise that tells codes apart which begin at the same place, in standard deviations of z


class AverageHyper(NamedTuple):
    """Numbers that a sweep may vary, with codebook="ema"."""

    commitment: NotNegative = 0.25
    decay: Share = 0.99
    restart_below: NotNegative = 0.01
    learning_rate: NotNegative = 1e-3


class GradientHyper(NamedTuple):
    """Numbers that a sweep may vary, with codebook="gradient"."""

    commitment: NotNegative = 0.25
    learning_rate: NotNegative = 1e-3


class Codebook(NamedTuple):
    """A way to keep and learn K codes [K, D], as pure functions of parameters of its own.

    Fields:
      hyper: the hyperparameters of a method that uses it.
      init: `(z [N, D], K, key) -> params`.
      codes: `params -> codes [K, D]`.
      loss: `(params, z, indices [N], hyper, key, images)`: its gradient with respect to the parameters is what
        `optimizer` follows; z has to be without a gradient, and is what the encoder makes of so many images.
      optimizer: `hyper -> GradientTransformation` of these parameters.
    """

    hyper: AverageHyper | GradientHyper
    init: Callable[[Float[Array, "N D"], int, Key[Array, ""]], Params]
    codes: Callable[[Params], Float[Array, "K D"]]
    loss: Callable[[Params, Float[Array, "N D"], Int[Array, " N"], Hyper, Key[Array, ""], int], Float[Array, ""]]
    optimizer: Callable[[Any], optax.GradientTransformation]


def _some(key: Key[Array, ""], z: Float[Array, "N D"], count: int) -> Float[Array, "count D"]:
    return z[jax.random.randint(key, (count,), 0, len(z))]


def _beginning(z: Float[Array, "N D"], count: int, key: Key[Array, ""]) -> Float[Array, "K D"]:
    """Random outputs of the encoder, a little apart from each other."""
    chosen, noise = jax.random.split(key)
    return _some(chosen, z, count) + SPREAD * z.std(axis=0)[None] * jax.random.normal(noise, (count, z.shape[1]))


# By gradients.


def _gradient_loss(params, z, indices, hyper, key, images):
    """||sg(z) - e_k||^2 per image."""
    del hyper, key
    return ((z - params["codes"][indices]) ** 2).sum() / images


GRADIENT = Codebook(
    GradientHyper(),
    lambda z, count, key: {"codes": _beginning(z, count, key)},
    lambda params: params["codes"],
    _gradient_loss,
    lambda hyper: optax.adam(hyper.learning_rate),
)


# As moving averages: N ("sizes") and m ("sums").


def _average_init(z, count, key):
    sizes = jnp.full(count, len(z) / count)
    return {"sizes": sizes, "sums": sizes[:, None] * _beginning(z, count, key)}


def _average_codes(params):
    """m / N, with N smoothed; no gradient reaches either, but that of the loss below."""
    sizes, sums = jax.lax.stop_gradient((params["sizes"], params["sums"]))
    total = sizes.sum()
    smooth = (sizes + SMOOTHING) / (total + len(sizes) * SMOOTHING) * total
    return sums / smooth[:, None]


def _average_loss(params, z, indices, hyper, key, images):
    """1/2 ||N - n||^2 + 1/2 ||m - s||^2; codes that restart have targets of their own, which one step reaches."""
    del images
    count, average = len(params["sizes"]), len(z) / len(params["sizes"])
    uses = jax.nn.one_hot(indices, count)
    dead = jax.lax.stop_gradient(params["sizes"]) < hyper.restart_below * average
    sizes = jnp.where(dead, average, uses.sum(axis=0))
    sums = jnp.where(dead[:, None], average * _some(key, z, count), uses.T @ z)
    steep = jnp.where(dead, 1 / jnp.maximum(1 - hyper.decay, SMOOTHING), 1.0)
    return 0.5 * (steep * ((params["sizes"] - sizes) ** 2 + ((params["sums"] - sums) ** 2).sum(axis=1))).sum()


AVERAGE = Codebook(
    AverageHyper(), _average_init, _average_codes, _average_loss, lambda hyper: optax.sgd(1 - hyper.decay)
)

CODEBOOKS = {"ema": AVERAGE, "gradient": GRADIENT}
