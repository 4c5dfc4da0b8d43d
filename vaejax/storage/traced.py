"""The checksum of a traced program: of its operations in their order, and of the arrays that it holds.

Names, comments and where a function stands are no part of it, and neither is what is printed.
"""

import functools
import hashlib
import re
import types
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from vaejax.errors import InputError
from vaejax.method import Batch, Method

PRINTS = ("debug_print", "debug_callback")  # operations that change no number
UNSAID = {
    "name",
    "debug_info",
    "jvp_jaxpr_fun",
    "fwd_jaxpr_thunk",
    "bwd",
    "ctx_mesh",
}  # of an operation: no mathematics


def about_method(method: Method, example: Batch) -> dict[str, Any]:
    """What `config.json` says of a method of one's own, so that another isn't taken for it.

    Args:
      example: one example and what comes with it, or their shapes.
    """
    batch = {
        name: [list(leaf.shape[1:]), str(leaf.dtype)] for name, leaf in example._asdict().items() if leaf is not None
    }
    versions = {name: version(name) for name in ("jax", "vaejax")}
    return {**versions, "batch": batch, "sha256": _of_method(method, example)}


def is_method(method: Method, about: Any) -> bool | None:
    """Whether it is the method that `about_method` has described; None where other versions can't tell.

    Raises:
      InputError: the description can't be read.
    """
    try:
        if any(about[name] != version(name) for name in ("jax", "vaejax")):
            return None
        shapes: dict[str, Any] = {
            name: jax.ShapeDtypeStruct((1, *shape), dtype) for name, (shape, dtype) in about["batch"].items()
        }
        example, known = Batch(**shapes), about["sha256"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"what it says of its 'traced' method can't be read ({type(error).__name__})") from error
    try:
        return _of_method(method, example) == known
    except Exception:  # whatever a method says of examples that aren't its own
        return False


def _of_method(method: Method, example: Batch) -> str:
    def use(key: Any, hyper: Any, batch: Batch, step: Any) -> Any:
        params = method.init(key, batch)
        z = method.encode(params, batch).mean
        made = method.decode(params, z, batch)
        prior = None if method.prior is None else method.prior(params, batch).sample(key)
        return params, method.loss(params, hyper, batch, key, step), z, made.mean, made.log_prob(batch.x), prior

    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape[1:]), leaf.dtype), example)
    hyper = jax.tree.map(np.float32, method.hyper)
    digest = hashlib.sha256()
    with jax.disable_jit(False):
        add_program(digest, jax.make_jaxpr(use)(jax.random.key(0), hyper, batch, np.int32(0)))
    return digest.hexdigest()


def add_program(digest: Any, jaxpr: ClosedJaxpr) -> None:
    """Adds a program to a checksum that is being made (of hashlib)."""
    for const in jaxpr.consts:
        add_array(digest, const)
    _jaxpr(digest, jaxpr.jaxpr)


def _jaxpr(digest: Any, jaxpr: Jaxpr) -> None:
    """The operations in their order, with variables numbered as they come."""
    numbers: dict[Any, int] = {}

    def name(var: Any) -> str:
        if isinstance(var, Literal):
            return f"{var.aval.str_short()}={np.asarray(var.val).tolist()!r}"
        return f"{numbers.setdefault(var, len(numbers))}:{var.aval.str_short()}"

    def line(vars_: Any) -> bytes:
        return " ".join(map(name, vars_)).encode()

    digest.update(line([*jaxpr.constvars, *jaxpr.invars]))
    for equation in jaxpr.eqns:
        if equation.primitive.name in PRINTS:
            continue
        digest.update(b"\n" + line(equation.outvars) + b" <- " + equation.primitive.name.encode())
        digest.update(b" " + line(equation.invars))
        for key in sorted(equation.params.keys() - UNSAID):
            digest.update(f" {key}=".encode())
            (_function if key == "callback" else _value)(digest, equation.params[key])
    digest.update(b"\n-> " + line(jaxpr.outvars))


def _value(digest: Any, value: Any) -> None:
    """A parameter of an operation."""
    if isinstance(value, ClosedJaxpr):
        add_program(digest, value)
    elif isinstance(value, Jaxpr):
        _jaxpr(digest, value)
    elif isinstance(value, np.ndarray | jax.Array):
        add_array(digest, value)
    elif isinstance(value, tuple | list):
        for item in value:
            _value(digest, item)
            digest.update(b",")
    elif callable(value) and not isinstance(value, type):
        digest.update(b"function")
    else:
        digest.update(re.sub(r" at 0x[0-9a-f]+", "", repr(value)).encode())


def _function(digest: Any, value: Any) -> None:
    """A function that is called in Python (`jax.pure_callback`): what it does, and what it has from around it.

    The same in every process, so nothing of an address; of what it takes from its module only the names.
    """
    value = getattr(value, "callback_func", value)
    if isinstance(value, functools.partial):
        for part in (value.func, *value.args, *sorted(value.keywords.items())):
            _function(digest, part)
    elif isinstance(value, types.MethodType):
        _function(digest, value.__func__)
    elif isinstance(value, types.FunctionType):
        _code(digest, value.__code__)
        for part in (*(value.__defaults__ or ()), *sorted((value.__kwdefaults__ or {}).items())):
            _function(digest, part)
        for cell in value.__closure__ or ():
            _function(digest, cell.cell_contents)
    elif isinstance(value, tuple | list):
        for part in value:
            _function(digest, part)
    elif isinstance(value, np.ndarray | jax.Array):
        add_array(digest, value)
    elif isinstance(value, str | bytes | int | float | complex | types.NoneType):
        digest.update(repr(value).encode())
    else:
        kind = value if hasattr(value, "__qualname__") or hasattr(value, "__name__") else type(value)
        name = getattr(kind, "__qualname__", getattr(kind, "__name__", ""))
        digest.update(f"{getattr(kind, '__module__', '')}.{name}".encode())


def _code(digest: Any, code: types.CodeType) -> None:
    digest.update(code.co_code + " ".join(code.co_names).encode())
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            _code(digest, const)
        else:
            digest.update(repr(sorted(map(repr, const)) if isinstance(const, frozenset) else const).encode())


def add_array(digest: Any, array: Any) -> None:
    """Adds an array, or keys, to a checksum that is being made."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    there = np.ascontiguousarray(array)
    digest.update(f"{there.dtype.str}{there.shape}".encode())
    digest.update(there.tobytes())
