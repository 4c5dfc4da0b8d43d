"""The statistics of a study of settings × seeds, with intervals from a bootstrap over seeds. Pure NumPy.

Values are laid out [S, n]: S settings (a method at a strength), n seeds; NaN is a run that diverged or wasn't made, and
is left out. A resample is a row of `weights` [B, n], how often it has each seed, and a statistic takes all B rows at
once. So seeds are resampled, not runs: runs that share a seed share their data and noise, and stay together.
"""

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, stdtrit

from vaejax.errors import LARGEST, InputError, check_memory, check_sizes, is_masked, shortened

RESAMPLES = 2000
CHUNK = 100  # resamples at a time: bounds the memory

Weights = Float[np.ndarray, "B n"]


class Estimate(NamedTuple):
    """A statistic of the data and its interval, all of one shape; no interval (NaN) from a single seed."""

    value: Any
    low: Any
    high: Any


def bootstrap(
    statistic: Callable[[Weights], Float[np.ndarray, "B ..."]],
    n: int | Int[np.ndarray, " n"],
    resamples: int = RESAMPLES,
    *,
    level: float = 0.95,
    recentre: bool = False,
    seed: int = 0,
) -> Estimate:
    """The statistic of all n seeds, and its percentile interval over resamples of the seeds.

    Plain percentile intervals are too narrow for few seeds: with 3, those of a standard deviation 0.8 times too small,
    and of the normal distribution in place of Student's. So the percentiles are moved outward until they would give the
    t-interval of a mean of normal values: the expanded percentile interval of Hesterberg 2015 (What Teachers Should
    Know About the Bootstrap). Below 6 seeds that reaches the ends of the resamples and can't make up for all of it.

    Args:
      n: how many seeds there are, or the seed of each of n columns: columns of one seed stay together, so that a seed
        that is there three times makes the interval no narrower.
      recentre: shift the resamples by their bias, so that their mean is the statistic of the data; for statistics that
        take the spread over seeds into account, which is smaller where seeds are repeated.

    Raises:
      InputError: no seeds or no resamples, seeds that are no whole numbers, or a level outside (0, 1).
    """
    column = _column_of(n)
    n = int(column.max(initial=-1)) + 1
    check_sizes(-LARGEST, resamples=resamples)
    check_sizes(0, seed=seed)
    if not isinstance(level, numbers.Real):
        raise InputError(f"level has to be a number in (0, 1), not {shortened(level)}")
    if n < 1 or resamples < 1 or not 0 < level < 1:
        raise InputError(
            f"a bootstrap needs seeds, resamples and a level in (0, 1), not {n} seeds, {resamples} resamples, {level}"
        )
    check_memory(f"{resamples:,} resamples of {n} seeds", 8.0 * resamples * n, "give fewer resamples")
    value = np.asarray(statistic(np.ones((1, column.size)))[0])
    if n == 1:
        return Estimate(value, np.full(value.shape, np.nan), np.full(value.shape, np.nan))
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples).astype(np.float64)
    draws = np.concatenate([statistic(weights[i : i + CHUNK, column]) for i in range(0, resamples, CHUNK)])
    known = np.isfinite(draws).any(axis=0) & np.isfinite(value)
    draws = np.where(known, draws, 0.0)
    tail = ndtr(-np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + level) / 2))
    shift = value - np.nanmean(draws, axis=0) if recentre else 0.0
    low, high = np.nanquantile(draws, [tail, 1 - tail], axis=0) + shift
    return Estimate(value, np.where(known, low, np.nan), np.where(known, high, np.nan))


def _column_of(n: Any) -> Int[np.ndarray, " n"]:
    """Which distinct seed each column has, numbered from 0; 0, 1, ... where only their number is given.

    Raises:
      InputError: no whole numbers.
    """
    if np.ndim(n) == 0:
        check_sizes(0, n=n)
        if n is None:
            raise InputError("n has to be how many seeds there are, or the seeds, not None")
        return np.arange(n)
    seeds = np.asarray(n)
    if is_masked(n) or seeds.ndim != 1 or (seeds.size and seeds.dtype.kind not in "iu"):
        raise InputError(f"seeds have to be a list of whole numbers, not {shortened(n)}")
    return np.unique(seeds, return_inverse=True)[1]


def mean(values: Float[np.ndarray, "... n"], weights: Weights) -> Float[np.ndarray, "B ..."]:
    """The mean over seeds; NaN where a resample has no finite value."""
    finite = np.isfinite(values)
    total = np.moveaxis(np.where(finite, values, 0.0) @ weights.T, -1, 0)
    return _ratio(total, np.moveaxis(finite.astype(np.float64) @ weights.T, -1, 0))


