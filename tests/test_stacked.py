"""Greedy layer-wise training: which parameters move when, what each stage learns, and the classifier on top."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaejax import Batch, InputError, apply, build, fit, grid, stacked_autoencoder, train
from vaejax.data import load, partly_labelled
from vaejax.distributions.basic import Bernoulli
from vaejax.methods.parts.corruptions import masking
from vaejax.methods.parts.schedules import stage
from vaejax.methods.parts.stacked import down, hidden, in_stages, stack_of
from vaejax.methods.stacked_classifier import log_probabilities
from vaejax.networks import network
from vaejax.networks.mlp import MLPDecoder, MLPEncoder
from vaejax.objectives import labelled

SHAPE = (8, 8, 1)
DIGITS = load("digits")
KEY = jax.random.key(4)
METHODS = ["stacked_autoencoder", "stacked_classifier"]
NETWORKS = ["mlp_sigmoid", "mlp_tanh"]
LENGTH = 3  # steps of a stage
quickly_compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def digits(data, key) -> Batch:
    return DIGITS.sample(data, key, 16)


@cache
def made(name: str, which: str = "mlp_sigmoid"):
    """Three layers, of 12, 7 and 4 units; the parameters; a batch; `LENGTH` steps of training."""
    method = build(name, SHAPE, which, latents=4, width=(12, 7))

    @quickly_compiled
    def advance(hyper, state):
        return train.train(method, digits, LENGTH, hyper, DIGITS.data, state)

    batch = digits(DIGITS.data, jax.random.key(3))
    state = quickly_compiled(partial(train.init, method))(method.hyper, jax.random.key(0), batch)
    return method, state, batch, advance


def learned(method, source, steps, hyper):
    """Parameters and metrics of two runs, whose one hyperparameter has two values."""
    count = jax.tree.map(jnp.size, hyper)
    axes = jax.tree.map(lambda n: 0 if n == 2 else None, count)

    def one(hyper):
        batch = source.sample(source.data, jax.random.key(0), 40)
        state = train.init(method, hyper, jax.random.key(0), batch)

        def sample(data, key):
            return source.sample(data, key, 40)

        state, metrics = train.train(method, sample, steps, hyper, source.data, state)
        return state.params, metrics

    return quickly_compiled(jax.vmap(one, (axes,)))(hyper)


def moved(before, after) -> set[str]:
    """The layers of which every parameter has changed; none may have changed in part."""
    found = set()
    flat = {
        half: params["params"] if half != "classifier" else {"top": params}
        for half, params in jax.tree.map(lambda a, b: np.asarray(a != b), before, after).items()
    }
    for half, layers in flat.items():
        for layer, changed in layers.items():
            anywhere = {bool(leaf.any()) for leaf in jax.tree.leaves(changed)}
            assert len(anywhere) == 1, (half, layer)
            found |= {f"{half} {layer}"} if anywhere == {True} else set()
    return found


@pytest.mark.parametrize("name", METHODS)
def test_in_every_stage_only_its_layer_moves_and_then_all_of_them(name):
    """Bit for bit: what doesn't move has the same bits."""
    method, state, _, advance = made(name)
    hyper = method.hyper._replace(pretrain_steps=float(LENGTH))
    for k in range(3):
        after, metrics = advance(hyper, state)
        assert moved(state.params, after.params) == {f"encoder Dense_{k}", f"decoder Dense_{2 - k}"}
        assert (metrics["stage"] == k).all()
        state = after
    after, metrics = advance(hyper, state)
    encoder = {f"encoder Dense_{k}" for k in range(3)}
    rest = {f"decoder Dense_{k}" for k in range(3)} if name == "stacked_autoencoder" else {"classifier top"}
    assert moved(state.params, after.params) == encoder | rest and (metrics["stage"] == 3).all()


@pytest.mark.parametrize("name", METHODS)
def test_without_pre_training_everything_is_trained_from_the_first_step(name):
    method, state, _, advance = made(name)
    after, metrics = advance(method.hyper._replace(pretrain_steps=0.0), state)
    assert len(moved(state.params, after.params)) == (6 if name == "stacked_autoencoder" else 4)
    assert (metrics["stage"] == 3).all()


@pytest.mark.parametrize(
    ("length", "expected"), [(2.0, [0, 0, 1, 1, 2, 2, 2]), (0.0, [2] * 7), (0.5, [0, 2, 2, 2, 2, 2, 2])]
)
def test_stages_follow_one_another(length, expected):
    assert [int(stage(step, length, 2)) for step in range(7)] == expected


@pytest.mark.parametrize("which", NETWORKS)
def test_the_layers_one_after_another_are_the_networks(which):
    encoder, decoder = network(which, SHAPE, 4, (12, 7))
    batch = digits(DIGITS.data, jax.random.key(3))
    params = made("stacked_autoencoder", which)[1].params
    stack = stack_of("test", encoder, decoder, Bernoulli, active_code=False)

    @quickly_compiled
    def both(params):
        z = encoder.apply(params["encoder"], batch.x, 1)[0]
        h = top = hidden(stack, params, 3, batch.x)
        for k in (2, 1):
            h = down(stack, params, k, h).mean
        return (top, down(stack, params, 0, h).logits), (z, decoder.apply(params["decoder"], z, 1)[0])

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *both(params))


