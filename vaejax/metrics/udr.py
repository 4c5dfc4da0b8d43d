"""UDR, the unsupervised disentanglement ranking (Duan et al. 2020, "Unsupervised model selection for variational
disentangled representation learning", section 4), with lasso regression.

    UDR_i = median over j != i of (mean_a max_b R_ab^2 / sum_b R_ab + mean_b max_a R_ab^2 / sum_a R_ab) / 2
    R = |W|,  W = argmin 1/(2N) ||Z_i - Z_j W||^2 + alpha sum |W|,    alpha = 0.1

Z_i and Z_j are the codes of the same N images by two runs, standardised; the means are over the dimensions of each run
with KL(q(z | x) || p(z)) above 0.01 nats, and the others are left out everywhere.

Departures: the paper divides the sum over all dimensions of both runs by their number together, the program it was
published with takes the mean of the two means, as here (the same where both runs use as many dimensions). That program
fails on a run without any informative dimension; here such a run has the score 0.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from vaejax.errors import InputError
from vaejax.metrics.checks import as_numbers, check_finite, relative
from vaejax.metrics.record import Metric

ALPHA = 0.1
INFORMATIVE = 0.01  # nats
SWEEPS = 1000  # over the coordinates, at most
TOLERANCE = 1e-6  # of the last change of any weight


def udr(codes_of_runs: Float[np.ndarray, "R N D"], kls: Float[np.ndarray, "R D"]) -> dict[str, float]:
    """`udr`, the mean score of the runs, and each run's as `udr_0`, `udr_1`, ...; `udr_scores` gives them as an array.

    Runs should be of one method and strength and differ in the seed, and encode the same images. A run scores high if
    its dimensions and those of the other runs are the same up to order, sign and scale: 0.9 if they are uncorrelated,
    since the penalty shrinks a weight of 1 by 0.1.

    What it can't see: the factors. Runs that agree in a wrong decomposition score high (a deterministic method with one
    solution, such as PCA, has 0.9), and one run that disentangles among many that don't scores low. A dimension is
    compared linearly. A constant dimension agrees with none; of a run without any informative dimension the
    score is 0. A single number for each run says nothing about how many dimensions it uses.

    Args:
      codes_of_runs: posterior means of the same images.
      kls: the mean KL from the prior of every dimension, in nats.

    Raises:
      InputError: fewer than 2 runs, shapes that don't fit, or values that are not finite.
    """
    codes_of_runs, kls = as_numbers("udr", codes_of_runs), as_numbers("udr", kls, "KLs")
    if codes_of_runs.ndim != 3 or kls.shape != codes_of_runs[:, 0].shape or 0 in codes_of_runs.shape:
        raise InputError(f"udr takes codes [R, N, D] and KLs [R, D], not {codes_of_runs.shape} and {kls.shape}")
    if len(kls) < 2:
        raise InputError("udr compares runs with each other, and needs at least 2")
    if not (np.isfinite(codes_of_runs).all() and np.isfinite(kls).all()):
        raise InputError("udr takes finite codes and KLs, but some are NaN or infinite; leave out runs that diverged")
    check_finite("udr", codes_of_runs)
    check_finite("udr", kls, "KLs")
    if kls.min() < 0:
        raise InputError(f"udr takes KLs, which are not negative; the smallest is {kls.min():.3g}")
    scores = udr_scores(relative(codes_of_runs)[1], kls.astype(np.float32)).tolist()
    return {"udr": float(np.mean(scores)), **{f"udr_{run}": score for run, score in enumerate(scores)}}


@jax.jit
def udr_scores(codes_of_runs: Float[Array, "R N D"], kls: Float[Array, "R D"]) -> Float[Array, " R"]:
    """Every run's score, for use under jit and vmap. That of a run with NaN is NaN, and the others ignore it."""
    x = jnp.asarray(codes_of_runs, jnp.float32)
    finite = jnp.isfinite(x).all(axis=(1, 2)) & jnp.isfinite(kls).all(axis=1)
    x = jnp.where(finite[:, None, None], x, 0.0)
    active = kls > INFORMATIVE
    constant = (x == x[:, :1]).all(axis=1)
    scale = jnp.where(active & ~constant, x.std(axis=1), jnp.inf)
    x = (x - x.mean(axis=1, keepdims=True)) / scale[:, None]
    own = jnp.einsum("rnd,rne->rde", x, x, precision=jax.lax.Precision.HIGHEST) / x.shape[1]

    def of_run(run: Array) -> Float[Array, ""]:
        with_others = jnp.einsum("rnd,ne->rde", x, x[run], precision=jax.lax.Precision.HIGHEST) / x.shape[1]
        pairs = jax.vmap(relative_strength, in_axes=(0, 0, None))(lasso(own, with_others), active, active[run])
        others = finite & (jnp.arange(len(x)) != run)
        median = jnp.nanmedian(jnp.where(others, pairs, jnp.nan))
        return jnp.where(finite[run], median, jnp.nan)

    return jax.lax.map(of_run, jnp.arange(len(x)))


def lasso(gram: Float[Array, "R D D"], cross: Float[Array, "R D T"], alpha: float = ALPHA) -> Float[Array, "R D T"]:
    """argmin_w  w' gram w / 2 - w' cross + alpha |w|_1  for every run and target, by coordinate descent on all at once.

    `gram` is X'X / N of the inputs, `cross` is X'y / N. An input that is 0 gets the weight 0.
    """

    def sweep(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        number, before, _ = carry

        def coordinate(d: Array, w: Float[Array, "R D T"]) -> Float[Array, "R D T"]:
            square = gram[:, d, d][:, None]
            pull = cross[:, d] - (gram[:, d][:, :, None] * w).sum(axis=1) + square * w[:, d]
            shrunk = jnp.sign(pull) * jnp.maximum(jnp.abs(pull) - alpha, 0.0)
            return w.at[:, d].set(jnp.where(square > 0, shrunk / jnp.where(square > 0, square, 1.0), 0.0))

        w = jax.lax.fori_loop(0, gram.shape[1], coordinate, before)
        return number + 1, w, jnp.abs(w - before).max()

    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        return (carry[0] < SWEEPS) & (carry[2] > TOLERANCE)

    return jax.lax.while_loop(unfinished, sweep, (jnp.int32(0), jnp.zeros_like(cross), jnp.float32(jnp.inf)))[1]


def relative_strength(w: Float[Array, "A B"], rows: Bool[Array, " A"], columns: Bool[Array, " B"]) -> Float[Array, ""]:
    """The mean of max^2 / sum over active rows and over active columns of |w|; 0 for a row or column of zeros."""
    size = jnp.where(rows[:, None] & columns[None], jnp.abs(w), 0.0)

    def mean_over(axis: int, active: Bool[Array, " _"]) -> Float[Array, ""]:
        total = size.sum(axis=axis)
        strength = jnp.where(total > 0, size.max(axis=axis) ** 2 / jnp.where(total > 0, total, 1.0), 0.0)
        return strength.sum() / jnp.maximum(active.sum(), 1)

    return (mean_over(0, columns) + mean_over(1, rows)) / 2


UDR = Metric("udr", None, (), "UDR", "higher", (0, 1), arrays=udr)  # of several runs together
