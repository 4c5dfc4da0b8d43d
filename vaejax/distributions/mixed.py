"""The likelihood of tables whose columns are of different kinds: a family for each column."""

import dataclasses
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vaejax.distributions.basic import Bernoulli, Family, FixedGaussian, LearnedGaussian
from vaejax.distributions.counts import NegativeBinomialCounts, PoissonCounts, ZeroInflatedCounts
from vaejax.distributions.declared import is_sized
from vaejax.distributions.vectors import LearnedStudentT
from vaejax.errors import InputError, choose, shortened

COLUMNS: dict[str, Family] = {  # what a column may be by name; categories have a number of levels as well
    "bernoulli": Bernoulli,
    "gaussian": FixedGaussian(),
    "gaussian_learned": LearnedGaussian(),
    "student_t": LearnedStudentT(),
    "poisson": PoissonCounts(sized=False),
    "negative_binomial": NegativeBinomialCounts(sized=False),
    "zero_inflated_negative_binomial": ZeroInflatedCounts(sized=False),
}


@dataclasses.dataclass(frozen=True)
class Mixed:
    """The family of `Columns`: a likelihood of x [B, D] with a family of its own for each of the D columns.

    Columns need different numbers of parameters, and a network gives arrays [B, D]. So these are taken for one vector
    of numbers: the d-th of the first array is column d's first parameter, and the columns take the others that they
    need one after the other from the second array on. With n_d parameters of column d that is ceil(sum n_d / D) arrays,
    of which less than D numbers are left over; an array for each parameter of the column that has most, such as one of
    50 categories, would leave most of them unused.

    Args:
      kinds: of each column, a name in `COLUMNS` or a family of which every column is independent, such as
        `Categories(3)` or `LearnedStudentT(degrees=4)`.

    Raises:
      InputError: there are no columns, or one has a kind that is not known or can't be a column's.
    """

    kinds: tuple[Family, ...]  # or names, which become families
    sized = False

    def __post_init__(self):
        if not isinstance(self.kinds, (tuple, list)) or not self.kinds:
            raise InputError(
                f"a mixed likelihood takes a tuple with the kind of each column, not {shortened(self.kinds)}"
            )
        object.__setattr__(self, "kinds", tuple(_family(kind, at) for at, kind in enumerate(self.kinds)))

    @property
    def parameters(self) -> int:
        """As many arrays as have room for the parameters of all columns."""
        return -(-sum(family.parameters for family in self.kinds) // len(self.kinds))

    def __call__(self, *arrays: Float[Array, "B D"]) -> "Columns":
        """Of arrays from a network.

        Raises:
          InputError: they have another number of columns.
        """
        if arrays[0].shape[-1] != len(self.kinds):
            raise InputError(f"a likelihood of {len(self.kinds)} columns can't be one of {arrays[0].shape[-1]}")
        return Columns(arrays, self.kinds)


def _family(kind: Any, column: int) -> Family:
    """The family of a column."""
    if isinstance(kind, str):
        return choose(COLUMNS, kind, f"kind of column {column}")
    number = getattr(kind, "parameters", 0)
    whole = isinstance(number, numbers.Integral) and not isinstance(number, bool)
    if not (callable(kind) and whole and int(number) > 0) or isinstance(kind, Mixed):
        raise InputError(
            f"column {column} has the kind {shortened(kind)}; give one of: {', '.join(COLUMNS)}, or a family such as "
            f"Categories(3)"
        )
    if is_sized(kind):
        raise InputError(f"column {column} is {shortened(kind)}, of shares of a total; give a family with sized=False")
    return kind


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Columns:
    """Independent columns, each with a distribution of its own family.

    Fields:
      arrays: what a network gives, packed as `Mixed` says.
      kinds: the family of each column.
    """

    arrays: tuple[Float[Array, "B D"], ...]
    kinds: tuple[Family, ...] = dataclasses.field(metadata={"static": True})
    has_density = True

    def _rows(self, x: Float[Array, "B D"]) -> Float[Array, "B rows D"]:
        """Rows of a table, of which an example has one, or several if they were flattened."""
        return x.reshape(*x.shape[:-1], -1, len(self.kinds))

    def parts(self) -> list[tuple[Int[np.ndarray, " columns"], Any]]:
        """The columns of each family, and their distribution over [B, rows, columns]."""
        rest = np.cumsum([0] + [family.parameters - 1 for family in self.kinds]) + len(self.kinds)
        packed = jnp.concatenate([self._rows(array) for array in self.arrays], axis=-1)
        found = []
        for family in dict.fromkeys(self.kinds):
            columns = np.array([at for at, kind in enumerate(self.kinds) if kind == family])
            places = [columns, *(rest[columns] + number for number in range(family.parameters - 1))]
            found.append((columns, family(*(packed[..., place] for place in places))))
        return found

    def _joined(self, values: list[tuple[Int[np.ndarray, " columns"], Array]]) -> Float[Array, "B D"]:
        """Columns in their own order."""
        order = np.argsort(np.concatenate([columns for columns, _ in values]))
        rows = jnp.concatenate([value for _, value in values], axis=-1)[..., order]
        return rows.reshape(*rows.shape[:-2], -1)

    @property
    def mean(self) -> Float[Array, "B D"]:
        """The expected value of each column, and the most likely category."""
        return self._joined([(columns, part.mean) for columns, part in self.parts()])

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B D"]:
        """A draw of each column."""
        parts = self.parts()
        keys = jax.random.split(key, len(parts))
        return self._joined([(columns, part.sample(own)) for own, (columns, part) in zip(keys, parts, strict=True)])

    def log_prob(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """Log-density or log-mass in nats, of each column as its family has it."""
        rows = self._rows(jnp.asarray(x))
        return self._joined([(columns, part.log_prob(rows[..., columns])) for columns, part in self.parts()])
