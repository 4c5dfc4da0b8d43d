"""Multinomial logistic regression, jitted: the classifier inside the BetaVAE score, explicitness,
downstream accuracy and InfoMEC.

    minimise  sum_i w_i (-log softmax(x_i W + b)[y_i]) + penalty / 2 |W|^2

by L-BFGS (10 pairs, a backtracking line search) from zero, in coordinates in which the inputs are white, until no
entry of the gradient, per example, is above 1e-5 or float32 sees no descent. The problem is convex, so nothing but time
depends on the method.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

TOLERANCE = 1e-5
SMALLEST = 1e-6  # of a variance among white inputs, relative: below it an input is a linear function of the others


@partial(jax.jit, static_argnames=("size", "steps"))
def logistic(
    x: Float[Array, "N D"],
    y: Int[Array, " N"],
    size: int,
    *,
    weight: Float[Array, " N"] | None = None,
    penalty: float | Float[Array, ""] = 0.0,
    steps: int = 200,
) -> tuple[Float[Array, "D size"], Float[Array, " size"]]:
    """The coefficients W and intercepts b for classes 0 .. size - 1; a class without examples gets an intercept of
    minus infinity. Without a penalty and where classes can be separated, the likelihood has no maximum, and `steps`
    end the search.
    """
    count, codes = x.shape
    weight = jnp.ones(count) if weight is None else weight
    centre = x.mean(axis=0)
    spread = jnp.abs(x - centre[None]).max(axis=0)
    scale = jnp.where(spread > 0, spread, 1.0)
    scaled = (x - centre[None]) / scale[None]
    variance, axes = jnp.linalg.eigh(scaled.T @ scaled / count)
    floor = jnp.maximum(SMALLEST * variance.max(), jnp.finfo(x.dtype).tiny)
    whiten = jnp.where(variance > floor, axes / jnp.sqrt(jnp.maximum(variance, floor))[None], 0.0)
    inputs = jnp.concatenate([scaled @ whiten, jnp.ones((count, 1))], axis=1)
    target = jax.nn.one_hot(y, size)
    absent = jnp.where(target.sum(axis=0) > 0, 0.0, -jnp.inf)
    total = weight.sum()

    def coefficients(u: Float[Array, "D1 size"]) -> Float[Array, "D size"]:
        return (whiten @ u[:codes]) / scale[:, None]

    def objective(u: Float[Array, "D1 size"]) -> Float[Array, ""]:
        log_p = jax.nn.log_softmax(inputs @ u + absent[None], axis=-1)
        likelihood = (weight * jnp.where(target > 0, log_p, 0.0).sum(axis=-1)).sum()
        return (penalty / 2 * (coefficients(u) ** 2).sum() - likelihood) / total

    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=20, store_grad=True)
    optimizer = optax.lbfgs(memory_size=10, linesearch=search)
    value_and_grad: Callable[..., Any] = optax.value_and_grad_from_state(objective)

    def step(carry: Any) -> Any:
        number, _, last, u, state = carry
        value, grad = value_and_grad(u, state=state)
        updates, state = optimizer.update(grad, state, u, value=value, grad=grad, value_fn=objective)
        going = (number < steps) & (jnp.abs(grad).max() > TOLERANCE) & (value < last)
        return number + 1, going, value, optax.apply_updates(u, updates), state

    start = jnp.zeros((codes + 1, size))
    u = jax.lax.while_loop(lambda carry: carry[1], step, (0, True, jnp.inf, start, optimizer.init(start)))[3]
    w = coefficients(u)
    return w, u[codes] - centre @ w + absent


def log_probabilities(
    x: Float[Array, "N D"], w: Float[Array, "D size"], b: Float[Array, " size"]
) -> Float[Array, "N size"]:
    """log softmax(x W + b)."""
    return jax.nn.log_softmax(x @ w + b[None], axis=-1)
