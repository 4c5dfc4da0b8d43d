"""Two factors that are correlated, after Träuble et al. 2021, "On Disentangled Representations Learned from Correlated
Data", section 3:

    p(c_1, c_2) proportional to exp(-(c_1 - alpha c_2)^2 / (2 sigma^2)),    all other factors uniform and independent

Here c_1 and c_2 are the numbers of the values over the largest of them, from 0 to 1, so alpha, which the paper takes as
the ratio of the largest values, is 1. The paper has sigma = 0.2 (strong), 0.4, 0.7 (weak) and infinity (independent).

The marginals are not quite uniform: a value at either end has fewer close partners. A factor without an order (shape)
or whose ends meet (a hue) is taken as its values are numbered.
"""

import math
import numbers

import numpy as np

from vaejax.data.joint import column, full_grid, weighted
from vaejax.data.source import Factors
from vaejax.errors import InputError, shortened

LEAST = 1e-100  # in place of 0, which would remove a combination; it is never drawn


def correlated(source: Factors, pair: tuple[str | int, str | int], sigma: float) -> Factors:
    """The same images, with two factors drawn together; `sample` and `sample_factors` follow.

    `at` and `size` are still all combinations, so that what is measured there weighs them equally. A source can be
    correlated more than once, and in any order with `excluding`: probabilities multiply.

    Args:
      pair: the names or the numbers of two factors.
      sigma: the width around the line c_1 = c_2, in units of a factor's whole range; infinity for independent factors.

    Raises:
      InputError: the source has no full grid of factors; there is no such factor, it is one twice or has one value
        only; sigma is not above 0.
    """
    source = full_grid(source)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        given = len(pair) if isinstance(pair, tuple | list) else shortened(pair)
        raise InputError(f"{source.name}: two factors are correlated, not {given}; give them as in ('x', 'y')")
    if isinstance(sigma, bool) or not isinstance(sigma, numbers.Real) or not sigma > 0:
        what = "above 0 (small for strongly correlated)"
        raise InputError(f"{source.name}: sigma has to be {what}, not {shortened(sigma)}")
    sigma = float(sigma)
    first, second = (column(source, factor) for factor in pair)
    if first == second:
        raise InputError(f"{source.name}: {source.names[first]} can't be correlated with itself; give two factors")
    for k in (first, second):
        if source.sizes[k] < 2:
            raise InputError(f"{source.name}: {source.names[k]} has one value only, so nothing correlates with it")
    one, other = (np.linspace(0, 1, source.sizes[k]) for k in sorted((first, second)))
    width = 2 * sigma**2 if math.isfinite(sigma) else math.inf
    weights = np.maximum(np.exp(-((one[:, None] - other) ** 2) / width), LEAST)
    name = f"{source.name}+correlated:{source.names[first]},{source.names[second]},{sigma:g}"
    return weighted(source, name, tuple(sorted((first, second))), weights)
