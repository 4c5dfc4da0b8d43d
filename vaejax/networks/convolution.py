"""Convolutions that halve or double an image, with hand-written gradients.

Everything here is one trilinear form between an image x [B,2H,2W,C], a kernel w [k,k,C,O] and features y [B,H,W,O]:

  T(x, w, y) = sum over b,i,j,p,q,c,o of x[b, 2i+p-r, 2j+q-r, c] w[p,q,c,o] y[b,i,j,o],  r = k/2 - 1, x zero outside

Its three partial derivatives are the only things computed: `down` = dT/dy (the strided convolution), `up` = dT/dx (its
transpose) and `weight` = dT/dw. Both operators, and both gradients of each, are those three. XLA's own gradient of a
convolution is not used because on a CPU it is a trap inside `lax.scan` (jax issue 12868): for 64 images of 16x16x32 its
weight gradient takes 90 times as long as the one below.

Each derivative has two forms: "conv", made of `lax.conv`, and "matmul", where every k x k patch of x is a row of a
matrix and the derivatives are patches @ w, (y @ wᵀ) put back by the transpose of `patches`, and patchesᵀ @ y; that one
turns into batched matrix products under `vmap` over weights, where a `lax.conv` would turn into a grouped convolution.

Reverse mode only (`jax.custom_vjp`); a Jacobian comes from `jax.jacrev`, not `jax.jvp`.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from vaejax.errors import InputError

Form = Literal["conv", "matmul"]
Image = Float[Array, "B 2*H 2*W C"]
Kernel = Float[Array, "k k C O"]
Features = Float[Array, "B H W O"]


def fastest_form(channels: int) -> Form:
    """The form to use for images of so many channels on this backend: the only place where it is chosen.

    On a CPU `down` of 32-64 channels is 1.3-6 x faster as `lax.conv`, and the three derivatives of a first or last
    layer (1 channel) 2 x or more as a matrix product. Elsewhere models are vmapped over their weights.
    """
    return "conv" if jax.default_backend() == "cpu" and channels > 4 else "matmul"


def conv(
    x: Float[Array, "B H W I"], w: Float[Array, "k k I O"], form: Form | None = None
) -> Float[Array, "B H/2 W/2 O"]:
    """Convolution of stride 2, without bias: k = 4 with a padding of 1 on every side, or k = 2 with none.

    y[b,i,j,o] = sum over p,q,c of x[b, 2i+p-r, 2j+q-r, c] w[p,q,c,o],  r = k/2 - 1.

    Args:
      form: "conv" or "matmul"; the fastest on this backend if not given.

    Raises:
      InputError: odd height or width, k neither 2 nor 4, or channels that don't match.
    """
    _check(x, w, "conv")
    if x.shape[1] % 2 or x.shape[2] % 2:
        raise InputError(f"conv halves an image, so height and width must be even; got {x.shape[1]}x{x.shape[2]}")
    return _conv(x, w, form or fastest_form(x.shape[3]))


def conv_transpose(
    x: Float[Array, "B H W I"], w: Float[Array, "k k I O"], form: Form | None = None
) -> Float[Array, "B 2*H 2*W O"]:
    """Transposed convolution of stride 2, without bias: the exact transpose of `conv`, k = 4 or 2.

    out[b, 2i+p-r, 2j+q-r, o] += x[b,i,j,c] w[p,q,c,o],  r = k/2 - 1, dropping what falls outside.

    The kernel is laid out for its own input I and output O and is not flipped, so with w' = w.swapaxes(2, 3)
    <conv(a, w'), x> = <a, conv_transpose(x, w)> for every a [B,2H,2W,O] and x [B,H,W,I].

    Args:
      form: "conv" or "matmul"; the fastest on this backend if not given.

    Raises:
      InputError: k neither 2 nor 4, or channels that don't match.
    """
    _check(x, w, "conv_transpose")
    return _conv_transpose(x, w, form or fastest_form(w.shape[3]))


def _check(x: Array, w: Array, name: str) -> None:
    if x.ndim != 4 or w.ndim != 4 or w.shape[:2] not in ((2, 2), (4, 4)):
        raise InputError(f"{name} takes x [B,H,W,I] and w [k,k,I,O] with k 2 or 4; got {x.shape} and {w.shape}")
    if x.shape[3] != w.shape[2]:
        raise InputError(f"{name}: x has {x.shape[3]} channels but w is made for {w.shape[2]}")


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: Image, w: Kernel, form: Form) -> Features:
    return _FORMS[form].down(x, w)


def _conv_bwd(form: Form, residuals: tuple[Image, Kernel], g: Features) -> tuple[Image, Kernel]:
    x, w = residuals
    return _FORMS[form].up(w, g), _FORMS[form].weight(x, g, w.shape[0])


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv_transpose(y: Features, v: Float[Array, "k k O C"], form: Form) -> Image:
    return _FORMS[form].up(v.swapaxes(2, 3), y)


def _conv_transpose_bwd(form: Form, residuals: tuple[Features, Array], g: Image) -> tuple[Features, Array]:
    y, v = residuals
    return _FORMS[form].down(g, v.swapaxes(2, 3)), _FORMS[form].weight(g, y, v.shape[0]).swapaxes(2, 3)


_conv.defvjp(lambda x, w, form: (_conv(x, w, form), (x, w)), _conv_bwd)
_conv_transpose.defvjp(lambda y, v, form: (_conv_transpose(y, v, form), (y, v)), _conv_transpose_bwd)


# The form "conv".

_convolve = partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _down_conv(x: Image, w: Kernel) -> Features:
    r = w.shape[0] // 2 - 1
    return _convolve(x, w, (2, 2), [(r, r)] * 2)


def _up_conv(w: Kernel, y: Features) -> Image:
    """Rows 2i+a of the image meet only every other row of w: a stride-1 convolution for each of the 2x2 phases."""
    r = w.shape[0] // 2 - 1

    def phase(a: int, b: int) -> Features:
        taps = w[(a + r) % 2 :: 2, (b + r) % 2 :: 2][::-1, ::-1].swapaxes(2, 3)
        return _convolve(y, taps, (1, 1), [(r * (1 - a), r * a), (r * (1 - b), r * b)])

    phases = [phase(a, b) for a in (0, 1) for b in (0, 1)]
    B, H, W, C = phases[0].shape
    return jnp.stack(phases).reshape(2, 2, B, H, W, C).transpose(2, 3, 0, 4, 1, 5).reshape(B, 2 * H, 2 * W, C)


def _weight_conv(x: Image, y: Features, k: int) -> Kernel:
    """A convolution whose channels are the batch. To say so in `dimension_numbers`, not to transpose, is the trap."""
    r = k // 2 - 1
    return _convolve(
        x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3), (1, 1), [(r, r)] * 2, rhs_dilation=(2, 2)
    ).transpose(1, 2, 0, 3)


# The form "matmul". A patch of k x k pixels is (k/2)² blocks of 2x2: its channels are ordered (block, pixel, C).


def _patches(k: int, x: Image) -> Float[Array, "B H W k*k*C"]:
    """Space to depth, then a view shifted by each block: 4 slices of contiguous rows, not 16 strided ones."""
    B, H, W, C = x.shape
    m = k // 2
    blocks = jnp.pad(x, ((0, 0), (m - 1, m - 1), (m - 1, m - 1), (0, 0)))
    blocks = blocks.reshape(B, H // 2 + m - 1, 2, W // 2 + m - 1, 2, C).transpose(0, 1, 3, 2, 4, 5)
    blocks = blocks.reshape(B, H // 2 + m - 1, W // 2 + m - 1, 4 * C)
    return jnp.concatenate([blocks[:, i : i + H // 2, j : j + W // 2] for i in range(m) for j in range(m)], axis=-1)


def _rows(w: Kernel) -> Float[Array, "k*k*C O"]:
    """The kernel with its rows in the order of the channels of a patch; `_kernel` is the inverse."""
    m = w.shape[0] // 2
    return w.reshape(m, 2, m, 2, *w.shape[2:]).transpose(0, 2, 1, 3, 4, 5).reshape(-1, w.shape[3])


def _kernel(k: int, rows: Float[Array, "k*k*C O"]) -> Kernel:
    m, features = k // 2, rows.shape[1]
    return rows.reshape(m, m, 2, 2, -1, features).transpose(0, 2, 1, 3, 4, 5).reshape(k, k, -1, features)


def _down_matmul(x: Image, w: Kernel) -> Features:
    return _patches(w.shape[0], x) @ _rows(w)


def _up_matmul(w: Kernel, y: Features) -> Image:
    B, H, W, _ = y.shape
    image = jax.ShapeDtypeStruct((B, 2 * H, 2 * W, w.shape[2]), y.dtype)
    return jax.linear_transpose(partial(_patches, w.shape[0]), image)(y @ _rows(w).T)[0]


def _weight_matmul(x: Image, y: Features, k: int) -> Kernel:
    return _kernel(k, jnp.tensordot(_patches(k, x), y, axes=((0, 1, 2), (0, 1, 2))))


class _Derivatives(NamedTuple):
    down: Callable[[Image, Kernel], Features]
    up: Callable[[Kernel, Features], Image]
    weight: Callable[[Image, Features, int], Kernel]


_FORMS: dict[Form, _Derivatives] = {
    "conv": _Derivatives(_down_conv, _up_conv, _weight_conv),
    "matmul": _Derivatives(_down_matmul, _up_matmul, _weight_matmul),
}
