"""What is given beforehand: conditions at the end of codes, pixels that are known, labels that have to be classes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, Key

from vaejax.distributions.declared import has_density
from vaejax.errors import InputError
from vaejax.method import Method


class Conditioned(NamedTuple):
    """A distribution over latents [z, condition], in which the condition is given and all chance is in z.

    So what takes latents needs nothing else. Densities are those of z.
    """

    base: Any
    condition: Float[Array, "B C"]

    @property
    def has_density(self) -> bool:
        """Whether the base has one."""
        return has_density(self.base)

    @property
    def mean(self) -> Float[Array, "B D+C"]:
        """The mean of z, and the condition."""
        return jnp.concatenate([self.base.mean, self.condition], axis=-1)

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B D+C"]:
        """A draw of z, and the condition."""
        return jnp.concatenate([self.base.sample(key), self.condition], axis=-1)

    def log_prob(self, latents: Float[Array, "B D+C"]) -> Float[Array, "B ..."]:
        """The log-density of z in nats, as the base has it."""
        return self.base.log_prob(latents[..., : self.base.mean.shape[-1]])


def unconditioned(distribution: Any) -> Any:
    """The distribution of z alone."""
    return distribution.base if isinstance(distribution, Conditioned) else distribution


class Given(NamedTuple):
    """A likelihood of images of which some pixels are given: they are certain, and count nothing.

    Fields:
      base: an elementwise likelihood of all pixels.
      given: the images, where they are given.
      observed: where that is.
    """

    base: Any
    given: Float[Array, "*shape"]
    observed: Bool[Array, "*shape"]

    @property
    def has_density(self) -> bool:
        """Whether the base has one."""
        return has_density(self.base)

    @property
    def mean(self) -> Float[Array, "*shape"]:
        """The given pixels, and the expected others."""
        return jnp.where(self.observed, self.given, self.base.mean)

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*shape"]:
        """The given pixels, and a draw of the others."""
        return jnp.where(self.observed, self.given, self.base.sample(key))

    def log_prob(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """log p(missing | given) in nats, elementwise; 0 where a pixel is given, whatever x is there."""
        return jnp.where(self.observed, 0.0, self.base.log_prob(x))


def one_hot(label: Int[Array, " B"] | None, classes: int) -> Float[Array, "B classes"]:
    """The label as a vector; NaN where it is none of the classes, which `check_classes` says in words.

    Raises:
      InputError: there are no labels.
    """
    if label is None:
        raise InputError("this method reads labels, and these images have none; use a source or a Batch that has them")
    known = (label >= 0) & (label < classes)
    return jnp.where(known[:, None], jax.nn.one_hot(label, classes), jnp.nan)


def check_classes(method: Method, label: Any) -> None:
    """Every label has to be one of the method's classes, or -1 where the method takes images without one.

    Traced ones can't be looked at, and pass; so do none at all.

    Raises:
      InputError: one is not.
    """
    if method.classes is None or label is None or isinstance(label, Tracer) or not label.size:
        return
    low, high = int(label.min()), int(label.max())
    if low < (-1 if method.unlabelled else 0) or high >= method.classes:
        raise InputError(
            f"labels run from {low} to {high}, but the method has {method.classes} classes, 0 to {method.classes - 1}; "
            f"build it with as many classes as there are, and "
            f"{'give images without a label -1' if method.unlabelled else 'leave out images without a label'}"
        )
