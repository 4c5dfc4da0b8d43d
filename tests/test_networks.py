"""Shapes, sizes and names of the networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.errors import InputError
from vaejax.networks import NETWORKS, network
from vaejax.networks.conv import halvings


def parameters(module, *arguments):
    return jax.eval_shape(lambda key: module.init(key, *arguments), jax.random.key(0))["params"]


def count(tree) -> int:
    return sum(np.prod(leaf.shape, dtype=int) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "hierarchical"])  # which has its own tests
@pytest.mark.parametrize(
    "shape", [(8, 8, 1), (12, 20, 3), (28, 28, 1), (32, 32, 3), (60, 60, 1), (64, 64, 1), (128, 128, 3)]
)
def test_every_size_goes_in_and_comes_out(name, shape):
    encoder, decoder = network(name, shape, latents=5, width=8)

    def both(key):
        x = jnp.zeros((2, *shape))
        codes = encoder.apply(encoder.init(key, x, 2), x, 2)
        images = decoder.apply(decoder.init(key, codes[0], 2), codes[0], 2)
        return codes, images

    codes, images = jax.eval_shape(both, jax.random.key(0))
    grid = (shape[0] // 4, shape[1] // 4) if name == "residual" else ()
    assert [code.shape for code in codes] == [(2, *grid, 5)] * 2
    assert [image.shape for image in images] == [(2, *shape)] * 2


def test_the_64x64_network_is_burgess():
    encoder, decoder = network("conv", (64, 64, 1), latents=10)
    weights = parameters(encoder, jnp.zeros((1, 64, 64, 1)), 2)
    kernels = [weights[f"_Conv_{i}"]["kernel"].shape for i in range(4)]
    assert kernels == [(4, 4, 1, 32), (4, 4, 32, 32), (4, 4, 32, 64), (4, 4, 64, 64)]
    assert weights["Dense_0"]["kernel"].shape == (1024, 256)
    assert weights["Dense_1"]["kernel"].shape == (256, 20)
    weights = parameters(decoder, jnp.zeros((1, 10)), 1)
    kernels = [weights[f"_Conv_{i}"]["kernel"].shape for i in range(4)]
    assert kernels == [(4, 4, 64, 64), (4, 4, 64, 32), (4, 4, 32, 32), (4, 4, 32, 1)]
    assert weights["Dense_1"]["kernel"].shape == (256, 1024)


def test_the_k2_variant_is_the_studys():
    encoder, _ = network("conv_k2", (64, 64, 1), latents=10)
    weights = parameters(encoder, jnp.zeros((1, 64, 64, 1)), 2)
    kernels = [weights[f"_Conv_{i}"]["kernel"].shape for i in range(4)]
    assert kernels == [(4, 4, 1, 32), (4, 4, 32, 32), (2, 2, 32, 64), (2, 2, 64, 64)]


def test_the_mlp_is_higgins():
    encoder, decoder = network("mlp", (64, 64, 1), latents=10)
    assert count(parameters(encoder, jnp.zeros((1, 64, 64, 1)), 2)) == 4097 * 1200 + 1201 * 1200 + 1201 * 20
    assert count(parameters(decoder, jnp.zeros((1, 10)), 1)) == 11 * 1200 + 2 * 1201 * 1200 + 1201 * 4096


def test_an_odd_side_is_rounded_up():
    assert halvings(28, 28) == ((28, 28), (14, 14), (7, 7), (4, 4))


def test_weights_are_glorot_uniform_and_biases_zero():
    encoder, _ = network("conv", (32, 32, 1), latents=10)
    weights = encoder.init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)), 2)["params"]
    kernel = weights["_Conv_1"]["kernel"]
    bound = np.sqrt(6 / (16 * (kernel.shape[2] + kernel.shape[3])))
    assert 0.95 * bound < np.abs(kernel).max() <= bound
    assert not np.any(weights["_Conv_1"]["bias"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("konv", (64, 64, 1), 10), "unknown network 'konv'; did you mean 'conv'"),
        (("conv", (30, 30, 1), 10), "multiples of 4 from 8 to 128.*30x30x1"),
        (("conv", (132, 132, 1), 10), "multiples of 4"),
        (("conv", (4, 4, 1), 10), "multiples of 4"),
        (("conv", (32, 32, 2), 10), "1 or 3 channels"),
        (("mlp", (32, 32, 1), 0), "at least 1 latent"),
        (("mlp", (32, 32, 1), 3, 0), "width 1"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        network(*arguments)
    assert "\n" not in str(caught.value)
