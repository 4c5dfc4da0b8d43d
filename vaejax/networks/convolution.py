"""Convolutions that halve, double or keep an image, with hand-written gradients.

All but the last part is one trilinear form between an image x [B,2H,2W,C], a kernel w [k,k,C,O] and features y
[B,H,W,O]:

  T(x, w, y) = sum over b,i,j,p,q,c,o of x[b, 2i+p-r, 2j+q-r, c] w[p,q,c,o] y[b,i,j,o],  r = k/2 - 1, x zero outside

Its three partial derivatives are the only things computed: `down` = dT/dy (the strided convolution), `up` = dT/dx (its
transpose) and `weight` = dT/dw. Both operators, and both gradients of each, are those three. XLA's own gradient of a
convolution is not used because on a CPU it is a trap inside `lax.scan` (jax issue 12868).

Each derivative has two forms. "conv" is made of `lax.conv`, but for `weight`, which is a matrix product. "matmul" is
made of matrix products alone, which turn into batched matrix products under `vmap` over weights, where a `lax.conv`
would turn into a grouped convolution. With k = 2m, X the padded image cut into blocks of 2x2 pixels (a row of 4C for
every block) and Y the features shifted by each of the m x m blocks that a kernel spans (a row of m*m*O for the same
block),

  T(x, w, y) = sum over blocks of X W Yᵀ,    W [4C, m*m*O] the kernel with its rows and columns in that order,

so `down` is X W added up by the transpose of the shifts, `up` is Y Wᵀ put back together, and `weight` is Xᵀ Y. Shifting
the features takes a quarter of the memory that patches of the image take, except where the image has few channels (the
first and the last layer); there `_patches` of the image take the place of X, and y itself that of Y.

The last part is the same for convolutions of stride 1 that keep the sides, with k odd and r = (k-1)/2.

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
from vaejax.target import target

Form = Literal["conv", "matmul"]
Image = Float[Array, "B 2*H 2*W C"]
Kernel = Float[Array, "k k C O"]
Features = Float[Array, "B H W O"]


def fastest_form(channels: int) -> Form:
    """The form for images of so many channels on the backend that is traced for: the only place where it is chosen.

    On a CPU (one core, 64 images of 32x32x32): `down` 12 ms as "conv", 15 as "matmul"; `up` 11 and 12. With 1 channel
    the three take 26 ms as "conv" and 9 as "matmul". Elsewhere models are vmapped over their weights.
    """
    return "conv" if target() == "cpu" and channels > 4 else "matmul"


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
    """Yᵀ X, as below, where y alone is transposed, and shifted after that: those are contiguous copies.

    21 ms for 64 images of 32x32x32, where a convolution whose channels are the batch takes 35 (and 90 times as long
    where `dimension_numbers` say so and no array is transposed). On a CPU the left factor of a product has to be
    transposed in memory: all of X in 10 ms, y in 2. The barrier keeps XLA from turning the product around, to Xᵀ Y.
    """
    m, (B, H, W, features) = k // 2, y.shape
    blocks = _blocks(m, x)
    front, places = (m - 1) * (W + m), (H + m - 1) * (W + m - 1)
    flat = jnp.pad(y, ((0, 0), (0, m - 1), (0, m - 1), (0, 0))).reshape(B, places, features).transpose(2, 0, 1)
    flat = jnp.pad(flat, ((0, 0), (0, 0), (front, 0)))
    starts = [front - a * (W + m - 1) - b for a in range(m) for b in range(m)]
    shifted = jnp.concatenate([flat[:, :, start : start + places] for start in starts])
    product = jnp.tensordot(shifted, blocks.reshape(B, places, -1), axes=((1, 2), (0, 1)))
    return _kernel(k, lax.optimization_barrier(product).T)


# The form "matmul".


def _blocks(m: int, x: Image) -> Float[Array, "B H+m-1 W+m-1 4*C"]:
    """X: the image, padded by m - 1 on every side, from space to depth."""
    B, H, W, C = x.shape
    x = jnp.pad(x, ((0, 0), (m - 1, m - 1), (m - 1, m - 1), (0, 0)))
    x = x.reshape(B, H // 2 + m - 1, 2, W // 2 + m - 1, 2, C).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(B, H // 2 + m - 1, W // 2 + m - 1, 4 * C)


def _shifts(m: int, y: Features) -> Float[Array, "B H+m-1 W+m-1 m*m*O"]:
    """Y: beside every block, the features of all m x m places that see it."""
    H, W = y.shape[1] + m - 1, y.shape[2] + m - 1
    y = jnp.pad(y, ((0, 0), (m - 1, m - 1), (m - 1, m - 1), (0, 0)))
    starts = [(m - 1 - a, m - 1 - b) for a in range(m) for b in range(m)]
    return jnp.concatenate([y[:, a : a + H, b : b + W] for a, b in starts], axis=-1)


def _patches(m: int, x: Image) -> Float[Array, "B H W m*m*4*C"]:
    """Beside every place, all m x m blocks that it sees: the image's counterpart of `_shifts`."""
    blocks = _blocks(m, x)
    H, W = blocks.shape[1] - m + 1, blocks.shape[2] - m + 1
    return jnp.concatenate([blocks[:, a : a + H, b : b + W] for a in range(m) for b in range(m)], axis=-1)


