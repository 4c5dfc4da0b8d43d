"""What every constructor does before and after its own work: it checks its arguments by their annotations, and the
method remembers the call, by which it is pickled. And what it says of itself: the network that it wants.
"""

import inspect
import types
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, NamedTuple, ParamSpec, get_args, get_origin, overload

from vaejax.errors import InputError, shortened
from vaejax.method import KINDS, Method, Network, Space
from vaejax.networks.sizes import whole_number, whole_numbers

Arguments = ParamSpec("Arguments")


class Wanted(NamedTuple):
    """The network that `vaejax.build` gives a method where none is named, and the data that it serves.

    Fields:
      network: one of `vaejax.networks.NETWORKS`; None for a method that takes any.
      alone: whether it is made for methods that say so, and no other can have it.
      vectors: whether it serves vectors, too, and not images alone.
      kinds: of the elements, as in `vaejax.method.Space`.
      missing: whether it serves examples of which elements are missing, too.
    """

    network: str | None = None
    alone: bool = False
    vectors: bool = True
    kinds: tuple[str, ...] = KINDS
    missing: bool = True


@overload
def constructor(make: Callable[Arguments, Method]) -> Callable[Arguments, Method]: ...
@overload
def constructor(
    *,
    network: str | None = None,
    alone: bool = False,
    vectors: bool = True,
    kinds: tuple[str, ...] = KINDS,
    missing: bool = True,
) -> Callable[[Callable[Arguments, Method]], Callable[Arguments, Method]]: ...


def constructor(
    make: Any = None,
    *,
    network: str | None = None,
    alone: bool = False,
    vectors: bool = True,
    kinds: tuple[str, ...] = KINDS,
    missing: bool = True,
) -> Any:
    """The constructor, which refuses in one line what its annotations don't allow.

        @constructor
        @constructor(network="residual", alone=True)

    Args:
      network, alone, vectors, kinds, missing: as in `Wanted`.
    """
    if make is None:
        return lambda make: _checked(make, Wanted(network, alone, vectors, kinds, missing))
    return _checked(make, Wanted())


def wanted_of(value: Any) -> Wanted | None:
    """What a constructor wants; None of anything else."""
    return getattr(value, "wanted", None) if inspect.isfunction(value) else None


def _checked(make: Callable[Arguments, Method], wanted: Wanted) -> Callable[Arguments, Method]:
    @wraps(make)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Method:
        parameters = _parameters(make)
        try:
            given = inspect.signature(make).bind(*args, **kwargs)
        except TypeError as error:
            raise InputError(f"{make.__name__} takes ({', '.join(parameters)}): {error}") from None
        for name, value in given.arguments.items():
            given.arguments[name] = fitting(name, value, parameters[name])
        made: Any = make(*given.args, **given.kwargs)
        return made.made_by(checked, *given.args, **given.kwargs)

    vars(checked)["wanted"] = wanted
    return checked


@cache  # of the constructors there are
def _parameters(make: Callable[..., Method]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(make).parameters


def options_of(make: Callable[..., Method]) -> Mapping[str, inspect.Parameter]:
    """What a constructor takes beside its networks, its likelihood and the kind of the data."""
    return {name: own for name, own in list(_parameters(make).items())[3:] if name != "kind"}


def kind_for(make: Callable[..., Method], space: Space) -> dict[str, str]:
    """The argument `kind` of a constructor that has to know it, as in a `Space`; `mixed` of columns of several."""
    kind = space.kind if isinstance(space.kind, str) else "mixed"
    return {"kind": kind} if "kind" in _parameters(make) else {}


def fitting(name: str, value: Any, parameter: inspect.Parameter) -> Any:
    """The value as plain Python has it: whole numbers as `int`, several of them as a tuple.

    Raises:
      InputError: it is not what the annotation says.
    """
    annotation = parameter.annotation
    if name == "likelihood":
        return _family(value)
    if annotation is Network:
        return _network(name, value)
    kinds = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    if value is None and types.NoneType in kinds:
        return None
    if any(get_origin(kind) is tuple for kind in kinds):
        return whole_numbers(name, value)
    if int in kinds:
        return whole_number(name, value)
    if not isinstance(value, str):
        example = f", such as {parameter.default!r}" if parameter.default else ""
        raise InputError(f"{name} has to be a name{example}, not {shortened(value)}")
    return str(value)


def _network(name: str, value: Any) -> Any:
    functions = all(callable(getattr(value, part, None)) for part in ("init", "apply"))
    if functions and not isinstance(value, type):
        return value
    hint = f"; give an instance, {value.__name__}(...)" if isinstance(value, type) else ""
    hint = "; vaejax.build takes networks by their names" if isinstance(value, str) else hint
    raise InputError(
        f"the {name} has to be a network, a Linen module or what else has `init` and `apply`, not "
        f"{shortened(value)}{hint}"
    )


def _family(value: Any) -> Any:
    count = getattr(value, "parameters", None)
    if isinstance(count, int) and count > 0 and callable(value):
        return value
    hint = "; vaejax.build takes likelihoods by their names" if isinstance(value, str) else ""
    hint = f"; give an instance, {value.__name__}()" if isinstance(value, type) and count is not None else hint
    raise InputError(
        f"the likelihood has to be a family of distributions, such as vaejax.distributions.Bernoulli or "
        f"vaejax.distributions.FixedGaussian(), not {shortened(value)}{hint}"
    )
