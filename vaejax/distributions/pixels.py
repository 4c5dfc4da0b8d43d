"""Likelihoods of pixels that know where pixels end: on the interval [0, 1], or on its grey levels k / (levels - 1).

`ContinuousBernoulli` is a density on [0, 1]; `DiscretizedLogistic` and `Categorical` are masses on grey levels, so that
-log2 of them are bits. All are named again in `vaejax.distributions`, which says what a family is.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vaejax.errors import LARGEST, InputError, check_sizes

LEVELS = 256  # of 8-bit images
SMALL = 0.5  # below it, six digits and more come from five terms of a series, and above it from closed forms
LOG_FLOOR = -7.0  # of the scale of a logistic, where images run from -1 to 1 (Salimans et al. 2017)


class ContinuousBernoulli(NamedTuple):
    """p(x) = exp(logits * x) / A on [0, 1], A = (exp(logits) - 1) / logits, independent in every element.

    Loaiza-Ganem & Cunningham 2019, "The continuous Bernoulli: fixing a pervasive error in variational autoencoders",
    section 3, with lambda = sigmoid(logits): a Bernoulli likelihood for grey values that is normalised. With
    h = logits / 2, log A = h + log(sinh(h) / h), which is smooth at lambda = 1 / 2, that is at h = 0.
    """

    logits: Float[Array, "*shape"]
    parameters = 1
    has_density = True
    sized = False

    @property
    def mean(self) -> Float[Array, "*shape"]:
        """1 / 2 + (coth(h) - 1 / h) / 2, which is not lambda but nearer to 1 / 2."""
        h = 0.5 * self.logits
        near = jnp.abs(h) < SMALL
        x = jnp.where(near, h, 0.0)
        series = x / 3 - x**3 / 45 + 2 * x**5 / 945 - x**7 / 4725 + 2 * x**9 / 93555
        far = jnp.where(near, 1.0, h)
        return 0.5 + 0.5 * jnp.where(near, series, 1 / jnp.tanh(far) - 1 / far)

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*shape"]:
        """By the inverse of the cumulative distribution, so that it is reparameterised."""
        u = jax.random.uniform(key, self.logits.shape, self.logits.dtype)
        falling = -jnp.maximum(jnp.abs(self.logits), 1e-6)  # exp(falling) doesn't overflow
        x = jnp.log1p(u * jnp.expm1(falling)) / falling
        return jnp.where(self.logits > 0, 1 - x, x)

    def log_prob(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Log-density in nats; the value of its formula also outside [0, 1]."""
        return (x - 0.5) * self.logits - _log_sinhc(0.5 * self.logits)


