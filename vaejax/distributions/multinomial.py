"""The multinomial likelihood of counts: how what was counted in an example is shared among its elements."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from vaejax.distributions.counts import log_shares, over_event
from vaejax.distributions.deviance import poisson_log_mass, stirling_excess

NO_SHARE = -1e30  # a logit; minus infinity has no gradient


class Multinomial(NamedTuple):
    """Counts of `total` draws, each of one element of the example, by shares = softmax(logits) over all of them.

    Elements are not independent: they add up to the total. With m = total * share the log-mass is that of Poisson
    counts, given that they do: sum_d log Poisson(x_d; m_d) - log Poisson(total; total).
    """

    logits: Float[Array, "B ..."]
    total: Float[Array, "B ..."]
    has_density = True
    shares_total = True

    @property
    def mean(self) -> Float[Array, "B ..."]:
        """The expected counts: total * share."""
        return self.total * jnp.exp(log_shares(self.logits))

    def sized(self, size: Float[Array, " B"]) -> "Multinomial":
        """Of so many draws."""
        return self._replace(total=over_event(size, self.logits))

    def among(self, there: Bool[Array, "B ..."]) -> "Multinomial":
        """Of draws that are of one of these elements; the others have no share."""
        return self._replace(logits=jnp.where(there, self.logits, NO_SHARE))

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B ..."]:
        """Counts that add up to the total, rounded; not differentiable."""
        shares = jnp.exp(log_shares(self.logits)).reshape(len(self.logits), -1)
        total = jnp.round(self.total.reshape(-1))
        return jax.random.multinomial(key, total, shares, dtype=shares.dtype).reshape(self.logits.shape)

    def log_prob(self, x: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """The log-mass in nats of x, given its own total n: its sum is what means something.

        An element has the Poisson log-mass at n * share, and x_d / n of -log Poisson(n; n).
        """
        n = x.sum(axis=tuple(range(1, x.ndim)), keepdims=True)
        some = jnp.where(n == 0, 1.0, n)
        counted = poisson_log_mass(x, jnp.log(some) + log_shares(self.logits))
        return jnp.where(n == 0, 0.0, counted + stirling_excess(some) * x / some)


@dataclasses.dataclass(frozen=True)
class MultinomialCounts:
    """The family of `Multinomial`: of logits of shares."""

    parameters = 1
    sized = True

    def __call__(self, logits: Float[Array, "B ..."]) -> Multinomial:
        return Multinomial(logits, jnp.ones((len(logits), *[1] * (logits.ndim - 1)), logits.dtype))
