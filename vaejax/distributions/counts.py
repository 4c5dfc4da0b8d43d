"""Likelihoods of counts: Poisson, negative binomial, with and without extra zeros; masses on 0, 1, 2, ...

Examples differ in how much was counted: a cell was read more deeply than another, a document is longer. So these
families are *sized*: what a network gives becomes shares, by a softmax over all elements of an example, and
`likelihood.sized(size)` makes the mean `size * share`. With `size_factor`, the total that was counted, a network has to
say what an example is made of and not how much of it there is (Lopez et al. 2018, "Deep generative modeling for
single-cell transcriptomics", methods, in whose terms it is the observed library size). Before it is sized, the
likelihood is that of one count in all. With `sized=False` the mean of an element is exp of what the network gives for
it, as a column of a table or a time series wants it; it has no size.

The exp, and that of an inverse dispersion, are taken of `bounded` numbers, so that nothing overflows.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from vaejax.distributions.deviance import negative_binomial_log_mass, poisson_log_mass, sample_poisson
from vaejax.errors import InputError, shortened

BOUND = 20.0  # of logarithms: exp(20) is 4.9e8


def bounded(raw: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same number up to 20 in size, beyond it 20 + log(1 + the rest): 65 at 10^20, and it never stops growing."""
    beyond = jnp.maximum(jnp.abs(raw) - BOUND, 0.0)
    return jnp.where(beyond > 0, jnp.sign(raw) * (BOUND + jnp.log1p(beyond)), raw)


def size_factor(x: Float[Array, "B ..."], mask: Bool[Array, "B ..."] | None = None) -> Float[Array, " B"]:
    """The total count of each example over what is there, at least 1: scVI's library size, not divided by any mean."""
    if mask is not None:
        x = jnp.where(mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)), x, 0.0)
    return jnp.maximum(x.sum(axis=tuple(range(1, x.ndim))), 1.0)


