"""Likelihoods of the elements of vectors and tables: Student's t for real numbers with outliers, and categories."""

import dataclasses
import math
import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vaejax.distributions.counts import bounded
from vaejax.errors import InputError, check_sizes, shortened

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
SERIES_FROM = 8.0  # above it, four terms of an asymptotic series are exact to 1e-9


class StudentT(NamedTuple):
    """x = location + scale t, t with Student's t distribution of so many degrees of freedom, nu.

    With nu = 1 it is Cauchy's, with large nu Gauss's. Fields: the location, and logarithms of the scale and of nu.
    """

    location: Float[Array, "*shape"]
    log_scale: Float[Array, "*shape"]
    log_degrees: Float[Array, "*shape"]
    has_density = True

    @property
    def mean(self) -> Float[Array, "*shape"]:
        """The location: the expected value for nu > 1, and the median for every nu."""
        return self.location

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*shape"]:
        """Reparameterised: Gaussian noise over the square root of Gamma(nu / 2) / (nu / 2)."""
        normal, gamma = jax.random.split(key)
        half = 0.5 * jnp.exp(self.log_degrees)
        log_gamma = jax.random.loggamma(gamma, half, self.location.shape, self.location.dtype)
        noise = jax.random.normal(normal, self.location.shape, self.location.dtype)
        return self.location + noise * jnp.exp(self.log_scale + 0.5 * (jnp.log(half) - log_gamma))

    def log_prob(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Log-density in nats."""
        degrees = jnp.exp(self.log_degrees)
        squared = ((x - self.location) * jnp.exp(-self.log_scale)) ** 2
        normaliser = _log_gamma_ratio(0.5 * degrees) - HALF_LOG_2PI - self.log_scale
        return normaliser - 0.5 * (degrees + 1) * jnp.log1p(squared / degrees)


def _log_gamma_ratio(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(Gamma(a + 1/2) / (Gamma(a) sqrt(a))), which is -1 / (8 a) + ... for large a."""
    direct, inverse = jnp.minimum(a, SERIES_FROM), 1 / jnp.maximum(a, SERIES_FROM)
    square = inverse**2
    series = -inverse * (1 / 8 - square * (1 / 192 - square * (1 / 640 - square * 17 / 14336)))
    exact = jax.lax.lgamma(direct + 0.5) - jax.lax.lgamma(direct) - 0.5 * jnp.log(direct)
    return jnp.where(a < SERIES_FROM, exact, series)


class Category(NamedTuple):
    """P(x = k) = softmax(logits)_k for the whole numbers k = 0 to K - 1, independent in every element.

    Fields: an array of logits for each of the K categories, so that every leaf has the shape of x.
    """

    logits: tuple[Float[Array, "*shape"], ...]
    has_density = True

    @property
    def probs(self) -> Float[Array, "*shape K"]:
        """The probability of each category."""
        return jax.nn.softmax(jnp.stack(self.logits, axis=-1), axis=-1)

    @property
    def mean(self) -> Float[Array, "*shape"]:
        """The most likely category: categories have no order, so an expected number would mean nothing."""
        return jnp.stack(self.logits).argmax(axis=0).astype(self.logits[0].dtype)

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*shape"]:
        """A category, as a number; not differentiable."""
        return jax.random.categorical(key, jnp.stack(self.logits), axis=0).astype(self.logits[0].dtype)

    def log_prob(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Log-mass in nats: minus infinity of what is no category, NaN of NaN."""
        logits = jnp.stack(self.logits, axis=-1)
        x, levels = jnp.asarray(x, logits.dtype), logits.shape[-1]
        chosen = jnp.where(x[..., None] == jnp.arange(levels), logits, 0.0).sum(axis=-1)
        none = (x != jnp.round(x)) | (x < 0) | (x >= levels)
        log_mass = jnp.where(none, -jnp.inf, chosen - jax.nn.logsumexp(logits, axis=-1))
        return jnp.where(jnp.isnan(x), jnp.nan, log_mass)


@dataclasses.dataclass(frozen=True)
class LearnedStudentT:
    """The family of `StudentT` with a scale learned for every element, above a floor as that of `LearnedGaussian`.

    log scale = log floor + softplus(raw - log floor). The degrees of freedom are given, or learned for every element as
    1 + exp(raw), so that the location is the expected value.

    Args:
      degrees: of freedom; learned if None.

    Raises:
      InputError: the floor or the degrees of freedom are not positive numbers.
    """

    floor: float = 1 / 256
    degrees: float | None = None
    sized = False

    def __post_init__(self):
        _check_positive("the smallest scale of a Student-t likelihood", self.floor)
        if self.degrees is not None:
            _check_positive("the degrees of freedom of a Student-t likelihood, where they are given,", self.degrees)

    @property
    def parameters(self) -> int:
        """Location, raw scale, and raw degrees of freedom where these are learned."""
        return 3 if self.degrees is None else 2

    def __call__(self, location: Float[Array, "*shape"], *raw: Float[Array, "*shape"]) -> StudentT:
        log_floor = math.log(self.floor)
        log_scale = log_floor + jax.nn.softplus(raw[0] - log_floor)
        if self.degrees is None:
            return StudentT(location, log_scale, jnp.logaddexp(0.0, bounded(raw[1])))
        return StudentT(location, log_scale, jnp.full_like(location, math.log(self.degrees)))


@dataclasses.dataclass(frozen=True)
class Categories:
    """The family of `Category` with so many levels: a network gives as many arrays of logits.

    Raises:
      InputError: the levels are not a whole number from 1.
    """

    levels: int
    sized = False

    def __post_init__(self):
        check_sizes(levels=self.levels)
        if self.levels is None:
            raise InputError("categories need a number of levels, such as Categories(3)")

    @property
    def parameters(self) -> int:
        """An array for each level."""
        return int(self.levels)

    def __call__(self, *logits: Float[Array, "*shape"]) -> Category:
        return Category(logits)


def _check_positive(what: str, value: Any) -> None:
    """InputError unless it is a number above 0 that is not infinite."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < math.inf:
        raise InputError(f"{what} has to be a positive number, not {shortened(value)}")
