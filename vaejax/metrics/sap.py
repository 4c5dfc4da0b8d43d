"""SAP, the separated attribute predictability score (Kumar et al. 2018, "Variational inference of disentangled latent
concepts from unlabeled observations", section 3), as in Locatello et al. 2019.

    SAP = 1/K sum_k (S_j1k - S_j2k),    S_jk = accuracy on the test set of predicting factor v_k from code z_j alone,
    j1, j2 the codes with the largest S for factor k

The predictor is a linear support vector machine, one class against the rest, with the squared hinge loss, C = 0.01 and
balanced classes: scikit-learn's `LinearSVC(C=0.01, class_weight="balanced")`, that is, for every class c,

    minimise  (w^2 + b^2) / 2 + C sum_n a_n max(0, 1 - t_n (w z_n + b))^2,    t_n = 1 if y_n = c, else -1

with weights a_n = N / (classes N_c) for the class itself and 1 for the rest (if there are only two classes, each has
its own weight). The intercept is penalised too. The class with the largest w z + b is predicted.

Departures: a code whose mean is farther from 0 than its standard deviation is centred first. Far from 0 the penalty on
the intercept keeps the machine from using the code, and the definition gives the guess of a constant: 0 for any codes
that are shifted by a million. Codes around 0, such as those of a VAE, are taken as they are. The problems, two unknowns
each, are solved side by side by Newton's method to the precision of float32, where the original stops at a tolerance of
1e-4.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.metrics.checks import check_pair, near_zero
from vaejax.metrics.record import Metric

C = 0.01
STEPS = 50  # Newton steps at most; about 8 are enough
TOLERANCE = 1e-6  # of the gradient, relative to that at zero


def sap(
    z: Float[np.ndarray, "N D"],
    factors: Int[np.ndarray, "N K"],
    z_test: Float[np.ndarray, "M D"],
    factors_test: Int[np.ndarray, "M K"],
) -> dict[str, float]:
    """How much better the best code predicts a factor than the second best, the mean over factors, in [0, 1].

    What it can't see: a factor that is encoded in two codes counts as not found, and a code that carries several
    factors costs nothing. It sees a code through a linear classifier of one input, which can hardly predict the inner
    values of a factor with many, however cleanly it is encoded: five perfect codes score far below 1. It depends on the
    scale of the codes, as weights are penalised: of codes that spread much less than 1 little is found (the score is 0
    where that is below 1e-9), and above 1e9 nothing changes any more. It depends on a shift within their standard
    deviation, as intercepts are penalised; a larger one is taken off. A constant code predicts the same value for every
    image; with a single code the second best has accuracy 0; a factor that never varies is left out.

    Raises:
      InputError: shapes that don't fit, codes that are not finite, or no factor that varies.
    """
    z, factors, z_test, factors_test = check_pair("sap", z, factors, z_test, factors_test)
    z, z_test = near_zero(z, z_test)
    size = int(max(factors.max(), factors_test.max())) + 1
    return {"sap": float(attribute_predictability_gap(z, factors, z_test, factors_test, size))}


@partial(jax.jit, static_argnames="size")
def attribute_predictability_gap(
    z: Float[Array, "N D"],
    factors: Int[Array, "N K"],
    z_test: Float[Array, "M D"],
    factors_test: Int[Array, "M K"],
    size: int,
) -> Float[Array, ""]:
    """`sap` for use under jit and vmap: factor values are below `size`. NaN codes give NaN."""
    z, z_test = jnp.asarray(z, jnp.float32), jnp.asarray(z_test, jnp.float32)
    accuracy = predictability(z, factors, z_test, factors_test, size)
    best, second = jax.lax.top_k(jnp.pad(accuracy.T, ((0, 0), (0, 1))), 2)[0].T
    finite = jnp.isfinite(z).all() & jnp.isfinite(z_test).all()
    return jnp.where(finite, jnp.mean(best - second), jnp.nan)


def predictability(
    z: Float[Array, "N D"],
    factors: Int[Array, "N K"],
    z_test: Float[Array, "M D"],
    factors_test: Int[Array, "M K"],
    size: int,
) -> Float[Array, "D K"]:
    """The accuracy on the test set of predicting every factor from every code alone."""

    def of_pair(pair: tuple[Array, Array]) -> Float[Array, ""]:
        j, k = pair
        w, b = support_vectors(z[:, j], factors[:, k], size)
        guess = (z_test[:, j][:, None] * w[None] + b[None]).argmax(axis=1)
        return (guess == factors_test[:, k]).mean()

    codes, count = z.shape[1], factors.shape[1]
    pairs = (jnp.repeat(jnp.arange(codes), count), jnp.tile(jnp.arange(count), codes))
    return jax.lax.map(of_pair, pairs).reshape(codes, count)


def support_vectors(
    x: Float[Array, " N"], y: Int[Array, " N"], size: int
) -> tuple[Float[Array, " size"], Float[Array, " size"]]:
    """Slopes w and intercepts b of the classes 0 .. size - 1; a class without examples has the intercept -infinity.

    Newton's method works on u = (slope, value at the mean) of the standardised code, in which the problem is well
    conditioned whatever the scale and the shift of the code; the penalty is that of w and b.
    """
    mean, scale = x.mean(), x.std()
    scale = jnp.where(scale > 0, scale, 1.0)
    standard = (x - mean) / scale
    is_class = y[:, None] == jnp.arange(size)[None]
    count = is_class.sum(axis=0)
    present = count > 0
    balanced = len(x) / (jnp.maximum(present.sum(), 1) * jnp.maximum(count, 1))  # [size]
    rest = jnp.where(present.sum() == 2, (balanced * present).sum() - balanced, 1.0)
    cost = C * jnp.where(is_class, balanced[None], rest[None])
    sign = jnp.where(is_class, 1.0, -1.0)
    back = jnp.array([[1.0, 0.0], [-mean, scale]]) / scale  # (w, b) = back u
    penalty = back.T @ back

    def loss(u: Float[Array, "2 size"]) -> Float[Array, " size"]:
        slack = jnp.maximum(0.0, 1 - sign * (standard[:, None] * u[0][None] + u[1][None]))
        return 0.5 * (u * (penalty @ u)).sum(axis=0) + (cost * slack**2).sum(axis=0)

    def derivatives(u: Float[Array, "2 size"]) -> tuple[Float[Array, "2 size"], Float[Array, "size 2 2"]]:
        slack = jnp.maximum(0.0, 1 - sign * (standard[:, None] * u[0][None] + u[1][None]))
        pull = -2 * cost * sign * slack
        active = jnp.where(slack > 0, 2 * cost, 0.0)
        gradient = penalty @ u + jnp.stack([standard @ pull, pull.sum(axis=0)])
        mixed = standard @ active
        hessian = jnp.array([[standard**2 @ active, mixed], [mixed, active.sum(axis=0)]])
        return gradient, penalty[None] + hessian.transpose(2, 0, 1)

    def step(carry: Any) -> Any:
        number, u, gradient, hessian, value = carry
        a, b, c = hessian[:, 0, 0], hessian[:, 0, 1], hessian[:, 1, 1]
        towards = -jnp.stack([c * gradient[0] - b * gradient[1], a * gradient[1] - b * gradient[0]]) / (a * c - b * b)
        downhill = (gradient * towards).sum(axis=0)

        def worse(size_of_step: Float[Array, " size"]) -> Array:
            return loss(u + size_of_step[None] * towards) > value + 1e-4 * size_of_step * downhill + 1e-6 * value

        def shorter(tried: Any) -> Any:
            size_of_step, too_far = tried
            size_of_step = jnp.where(too_far, size_of_step / 2, size_of_step)
            return size_of_step, worse(size_of_step) & (size_of_step > 1e-4)

        full = jnp.ones(size)
        size_of_step, _ = jax.lax.while_loop(lambda tried: tried[1].any(), shorter, (full, worse(full)))
        u = u + size_of_step[None] * towards
        return number + 1, u, *derivatives(u), loss(u)

    start = jnp.zeros((2, size))
    gradient, hessian = derivatives(start)
    goal = TOLERANCE * jnp.abs(gradient).max()

    def unfinished(carry: Any) -> Any:
        return (carry[0] < STEPS) & (jnp.abs(carry[2]).max() > goal)

    u = jax.lax.while_loop(unfinished, step, (0, start, gradient, hessian, loss(start)))[1]
    w, b = back @ u
    return w, jnp.where(present, b, -jnp.inf)


SAP = Metric(
    "sap", attribute_predictability_gap, ("near_zero", "factors", "near_zero_test", "factors_test", "size"),
    "SAP", "higher", (0, 1), arrays=sap,
)  # fmt: skip
