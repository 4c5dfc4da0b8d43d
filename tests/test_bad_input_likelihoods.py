"""Likelihoods that can't be: one line that says what is wrong."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from vaejax.distributions.basic import Bernoulli, FixedGaussian
from vaejax.distributions.counts import NegativeBinomialCounts, PoissonCounts, ZeroInflatedCounts
from vaejax.distributions.masks import Masked, masked
from vaejax.distributions.mixed import Mixed
from vaejax.distributions.multinomial import MultinomialCounts
from vaejax.distributions.vectors import Categories, Category, LearnedStudentT
from vaejax.errors import InputError

COUNTS = (PoissonCounts, NegativeBinomialCounts, ZeroInflatedCounts)
LIKELIHOOD, X = Bernoulli(jnp.zeros((4, 3))), jnp.zeros((4, 3))


def column(kind):
    """A table whose second column is of this kind."""
    return Mixed(("gaussian", kind))


ROWS = [
    *((f"Categories({value!r})", partial(Categories, value), "levels")
      for value in (0, -1, 1.5, "3", None, True, [3], np.nan, np.float32(3))),
    *((f"floor={value!r}", partial(LearnedStudentT, value), "smallest scale of a Student-t likelihood has to be a")
      for value in (0, -1, np.nan, np.inf, "1", None, True, [1.0])),
    *((f"degrees={value!r}", partial(LearnedStudentT, degrees=value), "degrees of freedom of a Student-t likelihood")
      for value in (0, -3.0, np.nan, np.inf, "4", False, (4,))),
    *((f"{family.__name__}(sized={value!r})", partial(family, value), "sized has to be True")
      for family in COUNTS for value in (None, 1, "True", np.nan)),
    *((f"Mixed({value!r})", partial(Mixed, value), "a tuple with the kind of each column")
      for value in (None, (), [], "gaussian", 3, {"a": "gaussian"}, Bernoulli)),
    ("a mistyped column", partial(column, "poison"), "unknown kind of column 1 'poison'; did you mean 'poisson'"),
    ("a column of pixels", partial(column, "categorical"), "unknown kind of column 1 'categorical'"),
    ("categories without levels", partial(column, "category"), "unknown kind of column 1 'category'"),
    *((f"a column {value!r}", partial(column, value), "column 1 has the kind")
      for value in (None, 3, 1.5, ("category", 3), Categories, LearnedStudentT, Mixed(("gaussian",)), Category)),
    *((f"a column {value!r}", partial(column, value), "give a family with sized=False")
      for value in (*(family() for family in COUNTS), MultinomialCounts())),
    ("too few columns", lambda: Mixed(("gaussian", "poisson"))(X), "of 2 columns can't be one of 3"),
    ("a mask of fewer columns", lambda: masked(LIKELIHOOD, jnp.ones((4, 2), bool)), "mask of shape (4, 2)"),
    ("a mask of more axes", lambda: masked(LIKELIHOOD, jnp.ones((4, 3, 1), bool)), "mask of shape (4, 3, 1)"),
    ("a mask of columns", lambda: Masked(LIKELIHOOD, jnp.ones(3, bool)).log_prob(X), "give it their leading axes"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "line"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_bad_parameters_get_one_line(call, line):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert line in message and "\n" not in message and len(message) <= 400


def test_numpys_numbers_and_lists_are_welcome():
    assert Categories(np.int64(3)).parameters == 3 and LearnedStudentT(np.float32(0.1), np.int32(4)).parameters == 2
    assert Mixed(["gaussian", Categories(3)]) == Mixed((FixedGaussian(), Categories(3)))
    assert len({Mixed(("bernoulli",)), Mixed((Bernoulli,))}) == 1
