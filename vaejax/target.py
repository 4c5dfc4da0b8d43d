"""The backend that programs are traced for: this process's, or another one, to look at what that would be given.

What has one form for CPUs and another for accelerators asks `target()` while it is traced, so the whole program can be
traced and lowered for a machine that isn't there:

    with traced_for("tpu"):
        traced = jax.jit(function).trace(*arguments)
    text = traced.lower(lowering_platforms=("tpu",)).as_text()

It is part of what JAX's caches of traced and compiled programs go by. A program for another backend than this
process's computes the same numbers here, up to rounding, only not as fast.
"""

from contextlib import AbstractContextManager

import jax

from vaejax.errors import choose

BACKENDS = ("cpu", "gpu", "tpu")
_asked = jax.make_user_context(None)


def target() -> str:
    """`cpu`, `gpu` or `tpu`: the backend that is traced for."""
    return _asked.value or jax.default_backend()


def traced_for(backend: str) -> AbstractContextManager[None]:
    """Within it, `target()` is this backend.

    Raises:
      InputError: it is none of `cpu`, `gpu` and `tpu`.
    """
    return _asked(choose(dict.fromkeys(BACKENDS, backend), backend, "backend"))
