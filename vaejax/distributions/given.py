"""The likelihood of a batch: of what a decoder gives, at the size of each example, of the elements that are there."""

from typing import Any

from jaxtyping import Array

from vaejax.distributions.basic import Family
from vaejax.distributions.counts import size_factor
from vaejax.distributions.declared import is_sized
from vaejax.distributions.masks import masked
from vaejax.method import Batch


def likelihood_of(family: Family, arrays: tuple[Array, ...], batch: Batch | None) -> Any:
    """p(x | z) for the examples of a batch.

    Families of counts are given the total of each example; where the batch has a mask, what isn't there counts nothing.
    Without a batch it is the likelihood of examples of which everything is there, and of one count in all.
    """
    found = family(*arrays)
    if batch is None:
        return found
    if is_sized(family):
        found = found.sized(size_factor(batch.x, batch.mask))
    return found if batch.mask is None else masked(found, batch.mask)
