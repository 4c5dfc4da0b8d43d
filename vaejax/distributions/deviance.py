"""Log-masses of counts that keep their digits in float32, however large the counts, the means and the dispersion.

log-gammas of large numbers cancel: at a count of 10^6 the textbook formula of the Poisson log-mass is wrong by about a
nat. What is computed here are deviances, which are small where the mass is large (Loader 2000, "Fast and accurate
computation of binomial probabilities"). With phi(t) = t - log(1 + t) >= 0 and e(n) = log n! - n log n + n:

    log Poisson(x; m)   = -x phi((m - x) / x) - e(x)
    log NB(x; m, theta) = log(theta / N) + e(N) - e(theta) - e(x) - theta phi(u) - x phi(v),   N = x + theta,
                          u = (x - m) / (theta + m),   v = theta (m - x) / (x (theta + m))

Their derivatives are written down as well, as x - m and such, so gradients neither cancel nor overflow. Masses lie on
whole numbers; between them the value is that of the formula, below 0 it is minus infinity, and there is no derivative
with respect to a count.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
SERIES_FROM = 8.0  # above it, three terms of Stirling's series are exact to 1e-8
SMALL, NEARLY_MINUS_1 = 0.3, -0.9  # phi: a series up to the first, and logarithms that are given beyond the second
LARGE = 1e4  # a Poisson distribution of this mean is nearly Gaussian


def phi(t: Float[Array, "*shape"], log_ratio: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """t - log(1 + t), without cancellation at 0; `log_ratio` is log(1 + t) with its digits where t is nearly -1."""
    near = jnp.abs(t) < SMALL
    small = jnp.where(near, t, 0.0)
    v = small / (2 + small)  # log(1 + t) = 2 artanh(v)
    square = v**2
    series = v * small - 2 * v * square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square / 9)))
    log = jnp.where(t < NEARLY_MINUS_1, log_ratio, jnp.log1p(jnp.maximum(t, NEARLY_MINUS_1)))
    return jnp.where(near, series, t - log)


def stirling_excess(n: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """e(n) = log n! - n log n + n, which is 0 at 0 and log(2 pi n) / 2 + 1 / (12 n) - ... for large n."""
    direct, large = jnp.minimum(n, SERIES_FROM), jnp.maximum(n, SERIES_FROM)
    inverse = 1 / large
    series = HALF_LOG_2PI + 0.5 * jnp.log(large) + inverse * (1 / 12 - inverse**2 * (1 / 360 - inverse**2 / 1260))
    exact = jax.lax.lgamma(direct + 1) - jax.scipy.special.xlogy(direct, direct) + direct
    return jnp.where(n == 0, 0.0, jnp.where(n < SERIES_FROM, exact, series))  # XLA's lgamma(1) is -5e-7


def digamma_gap(n: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """n (log n - digamma(n)) for n > 0: from 1 at 0 down to 1 / 2 + 1 / (12 n) - ... for large n."""
    direct, inverse = jnp.minimum(n, SERIES_FROM), 1 / jnp.maximum(n, SERIES_FROM)
    series = 0.5 + inverse * (1 / 12 - inverse**2 * (1 / 120 - inverse**2 / 252))
    return jnp.where(n < SERIES_FROM, direct * (jnp.log(direct) - jax.lax.digamma(direct)), series)


@jax.custom_jvp
def poisson_log_mass(x: Float[Array, "*shape"], log_mean: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(m^x exp(-m) / x!) in nats, m = exp(log_mean)."""
    mean, some = jnp.exp(log_mean), jnp.where(x > 0, x, 1.0)
    gap = some * phi((mean - some) / some, log_mean - jnp.log(some))
    return jnp.where(x < 0, -jnp.inf, -jnp.where(x > 0, gap, mean) - stirling_excess(x))


@poisson_log_mass.defjvp
def _poisson_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    x, log_mean = primals
    return poisson_log_mass(x, log_mean), (x - jnp.exp(log_mean)) * tangents[1]


@jax.custom_jvp
def negative_binomial_log_mass(
    x: Float[Array, "*shape"], log_mean: Float[Array, "*shape"], log_theta: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The log-mass in nats of mean m and variance m + m^2 / theta."""
    theta, some = jnp.exp(log_theta), jnp.where(x > 0, x, 1.0)
    mean, share = jnp.exp(log_mean), jax.nn.sigmoid(log_theta - log_mean)  # theta / (theta + m)
    log_total = jax.nn.softplus(jnp.log(jnp.maximum(x, 0.0)) - log_theta)  # log(N / theta)
    u, v = _relative_residual(x, log_mean, log_theta), share * (mean - some) / some
    of_theta = theta * phi(u, log_total - jax.nn.softplus(log_mean - log_theta))
    log_v = jax.nn.softplus(log_theta - jnp.log(some)) - jax.nn.softplus(log_theta - log_mean)
    of_x = jnp.where(x > 0, some * phi(v, log_v), share * mean)
    stirling = stirling_excess(x + theta) - stirling_excess(theta) - stirling_excess(x)
    return jnp.where(x < 0, -jnp.inf, stirling - log_total - of_theta - of_x)


@negative_binomial_log_mass.defjvp
def _negative_binomial_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    """By log m: theta u. By log theta: n (log n - digamma(n)) at theta less that at N, scaled, less theta phi(u)."""
    x, log_mean, log_theta = primals
    theta, u = jnp.exp(log_theta), _relative_residual(x, log_mean, log_theta)
    log_ratio = jax.nn.softplus(jnp.log(jnp.maximum(x, 0.0)) - log_theta) - jax.nn.softplus(log_mean - log_theta)
    by_mean = (x - jnp.exp(log_mean)) * jax.nn.sigmoid(log_theta - log_mean)
    total = x + theta
    by_theta = digamma_gap(theta) - theta / total * digamma_gap(total) - theta * phi(u, log_ratio)
    return negative_binomial_log_mass(*primals), by_mean * tangents[1] + by_theta * tangents[2]


def _relative_residual(x: Array, log_mean: Array, log_theta: Array) -> Array:
    """(x - m) / (theta + m)."""
    mean = jnp.exp(log_mean)
    return (x - mean) / (jnp.exp(log_theta) + mean)


def sample_poisson(key: Key[Array, ""], mean: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Counts as numbers. Means above 10^4 by two terms of the Cornish-Fisher expansion, exact to 1 / sqrt(mean).

    Above it JAX's rejection sampler compares log-gammas in float32, and its whole numbers end at 2^31. It knows one
    generator only, so whichever the key is of, it seeds that one.
    """
    words, noise = jax.random.split(key)
    seeded = jax.random.wrap_key_data(jax.random.bits(words, (2,), jnp.uint32), impl="threefry2x32")
    small = jax.random.poisson(seeded, jnp.minimum(mean, LARGE)).astype(mean.dtype)
    z = jax.random.normal(noise, mean.shape, mean.dtype)
    large = jnp.maximum(jnp.round(mean + jnp.sqrt(mean) * z + (z**2 - 1) / 6), 0.0)
    return jnp.where(mean < LARGE, small, large)
