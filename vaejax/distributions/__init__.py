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
from vaejax.distributions.conditions import Conditioned, Given
from vaejax.distributions.counts import (
    NegativeBinomial,
    NegativeBinomialCounts,
    Poisson,
    PoissonCounts,
    ZeroInflatedCounts,
    ZeroInflatedNegativeBinomial,
    size_factor,
)
from vaejax.distributions.masks import Masked
from vaejax.distributions.mixed import COLUMNS, Columns, Mixed
from vaejax.distributions.multinomial import Multinomial, MultinomialCounts
from vaejax.distributions.pixels import (
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    LogisticMixture,
    PixelLevels,
)
from vaejax.distributions.vectors import Categories, Category, LearnedStudentT, StudentT

__all__ = [
    "COLUMNS", "LIKELIHOODS", "LOG_2PI", "Bernoulli", "Categorical", "Categories", "Category", "Columns",
    "Conditioned", "ContinuousBernoulli", "Delta", "DiscretizedLogistic", "Family", "FixedGaussian", "Gaussian",
    "Given", "LearnedGaussian", "LearnedStudentT", "LogisticMixture", "Masked", "Mixed", "Multinomial",
    "MultinomialCounts",
    "NegativeBinomial", "NegativeBinomialCounts", "PixelLevels", "Poisson", "PoissonCounts", "StandardNormal",
    "StudentT", "ZeroInflatedCounts", "ZeroInflatedNegativeBinomial", "conditions", "priors", "size_factor",
    "softplus",
]  # fmt: skip
