"""Mathematics of objectives, in nats: sums over pixels and latents here, the mean over the batch in the methods.

Where a term belongs to the batch as a whole (a covariance, a mean KL), its function says so.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from vaejax.distributions.basic import Gaussian, StandardNormal
from vaejax.distributions.conditions import unconditioned
from vaejax.errors import InputError
from vaejax.method import Distribution


def _flat(array: Float[Array, "B ..."]) -> Float[Array, "B D"]:
    return array.reshape(array.shape[0], -1)


def reconstruction(likelihood: Distribution, x: Float[Array, "B H W C"]) -> Float[Array, " B"]:
    """-log p(x | z) in nats per example: the reconstruction term (distortion).

    Flat before any arithmetic: a trailing axis of 1 channel costs XLA:CPU 10 ms instead of 0.3 ms at 64x64.
    """
    return -jax.tree.map(_flat, likelihood).log_prob(_flat(x)).sum(axis=-1)


def total_log_prob(distribution: Distribution, x: Float[Array, "B ..."]) -> Float[Array, " B"]:
    """log p(x) in nats per example, summed over all that it is made of."""
    return _flat(distribution.log_prob(x)).sum(axis=-1)


CLOSED_FORMS: dict[tuple[type, type], Callable[[Any, Any], Float[Array, "B ..."]]] = {  # KL(q || p), elementwise
    (Gaussian, StandardNormal): lambda q, p: q.kl(),
    (Gaussian, Gaussian): lambda q, p: q.kl(p),
}


def rate_per_latent(posterior: Any, prior: Any) -> Float[Array, "B ..."] | None:
    """KL(q(z | x) || p(z)) in nats per example and latent, as many as there are latents; its sum is the rate.

    None without a closed form, which both have where they are Gaussian. A condition that both are given has no part.
    """
    q, p = unconditioned(posterior), unconditioned(prior)
    closed = CLOSED_FORMS.get((type(q), type(p)))
    return None if closed is None else closed(q, p)


def rate(posterior: Any, prior: Any, z: Float[Array, "B ..."]) -> Float[Array, " B"]:
    """KL(q(z | x) || p(z)) in nats per example, summed over all latents, whatever their shape.

    In closed form where there is one; otherwise log q(z | x) - log p(z) at the one sample z, whose expectation it is.
    """
    nats = rate_per_latent(posterior, prior)
    return total_log_prob(posterior, z) - total_log_prob(prior, z) if nats is None else _flat(nats).sum(axis=-1)


def log_weight(posterior: Any, prior: Any, likelihood: Any, z: Array, x: Float[Array, "B H W C"]) -> Float[Array, " B"]:
    """log p(x | z) p(z) / q(z | x) in nats per example, at a sample z of the posterior.

    The mean of its exponential is p(x) (Burda et al. 2016, equation 8).
    """
    return total_log_prob(prior, z) - total_log_prob(posterior, z) - reconstruction(likelihood, x)


def iwae_bound(log_weights: Float[Array, "K B"]) -> Float[Array, " B"]:
    """log of the mean of K importance weights, in nats per example (Burda et al. 2016, equation 8).

    In expectation a lower bound of log p(x) that rises with K, and the evidence lower bound for K = 1.
    """
    return jax.nn.logsumexp(log_weights, axis=0) - math.log(len(log_weights))


def squared_error(
    likelihood: Distribution, x: Float[Array, "B ..."], mask: Bool[Array, "B ..."] | None = None
) -> Float[Array, " B"]:
    """|| x - E[x | z] ||^2 per example, summed over the elements that are there."""
    squares = (_flat(x) - _flat(likelihood.mean)) ** 2
    if mask is None:
        return squares.sum(axis=-1)
    there = jnp.broadcast_to(mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)), x.shape)
    return jnp.where(_flat(there), squares, 0.0).sum(axis=-1)


def labelled(log_p: Float[Array, "B classes"], label: Int[Array, " B"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Means over the examples with a label, 0 if there is none: cross-entropy in nats, and share of right answers.

    A label that is no class makes the cross-entropy NaN.
    """
    known = label >= 0
    count = jnp.maximum(known.sum(), 1)
    nats = -jnp.take_along_axis(log_p, jnp.where(known, label, 0)[:, None], axis=-1)[:, 0]
    right = (log_p.argmax(axis=-1) == label) & known
    return jnp.where(known, nats, 0.0).sum() / count, right.sum() / count


def capacity_penalty(rate: Float[Array, " B"], capacity: Float[Array, ""] | float) -> Float[Array, ""]:
    """|mean KL - C| of the batch in nats (Burgess et al. 2018, equation 8)."""
    return jnp.abs(rate.mean() - capacity)


def covariance(z: Float[Array, "B D"]) -> Float[Array, "D D"]:
    """The covariance of the codes over the batch, divided by B."""
    centred = z - z.mean(axis=0, keepdims=True)
    return centred.T @ centred / len(z)


def dip_penalty(
    spread: Float[Array, "D D"], off_diagonal: Float[Array, ""] | float, diagonal: Float[Array, ""] | float
) -> Float[Array, ""]:
    """How far a covariance is from the identity (Kumar et al. 2018, equations 6 and 7).

    off_diagonal * sum_{i != j} C_ij^2 + diagonal * sum_i (C_ii - 1)^2, of the batch.
    """
    own = jnp.diag(spread)
    others = spread * (1 - jnp.eye(len(spread)))
    return off_diagonal * (others**2).sum() + diagonal * ((own - 1) ** 2).sum()


