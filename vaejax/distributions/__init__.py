"""Distributions of latents and of data, by name; `vaejax.distributions.basic` says what they have in common."""

from vaejax.distributions import conditions, priors
from vaejax.distributions.basic import (
    LIKELIHOODS,
    LOG_2PI,
    Bernoulli,
    Delta,
    Family,
    FixedGaussian,
    Gaussian,
    LearnedGaussian,
    StandardNormal,
    softplus,
)
from vaejax.distributions.conditions import Conditioned, Masked
from vaejax.distributions.pixels import (
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    LogisticMixture,
    PixelLevels,
)

__all__ = [
    "LIKELIHOODS", "LOG_2PI", "Bernoulli", "Categorical", "Conditioned", "ContinuousBernoulli", "Delta",
    "DiscretizedLogistic", "Family", "FixedGaussian", "Gaussian", "LearnedGaussian", "LogisticMixture", "Masked",
    "PixelLevels", "StandardNormal", "conditions", "priors", "softplus",
]  # fmt: skip
