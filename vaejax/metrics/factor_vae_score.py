"""FactorVAE score (Kim & Mnih 2018, "Disentangling by Factorising", section 4).

    vote of a batch: (argmin_j Var(z_j given that factor v_k is held) / Var(z_j), k)

A majority vote says which factor belongs to each code; the score is the accuracy of that classifier on new votes. As in
Locatello et al. 2019: 10,000 votes to learn and 5,000 to test, batches of 64, variances over 10,000 images, codes
whose standard deviation is below 0.05 are left out, variances divide by n - 1.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from vaejax.errors import InputError
from vaejax.metrics.checks import check_counts, check_key, relative
from vaejax.metrics.interventions import (
    Represent,
    check_grid,
    check_grid_sizes,
    combinations,
    gather,
    hold,
    in_units,
    per_run,
    which,
)
from vaejax.metrics.record import Metric, Value

SMALLEST = 0.05  # standard deviation of a code that may be voted for


def factor_vae_score(
    represent: Represent,
    sizes: tuple[int, ...],
    key: Key[Array, ""],
    *,
    train: int = 10_000,
    test: int = 5_000,
    batch: int = 64,
    variance: int = 10_000,
) -> dict[str, float]:
    """How well the code that varies least tells which factor was held, in [0, 1]; by chance about 1/K.

    Also `train_accuracy`, `active`, the number of codes that may be voted for, and the sample sizes.

    What it can't see: a code that carries a second factor besides, or a factor that several codes carry: one code that
    varies a little less is enough, so that even a rotation of perfect codes can score near 1. It depends on the scale
    of the codes through the least standard deviation. Constant codes have no vote; if no code has one, the score is 0.
    Factors with one value are never held.

    Args:
      represent: factor values Int[B, K] -> codes Float[B, D]; `vaejax.metrics.table` makes one of known codes.
      sizes: how many values each factor has; they are drawn uniformly and independently.
      train, test: votes.
      batch: images of a vote.
      variance: images for the variance of each code.

    Raises:
      InputError: a size below 1 (2 for batch and variance), no factor that varies, codes of another shape than
        [B, D], or not finite.
    """
    check_counts(train=train, test=test, batch=batch, variance=variance)
    check_key(key)
    sizes = check_grid_sizes(sizes)
    represent, varying = check_grid("factor_vae_score", represent, sizes)
    scores = votes(represent, sizes, key, varying, train, test, batch, variance)
    values = {name: float(value[0]) for name, value in scores.items()}
    if np.isnan(values["factor_vae_score"]):
        raise InputError("factor_vae_score takes finite codes, but some are NaN or infinite; did the run diverge?")
    return values | {"train": float(train), "test": float(test), "batch": float(batch), "variance": float(variance)}


def votes(
    represent: Represent,
    sizes: tuple[int, ...],
    key: Key[Array, ""],
    varying: tuple[int, ...],
    train: int,
    test: int,
    batch: int,
    variance: int,
) -> dict[str, Float[Array, " R"]]:
    """`factor_vae_score` of all runs whose codes `represent` gives as [B, R, D], or of one. NaN codes give NaN.

    Raises:
      InputError: less than 2 images for a variance.
    """
    if min(batch, variance) < 2:
        raise InputError(f"a variance takes at least 2 images, not batch={batch} and variance={variance}")
    whole, *parts = jax.random.split(key, 3)
    images = np.asarray(gather(_images, represent, whole, variance, 1, sizes=sizes))
    unit = relative(images.reshape(variance, -1))[0].reshape(images.shape[1:]).clip(min=np.finfo(np.float32).tiny)
    spread = (images / unit).std(axis=0, ddof=1)
    active = np.atleast_2d(spread * unit >= SMALLEST)
    represent = in_units(represent, unit)
    (learned, local), (asked, new) = (
        gather(_variances, represent, part, points, batch, batch=batch, sizes=sizes, varying=varying)
        for part, points in zip(parts, (train, test), strict=True)
    )
    found = _scores(np.atleast_2d(spread).astype(np.float32), active, learned, local, asked, new, len(sizes))
    return {name: found[name] for name in ("factor_vae_score", "train_accuracy", "active")}


def _images(represent: Represent, key: Key[Array, ""], points: int, sizes: tuple[int, ...]) -> Array:
    """Codes of random images."""
    return jnp.asarray(represent(combinations(key, (points,), sizes)))


def _variances(
    represent: Represent, key: Key[Array, ""], points: int, batch: int, sizes: tuple[int, ...], varying: tuple[int, ...]
) -> tuple[Int[Array, " points"], Array]:
    """The factor that is held in each batch, and the variances of the codes in it."""
    choose, fill = jax.random.split(key)
    factor, values = which(choose, points, varying), combinations(fill, (points, batch), sizes)
    values = hold(factor, values, values[:, :1])
    codes = jnp.asarray(represent(values.reshape(-1, len(sizes))))
    return factor, codes.reshape(points, batch, *codes.shape[1:]).var(axis=1, ddof=1)


@partial(jax.jit, static_argnames="factors")
def _scores(spread, active, learned, local, asked, new, factors: int) -> dict[str, Float[Array, " R"]]:
    def of_run(spread, active, local, new):
        return _score(spread, active, learned, local, asked, new, factors)

    runs, codes = spread.shape
    return per_run(of_run, spread, active, local.reshape(-1, runs, codes), new.reshape(-1, runs, codes))


def _score(
    spread: Float[Array, " D"],
    active: Bool[Array, " D"],
    learned: Int[Array, " n"],
    local: Float[Array, "n D"],
    asked: Int[Array, " m"],
    new: Float[Array, "m D"],
    factors: int,
) -> dict[str, Float[Array, ""]]:
    """Both vote tables [D, K], and the share of the votes that the majority of the first gets right."""

    def counts(factor: Int[Array, " n"], local: Float[Array, "n D"]) -> Float[Array, "D K"]:
        vote = jnp.argmin(jnp.where(active, local / jnp.where(active, spread**2, 1.0), jnp.inf), axis=1)
        return jax.nn.one_hot(vote, spread.size).T @ jax.nn.one_hot(factor, factors)

    first, second = counts(learned, local), counts(asked, new)
    majority = jax.nn.one_hot(first.argmax(axis=1), factors)
    values = {
        "factor_vae_score": (second * majority).sum() / asked.size * active.any(),
        "train_accuracy": (first * majority).sum() / learned.size * active.any(),
        "active": active.sum().astype(spread.dtype),
    }
    finite = jnp.isfinite(spread).all() & jnp.isfinite(local).all() & jnp.isfinite(new).all()
    return jax.tree.map(lambda value: jnp.where(finite, value, jnp.nan), values)


FACTOR_VAE_SCORE = Metric(
    "factor_vae_score", votes, ("represent", "grid", "key", "varying", "train", "test", "batch", "variance"),
    "FactorVAE score", "higher", (0, 1),
    more=(
        Value("train_accuracy", "FactorVAE score of the training set", "higher", (0, 1)),
        Value("active", "Codes that vary", None, (0, math.inf)),
    ),
    arrays=factor_vae_score, usual=True,
)  # fmt: skip
