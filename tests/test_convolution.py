"""The convolution operators against a float64 reference of plain sums, in both forms and under every transformation."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from vaejax.errors import InputError
from vaejax.networks import convolution
from vaejax.networks.convolution import conv, conv_same, conv_transpose, fastest_form
from vaejax.target import traced_for

FORMS = ("conv", "matmul")
# kernel, channels of the image, channels of the features, height and width of the image
CASES = [
    (4, 1, 8, 28, 28),
    (4, 3, 4, 8, 12),
    (4, 5, 3, 14, 6),
    (4, 2, 5, 16, 20),
    (4, 2, 2, 2, 2),
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


def draw(case, dtype: type = np.float32, batch=3, seed=0):
    k, c, o, h, v = case
    rng = np.random.default_rng([seed, *case])
    shapes = (batch, h, v, c), (k, k, c, o), (batch, h // 2, v // 2, o)
    return [jnp.asarray(rng.standard_normal(s), dtype) for s in shapes]


def error(got, want):
    assert got.shape == want.shape
    return np.abs(np.asarray(got, np.float64) - want).max() / np.abs(want).max()


def value_and_gradients(operator, form, a, w, cotangent):
    value, pullback = jax.vjp(lambda a, w: operator(a, w, form), a, w)
    return value, *pullback(cotangent)


def everything(x, w, y):
    """By form: conv's value, dx and dw, and conv_transpose's, dy and dw. One program, because compiling is the cost."""
    return {
        form: value_and_gradients(conv, form, x, w, y)
        + value_and_gradients(conv_transpose, form, y, w.swapaxes(2, 3), x)
        for form in FORMS
    }


def expected(x, w, y):
    down, up, weight = reference(x, w, y)
    return down, up, weight, up, down, weight.swapaxes(2, 3)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_equal_plain_sums_and_the_forms_agree(case):
    with jax.enable_x64(True):
        for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 1e-12)):
            inputs = draw(case, dtype)
            got = jax.jit(everything)(*inputs)
            for form in FORMS:
                for value, want in zip(got[form], expected(*inputs), strict=True):
                    assert value.dtype == dtype
                    assert error(value, want) <= tolerance
            for a, b in zip(got["conv"], got["matmul"], strict=True):
                assert error(a, np.asarray(b, np.float64)) <= 2 * tolerance


@pytest.mark.parametrize("how", ["vmap", "vmap over w", "map", "scan"])
def test_many_weights_in_one_program(how):
    draws = [draw((4, 3, 4, 8, 6), seed=s) for s in range(3)]
    if how == "vmap over w":
        draws = [(draws[0][0], w, draws[0][2]) for _, w, _ in draws]
    x, w, y = (jnp.stack(a) for a in zip(*draws, strict=True))
    run, inputs = {
        "vmap": (jax.vmap(everything), (x, w, y)),
        "vmap over w": (jax.vmap(everything, in_axes=(None, 0, None)), (x[0], w, y[0])),
        "map": (lambda *a: lax.map(lambda s: everything(*s), a), (x, w, y)),
        "scan": (lambda *a: lax.scan(lambda c, s: (c, everything(*s)), 0, a)[1], (x, w, y)),
    }[how]
    got = jax.jit(run)(*inputs)
    for i, one in enumerate(draws):
        for form in FORMS:
            for value, want in zip(got[form], expected(*one), strict=True):
                assert error(value[i], want) <= 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_gradient_descent_on_a_loss_inside_scan(form):
    """An encoder and a decoder learn in a scan, as training does it."""
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
@pytest.mark.parametrize("k", [2, 4])
def test_conv_transpose_is_the_adjoint_of_conv(k, form):
    @jax.jit
    def products(x, w, y):
        return jnp.vdot(conv(x, w, form), y), jnp.vdot(x, conv_transpose(y, w.swapaxes(2, 3), form))

    with jax.enable_x64(True):
        np.testing.assert_allclose(*products(*draw((k, 3, 4, 8, 12), np.float64, seed=1)), rtol=1e-12)


def test_gradient_of_the_first_layer_with_respect_to_the_image_is_dropped():
    x, w, y = draw((4, 3, 4, 8, 8))

    def products(argnums):
        gradient = jax.grad(lambda x, w: jnp.vdot(conv(x, w, "matmul"), y), argnums)
        return str(jax.jit(gradient).lower(x, w).compile().as_text()).count(" dot(")

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


def test_form_is_chosen_by_backend_and_width():
    for _ in ("by default", "again after the others"):
        assert [fastest_form(c) for c in (1, 3, 32, 64)] == ["matmul", "matmul", "conv", "conv"]
        for backend in ("gpu", "tpu"):
            with traced_for(backend):
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


SAME_CASES = [  # kernel, channels in, channels out, height and width
    (3, 5, 3, 7, 6),
    (3, 1, 4, 8, 8),
    (1, 3, 2, 4, 5),
    (5, 2, 3, 9, 5),
    (3, 2, 2, 1, 2),
]


def same_reference(x, w, y):
    """conv_same(x, w) and the gradients of its product with y, one tap at a time in float64."""
    x, w, y = (np.asarray(a, np.float64) for a in (x, w, y))
    r, (_, h, v, _) = len(w) // 2, y.shape
    padded = np.pad(x, ((0, 0), (r, r), (r, r), (0, 0)))
    value, image, weight = np.zeros_like(y), np.zeros_like(padded), np.zeros_like(w)
    for p in range(len(w)):
        for q in range(len(w)):
            seen = np.s_[:, p : p + h, q : q + v]
            value += np.einsum("bijc,co->bijo", padded[seen], w[p, q])
            image[seen] += np.einsum("bijo,co->bijc", y, w[p, q])
            weight[p, q] = np.einsum("bijc,bijo->co", padded[seen], y)
    return value, image[:, r : r + h, r : r + v], weight


def draw_same(case, dtype: type = np.float32, batch=3, seed=0):
    k, c, o, h, v = case
    rng = np.random.default_rng([seed, *case])
    shapes = (batch, h, v, c), (k, k, c, o), (batch, h, v, o)
    return [jnp.asarray(rng.standard_normal(s), dtype) for s in shapes]


def same_everything(x, w, y):
    return {form: value_and_gradients(conv_same, form, x, w, y) for form in FORMS}


@pytest.mark.parametrize("case", SAME_CASES, ids=str)
def test_conv_same_and_its_gradients_equal_plain_sums(case):
    with jax.enable_x64(True):
        for dtype, tolerance in ((np.float32, 1e-6), (np.float64, 1e-12)):
            inputs = draw_same(case, dtype)
            got = jax.jit(same_everything)(*inputs)
            for form in FORMS:
                for value, want in zip(got[form], same_reference(*inputs), strict=True):
                    assert value.dtype == dtype
                    assert error(value, want) <= tolerance


@pytest.mark.parametrize("how", [jax.vmap, lambda f: lambda *a: lax.map(lambda s: f(*s), a)], ids=["vmap", "map"])
def test_conv_same_with_many_weights_in_one_program(how):
    draws = [draw_same((3, 3, 4, 6, 5), seed=s) for s in range(3)]
    got = jax.jit(how(same_everything))(*(jnp.stack(a) for a in zip(*draws, strict=True)))
    for i, one in enumerate(draws):
        for form in FORMS:
            for value, want in zip(got[form], same_reference(*one), strict=True):
                assert error(value[i], want) <= 1e-6


def test_conv_same_with_images_split_over_two_devices():
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    inputs = draw_same((3, 3, 4, 6, 5), batch=4)
    axes = [jax.sharding.PartitionSpec("batch"), jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("batch")]
    split = [jax.device_put(a, jax.NamedSharding(mesh, axis)) for a, axis in zip(inputs, axes, strict=True)]
    got = jax.jit(same_everything)(*split)
    for form in FORMS:
        for value, want in zip(got[form], same_reference(*inputs), strict=True):
            assert error(value, want) <= 1e-6


def test_conv_same_by_matrix_products_has_no_convolution():
    x, w, y = draw_same((3, 3, 4, 6, 5))
    for form in FORMS:
        program = str(jax.make_jaxpr(lambda *a, form=form: value_and_gradients(conv_same, form, *a))(x, w, y))
        assert ("conv_general_dilated" in program) == (form == "conv")


@pytest.mark.parametrize(
    ("x", "w", "message"),
    [
        ((2, 8, 8, 3), (4, 4, 3, 5), "k odd"),
        ((2, 8, 8, 3), (3, 1, 3, 5), "k odd"),
        ((8, 8, 3), (3, 3, 3, 5), "k odd"),
        ((2, 8, 8, 1), (3, 3, 3, 5), "1 channels but w is made for 3"),
    ],
)
def test_conv_same_refuses_wrong_shapes(x, w, message):
    with pytest.raises(InputError, match=message):
        conv_same(jnp.zeros(x), jnp.zeros(w))
