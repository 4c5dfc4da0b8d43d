"""The convolution operators against a float64 reference of plain sums, in both forms and under every transformation."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vaejax.errors import InputError
from vaejax.networks import convolution
from vaejax.networks.convolution import conv, conv_transpose, fastest_form

FORMS = ("conv", "matmul")
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}
# kernel, channels of the image, channels of the features, height and width of the image
CASES = [
    (4, 1, 8, 28, 28),
    (4, 3, 4, 8, 12),
    (4, 5, 3, 14, 6),
    (4, 2, 2, 2, 2),
    (2, 1, 4, 14, 14),
    (2, 5, 3, 6, 10),
]


def reference(x, w, y):
    """T(x, w, y) of the module's docstring, one tap (p, q) at a time: dT/dy, dT/dx and dT/dw in float64."""
    x, w, y = (np.asarray(a, np.float64) for a in (x, w, y))
    k, (_, h, v, _) = len(w), y.shape
    r = k // 2 - 1
    padded = np.pad(x, ((0, 0), (r, r), (r, r), (0, 0)))
    down, up, weight = np.zeros_like(y), np.zeros_like(padded), np.zeros_like(w)
    for p in range(k):
        for q in range(k):
            seen = np.s_[:, p : p + 2 * h : 2, q : q + 2 * v : 2]
            down += np.einsum("bijc,co->bijo", padded[seen], w[p, q])
            up[seen] += np.einsum("bijo,co->bijc", y, w[p, q])
            weight[p, q] = np.einsum("bijc,bijo->co", padded[seen], y)
    return down, up[:, r : r + 2 * h, r : r + 2 * v], weight


def draw(case, dtype=np.float32, batch=3, seed=0):
    k, c, o, h, v = case
    rng = np.random.default_rng([seed, *case])
    shapes = (batch, h, v, c), (k, k, c, o), (batch, h // 2, v // 2, o)
    return [rng.standard_normal(s).astype(dtype) for s in shapes]


def error(got, want):
    assert got.shape == want.shape
    return np.abs(np.asarray(got, np.float64) - want).max() / np.abs(want).max()


def value_and_gradients(operator, form):
    """(a, w, cotangent) -> the value, and the gradients with respect to a and w."""

    def run(a, w, cotangent):
        value, pullback = jax.vjp(lambda a, w: operator(a, w, form=form), a, w)
        return value, *pullback(cotangent)

    return run


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients_equal_plain_sums(dtype, case, form):
    with jax.enable_x64(dtype == np.float64):
        x, w, y = draw(case, dtype)
        down, up, weight = reference(x, w, y)
        swapped = w.swapaxes(2, 3)
        for got, want in [
            (jax.jit(value_and_gradients(conv, form))(x, w, y), (down, up, weight)),
            (jax.jit(value_and_gradients(conv_transpose, form))(y, swapped, x), (up, down, weight.swapaxes(2, 3))),
        ]:
            for g, t in zip(got, want, strict=True):
                assert g.dtype == dtype
                assert error(g, t) <= TOLERANCE[dtype]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("over_x", [False, True])
@pytest.mark.parametrize("how", ["vmap", "map", "scan"])
def test_many_weights_under_vmap_map_and_scan(how, over_x, form):
    draws = [draw((4, 3, 4, 8, 6), seed=s) for s in range(3)]
    if not over_x:
        draws = [(draws[0][0], w, draws[0][2]) for _, w, _ in draws]
    xs, ws, ys = (jnp.stack(a) for a in zip(*draws, strict=True))

    def many(run, a, w, cotangent):
        if how == "vmap":
            return jax.vmap(run, in_axes=(0 if over_x else None, 0, 0 if over_x else None))(
                *((a, w, cotangent) if over_x else (a[0], w, cotangent[0]))
            )
        if how == "map":
            return lax.map(lambda s: run(*s), (a, w, cotangent))
        return lax.scan(lambda carry, s: (carry, run(*s)), 0, (a, w, cotangent))[1]

    got = jax.jit(lambda *s: many(value_and_gradients(conv, form), *s))(xs, ws, ys)
    back = jax.jit(lambda *s: many(value_and_gradients(conv_transpose, form), *s))(ys, ws.swapaxes(3, 4), xs)
    for i, (x, w, y) in enumerate(draws):
        down, up, weight = reference(x, w, y)
        for g, t in zip((*got, *back), (down, up, weight, up, down, weight.swapaxes(2, 3)), strict=True):
            assert error(g[i], t) <= 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_gradient_descent_on_a_loss_inside_scan(form):
    """An encoder and a decoder learn in a scan, with all three transformations nested, as training does it."""
    x, w, _ = draw((4, 1, 8, 8, 8))

    def loss(params):
        return jnp.mean((conv_transpose(jnp.tanh(conv(x, params[0], form)), params[1], form) - x) ** 2)

    def step(params, _):
        value, g = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, d: p - 0.5 * d, params, g), value

    start = (w / 4, w.swapaxes(2, 3) / 8)
    losses = jax.jit(lambda: lax.scan(step, start, length=50)[1])()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_conv_transpose_is_the_adjoint_of_conv(case, form):
    with jax.enable_x64(True):
        x, w, y = draw(case, np.float64, seed=1)
        left = jnp.vdot(conv(x, w, form), y)
        right = jnp.vdot(x, conv_transpose(y, w.swapaxes(2, 3), form))
        np.testing.assert_allclose(left, right, rtol=1e-11)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forms_agree(case):
    x, w, y = draw(case, seed=2)
    for operator, args in ((conv, (x, w, y)), (conv_transpose, (y, w.swapaxes(2, 3), x))):
        a, b = (value_and_gradients(operator, form)(*args) for form in FORMS)
        for g, t in zip(a, b, strict=True):
            assert error(g, np.asarray(t, np.float64)) <= 2e-6


