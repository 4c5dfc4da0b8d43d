"""The one interface: a method is data and pure functions; everything else is written against these types."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import jax
import optax
from jaxtyping import Array, Bool, Float, Int, Key

Params = Any  # a pytree of arrays
Hyper = Any  # a NamedTuple of numbers; traced, so that a new value never recompiles
Metrics = dict[str, Array]
Latent = Float[Array, "B latents"]
Step = Int[Array, ""]


class Batch(NamedTuple):
    """What a source gives and a method takes. The leading axis of every array is the batch."""

    x: Float[Array, " B *event"]  # images [H, W, C] in [0, 1], vectors [D]
    factors: Int[Array, "B K"] | None = None  # ground-truth factor indices, where the source has them
    label: Int[Array, " B"] | None = None  # class labels, where the source has them
    mask: Bool[Array, " B *leading"] | None = None  # which elements of x there are, by its leading axes; None: all


Kind = Literal["unit", "real", "count", "category"]
KINDS: tuple[Kind, ...] = ("unit", "real", "count", "category")


class Space(NamedTuple):
    """What one example is: it picks the default network and likelihood, the checks of the data, and the drawing.

    Fields:
      shape: of one example: (H, W, C) of an image, (D,) of a vector.
      kind: of its elements: `unit` (from 0 to 1, as pixels), `real`, `count` (0, 1, 2, ...) or `category` (the number
        of one of `levels`); of a table, a kind for each column.
      levels: how many categories there are; of a table, a number for each column, None where it isn't of categories.
      ragged: how many leading axes of an example its mask has; 0 where everything is always there.
    """

    shape: tuple[int, ...]
    kind: Kind | tuple[Kind, ...] = "unit"
    levels: int | tuple[int | None, ...] | None = None
    ragged: int = 0

    @property
    def example(self) -> str:
        """What one example is called, in units such as "nats per image"."""
        return "image" if len(self.shape) == 3 else "example"


def as_space(space: "Space | tuple[int, ...]") -> Space:
    """The space itself, or that of a bare shape: images of three axes are `unit`, anything else is `real`."""
    return space if isinstance(space, Space) else Space(tuple(space), "unit" if len(space) == 3 else "real")


class Distribution(Protocol):
    """A batch of independent distributions; see `vaejax.distributions`.

    A posterior or a prior without `log_prob`, or with one that is no log-density, says `has_density = False`.
    """

    @property
    def mean(self) -> Array:
        """The expected value."""
        ...

    def sample(self, key: Key[Array, ""]) -> Array:
        """One draw, of the same shape as the mean."""
        ...

    def log_prob(self, x: Array) -> Array:
        """Elementwise log-density or log-mass in nats."""
        ...


class Network(Protocol):
    """An encoder or a decoder: pure functions, such as those of a Linen module.

    It makes a tuple of as many arrays as a distribution has `parameters`: [B, latents] from images, or [B, H, W, C]
    from codes. All that it learns is in its parameters: no batch norm, whose averages are state beside them.

    `nn.Dropout` in a Linen module is on in every loss, which has a key for it, and off in `encode`, `decode` and
    `init`; one that is made with `deterministic=True` is always off. Other layers that behave differently in training
    are told by an argument `deterministic` (or `train`, or `training`) of the module's `__call__`, where it has one,
    or by a field of that name, and find the key under `rngs={"dropout": key}`.

        class Encoder(nn.Module):
            @nn.compact
            def __call__(self, x, parameters):
                h = nn.Dropout(0.1)(nn.relu(nn.Dense(200)(x.reshape(len(x), -1))))
                return tuple(nn.Dense(10)(h) for _ in range(parameters))

        method = vaejax.vae(Encoder(), Decoder())

    A loss of one's own that calls the `encode` and `decode` of such a method does it with `live(params, key)`, see
    `vaejax.networks.calls`.
    """

    def init(self, key: Any, inputs: Any, parameters: Any, /) -> Any:
        """The parameters."""
        ...

    def apply(self, params: Any, inputs: Any, parameters: Any, /) -> Any:
        """The arrays."""
        ...


Loss = Callable[[Params, Hyper, Batch, Key[Array, ""], Step], tuple[Float[Array, ""], Metrics]]


@dataclasses.dataclass(frozen=True)
class MeanOverExamples:
    """A loss that is a mean over the images of a batch, and so are its metrics: devices may share its batches.

    Its gradient is the mean of those of the parts of a batch, given the same noise. What it draws at random belongs to
    the images: the leading axis of a draw is the batch's, and every row is drawn by itself (no permutations). It goes
    with the loss and not with the method, so that a method with another loss in its place claims nothing.
    """

    loss: Loss

    def __call__(
        self, params: Params, hyper: Hyper, batch: Batch, key: Key[Array, ""], step: Step
    ) -> tuple[Float[Array, ""], Metrics]:
        """The loss."""
        return self.loss(params, hyper, batch, key, step)


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """What made a method: a function of a module, called with these, gave these fields. Equal only to itself."""

    call: Callable[..., "Method"]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    made: tuple[Any, ...]


class Method(NamedTuple):
    """A way to train and use an autoencoder, as pure functions over a pytree of parameters.

    Fields:
      hyper: a NamedTuple of float defaults (`beta`, `learning_rate`, ...), traced; each has a range (`vaejax.hyper`).
      init: `(key, batch) -> params`.
      loss: `(params, hyper, batch, key, step) -> (scalar, metrics)`; metrics are scalars (nats per example), with
        `loss`. `MeanOverExamples` of it, where it is one.
      encode: `(params, batch) -> posterior`, a Distribution over latents [B, latents].
      decode: `(params, latents, batch=None) -> likelihood` over examples [B, *event]; it may read the mask, the size
        and the condition of a batch.
      optimizer: `hyper -> optax.GradientTransformation`, rebuilt inside the step because `hyper` is traced.
      prior: `(params, batch) -> Distribution` over latents [B, latents]: what is known of them before x is seen.
        A conditional method reads its condition in the batch, others only how many there are. None without a prior.
      classes: labels that it reads are below this; None if it reads none.
      unlabelled: whether it also learns from images without a label, which is -1.
      generate: `(params, key, batch) -> x`, one new example for each of the batch, where a method has its own way; it
        reads in the batch what `prior` does. None: the expectation of what draws of the prior decode to.
      classify: `(params, batch) -> log p(class | x)` [B, classes] in nats. None: it has learned no classes.
      codebook: `params -> [K, D]`, the vectors of all its codes, where these are a finite set; what it encodes to has
        `indices` [B, *grid] then, the numbers of the codes. None: any vector is a code.
      recipe: how it was made, by which it is pickled: functions within functions can't be. Nothing else reads it.
    """

    hyper: Hyper
    init: Callable[[Key[Array, ""], Batch], Params]
    loss: Loss
    encode: Callable[[Params, Batch], Any]
    decode: Callable[..., Distribution]
    optimizer: Callable[[Hyper], optax.GradientTransformation]
    prior: Callable[[Params, Batch], Any] | None = None
    classes: int | None = None
    unlabelled: bool = False
    generate: Callable[[Params, Key[Array, ""], Batch], Array] | None = None
    classify: Callable[[Params, Batch], Float[Array, "B classes"]] | None = None
    codebook: Callable[[Params], Float[Array, "K D"]] | None = None
    recipe: Recipe | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """As the call that made it, and what was replaced since."""
        if self.recipe is None:
            return Method, tuple(self)
        pairs = zip(self._fields, self, self.recipe.made, strict=False)
        replaced = {name: value for name, value, was in pairs if value is not was}
        return _made_again, (self.recipe.call, self.recipe.arguments, dict(self.recipe.keywords), replaced)

    def made_by(self, call: Callable[..., "Method"], *arguments: Any, **keywords: Any) -> "Method":
        """It, with this call for its recipe."""
        return self._replace(recipe=Recipe(call, arguments, keywords, tuple(self)[:-1]))


def _made_again(call: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], replaced: dict[str, Any]) -> Method:
    made = call(*arguments, **keywords)
    return made._replace(**replaced) if replaced else made


class State(NamedTuple):
    """Everything that training changes, and nothing else: no functions, no optimizer object."""

    step: Step
    key: jax.Array
    params: Params
    opt_state: optax.OptState
