"""Priors of codes that are not independent in every latent: learned mixtures, and the shapes of adversarial
autoencoders.

Each is a batch of distributions over latents [B, D]; a log-density is of the whole code, [B].
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from vaejax.distributions.basic import LOG_2PI
from vaejax.errors import InputError


class GaussianMixture(NamedTuple):
    """sum_k w_k N(mean_k, exp(log_var_k)), the same components for every element of the batch.

    Fields:
      log_weights: log w, normalised for every element.
      means, log_vars: of the components.
    """

    log_weights: Float[Array, "B K"]
    means: Float[Array, "K D"]
    log_vars: Float[Array, "K D"]
    has_density = True

    @property
    def mean(self) -> Float[Array, "B D"]:
        """The weighted mean of the components' means."""
        return jnp.exp(self.log_weights) @ self.means

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B D"]:
        """A component by its weight, then a code of it. The choice of the component is not differentiable."""
        choice, noise = jax.random.split(key)
        k = jax.random.categorical(choice, self.log_weights)
        means, log_vars = self.means[k], self.log_vars[k]
        return means + jnp.exp(0.5 * log_vars) * jax.random.normal(noise, means.shape, means.dtype)

    def log_prob(self, z: Float[Array, "B D"]) -> Float[Array, " B"]:
        """Log-density in nats."""
        scaled = (z[:, None] - self.means[None]) ** 2 * jnp.exp(-self.log_vars)[None]
        given = -0.5 * (scaled + self.log_vars[None] + LOG_2PI).sum(axis=-1)
        return jax.nn.logsumexp(self.log_weights + given, axis=-1)


RADIUS, ALONG, ACROSS = 2.0, 0.5, 0.15  # of the ring: its own, and the standard deviations of its Gaussians


class Ring(NamedTuple):
    """Gaussians of the plane around a circle, long along its radii: the mixture of Makhzani et al. 2015, figure 3.

    The k-th of K is centred at the angle 2 pi k / K.

    Fields:
      log_weights: of the K Gaussians, normalised for every element; minus infinity for one that it can't be.
    """

    log_weights: Float[Array, "B K"]
    has_density = True

    @property
    def directions(self) -> Float[Array, "K 2"]:
        """Unit vectors to the centres."""
        angle = 2 * math.pi * jnp.arange(self.log_weights.shape[-1]) / self.log_weights.shape[-1]
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)

    @property
    def mean(self) -> Float[Array, "B 2"]:
        """The weighted mean of the centres."""
        return RADIUS * jnp.exp(self.log_weights) @ self.directions

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B 2"]:
        """A Gaussian by its weight, then a code of it."""
        choice, noise = jax.random.split(key)
        out = self.directions[jax.random.categorical(choice, self.log_weights)]
        side = jnp.stack([-out[:, 1], out[:, 0]], axis=-1)
        along, across = jax.random.normal(noise, (2, len(out), 1), out.dtype)
        return (RADIUS + ALONG * along) * out + ACROSS * across * side

    def log_prob(self, z: Float[Array, "B 2"]) -> Float[Array, " B"]:
        """Log-density in nats."""
        out = self.directions
        along = (z @ out.T - RADIUS) / ALONG
        across = (z[:, 1:] * out[None, :, 0] - z[:, :1] * out[None, :, 1]) / ACROSS
        given = -0.5 * (along**2 + across**2) - math.log(ALONG * ACROSS) - LOG_2PI
        return jax.nn.logsumexp(self.log_weights + given, axis=-1)


LENGTH, TURNS = 3.0, 2  # of the roll: its outer radius, and how often it goes around


class SwissRoll(NamedTuple):
    """A spiral in the plane (Makhzani et al. 2015, figure 3): radius 3 s, angle 4 pi s, s = sqrt(u), u uniform.

    So its density along the curve is nearly even. A curve has no density in the plane.

    Fields:
      low, high: between which u is; from 0 to 1 is the whole roll.
    """

    low: Float[Array, " B"]
    high: Float[Array, " B"]
    has_density = False

    @property
    def mean(self) -> Float[Array, "B 2"]:
        """The integral of 2 s (radius, angle) ds over the part, in closed form."""
        turn = 2 * math.pi * TURNS

        def primitive(s: Float[Array, " B"]) -> Float[Array, "B 2"]:
            cosine, sine = jnp.cos(turn * s), jnp.sin(turn * s)
            even, odd = s**2 / turn - 2 / turn**3, 2 * s / turn**2
            return jnp.stack([odd * cosine + even * sine, odd * sine - even * cosine], axis=-1)

        whole = primitive(jnp.sqrt(self.high)) - primitive(jnp.sqrt(self.low))
        return 2 * LENGTH * whole / (self.high - self.low)[:, None]

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B 2"]:
        """A point of the curve."""
        s = jnp.sqrt(self.low + (self.high - self.low) * jax.random.uniform(key, self.low.shape, self.low.dtype))
        angle = 2 * math.pi * TURNS * s
        return LENGTH * s[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)

    def log_prob(self, z: Float[Array, "B 2"]) -> Float[Array, " B"]:
        """There is none.

        Raises:
          InputError: always.
        """
        raise InputError("a swiss roll is a curve and has no density in the plane; its likelihoods can't be measured")


def ring(batch: int, components: int, label: Int[Array, " B"] | None = None) -> Ring:
    """The whole ring for each of a batch, or the Gaussian of its label."""
    return Ring(
        jnp.full((batch, components), -math.log(components))
        if label is None
        else jnp.where(label[:, None] == jnp.arange(components)[None], 0.0, -jnp.inf)
    )


def swiss_roll(batch: int, components: int, label: Int[Array, " B"] | None = None) -> SwissRoll:
    """The whole roll for each of a batch, or the part of its label: the first class is innermost."""
    if label is None:
        return SwissRoll(jnp.zeros(batch), jnp.ones(batch))
    return SwissRoll(label / components, (label + 1) / components)
