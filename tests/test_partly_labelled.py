"""A source that keeps some of its labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaejax import InputError
from vaejax.data import load, partly_labelled, sprites

DIGITS = load("digits")
LABEL = np.asarray(DIGITS.data["label"])


def test_as_many_labels_of_each_class_are_kept():
    few = np.asarray(partly_labelled(DIGITS, 53).data["label"])
    assert np.bincount(few[few >= 0]).tolist() == [6, 6, 6, 5, 5, 5, 5, 5, 5, 5]
    assert (few[few >= 0] == LABEL[few >= 0]).all() and set(few.tolist()) == set(range(-1, 10))
    assert (few == np.asarray(partly_labelled(DIGITS, 53).data["label"])).all()
    assert (few != np.asarray(partly_labelled(DIGITS, 53, seed=1).data["label"])).any()


@pytest.mark.parametrize("n", [1, 7, 400])
def test_half_of_a_batch_is_labelled_and_the_rest_is_of_all_images_without_labels(n):
    source = partly_labelled(DIGITS, 20)
    batch = jax.jit(lambda data: source.sample(data, jax.random.key(0), n))(source.data)
    half = n // 2
    assert batch.x.shape == (n, 8, 8, 1) and (batch.label[:half] == -1).all() and (batch.label[half:] >= 0).all()
    images = {x.tobytes(): k for k, x in enumerate(np.asarray(DIGITS.at(DIGITS.data, jnp.arange(DIGITS.size)).x))}
    where = np.array([images[x.tobytes()] for x in np.asarray(batch.x)])
    few = np.asarray(source.data["label"])
    assert (few[where[half:]] == batch.label[half:]).all()
    if n == 400:
        assert len(set(where[half:])) == 20 and len(set(where[:half])) > 150


def test_images_by_their_number_have_the_labels_that_were_kept():
    source = partly_labelled(DIGITS, 20)
    batch = source.at(source.data, jnp.arange(source.size))
    assert (batch.label >= 0).sum() == 20 and source.size == DIGITS.size


def test_bad_input_is_one_clear_line():
    with pytest.raises(InputError, match=r"digits can keep 1 to .* labels, as many of each class, not 1400"):
        partly_labelled(DIGITS, 1400)
    with pytest.raises(InputError, match="not 0"):
        partly_labelled(DIGITS, 0)
    with pytest.raises(InputError, match="sprites has no labels to keep some of"):
        partly_labelled(sprites(16), 5)