def _transpose(function: Callable[[Array], Array], shape: tuple[int, ...], value: Array) -> Array:
    """The transpose of a linear function of an array of this shape."""
    return jax.linear_transpose(function, jax.ShapeDtypeStruct(shape, value.dtype))(value)[0]


def _few(channels: int, features: int) -> bool:
    """Whether patches of the image are smaller than shifts of the features."""
    return 4 * channels <= features


def _matrix(w: Kernel) -> Float[Array, "4*C m*m*O"]:
    """W; `_kernel` is its inverse."""
    m, (channels, features) = w.shape[0] // 2, w.shape[2:]
    return w.reshape(m, 2, m, 2, channels, features).transpose(1, 3, 4, 0, 2, 5).reshape(4 * channels, m * m * features)


def _kernel(k: int, matrix: Float[Array, "4*C m*m*O"]) -> Kernel:
    m, channels, features = k // 2, matrix.shape[0] // 4, 4 * matrix.shape[1] // k**2
    matrix = matrix.reshape(2, 2, channels, m, m, features)
    return matrix.transpose(3, 0, 4, 1, 2, 5).reshape(k, k, channels, features)


def _rows(w: Kernel) -> Float[Array, "m*m*4*C O"]:
    """The kernel for patches; `_kernel_of_rows` is its inverse."""
    m = w.shape[0] // 2
    return w.reshape(m, 2, m, 2, *w.shape[2:]).transpose(0, 2, 1, 3, 4, 5).reshape(-1, w.shape[3])


def _kernel_of_rows(k: int, rows: Float[Array, "m*m*4*C O"]) -> Kernel:
    m, features = k // 2, rows.shape[1]
    return rows.reshape(m, m, 2, 2, -1, features).transpose(0, 2, 1, 3, 4, 5).reshape(k, k, -1, features)


