"""Training as pure functions: `init`, `train_step`, and `train`, which is a scan of steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from vaejax.data.source import Data
from vaejax.method import Batch, Hyper, Method, Metrics, State

Sample = Callable[[Data, Key[Array, ""]], Batch]


def init(method: Method, hyper: Hyper, key: Key[Array, ""], batch: Batch) -> State:
    """A state at step 0; `batch` gives shapes and may be used to initialise."""
    init_key, run_key = jax.random.split(key)
    params = method.init(init_key, batch)
    return State(jnp.zeros((), jnp.int32), run_key, params, method.optimizer(hyper).init(params))


def train_step(method: Method, sample: Sample, hyper: Hyper, data: Data, state: State) -> tuple[State, Metrics]:
    """One step. All randomness comes from the run's key and the step, so a resumed run is the uninterrupted one.

    Where the loss or a gradient is not finite, the state stays as it is and the loss is reported as NaN. Since the
    step stays as well, every later call meets the same images and noise: a run that diverged is frozen as it was
    before, with `state.step` saying when.
    """
    data_key, noise_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    batch = sample(data, data_key)
    gradients, metrics = jax.grad(method.loss, has_aux=True)(state.params, hyper, batch, noise_key, state.step)
    updates, opt_state = method.optimizer(hyper).update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    fine = jnp.isfinite(metrics["loss"])
    for gradient in jax.tree.leaves(gradients):
        fine &= jnp.isfinite(gradient).all()

    def keep(new, old):
        return jax.tree.map(lambda new, old: jnp.where(fine, new, old), new, old)

    kept = keep((state.step + 1, params, opt_state), (state.step, state.params, state.opt_state))
    return State(kept[0], state.key, *kept[1:]), {**metrics, "loss": jnp.where(fine, metrics["loss"], jnp.nan)}


def train(method: Method, sample: Sample, steps: int, hyper: Hyper, data: Data, state: State) -> tuple[State, Metrics]:
    """`steps` steps in one scan; every metric gets a leading axis of length `steps`."""
    return jax.lax.scan(lambda state, _: train_step(method, sample, hyper, data, state), state, length=steps)
