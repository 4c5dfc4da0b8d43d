"""The one interface: a method is data and pure functions; everything else is written against these types."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import optax
from jaxtyping import Array, Float, Int, Key

Params = Any  # a pytree of arrays
Hyper = Any  # a NamedTuple of numbers; traced, so that a new value never recompiles
Metrics = dict[str, Array]
Latent = Float[Array, "B latents"]
Step = Int[Array, ""]


class Batch(NamedTuple):
    """What a source gives and a method takes. The leading axis of every array is the batch."""

    x: Float[Array, "B H W C"]  # images, in [0, 1]
    factors: Int[Array, "B K"] | None = None  # ground-truth factor indices, where the source has them
    label: Int[Array, " B"] | None = None  # class labels, where the source has them


class Distribution(Protocol):
    """A batch of independent distributions; see `vaejax.distributions`."""

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

    It makes as many arrays as a distribution has `parameters`: [B, latents] from images, or [B, H, W, C] from codes.
    """

    def init(self, key: Any, inputs: Any, parameters: Any, /) -> Any:
        """The parameters."""
        ...

    def apply(self, params: Any, inputs: Any, parameters: Any, /) -> Any:
        """The arrays."""
        ...


Loss = Callable[[Params, Hyper, Batch, Key[Array, ""], Step], tuple[Float[Array, ""], Metrics]]


class MeanOverExamples(NamedTuple):
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


class Method(NamedTuple):
    """A way to train and use an autoencoder, as pure functions over a pytree of parameters.

    Fields:
      hyper: a NamedTuple of float defaults (`beta`, `learning_rate`, ...). Traced. init: `(key, batch) -> params`.
      loss: `(params, hyper, batch, key, step) -> (scalar, metrics)`; metrics are scalars (nats per image), with `loss`.
        `MeanOverExamples` of it, where it is one.
      encode: `(params, batch) -> posterior`, a Distribution over latents [B, latents]. decode: `(params, latents) ->
      likelihood` over images [B, H, W, C]. optimizer: `hyper -> optax.GradientTransformation`, rebuilt inside the step
      because `hyper` is traced. prior: `(params, batch) -> Distribution` over latents [B, latents]: what is known of
      them before the image is seen.
        A conditional method reads its condition in the batch, others only how many there are. None without a prior.
      classes: labels that it reads are below this; None if it reads none.
      unlabelled: whether it also learns from images without a label, which is -1.
    """

    hyper: Hyper
    init: Callable[[Key[Array, ""], Batch], Params]
    loss: Loss
    encode: Callable[[Params, Batch], Any]
    decode: Callable[[Params, Latent], Distribution]
    optimizer: Callable[[Hyper], optax.GradientTransformation]
    prior: Callable[[Params, Batch], Any] | None = None
    classes: int | None = None
    unlabelled: bool = False


class State(NamedTuple):
    """Everything that training changes, and nothing else: no functions, no optimizer object."""

    step: Step
    key: jax.Array
    params: Params
    opt_state: optax.OptState
