"""What determines a sweep: a checksum of the traced program of one run, and one of the data.

Two methods that differ in anything that changes a number (network, likelihood, an option, the way weights are drawn)
have other programs; names, comments and where a function stands are no part of it, and neither is what is printed. How
runs are laid over devices isn't either, so that what one device began two can finish.
"""

import functools
import hashlib
import re
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from vaejax.data.source import Data, Source, Streamed
from vaejax.method import Method
from vaejax.training import step

PRINTS = ("debug_print", "debug_callback")  # operations that change no number
LOOKED_AT = 64  # images of a source that stays on the disk
UNSAID = {
    "name",
    "debug_info",
    "jvp_jaxpr_fun",
    "fwd_jaxpr_thunk",
    "bwd",
    "ctx_mesh",
}  # of an operation: no mathematics


def program(method: Method, source: Source | Streamed, data: Data, batch_size: int) -> str:
    """The checksum of a run's initial state and of one step of its training."""

    def begin(hyper: Any, seed: Any, data: Data) -> Any:
        key = jax.random.key(seed)
        return step.init(method, hyper, key, source.sample(data, key, batch_size))

    def go_on(hyper: Any, data: Data, state: Any) -> Any:
        return step.train_step(method, lambda data, key: source.sample(data, key, batch_size), hyper, data, state)

    hyper = jax.tree.map(np.float32, method.hyper)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), data)
    with jax.disable_jit(False):  # debugging changes no sweep
        first, state = jax.make_jaxpr(begin, return_shape=True)(hyper, np.int32(0), shapes)
        second = jax.make_jaxpr(go_on)(hyper, shapes, state)
    digest = hashlib.sha256()
    for jaxpr in (first, second):
        _closed(digest, jaxpr)
    return digest.hexdigest()


def contents(source: Source | Streamed) -> str:
    """The checksum of a source's data; of one that stays on the disk, that of some images and what its files record."""
    digest = hashlib.sha256(f"{source.shape}{source.size}".encode())
    data = source.data if not isinstance(source, Streamed) else _some(source, digest)
    for path, leaf in jax.tree_util.tree_flatten_with_path(data)[0]:
        digest.update(jax.tree_util.keystr(path).encode())
        _array(digest, leaf)
    return digest.hexdigest()


def _some(source: Streamed, digest: Any) -> Data:
    digest.update(f"{source.mark}".encode())
    index = np.unique(np.linspace(0, source.size - 1, min(LOOKED_AT, source.size)).astype(np.int64))
    return source.take(index).data


def _closed(digest: Any, jaxpr: ClosedJaxpr) -> None:
    for const in jaxpr.consts:
        _array(digest, const)
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
        _closed(digest, value)
    elif isinstance(value, Jaxpr):
        _jaxpr(digest, value)
    elif isinstance(value, np.ndarray | jax.Array):
        _array(digest, value)
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
        _array(digest, value)
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


def _array(digest: Any, array: Any) -> None:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    there = np.ascontiguousarray(array)
    digest.update(f"{there.dtype.str}{there.shape}".encode())
    digest.update(there.tobytes())