def variance_shares(
    values: Float[np.ndarray, "S n"], methods: Int[np.ndarray, " S"], weights: Weights
) -> Float[np.ndarray, "B 3"]:
    """What part of the variance over runs is between methods, between strengths of a method, and between seeds.

    Nested analysis of variance: the total sum of squares is that between methods (M - 1 degrees of freedom), plus that
    between settings within methods (S - M), plus that within settings (N - S). Sums between groups also hold noise; as
    much of it as their degrees of freedom make expected is moved to the seeds (Kelley's epsilon squared; with 3 seeds a
    third of pure noise would otherwise count as an effect). Negative parts become 0. NaN without repeated seeds.

    Args:
      methods: which method a setting belongs to, numbered from 0.
    """
    finite = np.isfinite(values)
    clean = np.where(finite, values, 0.0)
    groups = (methods[:, None] == np.unique(methods)).astype(np.float64)  # [S, M]
    count = weights @ finite.T.astype(np.float64)  # [B, S]
    total = weights @ clean.T
    setting_mean = np.nan_to_num(_ratio(total, count))
    method_count = count @ groups
    method_mean = np.nan_to_num(_ratio(total @ groups, method_count))
    runs = count.sum(axis=1)
    grand = _ratio(total.sum(axis=1), runs)
    deviation = np.where(finite, clean - setting_mean[:, :, None], 0.0)  # [B, S, n]
    within = np.einsum("bn,bsn->b", weights, deviation**2)
    between_settings = (count * (setting_mean - method_mean @ groups.T) ** 2).sum(axis=1)
    between_methods = (method_count * (method_mean - grand[:, None]) ** 2).sum(axis=1)
    settings, made = (count > 0).sum(axis=1), (method_count > 0).sum(axis=1)
    noise = _ratio(within, runs - settings)
    whole = within + between_settings + between_methods
    whole = np.where(whole > 1e-20 * runs * (1 + grand**2), whole, 0.0)  # equal values differ by rounding only
    method = np.maximum(between_methods - (made - 1) * noise, 0.0)
    strength = np.maximum(between_settings - (settings - made) * noise, 0.0)
    shares = np.stack([_ratio(method, whole), _ratio(strength, whole)], axis=1)
    return np.concatenate([shares, np.maximum(1 - shares.sum(axis=1, keepdims=True), 0.0)], axis=1)


def spearman(
    x: Float[np.ndarray, " R"], y: Float[np.ndarray, " R"], weights: Float[np.ndarray, "B R"]
) -> Float[np.ndarray, " B"]:
    """Spearman's rank correlation over runs where both are finite; ties share their mean rank. NaN for a constant.

    Args:
      weights: how often each resample has each run, that is its seed.
    """
    both = np.isfinite(x) & np.isfinite(y)
    weights = weights[:, both]
    a, b = _ranks(x[both], weights), _ranks(y[both], weights)
    size = weights.sum(axis=1, keepdims=True)
    a, b = (ranks - _ratio((weights * ranks).sum(axis=1, keepdims=True), size) for ranks in (a, b))
    spread = np.sqrt((weights * a**2).sum(axis=1) * (weights * b**2).sum(axis=1))
    return _ratio((weights * a * b).sum(axis=1), np.where(spread > 1e-9, spread, 0.0))


def selected(
    criterion: Float[np.ndarray, " R"], score: Float[np.ndarray, " R"], weights: Float[np.ndarray, "B R"]
) -> Float[np.ndarray, "B 3"]:
    """The score of the run that the criterion (higher is better) selects, of a mean run, and of the best run.

    Only runs of which both are known. The best of n runs rises with n, and a resample has fewer different runs.
    """
    both = np.isfinite(criterion) & np.isfinite(score)
    if not both.any():
        return np.full((len(weights), 3), np.nan)
    weights, criterion, score = weights[:, both], criterion[both], score[both]
    there = weights > 0
    chosen = there & (criterion == np.where(there, criterion, -np.inf).max(axis=1, keepdims=True))
    best = np.where(there, score, -np.inf).max(axis=1)
    size = weights.sum(axis=1)
    means = [_ratio((chosen * weights) @ score, (chosen * weights).sum(axis=1)), _ratio(weights @ score, size)]
    return np.stack([*means, np.where(size > 0, best, np.nan)], axis=1)


