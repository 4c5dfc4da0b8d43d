"""What distributions and families say of themselves, and what holds for one of somebody's own that says nothing.

has_density     of a distribution: whether `log_prob` is a log-density or a log-mass. It is where nothing is said. A
                single point (`Delta`) and a curve (`SwissRoll`) have none, and what is sampled only need not have
                `log_prob` if it says so.
shares_total    of a distribution: whether its elements divide a total among them, so that they depend on which
                others are there: it has `among(there)`, which is itself among some of them. Not where nothing is
                said.
sized           of a family: whether its distributions have `sized(size)`, which gives each example its own total.
                Not where nothing is said.
"""

from typing import Any


def has_density(distribution: Any) -> bool:
    """Whether its log_prob can be used, for likelihoods and KLs."""
    return bool(getattr(distribution, "has_density", True))


def shares_total(distribution: Any) -> bool:
    """Whether it has to be told which elements are there."""
    return bool(getattr(distribution, "shares_total", False))


def is_sized(family: Any) -> bool:
    """Whether its distributions have to be told the total of each example."""
    return bool(getattr(family, "sized", False))
