"""A likelihood of examples of which some elements are missing, or that are shorter than others."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from vaejax.distributions.declared import has_density, shares_total
from vaejax.errors import InputError


class Masked(NamedTuple):
    """A likelihood of the elements that are there: the others count nothing, whatever is in their place.

    Fields:
      base: an elementwise likelihood of all elements.
      mask: where elements are there, for the leading axes of an example: [B, D] of a table, [B, T] of a sequence
        [B, T, D]. `masked` gives it all axes, which it needs where the likelihood will be flattened.
    """

    base: Any
    mask: Bool[Array, "B ..."]

    @property
    def has_density(self) -> bool:
        """Whether the base has one."""
        return has_density(self.base)

    @property
    def mean(self) -> Float[Array, "B ..."]:
        """The base's, also where nothing is there."""
        return self.base.mean

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B ..."]:
        """The base's, also where nothing is there."""
        return self.base.sample(key)

    def log_prob(self, x: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """The base's log p(x) in nats, and 0 where nothing is there, with gradients of 0.

        Missing elements are put to 0 first, since a gradient through a NaN is NaN, also where it isn't used.
        Elements that share a total share that of those that are there.

        Raises:
          InputError: the mask doesn't have the leading axes of x.
        """
        there = _spread(self.mask, jnp.shape(x))
        base = self.base.among(there) if shares_total(self.base) else self.base
        return jnp.where(there, base.log_prob(jnp.where(there, x, 0.0)), 0.0)


def masked(base: Any, mask: Bool[Array, "B ..."]) -> Masked:
    """`Masked`, with a mask that has all axes of an example.

    Raises:
      InputError: the mask doesn't have the leading axes of what the likelihood is of.
    """
    return Masked(base, _spread(mask, jax.eval_shape(lambda base: base.mean, base).shape))


def _spread(mask: Bool[Array, "B ..."], shape: tuple[int, ...]) -> Bool[Array, "B ..."]:
    if mask.shape != shape[: mask.ndim]:
        raise InputError(
            f"a mask of shape {mask.shape} is not that of examples of shape {shape}; give it their leading axes"
        )
    return jnp.broadcast_to(mask.reshape(*mask.shape, *[1] * (len(shape) - mask.ndim)), shape)
