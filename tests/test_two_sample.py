"""Whether a classifier can tell, against the best that any could; nearest neighbours against all distances."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from vaejax import InputError, plots
from vaejax.metrics import nearest_neighbours, two_sample_test

RNG = np.random.default_rng(0)


def test_equal_distributions_cannot_be_told_apart():
    found = [two_sample_test(*RNG.normal(size=(2, 1000, 4)), seed=seed, steps=200) for seed in range(8)]
    assert list(found[0]) == ["accuracy", "standard_error", "p_value", "images"]
    z = [(one["accuracy"] - 0.5) * 2 * one["images"] ** 0.5 for one in found]
    assert np.abs(z).max() < 3.5 and abs(np.mean(z)) < 3.5 / 8**0.5
    for one, value in zip(found, z, strict=True):
        assert one["images"] == 1000
        assert one["p_value"] == pytest.approx(stats.norm.sf(value), abs=1e-6)
        assert one["standard_error"] == pytest.approx((one["accuracy"] * (1 - one["accuracy"]) / 1000) ** 0.5)


def test_shifted_gaussians_are_told_apart_as_well_as_can_be():
    """The best classifier of N(0, I) and N(m, I) is right with probability Phi(|m| / 2)."""
    real, other = RNG.normal(size=(2, 4000, 4))
    shift = np.array([1.0, 0, -1.0, 0])
    found = two_sample_test(real, other + shift)
    best = stats.norm.cdf(np.linalg.norm(shift) / 2)
    assert best - 0.04 < found["accuracy"] < best + 4 * found["standard_error"]
    assert found["p_value"] < 1e-6


def test_what_is_no_difference_of_means_is_seen_and_images_are_taken_as_they_are():
    real = RNG.normal(size=(1000, 2, 2, 1))
    assert two_sample_test(real, 3 * RNG.normal(size=(1500, 2, 2, 1)), steps=500)["accuracy"] > 0.75


def test_the_same_seed_gives_the_same_answer():
    pair = RNG.normal(size=(2, 501, 3))
    first, second, other = (two_sample_test(*pair, seed=seed, steps=20) for seed in (1, 1, 2))
    assert first == second and first != other


def test_held_out_images_decide():
    """Labels by chance can be learnt by heart, and yet half of the answers are wrong."""
    pair = RNG.normal(size=(2, 200, 50))
    assert two_sample_test(*pair, steps=500)["accuracy"] < 0.65


@pytest.mark.parametrize("count", [1, 5])
def test_nearest_neighbours_are_those_of_all_distances(count):
    generated, train = RNG.random((603, 4, 4, 1)), RNG.random((211, 4, 4, 1))
    found = nearest_neighbours(generated, train, count)
    distances = cdist(generated.reshape(603, -1), train.reshape(211, -1))
    np.testing.assert_array_equal(found.indices, np.argsort(distances, axis=1)[:, :count])
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :count], rtol=1e-5)


def test_a_training_image_is_its_own_neighbour_at_distance_0():
    train = RNG.random((50, 30)).astype(np.float32)
    found = nearest_neighbours(train[::-1], train)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(50)[::-1])
    np.testing.assert_array_equal(found.distances, 0)


def test_the_figure_shows_every_image_above_its_neighbours():
    generated, train = np.zeros((3, 4, 4, 1)), np.stack([np.full((4, 4, 1), level) for level in (0.25, 0.5, 1.0)])
    found = nearest_neighbours(generated, train, 2)
    figure = plots.beside_nearest(generated, train[found.indices], found.distances)
    mosaic = np.asarray(figure.axes[0].images[0].get_array())
    assert {0, 64, 128} < set(np.unique(mosaic)) and 255 not in np.unique(mosaic)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["generated", "nearest", "2.", "1.0", "1.0", "1.0"]
    with pytest.raises(InputError, match="are shown above their nearest"):
        plots.beside_nearest(generated, train)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_sample_test(np.ones((9, 2)), np.ones((9, 3))), "two sets of images of one shape"),
        (lambda: two_sample_test(np.ones((3, 2)), np.ones((9, 2))), "at least 4 images of each kind"),
        (lambda: two_sample_test(np.ones((9, 2)), np.ones((9, 2)), steps=0), "steps has to be at least 1, not 0"),
        (lambda: two_sample_test(np.full((9, 2), np.nan), np.ones((9, 2))), "did the run diverge"),
        (lambda: nearest_neighbours(np.ones((9, 2)), np.ones((9, 2)), 10), "from 1 to all 9 training images, not 10"),
        (lambda: nearest_neighbours(np.ones((9, 2)), np.ones((0, 2))), "two sets of images of one shape"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InputError, match=message):
        call()
