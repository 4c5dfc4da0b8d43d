"""What the stacked methods share: the layers of two mirrored networks, trained one after another and then together.

The encoder's layers f_0, ..., f_{S-1} and the decoder's g_{S-1}, ..., g_0 make S small autoencoders. In stage k < S

    loss_k = -log p(h_k | g_k(f_k(h~_k))),    h_0 = x,  h_{k+1} = f_k(h_k),  h~_k = h_k with elements masked

where h_k, which is not corrupted on the way, is held constant. From stage S on all of them are one deep network, whose
parameters are those of the two modules from the first step on; what it learns there is the method's own loss.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from vaejax.distributions.basic import Bernoulli, Family, FixedGaussian
from vaejax.errors import InputError
from vaejax.method import Distribution, Network, Params, Step
from vaejax.methods.parts.corruptions import masking
from vaejax.networks.mlp import ACTIVATIONS, MLPDecoder, MLPEncoder
from vaejax.objectives import reconstruction


class Stack(NamedTuple):
    """The layers of an encoder and of the decoder that is its mirror image.

    Fields:
      count: S, how many layers each has.
      shape: of an image.
      activation: of every hidden layer.
      likelihood: of pixels.
      active_code: whether the codes, the last layer, have the activation, too.
    """

    count: int
    shape: tuple[int, ...]
    activation: str
    likelihood: Family
    active_code: bool


def stack_of(method: str, encoder: Network, decoder: Network, likelihood: Family, active_code: bool) -> Stack:
    """The layers of these networks.

    Raises:
      InputError: they are not fully connected, or not mirror images of each other.
    """
    if isinstance(encoder, MLPEncoder) and isinstance(decoder, MLPDecoder):
        if (encoder.layers[::-1], encoder.activation) == (decoder.layers, decoder.activation):
            return Stack(len(encoder.layers) + 1, decoder.shape, encoder.activation, likelihood, active_code)
    raise InputError(
        f"{method} trains the layers of an encoder with those of a decoder that mirrors it; "
        f"use the network 'mlp_sigmoid', 'mlp_relu' or 'mlp_tanh'"
    )


def up(stack: Stack, params: Params, k: int, h: Float[Array, "B n"]) -> Float[Array, "B m"]:
    """f_k, from h_k to h_{k+1}."""
    layer = params["encoder"]["params"][f"Dense_{k}"]
    linear = h @ layer["kernel"] + layer["bias"][None]
    is_code = k == stack.count - 1
    return linear if is_code and not stack.active_code else ACTIVATIONS[stack.activation](linear)


def down(stack: Stack, params: Params, k: int, h: Float[Array, "B m"]) -> Distribution:
    """p(h_k | g_k(h_{k+1})): the pixels' likelihood; of sigmoids a Bernoulli; of other units a Gaussian of scale 1."""
    layer = params["decoder"]["params"][f"Dense_{stack.count - 1 - k}"]
    if k == 0:
        pixels = MLPDecoder(stack.shape, ()).apply({"params": {"Dense_0": layer}}, h, stack.likelihood.parameters)
        return stack.likelihood(*pixels)
    linear = h @ layer["kernel"] + layer["bias"][None]
    return (
        Bernoulli(linear) if stack.activation == "sigmoid" else FixedGaussian()(ACTIVATIONS[stack.activation](linear))
    )


def hidden(stack: Stack, params: Params, k: int, x: Float[Array, "B H W C"]) -> Float[Array, "B n"]:
    """h_k, what the k layers below make of the images."""
    h = x.reshape(len(x), -1)
    for below in range(k):
        h = up(stack, params, below, h)
    return h


def layer_loss(
    stack: Stack,
    params: Params,
    k: int,
    x: Float[Array, "B H W C"],
    level: Float[Array, ""] | float,
    key: Key[Array, ""],
) -> Float[Array, ""]:
    """loss_k in nats per example, with elements of h_k masked with probability `level`; see above."""
    h = jax.lax.stop_gradient(hidden(stack, params, k, x))
    return reconstruction(down(stack, params, k, up(stack, params, k, masking(key, h, level))), h).mean()


class InStages(NamedTuple):
    """The state of `in_stages`: the steps so far, and the state of what it wraps."""

    step: Step
    inner: Any


def in_stages(
    inner: optax.GradientTransformation, stage_of: Callable[[Step], Int[Array, ""]], stages: tuple[int, ...]
) -> optax.GradientTransformation:
    """`inner` in these stages, begun anew at the start of each; in the others no update, and nothing is computed.

    Gradients of 0 would not do: Adam goes on by its momentum. It counts its steps itself, as all that is done to
    gradients must; that is the step of training, since both wait where a gradient is not finite.
    """

    def init(params: Params) -> InStages:
        return InStages(jnp.zeros((), jnp.int32), inner.init(params))

    def wait(gradients: Params, state: Any) -> tuple[Params, Any]:
        return jax.tree.map(jnp.zeros_like, gradients), state

    def begin(gradients: Params, state: Any) -> tuple[Params, Any]:
        del state
        return inner.update(gradients, inner.init(gradients))

    def update(updates: Any, state: Any, params: Params | None = None) -> tuple[Any, Any]:
        del params
        stage = stage_of(state.step)
        active = jnp.any(jnp.stack([stage == own for own in stages]))
        new = (stage != stage_of(state.step - 1)) & (state.step > 0)
        branch = jnp.where(active, jnp.where(new, 1, 2), 0)
        found, kept = jax.lax.switch(branch, [wait, begin, inner.update], updates, state.inner)
        return found, InStages(state.step + 1, kept)

    return optax.GradientTransformation(init, update)


def optimizer_in_stages(
    labels: Any,
    stages: dict[str, tuple[int, ...]],
    stage_of: Callable[[Step], Int[Array, ""]],
    rate: Callable[[Int[Array, ""]], Float[Array, ""]],
) -> optax.GradientTransformation:
    """Adam for each group of parameters, in its stages.

    Args:
      labels: the groups' names, in a tree that is a prefix of the parameters'.
      stages: those in which each group moves.
      stage_of: the stage of a step.
      rate: the learning rate in a stage.
    """
    groups: dict[Hashable, optax.GradientTransformation] = {
        name: in_stages(optax.scale_by_adam(), stage_of, own) for name, own in stages.items()
    }
    scale = optax.scale_by_schedule(lambda step: -rate(stage_of(jnp.asarray(step))))
    return optax.chain(optax.multi_transform(groups, labels), scale)


def layer_groups(stack: Stack, half: str) -> dict[str, str]:
    """For every layer of the `encoder` or the `decoder` by name: a group of its own, named after it and its stage."""
    order = range(stack.count) if half == "encoder" else reversed(range(stack.count))
    return {f"Dense_{place}": f"{half}_{k}" for place, k in enumerate(order)}
