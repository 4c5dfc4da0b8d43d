"""An autoregressive prior over grids of codes (van den Oord et al. 2017, section 3.3): a causal transformer.

    loss = -log p(c) = -sum_t log p(c_t | c_1, ..., c_{t-1})

in nats per grid, its places in reading order. It is trained after the autoencoder, by the same `fit`, on the grids that
`vaejax.data.code_grids` makes: images x [B, h, w, 1] whose pixels are the indices of codes.

    grids = vaejax.data.code_grids(method, params, source)
    prior = vaejax.code_prior(codes=64, grid=grids.shape[:2])
    result = vaejax.fit(prior, grids, vaejax.grid(prior.hyper, 1), steps=2000)
    images = vaejax.apply.generate_codes(method, params, prior, result.params_of(0), key, batch)

`encode` gives the codes themselves and `decode` the distribution of every code given those before it, so its `log_prob`
at the same codes sums to log p(c). `prior` is p(c), with `log_prob` and `sample`, and `generate` draws from it.

Departures: a transformer instead of a PixelCNN; a whole grid is one sequence, so it suits grids of up to some hundred
places.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from vaejax.compiled import compiled
from vaejax.distributions.basic import Delta
from vaejax.errors import InputError
from vaejax.hyper import NotNegative
from vaejax.method import Batch, MeanOverExamples, Method, Params
from vaejax.methods.parts.constructor import constructor
from vaejax.networks.causal import Causal
from vaejax.networks.sizes import check_depth

COLDEST = 1e-6  # the temperature that stands for 0: the most likely code each time


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    learning_rate: NotNegative = 1e-3


class NextCodes(NamedTuple):
    """The distributions of codes, each given those before it.

    Fields:
      logits: [B, h, w, 1, K].
    """

    logits: Float[Array, "B h w 1 K"]
    has_density = True

    @property
    def mean(self) -> Float[Array, "B h w 1"]:
        """The likeliest codes: an expected index would mean nothing."""
        return self.logits.argmax(axis=-1).astype(self.logits.dtype)

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B h w 1"]:
        """One of each, given those that were there before it (not those drawn: see `Autoregressive`)."""
        return jax.random.categorical(key, self.logits).astype(self.logits.dtype)

    def log_prob(self, x: Float[Array, "B h w 1"]) -> Float[Array, "B h w 1"]:
        """Of these codes, in nats."""
        indices = x[..., None].astype(jnp.int32)
        return jnp.take_along_axis(jax.nn.log_softmax(self.logits), indices, axis=-1)[..., 0]


@partial(jax.tree_util.register_dataclass, data_fields=["params", "like"], meta_fields=["network"])
@dataclasses.dataclass(frozen=True)
class Autoregressive:
    """p(c) over grids of codes [B, h, w, 1], as the network with these parameters has it.

    Fields:
      network: the transformer.
      params: its parameters.
      like: any grids, for their shape.
    """

    network: Causal
    params: Params
    like: Float[Array, "B h w 1"]
    has_density = True

    def logits(self, grids: Float[Array, "B h w 1"]) -> Float[Array, "B h w 1 K"]:
        """Of every code, given those before it."""
        found = self.network.apply(self.params, grids.reshape(len(grids), -1).astype(jnp.int32))
        return jnp.asarray(found).reshape(*grids.shape, -1)

    def log_prob(self, grids: Float[Array, "B h w 1"]) -> Float[Array, " B"]:
        """log p(c) in nats."""
        return NextCodes(self.logits(grids)).log_prob(grids).reshape(len(grids), -1).sum(axis=-1)

    def sample(self, key: Key[Array, ""], temperature: Float[Array, ""] | float = 1.0) -> Float[Array, "B h w 1"]:
        """A grid each: one position after another, with keys and values kept."""
        return self.steps(key, temperature)[0]

    def steps(
        self, key: Key[Array, ""], temperature: Float[Array, ""] | float = 1.0
    ) -> tuple[Float[Array, "B h w 1"], Float[Array, "B h w 1 K"]]:
        """`sample`, and the logits that each code was drawn from, before they are divided by the temperature."""
        count = len(self.like)
        sharpness = 1 / jnp.maximum(temperature, COLDEST)

        def step(carry, position):
            before, cache = carry
            logits, cache = self.network.apply(self.params, before, position, cache, method="step")
            code = jax.random.categorical(jax.random.fold_in(key, position), logits * sharpness).astype(jnp.int32)
            return (code, cache), (code, logits)

        first = jnp.zeros(count, jnp.int32), self.network.empty(count)
        _, (codes, logits) = jax.lax.scan(step, first, jnp.arange(self.network.length))
        grids = codes.T.reshape(self.like.shape).astype(jnp.float32)
        return grids, logits.swapaxes(0, 1).reshape(*self.like.shape, -1)


@constructor
def code_prior(codes: int, grid: tuple[int, int], width: int = 128, depth: int = 4, heads: int = 4) -> Method:
    """A prior over grids of codes; metric: `loss`, in nats per grid.

    Args:
      codes: K, as many as the quantising autoencoder has.
      grid: (h, w) of its codes.
      width, depth, heads: of the transformer.

    Raises:
      InputError: less than 2 codes, less than 1 of anything else, a width that the heads can't share equally.
    """
    if codes < 2 or len(grid) != 2 or min(*grid, width, depth, heads) < 1 or width % heads:
        raise InputError(
            f"a prior needs at least 2 codes, a grid, and a width that its heads can share equally; not {codes} codes, "
            f"grid {grid}, width {width}, depth {depth}, {heads} heads"
        )
    check_depth("depth", depth)
    network = Causal(codes, grid[0] * grid[1], width, depth, heads)

    def init(key, batch):
        return network.init(key, jnp.zeros((1, network.length), jnp.int32))

    def encode(params, batch):
        del params
        return Delta(batch.x)

    def decode(params, grids, batch=None):
        del batch
        return NextCodes(Autoregressive(network, params, grids).logits(grids))

    def prior(params, batch):
        return Autoregressive(network, params, batch.x)

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        del hyper, key, step
        loss = -prior(params, batch).log_prob(batch.x).mean()
        return loss, {"loss": loss}

    def generate(params, key, batch):
        return prior(params, batch).sample(key)

    def optimizer(hyper):
        return optax.adam(hyper.learning_rate)

    return Method(Hyper(), init, loss, encode, decode, optimizer, prior, generate=generate)


@compiled("method", "shape")
def sample_codes(
    method: Method,
    params: Params,
    key: Key[Array, ""],
    shape: tuple[int, int, int],
    temperature: Float[Array, ""] | float = 1.0,
) -> Int[Array, "B h w"]:
    """Grids of codes from a trained prior.

    Args:
      method, params: `code_prior` and its parameters.
      shape: (B, h, w).
      temperature: divides the logits: below 1 likely codes become likelier, 0 takes the likeliest each time. Traced.
    """
    assert method.prior is not None
    grids = method.prior(params, Batch(jnp.zeros((*shape, 1)))).sample(key, temperature)
    return grids[..., 0].astype(jnp.int32)