@pytest.mark.parametrize(
    ("name", "which", "k"),
    [
        *[("stacked_autoencoder", which, k) for which in NETWORKS for k in (0, 1)],
        ("stacked_autoencoder", "mlp_sigmoid", 2),  # whose codes are linear
        ("stacked_classifier", "mlp_sigmoid", 2),  # and have the activation
    ],
)
def test_the_loss_of_a_stage_is_the_equation(name, which, k):
    """In float64, from weights and activations: the clean layer below, masked, through f_k and g_k, and back."""
    method, state, batch, _ = made(name, which)
    hyper = method.hyper._replace(pretrain_steps=10.0, level=0.4)
    weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.params)
    act = np.tanh if which == "mlp_tanh" else lambda a: 1 / (1 + np.exp(-a))

    def layer(half, n, h):
        dense = weights[half]["params"][f"Dense_{n}"]
        return h @ dense["kernel"] + dense["bias"]

    h = np.asarray(batch.x, np.float64).reshape(16, -1)
    for below in range(k):
        h = act(layer("encoder", below, h))
    seen = masking(KEY, jnp.asarray(h, jnp.float32), 0.4)
    assert 0.2 < np.mean(np.asarray(seen)[h != 0] == 0) < 0.6
    code = layer("encoder", k, np.asarray(seen, np.float64))
    back = layer("decoder", 2 - k, code if (name, k) == ("stacked_autoencoder", 2) else act(code))
    if k == 0 or which == "mlp_sigmoid":
        expected = np.logaddexp(0, back) - h * back
    else:
        expected = 0.5 * (h - act(back)) ** 2 + 0.5 * np.log(2 * np.pi)
    graded = quickly_compiled(jax.value_and_grad(method.loss, has_aux=True))
    (loss, _), gradient = graded(state.params, hyper, batch, KEY, jnp.array(10 * k))
    np.testing.assert_allclose(loss, expected.sum(axis=1).mean(), rtol=1e-4)
    reached = moved(jax.tree.map(jnp.zeros_like, gradient), gradient)
    assert reached == {f"encoder Dense_{k}", f"decoder Dense_{2 - k}"}  # layers below are held constant


@pytest.mark.parametrize("level", [0.0, 0.4])
def test_the_joined_network_is_not_corrupted(level):
    method, state, batch, _ = made("stacked_autoencoder")
    hyper = method.hyper._replace(pretrain_steps=10.0, level=level)
    loss, _ = quickly_compiled(method.loss)(state.params, hyper, batch, KEY, jnp.array(30))
    plain = build("autoencoder", SHAPE, "mlp_sigmoid", latents=4, width=(12, 7))
    np.testing.assert_allclose(loss, plain.loss(state.params, plain.hyper, batch, KEY, 0)[0], rtol=1e-5)


