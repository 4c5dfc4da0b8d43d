"""Gradient-boosted classification trees in JAX (Friedman 2001, "Greedy function approximation", algorithm 6), for DCI.

Every class c of a factor with C classes has its own score F_c, which starts at the log of its frequency. In each of 100
rounds a regression tree of depth 3 per class is fitted to the residuals r_c = 1[y = c] - softmax(F)_c, and a leaf adds

    0.1 (C - 1) / C  sum r / sum |r| (1 - |r|)        (sums over the examples in the leaf)

to F_c. A node is split where the squared error falls most. What the splits on a code take off the squared error, summed
over all nodes, trees and classes, is that code's importance for the factor. These are the defaults of scikit-learn's
`GradientBoostingClassifier`, which the unsupervised study used, with one departure: thresholds are not tried between
all neighbouring values but between `bins` bins of equal count, so that a split search costs a histogram.

The trees of all classes of all factors grow side by side: 113 for the factors of dSprites.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.target import target

ROUNDS = 100
DEPTH = 3
RATE = 0.1
AT_ONCE = 36  # trees on a CPU: their histograms stay in its cache


class Boosted(NamedTuple):
    """What DCI needs of boosted trees.

    Fields:
      importance: of every code for every factor; each factor's sum to 1, or are all 0 where no code helps.
      train, test: the share of examples of which each factor is predicted rightly.
    """

    importance: Float[Array, "D K"]
    train: Float[Array, " K"]
    test: Float[Array, " K"]


class Splits(NamedTuple):
    """The best split of every node of a level, in each of the T trees that grow side by side.

    Fields:
      code: the code whose bin is compared.
      bin: examples with a higher bin go right.
      gain: what the split takes off the squared error, summed over the examples of the node.
    """

    code: Int[Array, "nodes T"]
    bin: Int[Array, "nodes T"]
    gain: Float[Array, "nodes T"]


@partial(jax.jit, static_argnames=("sizes", "bins", "rounds"))
def boosted_trees(
    z: Float[Array, "N D"],
    factors: Int[Array, "N K"],
    z_test: Float[Array, "M D"],
    factors_test: Int[Array, "M K"],
    sizes: tuple[int, ...],
    bins: int,
    rounds: int = ROUNDS,
) -> Boosted:
    """Boosted trees that predict every factor from the codes; the values of factor k are below `sizes[k]`."""
    edges = quantiles(z, bins)
    binned, binned_test = bin_of(z, edges), bin_of(z_test, edges)
    target = jnp.concatenate([jax.nn.one_hot(factors[:, k], size) for k, size in enumerate(sizes)], axis=1)
    shrink = jnp.asarray(np.repeat([RATE * (size - 1) / size for size in sizes], sizes), jnp.float32)  # [T]
    counts = histograms(jnp.ones((len(z), 1)), binned, bins)[:, :, None]
    group = trees_at_once(sum(sizes))

    def one_tree_each(residual: Float[Array, "N W"]) -> tuple[Array, Array, Array]:
        levels, leaf = grow(binned, residual, counts)
        value = leaf_values(residual, leaf)
        gains = jnp.zeros((residual.shape[1], z.shape[1]))
        for level in levels:
            gains += (jax.nn.one_hot(level.code, z.shape[1]) * level.gain[:, :, None]).sum(axis=0)
        return pick(value, leaf), pick(value, descend(levels, binned_test)), gains.T

    def one_round(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
        score, score_test, importance = carry
        residual = target - jnp.concatenate([jax.nn.softmax(part, axis=1) for part in by_factor(score, sizes)], axis=1)
        found = jax.lax.map(one_tree_each, in_groups(residual, group))
        step, step_test, gains = (out_of_groups(each, sum(sizes)) for each in found)
        return (score + shrink[None] * step, score_test + shrink[None] * step_test, importance + gains), None

    prior = jnp.log(jnp.maximum(target.mean(axis=0), jnp.finfo(jnp.float32).tiny))[None]
    start = (jnp.tile(prior, (len(z), 1)), jnp.tile(prior, (len(z_test), 1)), jnp.zeros((z.shape[1], sum(sizes))))
    (score, score_test, importance), _ = jax.lax.scan(one_round, start, None, length=rounds)
    mass = jnp.stack([part.sum(axis=1) for part in by_factor(importance, sizes)], axis=1)  # [D, K]
    total = mass.sum(axis=0, keepdims=True)
    return Boosted(
        mass / jnp.where(total > 0, total, 1.0),
        accuracy(score, factors, sizes),
        accuracy(score_test, factors_test, sizes),
    )


def trees_at_once(trees: int) -> int:
    """How many of the trees of a round grow side by side: all, but on a CPU at most 36."""
    if target() != "cpu":
        return trees
    return -(-trees // -(-trees // AT_ONCE))


def in_groups(columns: Float[Array, "N T"], group: int) -> Float[Array, "groups N W"]:
    """The columns in groups of `group`; the last is filled up with zeros."""
    groups = -(-columns.shape[1] // group)
    padded = jnp.pad(columns, ((0, 0), (0, groups * group - columns.shape[1])))
    return padded.reshape(-1, groups, group).swapaxes(0, 1)


def out_of_groups(grouped: Float[Array, "groups N W"], trees: int) -> Float[Array, "N T"]:
    """The columns side by side again."""
    return grouped.swapaxes(0, 1).reshape(grouped.shape[1], -1)[:, :trees]


def quantiles(z: Float[Array, "N D"], bins: int) -> Float[Array, "edges D"]:
    """Edges between bins of equal count, halfway between neighbouring values, so that equal values stay together."""
    ordered = jnp.sort(z, axis=0)
    after = np.clip(np.round(np.arange(1, bins) * len(z) / bins).astype(int), 1, max(len(z) - 1, 1))
    after = np.minimum(after, len(z) - 1)
    return (ordered[after - 1] + ordered[after]) / 2


def bin_of(z: Float[Array, "N D"], edges: Float[Array, "edges D"]) -> Int[Array, "N D"]:
    """The bin of every code: how many edges lie below it."""
    return jax.vmap(partial(jnp.searchsorted, side="left"), in_axes=1, out_axes=1)(edges, z).astype(jnp.int32)


def histograms(rows: Float[Array, "N W"], binned: Int[Array, "N D"], bins: int) -> Float[Array, "D bins W"]:
    """The sum of the rows in every bin of every code.

    On a CPU rows are added one by one, which vectorises over W and costs the same for any number of bins; it is several
    times as fast as the product of one-hot bins and rows, which suits accelerators.
    """
    by = histograms_by_row if target() == "cpu" else histograms_by_product
    return by(rows, binned, bins)


def histograms_by_row(rows: Float[Array, "N W"], binned: Int[Array, "N D"], bins: int) -> Float[Array, "D bins W"]:
    """`histograms` by addition, row after row."""
    return jax.lax.map(lambda column: jax.ops.segment_sum(rows, column, bins), binned.T)


def histograms_by_product(rows: Float[Array, "N W"], binned: Int[Array, "N D"], bins: int) -> Float[Array, "D bins W"]:
    """`histograms` as one matrix product with one-hot bins."""
    one_hot = jax.nn.one_hot(binned, bins, dtype=rows.dtype)
    return jnp.einsum("ndb,nw->dbw", one_hot, rows, precision=jax.lax.Precision.HIGHEST)


def grow(
    binned: Int[Array, "N D"], residual: Float[Array, "N T"], counts: Float[Array, "D bins 1 1"]
) -> tuple[list[Splits], Int[Array, "N T"]]:
    """One tree per column of residuals: the splits of its three levels, and the leaf of every example.

    `counts` are the numbers of examples in every bin of every code. Only the left child's histogram is summed: the
    right child's is what remains of the parent's.
    """
    bins, trees = counts.shape[1], residual.shape[1]
    sums = histograms(residual, binned, bins)[:, :, None]
    node = jnp.zeros(residual.shape, jnp.int32)
    levels = []
    for depth in range(DEPTH):
        levels.append(best_splits(sums, counts))
        node = child(levels[-1], binned, node)
        if depth + 1 < DEPTH:
            left = [node == 2 * parent for parent in range(2**depth)]
            rows = [jnp.where(here, residual, 0.0) for here in left] + [here.astype(residual.dtype) for here in left]
            found = histograms(jnp.concatenate(rows, axis=1), binned, bins).reshape(*sums.shape[:2], 2, -1, trees)
            sums, counts = with_right(found[:, :, 0], sums), with_right(found[:, :, 1], counts)
    return levels, node


def with_right(left: Float[Array, "D bins nodes T"], parent: Float[Array, "D bins nodes _"]) -> Array:
    """The histograms of both children, left and right in turn."""
    both = jnp.stack([left, parent - left], axis=3)
    return both.reshape(*left.shape[:2], -1, left.shape[3])


def best_splits(sums: Float[Array, "D bins nodes T"], counts: Float[Array, "D bins nodes _"]) -> Splits:
    """The split with the largest n_left n_right / n (mean_left - mean_right)^2, for every node of every tree.

    A node in which no code has two values gets a split without gain, to the right of which there is nothing.
    """
    bins = sums.shape[1]
    left, total = jnp.cumsum(sums, axis=1), sums[:1].sum(axis=1, keepdims=True)
    n_left, n = jnp.cumsum(counts, axis=1), counts[:1].sum(axis=1, keepdims=True)
    product = n_left * (n - n_left)
    gain = jnp.where(product > 0, (left * n - n_left * total) ** 2 / jnp.maximum(product * n, 1.0), -1.0)
    flat = gain.reshape(-1, *sums.shape[2:])
    best = flat.max(axis=0)
    where = jnp.argmax(flat == best[None], axis=0).astype(jnp.int32)
    valid = best > 0
    return Splits(where // bins, jnp.where(valid, where % bins, bins), jnp.maximum(best, 0.0))


def child(splits: Splits, binned: Int[Array, "N D"], node: Int[Array, "N T"]) -> Int[Array, "N T"]:
    """The node of the next level in which every example of a node comes to lie."""

    def of_node(right: Array, split: tuple[Array, Array, Array]) -> tuple[Array, None]:
        number, code, threshold = split
        return right | ((node == number) & (jnp.take(binned, code, axis=1) > threshold[None])), None

    # A loop, because XLA would otherwise work out the comparisons again wherever their result is used: 4 times slower.
    splits_of_nodes = (jnp.arange(len(splits.code)), splits.code, splits.bin)
    return 2 * node + jax.lax.scan(of_node, jnp.zeros(node.shape, bool), splits_of_nodes)[0]


def descend(levels: list[Splits], binned: Int[Array, "N D"]) -> Int[Array, "N T"]:
    """The leaf of every example in every tree."""
    node = jnp.zeros((len(binned), levels[0].code.shape[1]), jnp.int32)
    for level in levels:
        node = child(level, binned, node)
    return node


def leaf_values(residual: Float[Array, "N T"], leaf: Int[Array, "N T"]) -> Float[Array, "leaves T"]:
    """Newton's step in every leaf, sum r / sum |r| (1 - |r|), or 0 where the denominator is."""
    size = jnp.abs(residual)
    place = leaf * leaf.shape[1] + jnp.arange(leaf.shape[1])[None]
    both = jnp.stack([residual, size * (1 - size)], axis=-1).reshape(-1, 2)
    sums = jax.ops.segment_sum(both, place.reshape(-1), 2**DEPTH * leaf.shape[1])
    gradient, curvature = sums.reshape(2**DEPTH, -1, 2).transpose(2, 0, 1)
    return jnp.where(curvature > 0, gradient / jnp.where(curvature > 0, curvature, 1.0), 0.0)


def pick(value: Float[Array, "leaves T"], leaf: Int[Array, "N T"]) -> Float[Array, "N T"]:
    """The value of every example's leaf."""
    found = jnp.zeros(leaf.shape, value.dtype)
    for number in range(2**DEPTH):
        found = jnp.where(leaf == number, value[number][None], found)
    return found


def by_factor(columns: Float[Array, "N T"], sizes: tuple[int, ...]) -> list[Array]:
    """The columns of each factor's classes."""
    return jnp.split(columns, np.cumsum(sizes)[:-1].tolist(), axis=1)


def accuracy(score: Float[Array, "N T"], factors: Int[Array, "N K"], sizes: tuple[int, ...]) -> Float[Array, " K"]:
    """The share of examples whose true value has the highest score, for every factor."""
    guess = jnp.stack([part.argmax(axis=1) for part in by_factor(score, sizes)], axis=1)
    return (guess == factors).mean(axis=0)
