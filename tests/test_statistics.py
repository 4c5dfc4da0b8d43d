"""The statistics have the values of closed forms and SciPy, and intervals cover as often as they say."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vaejax.analysis import statistics
from vaejax.errors import InputError

pytestmark = pytest.mark.filterwarnings("error")

ONES = np.ones((1, 4))


def mean_of(values, n, **options):
    return statistics.bootstrap(lambda weights: statistics.mean(values, weights), n, **options)


def test_the_value_is_that_of_the_data_and_the_draws_repeat():
    values = np.random.default_rng(0).normal(size=(3, 5))
    first, again = mean_of(values, 5), mean_of(values, 5)
    np.testing.assert_allclose(first.value, values.mean(axis=1))
    assert (first.low < first.value).all() and (first.value < first.high).all()
    np.testing.assert_array_equal(first.low, again.low)


def test_an_interval_of_many_seeds_is_the_t_interval():
    values = np.random.default_rng(1).normal(size=200)
    found = mean_of(values, 200, resamples=4000)
    low, high = stats.t.interval(0.95, 199, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


@pytest.mark.parametrize(("n", "least"), [(3, 0.70), (6, 0.90), (20, 0.92)])
def test_intervals_cover_the_truth(n, least):
    """3 seeds: at most the range of the data, which holds the mean in 3 of 4 cases."""
    values = np.random.default_rng(2).normal(size=(1000, n))
    found = mean_of(values, n, resamples=1000)
    covered = ((found.low <= 0) & (found.high >= 0)).mean()
    assert least < covered < 0.98


def test_one_seed_has_no_interval_and_missing_runs_are_left_out():
    alone = mean_of(np.array([2.0]), 1)
    assert alone.value == 2.0 and np.isnan(alone.low) and np.isnan(alone.high)
    values = np.array([[1.0, np.nan, 3.0], [np.nan] * 3])
    found = mean_of(values, 3)
    np.testing.assert_allclose(found.value, [2.0, np.nan])
    assert (found.low[0], found.high[0]) == (1.0, 3.0) and np.isnan(found.low[1])


@pytest.mark.parametrize("bad", [{"n": 0}, {"n": 3, "resamples": 0}, {"n": 3, "level": 1.0}])
def test_a_bootstrap_of_nothing_is_refused(bad):
    with pytest.raises(InputError, match="a bootstrap needs"):
        mean_of(np.zeros(3), **bad)


METHODS = np.array([0, 0, 1, 1])


def shares(values, weights=None):
    weights = np.ones((1, values.shape[1])) if weights is None else weights
    return statistics.variance_shares(values, METHODS, weights)[0]


def test_without_noise_method_and_strength_explain_everything():
    effects = np.array([-3.0, -1.0, 2.0, 2.0])  # method means -2 and 2; strengths ±1 and 0
    found = shares(np.repeat(effects[:, None], 3, axis=1))
    np.testing.assert_allclose(found, [4 / 4.5, 0.5 / 4.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(shares(np.tile([1.0, 2.0, 3.0], (4, 1))), [0.0, 0.0, 1.0], atol=1e-12)
    assert np.isnan(shares(np.full((4, 3), 0.1))).all()
    assert np.isnan(shares(np.arange(4.0)[:, None])).all()


def test_shares_of_a_balanced_design_are_kelleys():
    values = np.random.default_rng(3).normal(size=(4, 5)) + np.array([0.0, 1.0, 3.0, 3.5])[:, None]
    settings_, methods = values.mean(axis=1), values.reshape(2, 10).mean(axis=1)
    within = ((values - settings_[:, None]) ** 2).sum()
    between = 5 * ((settings_ - methods.repeat(2)) ** 2).sum()
    method = 10 * ((methods - values.mean()) ** 2).sum()
    whole = ((values - values.mean()) ** 2).sum()
    assert within + between + method == pytest.approx(whole)
    noise = within / (20 - 4)
    expected = [(method - noise) / whole, (between - 2 * noise) / whole]
    np.testing.assert_allclose(shares(values), [*expected, 1 - sum(expected)])


def test_noise_alone_is_the_seeds():
    draws = np.random.default_rng(4).normal(size=(300, 4, 3))
    found = np.mean([shares(values) for values in draws], axis=0)
    assert found[2] > 0.8 and found[0] < 0.11 and found[1] < 0.12  # what is left is clipping at 0
    one = draws[0]
    share = statistics.bootstrap(lambda w: statistics.variance_shares(one, METHODS, w), 3, recentre=True)
    assert (share.low < share.value).all() and (share.value < share.high).all()


def test_weights_are_copies_of_seeds():
    values = np.random.default_rng(5).normal(size=(4, 4))
    values[2, 1] = np.nan
    weights, copied = np.array([[2.0, 0.0, 1.0, 1.0]]), values[:, [0, 0, 2, 3]]
    np.testing.assert_allclose(shares(values, weights), shares(copied))
    np.testing.assert_allclose(statistics.mean(values, weights), statistics.mean(copied, ONES))
    x, y = values[0], values[1]
    expected = statistics.spearman(copied[0], copied[1], ONES)
    np.testing.assert_allclose(statistics.spearman(x, y, weights), expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=12))
def test_spearman_is_scipys(pairs):
    x, y = np.array(pairs, np.float64).T
    found = statistics.spearman(x, y, np.ones((1, x.size)))[0]
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(x, y).statistic)


def test_spearman_leaves_out_runs_without_a_value():
    x, y = np.array([1.0, 2.0, np.nan, 4.0, 3.0]), np.array([5.0, 6.0, 0.0, 7.0, np.nan])
    assert statistics.spearman(x, y, np.ones((1, 5))) == pytest.approx(1.0)
    assert np.isnan(statistics.spearman(np.full(5, np.nan), y, np.ones((1, 5))))


def test_the_criterion_selects_its_run():
    criterion = np.array([0.1, 0.9, np.nan, 0.9, 0.2])
    score = np.array([0.5, 0.2, 1.0, 0.4, 0.8])
    weights = np.array([[1.0, 1, 1, 1, 1], [1.0, 0, 1, 0, 2], [0.0, 0, 1, 0, 0]])
    expected = [[0.3, 1.9 / 4, 0.8], [0.8, 2.1 / 3, 0.8], [np.nan] * 3]
    np.testing.assert_allclose(statistics.selected(criterion, score, weights), expected)
    assert np.isnan(statistics.selected(np.full(5, np.nan), score, weights)).all()


def held_out(values):
    found, chosen = statistics.held_out(values, np.ones((1, values.shape[1])))
    return found[0], chosen[0]


def test_held_out_values_take_no_part_in_the_choice():
    values = np.array([[1.0, 1.0, 1.0], [0.9, 0.9, 9.0]])
    found, chosen = held_out(values)
    np.testing.assert_array_equal(found, [0.9, 0.9, 1.0])  # the lucky run is chosen for the others only
    np.testing.assert_array_equal(chosen, [1, 1, 0])
    np.testing.assert_array_equal(held_out(values[:1])[0], values[0])
    assert np.isnan(held_out(values[:, :1])[0]).all()
    np.testing.assert_array_equal(held_out(np.array([[1.0, np.nan, 1.0], [np.nan] * 3]))[0], [1.0, np.nan, 1.0])
    weights = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])
    again, chosen = statistics.held_out(values, weights)  # copies of a seed don't choose for it
    np.testing.assert_array_equal(chosen[:2, :2], [[0, 0], [1, 1]])
    assert np.isnan(again[2, 0])


def test_held_out_means_are_not_optimistic_and_their_intervals_hold_the_choice():
    noise = np.random.default_rng(6).normal(size=(200, 6, 10))
    found = [
        statistics.bootstrap(lambda w, x=x: statistics.weighted(statistics.held_out(x, w)[0], w), 10, 200)
        for x in noise
    ]
    assert abs(np.mean([each.value for each in found])) < 0.08
    assert noise.mean(axis=2).max(axis=1).mean() > 0.3  # what choosing on the same seeds would report
    assert np.mean([each.low <= 0 <= each.high for each in found]) > 0.93


def chance(values, groups=None, resamples=200):
    groups = np.arange(len(values)) if groups is None else groups
    won = statistics.wins(values, groups)
    return statistics.bootstrap(lambda w: statistics.chance(values, groups, won, w), values.shape[1], resamples)


def test_a_choice_that_decides_always_wins():
    values = np.array([[0.0], [10.0], [20.0]]) + np.arange(4.0)
    found = chance(values)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    assert chance(values, np.array([0, 1, 1])).value == 1.0
    assert np.isnan(chance(values[:, :2]).value)


def test_a_choice_that_does_not_matter_wins_half():
    draws, groups = np.random.default_rng(7).normal(size=(1500, 3, 8)), np.arange(3)
    ones = np.ones((1, 8))
    values = [statistics.chance(each, groups, statistics.wins(each, groups), ones)[0] for each in draws]
    assert np.mean(values) == pytest.approx(0.5, abs=0.015)
    found = [chance(each) for each in draws[:100]]
    assert np.mean([each.low <= 0.5 <= each.high for each in found]) > 0.93
    assert chance(np.ones((3, 4))).value == 0.5  # ties


def test_chances_by_enumeration():
    rng = np.random.default_rng(8)
    values, groups = rng.normal(size=(4, 4)), np.array([0, 0, 1, 2])
    values[1, 3] = np.nan
    rates = []
    for s, t in itertools.permutations(range(4), 2):
        others = [seed for seed in range(4) if seed not in (s, t)]
        best = max(range(3), key=lambda group: np.nanmean(values[groups == group][:, others]))
        pairs = {
            other: [(a > b) for a in values[groups == best, s] for b in values[groups == other, t]
                    if np.isfinite(a) and np.isfinite(b)]
            for other in range(3) if other != best
        }  # fmt: skip
        rates.append(np.mean([np.mean(pair) for pair in pairs.values() if pair]))
    assert chance(values, groups).value == pytest.approx(np.mean(rates))