def weighted_log_weights(batch: int, size: int) -> Float[np.ndarray, "B B"]:
    """Minibatch-weighted sampling (Chen et al. 2018, equation 5): log 1 / (N M) for every pair, M = `batch`."""
    return np.full((batch, batch), -math.log(size) - math.log(batch), np.float32)


def stratified_log_weights(batch: int, size: int) -> Float[np.ndarray, "B B"]:
    """Minibatch-stratified sampling (Chen et al. 2018, appendix C.2), for a batch of x_i and M others.

    The weights of q(z_i | x_j) are 1 / N for i = j, (N - M) / (N M) for the next in the batch (cyclically), 1 / M for
    the rest: if the others are drawn without replacement, the weighted sum is unbiased for q(z_i).

    Raises:
      InputError: the batch is larger than the data set.
    """
    if batch > size:
        raise InputError(
            f"stratified sampling takes batches from a data set of {size} images, not {batch} at a time; "
            f"use smaller batches or the estimator 'mws'"
        )
    others = batch - 1
    if others == 0:
        return np.full((1, 1), -math.log(size), np.float32)
    weights = np.full((batch, batch), 1 / others)
    at = np.arange(batch)
    weights[at, (at + 1) % batch] = (size - others) / (size * others)
    weights[at, at] = 1 / size
    return np.log(weights).astype(np.float32)


LOG_WEIGHTS: dict[str, Callable[[int, int], Float[np.ndarray, "B B"]]] = {
    "mws": weighted_log_weights,
    "mss": stratified_log_weights,
}


def log_aggregate(
    z: Float[Array, "B D"], posterior: Gaussian, log_weights: Float[Array | np.ndarray, "B M"]
) -> tuple[Float[Array, " B"], Float[Array, "B D"]]:
    """log q(z_i) and log q(z_id) for every latent d, where q(z) = sum_j weights_ij q(z | x_j), in nats.

    `posterior` has M members. A weight belongs to a whole q(z | x_j): in the joint density it counts once, and not once
    for every latent.
    """
    given = jax.tree.map(lambda leaf: leaf[None], posterior).log_prob(z[:, None])  # log q(z_id | x_j): [B, M, D]
    joint = jax.nn.logsumexp(log_weights + given.sum(axis=-1), axis=1)
    return joint, jax.nn.logsumexp(log_weights[:, :, None] + given, axis=1)


def total_correlation(
    z: Float[Array, "B D"], posterior: Gaussian, log_weights: Float[Array | np.ndarray, "B M"]
) -> Float[Array, " B"]:
    """log q(z) - sum_d log q(z_d) for each code in nats; its mean over q(z) is KL(q(z) || prod_d q(z_d)).

    With all N posteriors of a data set and log weights of -log N it is exact; for batches see `LOG_WEIGHTS`.
    """
    joint, marginals = log_aggregate(z, posterior, log_weights)
    return joint - marginals.sum(axis=-1)


def permuted(key: Key[Array, ""], z: Float[Array, "B D"]) -> Float[Array, "B D"]:
    """Each latent permuted on its own over the batch: codes of the product of the marginals.

    Kim & Mnih 2018, algorithm 1.
    """
    return jax.random.permutation(key, z, axis=0, independent=True)


def density_ratio(logits: Float[Array, "B 2"]) -> Float[Array, " B"]:
    """log of q(z) over prod_d q(z_d), by a discriminator's logits (real, permuted) (Kim & Mnih 2018, equation 3)."""
    return logits[:, 0] - logits[:, 1]


def telling_apart(first: Float[Array, "B 2"], second: Float[Array, "B 2"]) -> Float[Array, " B"]:
    """A discriminator's cross-entropy in nats: half for logits of the first kind, half for those of the second."""
    return -0.5 * (jax.nn.log_softmax(first)[:, 0] + jax.nn.log_softmax(second)[:, 1])


SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of the kernel


def inverse_multiquadratic(a: Float[Array, "N D"], b: Float[Array, "M D"]) -> Float[Array, "N M"]:
    """k(a_i, b_j) = sum over scales s of s C / (s C + |a_i - b_j|^2), C = 2 D: the squared distance of two N(0, I).

    Tolstikhin et al. 2018, section 4, and the scales of the authors' experiments. It is at most 7.
    """
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return multiquadratic(jnp.maximum(squared, 0.0), 2.0 * a.shape[1])


def multiquadratic(squared: Float[Array, "..."], base: float) -> Float[Array, "..."]:
    """The kernel of `inverse_multiquadratic` at squared distances, with C = base."""
    kernel = jnp.zeros_like(squared)
    for scale in SCALES:
        kernel += scale * base / (scale * base + squared)
    return kernel


def maximum_mean_discrepancy(z: Float[Array, "N D"], other: Float[Array, "M D"]) -> Float[Array, ""]:
    """MMD^2 of two distributions by samples of both (Gretton et al. 2012, equation 3, the unbiased estimate).

    mean_{i != j} k(z_i, z_j) + mean_{i != j} k(z'_i, z'_j) - 2 mean_ij k(z_i, z'_j). Around 0, and as often below as
    above, for samples of one distribution.
    """

    def pairs(a: Float[Array, "N D"]) -> Float[Array, ""]:
        kernel, count = inverse_multiquadratic(a, a), len(a)
        return (kernel * (1 - jnp.eye(count))).sum() / max(count * (count - 1), 1)

    return pairs(z) + pairs(other) - 2 * inverse_multiquadratic(z, other).mean()
