"""What a source of images is: a pure function from indices to a batch, and the data it needs as an argument."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vaejax.data.paths import shown
from vaejax.errors import shortened
from vaejax.method import Batch, Kind, Space, as_space

Data = Any  # a pytree that lives on the device; () for a source that renders
Sample = Callable[[Data, Key[Array, ""], int], Batch]
Made = tuple[Callable[..., "Factors"], tuple[Any, ...]]  # a function of a module, and what it was called with


class Column(NamedTuple):
    """A column of a table.

    Fields:
      name: what the table calls it.
      kind: of its values.
      mean, scale: of a real column, whose values are (value - mean) / scale in the source.
      levels: of categories, what each number stands for.
    """

    name: str
    kind: Kind
    mean: float = 0.0
    scale: float = 1.0
    levels: tuple[str, ...] | None = None


class Arrays(NamedTuple):
    """Images held in arrays.

    Fields:
      name: what the user calls it.
      space: what one example is; `shape` is that of it.
      size: how many images there are.
      data: what `at` and `sample` take as their first argument, so that it is never baked into a program.
      at: `(data, index: Int[n]) -> Batch` of n images, jittable.
      sample: `(data, key, n) -> Batch` of n images drawn uniformly with replacement, jittable.
      columns: of a table, what each column is; see `vaejax.data.table`.
      classes: what each label stands for, where that is known.
    """

    name: str
    space: Space
    size: int
    data: Data
    at: Callable[[Data, Int[Array, " n"]], Batch]
    sample: Sample
    columns: tuple[Column, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return as_space(self.space).shape


class Factors(NamedTuple):
    """Images that are a function of ground-truth factors; index i is the i-th combination, the last factor fastest.

    Fields: those of `Arrays`, and
      sizes: how many values each of the K factors has.
      names: what the factors are called.
      render: `(factors: Int[n, K]) -> Float[n, H, W, C]`, of any combination.
      sample_factors: `(key, n) -> Int[n, K]`, distributed as those of `sample`.
      joint: how they are distributed; None where every combination is as likely as any other.
      made: the cached call that gives this very object, and as which it is pickled; None for all that have none, which
        are pickled with their data.

    Indices count the combinations that there are: `size` is the product of `sizes`, but for sources from which some
    were removed (`vaejax.data.excluding`).
    """

    name: str
    space: Space
    size: int
    data: Data
    at: Callable[[Data, Int[Array, " n"]], Batch]
    sample: Sample
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    render: Callable[[Int[Array, "n K"]], Float[Array, "n H W C"]]
    sample_factors: Callable[[Key[Array, ""], int], Int[Array, "n K"]]
    joint: "Joint | None" = None
    made: Made | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return as_space(self.space).shape

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """How pickle makes it again; a copy with other fields still has `made`, but is another object."""
        if self.made is not None and self.made[0](*self.made[1]) is self:
            return self.made
        return Factors, tuple(self)


class Joint(NamedTuple):
    """A distribution of factors in which some depend on each other; the rest are uniform and independent of them.

    Fields:
      source: the same images, uniformly distributed.
      columns: the numbers of the factors that depend on each other, ascending.
      weights: the probability of each combination of their values, an axis for each; 0 where it was removed.
    """

    source: Factors
    columns: tuple[int, ...]
    weights: Float[np.ndarray, "..."]


class Streamed(NamedTuple):
    """Images that stay on the disk; a window of them at a time is read for the device.

    Window w holds positions w * window to (w + 1) * window - 1 of an endless sequence of epochs, each all the images in
    an order of its own. It is a function of w only, so reading can go on from any window as if it had never stopped.

    Fields:
      name, space, size: as in `Arrays`.
      window: how many images are on the device at a time.
      windows: `(start) -> ` windows start, start + 1, ..., without end, in the host's memory: `data` of `Arrays` with
        `window` images. The next one is read by threads in the background; `close()` ends them, and so does letting
        go of the generator. A file that can't be read any more raises InputError here.
      at, sample: those of `Arrays`, for such a window.
      take: `(index: Int[n]) -> Arrays` of the images with these numbers below `size`.
      mark: tells these images, labels and factors from others of the same name and shape, as far as that is known
        without reading them all: checksums and sizes that the files themselves record, never a path, a time or the
        window. Empty where nothing is known.
    """

    name: str
    space: Space
    size: int
    window: int
    windows: Callable[[int], Generator[Data, None, None]]
    at: Callable[[Data, Int[Array, " n"]], Batch]
    sample: Sample
    take: Callable[[Int[np.ndarray, " n"]], Arrays]
    mark: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return as_space(self.space).shape


Source = Arrays | Factors  # all of it on the device


def example(source: Source | Streamed) -> Batch:
    """The shapes and types of a batch of one image; nothing is computed."""
    data = source.take(np.arange(1)).data if isinstance(source, Streamed) else source.data
    return jax.eval_shape(source.at, data, jax.ShapeDtypeStruct((1,), jnp.int32))


def examples(source: Source | Streamed, count: int, seed: int = 0) -> Int[np.ndarray, " n"]:
    """Indices of all images, or of `count` different ones where there are more."""
    if source.size <= count:
        return np.arange(source.size)
    return np.sort(np.random.default_rng(seed).choice(source.size, count, replace=False))


def called(source: Any) -> str:
    """What a message calls this source, or whatever was given in the place of one."""
    name = getattr(source, "name", None)
    return shown(name) if isinstance(name, str) else shortened(source)


def stored_labels(data: Data) -> Array | None:
    """The labels of all images that a source holds, if there are any."""
    return data.get("label") if isinstance(data, dict) else None


def draw(key: Key[Array, ""], n: int, size: int) -> Int[Array, " n"]:
    """n indices below `size`, uniform with replacement.

    The barrier keeps XLA from fusing the generator into the gather that follows, which on CPU draws every index
    again for every pixel (17 times slower, measured at 64x64).
    """
    return jax.lax.optimization_barrier(jax.random.randint(key, (n,), 0, size))


def factors_of(index: Int[Array, " n"], sizes: tuple[int, ...]) -> Int[Array, "n K"]:
    """The factor values of the index-th combination, the last factor fastest."""
    return jnp.stack(jnp.unravel_index(index, sizes), axis=-1)


def index_of(factors: Int[Array, "n K"], sizes: tuple[int, ...]) -> Int[Array, " n"]:
    """Which combination these factor values are: the inverse of `factors_of`."""
    strides = np.cumprod((1, *sizes[:0:-1]))[::-1]
    return (factors * jnp.asarray(strides.copy(), factors.dtype)[None]).sum(axis=-1)