def held_out(
    values: Float[np.ndarray, "S n"], weights: Weights
) -> tuple[Float[np.ndarray, "B n"], Int[np.ndarray, "B n"]]:
    """For every seed, the value of the setting of highest mean over the other seeds, and which setting that is.

    To choose the best of several settings and to report its mean over the same seeds would be too favourable. The
    choice is made anew in every resample: it is a part of what varies, and intervals that leave it out are too narrow
    by half where settings are nearly equal. A single setting needs no choice; with several, a seed without others has
    nothing to choose by, and its value is NaN.
    """
    count, n = values.shape
    if count == 1:
        return np.tile(values, (len(weights), 1)), np.zeros((len(weights), n), np.int64)
    finite = np.isfinite(values)
    copies = weights[:, None, :] * finite  # [B, S, n]
    total = weights[:, None, :] * np.where(finite, values, 0.0)
    many = copies.sum(axis=2, keepdims=True) - copies
    others = _ratio(total.sum(axis=2, keepdims=True) - total, many)
    chosen = np.where(np.isfinite(others), others, -np.inf).argmax(axis=1)
    known = np.isfinite(others).any(axis=1)
    return np.where(known, values[chosen, np.arange(n)], np.nan), chosen


def weighted(values: Float[np.ndarray, "B n"], weights: Weights) -> Float[np.ndarray, " B"]:
    """`mean` of values that differ between the resamples."""
    finite = np.isfinite(values)
    return _ratio((weights * np.where(finite, values, 0.0)).sum(axis=1), (weights * finite).sum(axis=1))


def wins(values: Float[np.ndarray, "S n"], groups: Int[np.ndarray, " S"]) -> Float[np.ndarray, "G n n"]:
    """How often a run of one group with seed s is higher than a run of another group with seed t: entry [group, s, t].

    The part of the pairs of settings, one in the group and one in another; ties count half, and other groups count
    alike. NaN where there is no pair.

    Args:
      groups: what is chosen: a number per setting for strengths of one method, the method's number for methods.
    """
    names = np.unique(groups)
    finite = np.isfinite(values)
    of = (groups == names[:, None]).astype(np.float64)  # [G, S]
    there = np.einsum("as,bt,sp,tq->abpq", of, of, finite, finite, optimize=True)
    higher = (values[:, :, None, None] > values[None, None]) + 0.5 * (values[:, :, None, None] == values[None, None])
    rates = _ratio(np.einsum("as,bt,sptq->abpq", of, of, higher, optimize=True), there)
    rates[np.arange(names.size), np.arange(names.size)] = np.nan
    known = np.isfinite(rates)
    return _ratio(np.where(known, rates, 0.0).sum(axis=1), known.sum(axis=1))


def chance(
    values: Float[np.ndarray, "S n"],
    groups: Int[np.ndarray, " S"],
    won: Float[np.ndarray, "G n n"],
    weights: Weights,
) -> Float[np.ndarray, " B"]:
    """How often a run of the best group is higher than one of another group and of another seed.

    The best group for seeds s and t has the highest mean over runs of all other seeds, so that neither takes part in
    the choice, which is made anew in every resample (see `held_out`). NaN with two seeds or fewer.

    Args:
      won: `wins` of the same values and groups.
    """
    names, n = np.unique(groups), values.shape[1]
    finite = np.isfinite(values)
    of = (groups == names[:, None]).astype(np.float64)
    total = weights[:, None, :] * (of @ np.where(finite, values, 0.0))  # [B, G, n]
    copies = weights[:, None, :] * (of @ finite)
    left, many = (
        part.sum(axis=2)[:, :, None, None] - part[:, :, :, None] - part[:, :, None, :] for part in (total, copies)
    )
    others = _ratio(left, np.where(many > 0.5, many, 0.0))  # [B, G, n, n]
    chosen = np.where(np.isfinite(others), others, -np.inf).argmax(axis=1)
    first, second = np.indices((n, n))
    rates = won[chosen, first, second]
    known = np.isfinite(rates) & (np.isfinite(others).sum(axis=1) > 1) & (first != second)
    pairs = weights[:, :, None] * weights[:, None, :] * known
    return _ratio((pairs * np.where(known, rates, 0.0)).sum(axis=(1, 2)), pairs.sum(axis=(1, 2)))


def _ranks(x: Float[np.ndarray, " R"], weights: Float[np.ndarray, "B R"]) -> Float[np.ndarray, "B R"]:
    """Mean ranks, up to a constant, of values of which each resample has `weights` copies."""
    if not x.size:
        return np.zeros_like(weights)
    order = np.argsort(x, kind="stable")
    _, starts, index = np.unique(x[order], return_index=True, return_inverse=True)
    copies = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.empty_like(weights)
    ranks[:, order] = (np.cumsum(copies, axis=1) - copies / 2)[:, index]
    return ranks


def _ratio(top: Any, bottom: Any) -> Any:
    """top / bottom; NaN where bottom is 0."""
    bottom = np.asarray(bottom, np.float64)
    positive = bottom > 0
    return np.where(positive, top / np.where(positive, bottom, 1.0), np.nan)
