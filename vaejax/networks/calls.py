"""How methods call networks: what these give is checked while it is traced, and dropout is on in a loss alone.

A loss says that it is one by `params = live(params, key)`; whatever encodes or decodes with those has dropout on.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Key

from vaejax.errors import InputError
from vaejax.method import Network, Params

DROPOUT = "dropout"  # the group beside those of parameters, and Linen's name for the key
IN_A_LOSS = {"deterministic": False, "train": True, "training": True}  # what networks are told by these names
HALVES = {"encoder": 101, "decoder": 102, "prior": 103}  # folded into the loss's key


def live(params: Params, key: Key[Array, ""]) -> Params:
    """The parameters of a method as its loss gives them on: networks with dropout draw from this key."""
    return {**params, DROPOUT: key}


def started(half: str, network: Network, key: Key[Array, ""], inputs: Array, parameters: int) -> Params:
    """The parameters of a network.

    Args:
      half: `encoder`, `decoder` or `prior`: what it is called.

    Raises:
      InputError: it doesn't take inputs and a number of arrays, or has state beside its parameters.
    """
    network, told = _told(network, in_a_loss=False)
    call = type(network).__call__ if isinstance(network, nn.Module) else network.apply
    try:
        inspect.signature(call).bind(network, inputs, parameters, **told)
    except TypeError:
        raise InputError(
            f"the {half} has to take inputs and `parameters`, the number of arrays that it gives; "
            f"{type(network).__name__} takes ({', '.join(inspect.signature(call).parameters)})"
        ) from None
    with nn.intercept_methods(_dropout_off):
        variables = network.init(key, inputs, parameters, **told)
    check_stateless(half, variables)
    return variables


def outputs(
    half: str, network: Network, params: Params, inputs: Array, parameters: int, key: Key[Array, ""] | None
) -> tuple[Array, ...]:
    """The arrays that a network gives, as many as `parameters`.

    Args:
      half: `encoder`, `decoder` or `prior`: what it is called.
      params: of this network.
      key: the loss's, for dropout: `params.get(DROPOUT)` of the method's; None out of a loss.

    Raises:
      InputError: it gives something else, or another number of arrays.
    """
    network, told = _told(network, in_a_loss=key is not None)
    if key is not None and "rngs" in inspect.signature(network.apply).parameters:
        told = {**told, "rngs": {DROPOUT: jax.random.fold_in(key, HALVES[half])}}
    with nn.intercept_methods(_dropout_off if key is None else _dropout_on):
        arrays = network.apply(params, inputs, parameters, **told)
    _check_arrays(half, arrays, len(inputs), parameters)
    return tuple(arrays)


def check_stateless(what: str, variables: Any) -> None:
    """Of Linen's collections of variables there may be the parameters alone.

    Raises:
      InputError: there are others, such as the averages of batch norm.
    """
    others = sorted(set(variables) - {"params"}) if isinstance(variables, dict) and "params" in variables else []
    if others:
        raise InputError(
            f"the {what} keeps {', '.join(map(repr, others))} beside its parameters, as batch norm does: a method is "
            f"pure functions of parameters, so that this state would never change; use nn.LayerNorm or nn.GroupNorm"
        )


def check_vectors(what: str, codes: Array) -> None:
    """Codes have to be one vector for each image.

    Raises:
      InputError: they are a grid.
    """
    if codes.ndim != 2:
        raise InputError(
            f"the {what} gives codes of shape {codes.shape[1:]} for an image, and this method takes one vector; use "
            f"the network 'conv' or 'mlp', or one of the methods for grids: vq_vae, fsq_vae"
        )


def _check_arrays(half: str, arrays: Any, batch: int, parameters: int) -> None:
    several = f"a tuple of {parameters} arrays" if parameters > 1 else "a tuple of one array"
    if not isinstance(arrays, (tuple, list)):
        raise InputError(f"the {half} has to give {several} (as its `parameters` says), not {_kind(arrays)}")
    if len(arrays) != parameters:
        raise InputError(f"the {half} has to give {several} (as its `parameters` says), not of {len(arrays)}")
    shapes = [getattr(array, "shape", ()) for array in arrays]
    if len(set(shapes)) > 1 or len(shapes[0]) < 2 or shapes[0][0] != batch:
        found = ", ".join(map(_kind, arrays[:3]))
        raise InputError(
            f"the {half} has to give {several} of one shape that begins with the batch, here {batch}, not: {found}"
        )
    if not all(jnp.issubdtype(array.dtype, jnp.floating) for array in arrays):
        raise InputError(f"the {half} has to give arrays of floats, not of {arrays[0].dtype}")


def _kind(value: Any) -> str:
    return f"an array of shape {value.shape}" if hasattr(value, "shape") else f"{type(value).__name__}"


def _told(network: Any, in_a_loss: bool) -> tuple[Any, dict[str, Any]]:
    """The network, and the arguments by name, that say whether this is a loss, where it has a word for it."""
    linen = isinstance(network, nn.Module)
    takes = inspect.signature(type(network).__call__ if linen else network.apply).parameters
    told = {name: value is in_a_loss for name, value in IN_A_LOSS.items() if name in takes}
    if linen and not told:
        fields = {field.name for field in dataclasses.fields(network)}
        switches: dict[str, Any] = {name: value is in_a_loss for name, value in IN_A_LOSS.items() if name in fields}
        network = network.clone(**switches) if switches else network
    return network, told


def _dropout_off(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    if isinstance(context.module, nn.Dropout) and context.method_name == "__call__":
        return args[0] if args else kwargs["inputs"]
    return call(*args, **kwargs)


def _dropout_on(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
    layer = context.module
    if isinstance(layer, nn.Dropout) and context.method_name == "__call__":
        if layer.deterministic is None and len(args) < 2 and kwargs.get("deterministic") is None:
            kwargs = {**kwargs, "deterministic": False}
    return call(*args, **kwargs)