def test_gradient_of_the_first_layer_with_respect_to_the_image_is_dropped():
    x, w, y = draw((4, 3, 4, 8, 8))

    def products(argnums):
        gradient = jax.grad(lambda x, w: jnp.vdot(conv(x, w, "matmul"), y), argnums)
        return jax.jit(gradient).lower(x, w).compile().as_text().count(" dot(")

    assert (products(1), products((0, 1))) == (1, 2)


@pytest.mark.parametrize(
    ("operator", "x", "w", "message"),
    [
        (conv, (2, 7, 8, 3), (4, 4, 3, 5), "7x8"),
        (conv, (2, 8, 9, 3), (2, 2, 3, 5), "8x9"),
        (conv, (2, 8, 8, 3), (3, 3, 3, 5), "k 2 or 4"),
        (conv, (2, 8, 8, 3), (4, 2, 3, 5), "k 2 or 4"),
        (conv, (8, 8, 3), (4, 4, 3, 5), "k 2 or 4"),
        (conv, (2, 8, 8, 1), (4, 4, 3, 5), "1 channels"),
        (conv_transpose, (2, 8, 8, 5), (3, 3, 5, 3), "k 2 or 4"),
        (conv_transpose, (2, 8, 8, 5), (4, 4, 3, 5), "5 channels"),
    ],
)
def test_wrong_shapes_are_refused_in_one_line(operator, x, w, message):
    with pytest.raises(InputError, match=message) as refusal:
        operator(jnp.zeros(x), jnp.zeros(w))
    assert "\n" not in str(refusal.value)
    assert operator.__name__ in str(refusal.value)


def test_form_is_chosen_by_backend_and_width(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert [fastest_form(c) for c in (1, 3, 32, 64)] == ["matmul", "matmul", "conv", "conv"]
    for backend in ("gpu", "tpu"):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        assert [fastest_form(c) for c in (1, 64)] == ["matmul", "matmul"]


@pytest.mark.parametrize("chosen", FORMS)
@pytest.mark.parametrize(("operator", "image_axis"), [(conv, 2), (conv_transpose, 3)])
def test_the_choice_is_made_once_from_the_channels_of_the_image(monkeypatch, operator, image_axis, chosen):
    asked = []
    monkeypatch.setattr(convolution, "fastest_form", lambda channels: asked.append(channels) or chosen)
    x, w = jnp.ones((1, 4, 4, 6)), jnp.ones((4, 4, 6, 7))
    jaxpr = str(jax.make_jaxpr(lambda x, w: operator(x, w))(x, w))
    assert asked == [w.shape[image_axis]]
    assert ("conv_general_dilated" in jaxpr) == (chosen == "conv")
    operator(x, w, "conv")  # an explicit form asks nobody
    assert len(asked) == 1
    assert inspect.signature(operator).parameters["form"].default is None