def log_shares(logits: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
    """The logarithm of the softmax over all elements of an example."""
    return jax.nn.log_softmax(logits, axis=tuple(range(1, logits.ndim)))


def over_event(size: Float[Array, " B"], like: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
    """The size with as many axes as an example has."""
    return size.reshape(size.shape + (1,) * (like.ndim - size.ndim))


class Poisson(NamedTuple):
    """P(x) = m^x exp(-m) / x!, m = exp(log_mean), independent in every element."""

    log_mean: Float[Array, "B ..."]
    has_density = True

    @property
    def mean(self) -> Float[Array, "B ..."]:
        """The expected count."""
        return jnp.exp(self.log_mean)

    def sized(self, size: Float[Array, " B"]) -> "Poisson":
        """With `size` times the mean, for each example."""
        return Poisson(self.log_mean + jnp.log(over_event(size, self.log_mean)))

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B ..."]:
        """Counts; not differentiable."""
        return sample_poisson(key, self.mean)

    def log_prob(self, x: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """Log-mass in nats."""
        return poisson_log_mass(x, self.log_mean)


class NegativeBinomial(NamedTuple):
    """A Poisson distribution whose mean has a Gamma distribution of shape theta; variance m + m^2 / theta.

    Fields: logarithms of the mean m and of theta, the inverse dispersion; theta > 1e-30.
    """

    log_mean: Float[Array, "B ..."]
    log_theta: Float[Array, "B ..."]
    has_density = True

    @property
    def mean(self) -> Float[Array, "B ..."]:
        """The expected count."""
        return jnp.exp(self.log_mean)

    def sized(self, size: Float[Array, " B"]) -> "NegativeBinomial":
        """With `size` times the mean, for each example, and the same dispersion."""
        return self._replace(log_mean=self.log_mean + jnp.log(over_event(size, self.log_mean)))

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B ..."]:
        """Counts, by their definition; not differentiable."""
        rate, count = jax.random.split(key)
        log_gamma = jax.random.loggamma(rate, jnp.exp(self.log_theta), dtype=self.log_theta.dtype)
        return sample_poisson(count, jnp.exp(self.log_mean - self.log_theta + log_gamma))

    def log_prob(self, x: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """Log-mass in nats."""
        return negative_binomial_log_mass(x, self.log_mean, self.log_theta)


class ZeroInflatedNegativeBinomial(NamedTuple):
    """0 with probability sigmoid(dropout), else a draw of the negative binomial `counts`."""

    counts: NegativeBinomial
    dropout: Float[Array, "B ..."]
    has_density = True

    @property
    def mean(self) -> Float[Array, "B ..."]:
        """The expected count, zeros of both kinds among them."""
        return jax.nn.sigmoid(-self.dropout) * self.counts.mean

    def sized(self, size: Float[Array, " B"]) -> "ZeroInflatedNegativeBinomial":
        """With `size` times the mean, for each example, and the same dropout."""
        return self._replace(counts=self.counts.sized(size))

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B ..."]:
        """Counts; not differentiable."""
        lost, count = jax.random.split(key)
        return jnp.where(jax.random.bernoulli(lost, jax.nn.sigmoid(self.dropout)), 0.0, self.counts.sample(count))

    def log_prob(self, x: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """Log-mass in nats. P(0) = pi + (1 - pi) P_NB(0) is near 1 or near 0; each has its own formula."""
        counted = self.counts.log_prob(x)
        kept = jax.nn.log_sigmoid(-self.dropout)  # log(1 - pi)
        near = (x == 0) & (counted > -0.5)
        likely = jnp.log1p(jnp.exp(kept) * jnp.expm1(jnp.where(near, counted, 0.0)))
        unlikely = jnp.logaddexp(jax.nn.log_sigmoid(self.dropout), kept + jnp.where(x == 0, counted, 0.0))
        return jnp.where(x == 0, jnp.where(near, likely, unlikely), kept + counted)


@dataclasses.dataclass(frozen=True)
class PoissonCounts:
    """The family of `Poisson`: of logits of shares, or of log-means where it is not sized."""

    sized: bool = True
    parameters = 1

    def __post_init__(self):
        _check_sized(self.sized)

    def __call__(self, raw: Float[Array, "B ..."]) -> Poisson:
        return Poisson(log_shares(raw) if self.sized else bounded(raw))


@dataclasses.dataclass(frozen=True)
class NegativeBinomialCounts:
    """The family of `NegativeBinomial`: as `PoissonCounts`, and log theta.

    A network gives theta for every element of every example, which Lopez et al. call gene-cell dispersion; where it
    depends on the element alone, the decoder's biases are enough for it.
    """

    sized: bool = True
    parameters = 2

    def __post_init__(self):
        _check_sized(self.sized)

    def __call__(self, raw: Float[Array, "B ..."], log_theta: Float[Array, "B ..."]) -> NegativeBinomial:
        return NegativeBinomial(log_shares(raw) if self.sized else bounded(raw), bounded(log_theta))


@dataclasses.dataclass(frozen=True)
class ZeroInflatedCounts:
    """The family of `ZeroInflatedNegativeBinomial`: as `NegativeBinomialCounts`, and the logit of an extra zero."""

    sized: bool = True
    parameters = 3

    def __post_init__(self):
        _check_sized(self.sized)

    def __call__(
        self, raw: Float[Array, "B ..."], log_theta: Float[Array, "B ..."], dropout: Float[Array, "B ..."]
    ) -> ZeroInflatedNegativeBinomial:
        return ZeroInflatedNegativeBinomial(NegativeBinomialCounts(self.sized)(raw, log_theta), dropout)


def _check_sized(sized: bool) -> None:
    """InputError unless it is a bool."""
    if not isinstance(sized, bool):
        raise InputError(f"sized has to be True (shares of a total) or False (one mean each), not {shortened(sized)}")
