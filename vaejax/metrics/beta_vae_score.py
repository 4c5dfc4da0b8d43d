"""BetaVAE score (Higgins et al. 2017, "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
Framework", section 3).

    example: (mean over a batch of |z(v) - z(v')|, k),    v, v' two random combinations of factors that share v_k

The score is the accuracy of a linear classifier that tells k. As in Locatello et al. 2019: 10,000 examples to learn and
5,000 to test, batches of 64, all factors are held in turn at random, and the classifier is a multinomial logistic
regression with an intercept and the penalty 1/2 |W|^2 on the summed log-likelihood (scikit-learn's C = 1), fitted to
the maximum.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vaejax.errors import InputError
from vaejax.metrics.checks import check_counts, check_key
from vaejax.metrics.interventions import (
    Represent,
    check_grid,
    check_grid_sizes,
    combinations,
    gather,
    hold,
    per_run,
    which,
)
from vaejax.metrics.logistic import log_probabilities, logistic
from vaejax.metrics.record import Metric, Value

PENALTY = 1.0
FARTHEST = 1e9  # a difference
STEPS = 200


def beta_vae_score(
    represent: Represent,
    sizes: tuple[int, ...],
    key: Key[Array, ""],
    *,
    train: int = 10_000,
    test: int = 5_000,
    batch: int = 64,
) -> dict[str, float]:
    """How well a linear classifier tells which factor two images share, in [0, 1]; by chance about 1/K.

    Also `train_accuracy` and the sample sizes.

    What it can't see: a rotation of the codes, which a linear classifier undoes in part, a factor spread over several
    codes, or one factor of K that is not encoded at all: the classifier names it where no code stays put. It is near 1
    for most trained models. It depends on the scale of the codes, as weights are penalised. Constant codes carry
    nothing; if all are constant, the score is that of a guess.
    Factors with one value are never held.

    Args:
      represent: factor values Int[B, K] -> codes Float[B, D]; `vaejax.metrics.table` makes one of known codes.
      sizes: how many values each factor has; they are drawn uniformly and independently.
      train, test: examples.
      batch: pairs of images of an example.

    Raises:
      InputError: a size below 1, no factor that varies, codes of another shape than [B, D], or not finite.
    """
    check_counts(train=train, test=test, batch=batch)
    check_key(key)
    sizes = check_grid_sizes(sizes)
    represent, varying = check_grid("beta_vae_score", represent, sizes)
    scores = guesses(represent, sizes, key, varying, train, test, batch)
    values = {name: float(value[0]) for name, value in scores.items()}
    if np.isnan(values["beta_vae_score"]):
        raise InputError("beta_vae_score takes finite codes, but some are NaN or infinite; did the run diverge?")
    return values | {"train": float(train), "test": float(test), "batch": float(batch)}


def guesses(
    represent: Represent,
    sizes: tuple[int, ...],
    key: Key[Array, ""],
    varying: tuple[int, ...],
    train: int,
    test: int,
    batch: int,
) -> dict[str, Float[Array, " R"]]:
    """`beta_vae_score` of all runs whose codes `represent` gives as [B, R, D], or of one. NaN codes give NaN."""
    (learned, seen), (asked, new) = (
        gather(_differences, represent, part, points, batch, batch=batch, sizes=sizes, varying=varying)
        for part, points in zip(jax.random.split(key), (train, test), strict=True)
    )
    found = _scores(learned, seen, asked, new, len(sizes))
    return {name: found[name] for name in ("beta_vae_score", "train_accuracy")}


def _differences(
    represent: Represent, key: Key[Array, ""], points: int, batch: int, sizes: tuple[int, ...], varying: tuple[int, ...]
) -> tuple[Int[Array, " points"], Array]:
    """The factor that each batch of pairs shares, and the mean differences of their codes."""
    choose, *fill = jax.random.split(key, 3)
    factor = which(choose, points, varying)
    first, second = (combinations(part, (points, batch), sizes) for part in fill)
    pair = first, hold(factor, second, first)
    a, b = (jnp.asarray(represent(values.reshape(-1, len(sizes)))) for values in pair)
    return factor, jnp.abs(a - b).reshape(points, batch, *a.shape[1:]).mean(axis=1)


@partial(jax.jit, static_argnames="factors")
def _scores(learned, seen, asked, new, factors: int) -> dict[str, Float[Array, " R"]]:
    def of_run(seen, new):
        return _score(learned, seen, asked, new, factors)

    runs = seen.shape[1] if seen.ndim == 3 else 1
    return per_run(of_run, *(array.reshape(len(array), runs, -1) for array in (seen, new)))


def _score(
    learned: Int[Array, " n"],
    seen: Float[Array, "n D"],
    asked: Int[Array, " m"],
    new: Float[Array, "m D"],
    factors: int,
) -> dict[str, Float[Array, ""]]:
    """The accuracy of the classifier on new examples."""
    finite = jnp.isfinite(seen).all() & jnp.isfinite(new).all()
    largest = seen.max(axis=0)  # they are positive; far from 1 a code isn't penalised at all, or can't be used at all
    scale = jnp.where(finite & (largest > 0), largest.clip(1 / FARTHEST, FARTHEST) / largest, 1.0)
    seen, new = jnp.where(finite, seen * scale, 0.0), jnp.where(finite, new * scale, 0.0)
    w, b = logistic(seen, learned, factors, penalty=PENALTY, steps=STEPS)

    def accuracy(x: Float[Array, "n D"], y: Int[Array, " n"]) -> Float[Array, ""]:
        return jnp.where(finite, (log_probabilities(x, w, b).argmax(axis=1) == y).mean(), jnp.nan)

    return {"beta_vae_score": accuracy(new, asked), "train_accuracy": accuracy(seen, learned)}


BETA_VAE_SCORE = Metric(
    "beta_vae_score", guesses, ("represent", "grid", "key", "varying", "train", "test", "batch"),
    "BetaVAE score", "higher", (0, 1),
    more=(Value("train_accuracy", "BetaVAE score of the training set", "higher", (0, 1)),), arrays=beta_vae_score,
)  # fmt: skip