def test_an_optimizer_in_stages_waits_and_begins_anew():
    """Adam in stages 0 and 2 of three steps each: two runs of its own, whatever comes between."""
    optimizer = in_stages(optax.scale_by_adam(), lambda step: jnp.maximum(step, 0) // 3, (0, 2))
    gradients = [jnp.array([g, -g]) for g in (1.0, 3.0, -2.0, 7.0, 7.0, 7.0, 0.5, 0.2, 0.1)]
    state, found = optimizer.init(gradients[0]), []
    step = jax.jit(optimizer.update)
    for gradient in gradients:
        update, state = step(gradient, state)
        found.append(update)
    for own in (slice(0, 3), slice(6, 9)):
        adam = optax.scale_by_adam()
        inner = adam.init(gradients[0])
        for gradient, update in zip(gradients[own], found[own], strict=True):
            expected, inner = adam.update(gradient, inner)
            np.testing.assert_allclose(update, expected, rtol=1e-6)
    assert all((update == 0).all() for update in found[3:6])
    assert int(state.step) == 9


def test_each_stage_has_its_learning_rate():
    """The first step of Adam is as long as the rate."""
    method, state, _, _ = made("stacked_autoencoder")
    one = quickly_compiled(lambda hyper, state: train.train_step(method, digits, hyper, DIGITS.data, state)[0])
    for length, rate in ((1.0, 0.25), (0.0, 0.5)):
        hyper = method.hyper._replace(pretrain_steps=length, pretrain_learning_rate=0.25, learning_rate=0.5)
        after = one(jax.tree.map(jnp.float32, hyper), state).params["encoder"]["params"]["Dense_0"]["bias"]
        np.testing.assert_allclose(
            jnp.abs(after - state.params["encoder"]["params"]["Dense_0"]["bias"]), rate, rtol=1e-3
        )


def test_pre_trained_layers_reconstruct_better_than_random_ones():
    """After greedy training alone, with not one step of the joined network."""
    method = build("stacked_autoencoder", SHAPE, latents=16, width=(32,))
    batch = digits(DIGITS.data, jax.random.key(3))

    def error(params):
        remade = apply.reconstruct(method, params, batch)
        return ((remade - batch.x) ** 2).sum(axis=(1, 2, 3)).mean()

    hyper = method.hyper._replace(pretrain_steps=300.0, pretrain_learning_rate=1e-2)
    params, metrics = learned(method, DIGITS, 600, hyper._replace(level=jnp.array([0.0, 0.25])))
    assert metrics["stage"].max() == 1
    spread = ((batch.x - batch.x.mean(axis=0)) ** 2).sum(axis=(1, 2, 3)).mean()
    plain, denoising = quickly_compiled(jax.vmap(error))(params)
    assert plain < 0.6 * spread and denoising < 0.8 * spread


def test_the_classifier_is_trained_on_what_has_a_label():
    method, state, batch, _ = made("stacked_classifier")
    hyper = method.hyper._replace(pretrain_steps=0.0)
    label = batch.label.at[:10].set(-1)
    loss, metrics = quickly_compiled(method.loss)(state.params, hyper, batch._replace(label=label), KEY, jnp.array(0))
    z = np.asarray(method.encode(state.params, batch).mean, np.float64)
    assert ((z > 0) & (z < 1)).all()  # the top hidden layer, with its activation
    top = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), state.params["classifier"])
    logits = z @ top["kernel"] + top["bias"]
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    right = log_p[np.arange(16), np.asarray(batch.label)]
    np.testing.assert_allclose(loss, -right[10:].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], np.mean(log_p.argmax(axis=1)[10:] == batch.label[10:]), rtol=1e-6)
    np.testing.assert_allclose(apply.classify(method, state.params, batch), log_p, rtol=1e-4)


def test_no_labels_at_all_cost_nothing_and_a_label_that_is_no_class_is_not_a_number():
    log_p = log_probabilities({"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3)}, jnp.ones((4, 2)))
    assert [float(x) for x in labelled(log_p, jnp.full(4, -1))] == [0, 0]
    assert np.isnan(labelled(log_p, jnp.array([0, 1, 3, -1]))[0])
    np.testing.assert_allclose(labelled(log_p, jnp.array([0, 1, 2, -1]))[0], np.log(3), rtol=1e-6)


def test_a_classifier_learns_digits_from_a_few_labels():
    method = build("stacked_classifier", SHAPE, latents=32, width=(32,))
    source = partly_labelled(DIGITS, 100)
    hyper = method.hyper._replace(learning_rate=1e-2, pretrain_learning_rate=1e-2)
    params, _ = learned(method, source, 300, hyper._replace(pretrain_steps=jnp.array([0.0, 100.0])))
    test = load("digits", "test")
    images = test.at(test.data, jnp.arange(360))
    log_p = quickly_compiled(jax.vmap(partial(apply.classify, method), (0, None)))(params, images)
    np.testing.assert_allclose(jnp.exp(log_p).sum(axis=-1), 1, rtol=1e-5)
    assert (np.mean(log_p.argmax(axis=-1) == images.label, axis=1) > 0.75).all()


@pytest.mark.parametrize(
    "networks",
    [
        network("mlp", SHAPE, 3, 8),
        network("conv", SHAPE, 3, 4),
        (MLPEncoder(3, (8, 4), "relu"), MLPDecoder(SHAPE, (8, 4), "relu")),
        (MLPEncoder(3, (8,), "relu"), MLPDecoder(SHAPE, (8,), "tanh")),
    ],
)
def test_networks_that_are_no_mirror_images_are_refused(networks):
    with pytest.raises(InputError, match="use the network 'mlp_sigmoid', 'mlp_relu' or 'mlp_tanh'"):
        stacked_autoencoder(*networks)


def test_bad_input_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="at least 2 classes apart, not 1"):
        build("stacked_classifier", SHAPE, classes=1)
    few = build("stacked_classifier", SHAPE, latents=4, width=8, classes=7)
    with pytest.raises(InputError, match=r"labels run from 0 to 9, but the method has 7 classes, 0 to 6; .* -1$"):
        fit(few, DIGITS, grid(few.hyper, 1), steps=1)
    blank = DIGITS._replace(data={key: value for key, value in DIGITS.data.items() if key != "label"})
    with pytest.raises(InputError, match="learns from labels, and the source has none"):
        fit(few, blank, grid(few.hyper, 1), steps=1)
    plain = build("autoencoder", SHAPE, "mlp", latents=4, width=8)
    batch = digits(DIGITS.data, KEY)
    with pytest.raises(InputError, match="has learned no classes; train a stacked_classifier"):
        apply.classify(plain, plain.init(KEY, batch), batch)