def _log_sinhc(h: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(sinh(h) / h), with a gradient that is finite everywhere."""
    near = jnp.abs(h) < SMALL
    square = jnp.where(near, h, 0.0) ** 2
    series = square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square * (1 / 37800 - square / 467775))))
    far = jnp.where(near, 1.0, jnp.abs(h))
    return jnp.where(near, series, far + jnp.log1p(-jnp.exp(-2 * far)) - jnp.log(2 * far))


class DiscretizedLogistic(NamedTuple):
    """A mixture of K logistics, each rounded to 256 levels, independent in every channel of every pixel.

    Salimans et al. 2017, "PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other
    Modifications", equation 2, in whose units y = 2 x - 1 runs from -1 to 1. Levels are 2 / 255 apart, and the first
    and the last take all that is beyond them, so that the 256 masses add up to 1:

        P(level) = sum_k softmax(logits)_k (sigmoid((y + 1/255 - m_k) / s_k) - sigmoid((y - 1/255 - m_k) / s_k))

    Departures: a channel's means don't depend on the other channels, and scales are bounded from below by a softplus
    at exp(-7), not cut off there.

    Fields: K arrays each, of the components' log-weights (up to a constant), means m and unbounded log-scales.
    """

    logits: tuple[Float[Array, "*shape"], ...]
    means: tuple[Float[Array, "*shape"], ...]
    raw_log_scales: tuple[Float[Array, "*shape"], ...]
    has_density = True

    def _parts(self) -> tuple[Float[Array, " components *shape"], ...]:
        """Log-weights, means and log-scales."""
        logits, means, raw = (jnp.stack(part) for part in self)
        return jax.nn.log_softmax(logits, axis=0), means, LOG_FLOOR + jax.nn.softplus(raw - LOG_FLOOR)

    @property
    def mean(self) -> Float[Array, "*shape"]:
        """Of the mixture cut off at -1 and 1 before it is rounded, in closed form, back in [0, 1].

        The sum over levels is the midpoint rule for this integral. They differ by half a level at most, and by much
        less where scales are wider than a level.
        """
        log_weights, means, log_scales = self._parts()
        scales = jnp.exp(log_scales)
        above = scales * (jax.nn.softplus((means + 1) / scales) - jax.nn.softplus((means - 1) / scales))
        return 0.5 * (jnp.exp(log_weights) * above).sum(axis=0)

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*shape"]:
        """A level in [0, 1]; not differentiable."""
        log_weights, means, log_scales = self._parts()
        which, where = jax.random.split(key)
        chosen = jax.random.categorical(which, log_weights, axis=0)[None]
        mean, log_scale = (jnp.take_along_axis(part, chosen, axis=0)[0] for part in (means, log_scales))
        y = mean + jnp.exp(log_scale) * jax.random.logistic(where, mean.shape, mean.dtype)
        return level_of(0.5 * (y + 1), LEVELS).astype(mean.dtype) / (LEVELS - 1)

    def log_prob(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Log-mass in nats of the level nearest to x.

        With a, b = (y - m +- 1/255) / s a component's mass is sigmoid(a) sigmoid(-b) (1 - exp(b - a)): no difference of
        numbers that are close to each other, so it is exact however small.
        """
        log_weights, means, log_scales = self._parts()
        level = level_of(jnp.asarray(x), LEVELS)[None]
        inverse = jnp.exp(-log_scales)
        centred = (2 * level / (LEVELS - 1) - 1) - means
        upper, lower = (inverse * (centred + half) for half in (1 / (LEVELS - 1), -1 / (LEVELS - 1)))
        below = jnp.where(level == LEVELS - 1, 0.0, jax.nn.log_sigmoid(upper))
        above = jnp.where(level == 0, 0.0, jax.nn.log_sigmoid(-lower))
        inside = (level > 0) & (level < LEVELS - 1)
        width = jnp.where(inside, jnp.log(-jnp.expm1(-2 / (LEVELS - 1) * inverse)), 0.0)
        return jax.nn.logsumexp(log_weights + below + above + width, axis=0)


class Categorical(NamedTuple):
    """P(level k) = softmax(logits)_k on equally spaced grey levels in [0, 1], independent in every element.

    van den Oord et al. 2016, "Pixel Recurrent Neural Networks", section 3.3; it knows of no order between levels.

    Fields: an array of logits for each level, from black to white.
    """

    logits: tuple[Float[Array, "*shape"], ...]
    has_density = True

    @property
    def mean(self) -> Float[Array, "*shape"]:
        """The expected grey value in [0, 1]."""
        mass = jax.nn.softmax(jnp.stack(self.logits), axis=0)
        return jnp.tensordot(jnp.linspace(0, 1, len(self.logits), dtype=mass.dtype), mass, axes=1)

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*shape"]:
        """A level in [0, 1]; not differentiable."""
        logits = jnp.stack(self.logits)
        return jax.random.categorical(key, logits, axis=0).astype(logits.dtype) / (len(logits) - 1)

    def log_prob(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Log-mass in nats of the level nearest to x."""
        logits = jnp.stack(self.logits)
        level = level_of(jnp.asarray(x), len(logits))
        at_level = jnp.where(jax.lax.broadcasted_iota(jnp.int32, logits.shape, 0) == level[None], logits, 0.0)
        return at_level.sum(axis=0) - jax.nn.logsumexp(logits, axis=0)


def level_of(x: Float[Array, "*shape"], levels: int) -> Int[Array, "*shape"]:
    """The number of the level nearest to x, where 0 and 1 are the first and the last."""
    return jnp.clip(jnp.round(x * (levels - 1)), 0, levels - 1).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class LogisticMixture:
    """The family of `DiscretizedLogistic` with so many components; PixelCNN++ has 5 to 10.

    Raises:
      InputError: less than 1 component.
    """

    components: int = 5
    sized = False

    def __post_init__(self):
        check_sizes(-LARGEST, components=self.components)
        if self.components < 1:
            raise InputError(f"a mixture of logistics needs at least 1 component, not {self.components}")

    @property
    def parameters(self) -> int:
        """Three arrays for each component: log-weights first, then means, then log-scales."""
        return 3 * self.components

    def __call__(self, *arrays: Float[Array, "*shape"]) -> DiscretizedLogistic:
        k = self.components
        return DiscretizedLogistic(arrays[:k], arrays[k : 2 * k], arrays[2 * k :])


@dataclasses.dataclass(frozen=True)
class PixelLevels:
    """The family of `Categorical` with so many grey levels: 256 lose nothing of 8-bit images.

    A network makes as many numbers for every pixel, 200,704 for an image of 28 x 28 in 256 levels, and a program of 256
    arrays takes 15 s to compile on a CPU. With fewer levels images are rounded, and bits are those of rounded images.

    Raises:
      InputError: less than 2 levels.
    """

    levels: int = LEVELS
    sized = False

    def __post_init__(self):
        check_sizes(-LARGEST, levels=self.levels)
        if self.levels < 2:
            raise InputError(f"pixels have at least 2 levels, black and white, not {self.levels}")

    @property
    def parameters(self) -> int:
        """An array for each level."""
        return self.levels

    def __call__(self, *logits: Float[Array, "*shape"]) -> Categorical:
        return Categorical(logits)
