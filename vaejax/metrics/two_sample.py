"""Can generated images be told from real ones? A classifier's answer, and the training images nearest to them.

The classifier two-sample test (Lopez-Paz & Oquab 2017, "Revisiting Classifier Two-Sample Tests"): a network learns to
tell one half of the images apart, and its accuracy on the other half is 1/2 where it can't. If both are of one
distribution, the accuracy on n images has mean 1/2 and variance 1 / 4n (their section 3).
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from vaejax.errors import InputError, check_memory
from vaejax.metrics.checks import as_numbers, check_counts, check_finite, relative
from vaejax.metrics.record import Metric, Value
from vaejax.networks.discriminator import Discriminator
from vaejax.networks.sizes import check_depth
from vaejax.objectives import telling_apart

BATCH = 64  # of either kind, in a step
RATE = 1e-3  # of Adam
USUAL = (1 / 64, 64)  # the spread of images that are taken as they are
ROWS = 500  # generated images at a time, of whose distances from all others the nearest are kept


def two_sample_test(
    real: Float[np.ndarray, "N ..."],
    generated: Float[np.ndarray, "M ..."],
    *,
    seed: int = 0,
    width: int = 256,
    depth: int = 2,
    steps: int = 1000,
) -> dict[str, float]:
    """`accuracy` on held-out images, 0.5 where they can't be told apart; its `standard_error`; `p_value`; `images`.

    As many of each kind are used as there are of the rarer, the first half of a random order for training, the rest to
    be told apart; `images` are those. `p_value` is the chance of such an accuracy, or a higher one, if both kinds had
    one distribution, by the normal approximation.

    What it can't see: what this network can't learn from so many images in so many steps, so that only accuracies of
    equal settings and sizes can be compared. And it sees everything else: a level of grey that real images never have
    gives generated ones away, whatever they show. Compare binary with binary. What the classifier learns depends on the
    scale of the images; where they spread by less than 1/64 or by more than 64, they are scaled to about 1.

    Args:
      real: images or codes that nothing was trained on, such as those of the test split.
      generated: draws of the model.
      width, depth: of the classifier, fully connected with leaky ReLUs.
      steps: of Adam at 1e-3, with 64 images of each kind.

    Raises:
      InputError: images of different shapes, fewer than 4 of a kind, values that are not finite, sizes below 1.
    """
    check_counts(width=width, depth=depth, steps=steps)
    check_counts(0, seed=seed)
    check_depth("depth", depth)
    check_memory(f"a classifier of {depth} layers of {width}", 4.0 * max(0, depth - 1) * width**2, "give a smaller one")
    real, generated = _of_usual_scale(*_pair("two_sample_test", real, generated))
    count = min(len(real), len(generated))
    if count < 4:
        raise InputError(f"two_sample_test takes at least 4 images of each kind, not {count}")
    rng = np.random.default_rng(seed)
    kinds = [images[rng.permutation(len(images))[:count]] for images in (real, generated)]
    half = count // 2
    told = _told_apart(
        tuple(kind[:half] for kind in kinds), tuple(kind[half:] for kind in kinds), jax.random.key(seed),
        width, depth, steps,
    )  # fmt: skip
    accuracy, images = float(np.mean(told)), 2 * (count - half)
    return {
        "accuracy": accuracy,
        "standard_error": math.sqrt(accuracy * (1 - accuracy) / images),
        "p_value": 0.5 * math.erfc((accuracy - 0.5) * math.sqrt(2 * images)),
        "images": float(images),
    }


@partial(jax.jit, static_argnames=("width", "depth", "steps"))
def _told_apart(
    train: tuple[Array, Array], test: tuple[Array, Array], key: Key[Array, ""], width: int, depth: int, steps: int
) -> Float[Array, "2 n"]:
    """1 for every test image of either kind whose kind a classifier of the training images gets right, 0 for others."""
    network, adam = Discriminator(width, depth), optax.adam(RATE)
    centre = (train[0].mean(axis=0) + train[1].mean(axis=0)) / 2

    def judge(params: Any, images: Float[Array, "n D"]) -> Float[Array, "n 2"]:
        return jnp.asarray(network.apply(params, images - centre[None]))

    def step(state: Any, key: Key[Array, ""]) -> tuple[Any, None]:
        params, moments = state
        batches = [
            kind[jax.random.randint(part, (BATCH,), 0, len(kind))]
            for kind, part in zip(train, jax.random.split(key), strict=True)
        ]
        gradient = jax.grad(lambda params: telling_apart(*(judge(params, batch) for batch in batches)).mean())(params)
        updates, moments = adam.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments), None

    start, rest = jax.random.split(key)
    params = network.init(start, train[0][:1])
    (params, _), _ = jax.lax.scan(step, (params, adam.init(params)), jax.random.split(rest, steps))
    leaning = [logits[:, 0] - logits[:, 1] for logits in (judge(params, images) for images in test)]
    return jnp.stack([_right(leaning[0]), _right(-leaning[1])])


def _right(leaning: Float[Array, " n"]) -> Float[Array, " n"]:
    """1 where it leans to the right side, a half where to neither."""
    return 0.5 * (1 + jnp.sign(leaning))


class Neighbours(NamedTuple):
    """The nearest images to each of N.

    Fields:
      indices: which they are, the nearest first.
      distances: Euclidean.
    """

    indices: Int[np.ndarray, "N count"]
    distances: Float[np.ndarray, "N count"]


def nearest_neighbours(
    generated: Float[np.ndarray, "N ..."], train: Float[np.ndarray, "M ..."], count: int = 1
) -> Neighbours:
    """The `count` training images that are nearest to every generated one: has the model learnt images by heart?

    Raises:
      InputError: images of different shapes, values that are not finite, or fewer training images than asked for.
    """
    check_counts(count=count)
    generated, train = _pair("nearest_neighbours", generated, train)
    if count > len(train):
        raise InputError(f"nearest_neighbours finds from 1 to all {len(train)} training images, not {count}")
    _, near = relative(np.concatenate([generated, train]), together=True)
    indices = np.asarray(_nearest(near[: len(generated)], near[len(generated) :], count))
    distances = np.sqrt(((generated[:, None].astype(np.float64) - train[indices]) ** 2).sum(axis=-1))
    order = np.argsort(distances, axis=1, kind="stable")
    return Neighbours(np.take_along_axis(indices, order, axis=1), np.take_along_axis(distances, order, axis=1))


@partial(jax.jit, static_argnames="count")
def _nearest(generated: Float[Array, "N D"], train: Float[Array, "M D"], count: int) -> Int[Array, "N count"]:
    """By |t|^2 - 2 g t, which has the order of the distances up to rounding."""
    squares = (train**2).sum(axis=1)

    def of(image: Float[Array, " D"]) -> Int[Array, " count"]:
        return jax.lax.top_k(2 * train @ image - squares, count)[1]

    return jax.lax.map(of, generated, batch_size=ROWS)


def _pair(name: str, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as [N, D].

    Raises:
      InputError: they have different shapes, no images, or values that are not finite.
    """
    first, second = (as_numbers(name, images, "images") for images in (first, second))
    if min(first.ndim, second.ndim) < 2 or first.shape[1:] != second.shape[1:] or 0 in (*first.shape, *second.shape):
        raise InputError(f"{name} takes two sets of images of one shape, not {first.shape} and {second.shape}")
    for images in (first, second):
        check_finite(name, images, "images")
    return first.reshape(len(first), -1), second.reshape(len(second), -1)


def _of_usual_scale(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float32; centred where that matters to float32, and scaled where their spread isn't of the order of 1."""
    unit, moved = relative(np.concatenate([first, second]), together=True)
    largest = float(unit.max())
    if USUAL[0] <= largest <= USUAL[1]:
        moved = moved * np.float32(largest)
    return moved[: len(first)], moved[len(first) :]


TWO_SAMPLE_TEST = Metric(
    "two_sample_test", None, (),
    more=(
        Value("accuracy", "Told apart (accuracy)", "lower", (0, 1)),
        Value("standard_error", "Its standard error", None, (0, 0.5)),
        Value("p_value", "p of one distribution", "higher", (0, 1)),
        Value("images", "Images", None, (0, math.inf)),
    ),
    arrays=two_sample_test,
)  # fmt: skip