def _down_matmul(x: Image, w: Kernel) -> Features:
    m, (B, H, W, _) = w.shape[0] // 2, x.shape
    if _few(*w.shape[2:]):
        return _patches(m, x) @ _rows(w)
    return _transpose(partial(_shifts, m), (B, H // 2, W // 2, w.shape[3]), _blocks(m, x) @ _matrix(w))


def _up_matmul(w: Kernel, y: Features) -> Image:
    m, (B, H, W, _) = w.shape[0] // 2, y.shape
    image = B, 2 * H, 2 * W, w.shape[2]
    if _few(*w.shape[2:]):
        return _transpose(partial(_patches, m), image, y @ _rows(w).T)
    return _transpose(partial(_blocks, m), image, _shifts(m, y) @ _matrix(w).T)


def _weight_matmul(x: Image, y: Features, k: int) -> Kernel:
    m, over = k // 2, ((0, 1, 2), (0, 1, 2))
    if _few(x.shape[3], y.shape[3]):
        return _kernel_of_rows(k, jnp.tensordot(_patches(m, x), y, over))
    return _kernel(k, jnp.tensordot(_blocks(m, x), _shifts(m, y), over))


class _Derivatives(NamedTuple):
    down: Callable[[Image, Kernel], Features]
    up: Callable[[Kernel, Features], Image]
    weight: Callable[[Image, Features, int], Kernel]


_FORMS: dict[Form, _Derivatives] = {
    "conv": _Derivatives(_down_conv, _up_conv, _weight_conv),
    "matmul": _Derivatives(_down_matmul, _up_matmul, _weight_matmul),
}


# Stride 1.


def conv_same(
    x: Float[Array, "B H W I"], w: Float[Array, "k k I O"], form: Form | None = None
) -> Float[Array, "B H W O"]:
    """Convolution of stride 1 with k odd, padded with zeros so that the sides stay, without bias.

    y[b,i,j,o] = sum over p,q,c of x[b, i+p-r, j+q-r, c] w[p,q,c,o],  r = (k-1)/2.

    Args:
      form: "conv" or "matmul"; the fastest on this backend if not given.

    Raises:
      InputError: k even, or channels that don't match.
    """
    if x.ndim != 4 or w.ndim != 4 or w.shape[0] != w.shape[1] or w.shape[0] % 2 == 0:
        raise InputError(f"conv_same takes x [B,H,W,I] and w [k,k,I,O] with k odd; got {x.shape} and {w.shape}")
    if x.shape[3] != w.shape[2]:
        raise InputError(f"conv_same: x has {x.shape[3]} channels but w is made for {w.shape[2]}")
    return _conv_same(x, w, form or fastest_form(x.shape[3]))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv_same(x: Features, w: Kernel, form: Form) -> Features:
    return _same(x, w, form)


def _conv_same_bwd(form: Form, residuals: tuple[Features, Kernel], g: Features) -> tuple[Features, Kernel]:
    x, w = residuals
    turned = w[::-1, ::-1].swapaxes(2, 3)  # the transpose of a convolution of stride 1 is one
    weight = _same_weight_conv if form == "conv" else _same_weight_matmul
    return _same(g, turned, form), weight(x, g, w.shape[0])


_conv_same.defvjp(lambda x, w, form: (_conv_same(x, w, form), (x, w)), _conv_same_bwd)


def _same(x: Features, w: Kernel, form: Form) -> Features:
    if form == "conv":
        r = w.shape[0] // 2
        return _convolve(x, w, (1, 1), [(r, r)] * 2)
    return _windows(x, w.shape[0]) @ w.reshape(-1, w.shape[3])


def _windows(x: Features, k: int) -> Float[Array, "B H W k*k*I"]:
    """Beside every place, all k x k places that it sees."""
    (_, H, W, _), r = x.shape, k // 2
    x = jnp.pad(x, ((0, 0), (r, r), (r, r), (0, 0)))
    return jnp.concatenate([x[:, p : p + H, q : q + W] for p in range(k) for q in range(k)], axis=-1)


def _same_weight_matmul(x: Features, y: Features, k: int) -> Kernel:
    return jnp.tensordot(_windows(x, k), y, ((0, 1, 2), (0, 1, 2))).reshape(k, k, x.shape[3], y.shape[3])


def _same_weight_conv(x: Features, y: Features, k: int) -> Kernel:
    """A convolution of x by y, with the batch as channels, and what they are of transposed in memory before.

    16 ms for 32 images of 8x8x128 and as many features, and 9 to 11 for smaller ones; nine products, one for each tap,
    take 24 and 14 to 36, and XLA's own gradient 950 and 120 to 440. The barriers keep the transposed arrays.
    """
    r = k // 2
    channels, batch = lax.optimization_barrier((x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)))
    return _convolve(channels, batch, (1, 1), [(r, r)] * 2).transpose(1, 2, 0, 3)
