"""A small causal transformer over sequences of codes (Radford et al. 2019: pre-norm, learned positions, GELU).

The same weights work on a whole sequence, for training, and on one position after another with the keys and values of
those before it kept, for sampling. Weights are N(0, 0.02^2); those that end a residual branch are smaller by
1 / sqrt(2 depth).
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

SCALE = 0.02
Cache = Float[Array, "depth 2 B T heads D"]  # keys and values of every block


def attend(
    queries: Float[Array, "B S heads D"],
    keys: Float[Array, "B T heads D"],
    values: Float[Array, "B T heads D"],
    seen: Bool[Array, "S T"],
) -> Float[Array, "B S heads D"]:
    """For every query, the values weighted by softmax of key times query / sqrt(D), over the positions that it sees."""
    scores = jnp.einsum("bshd,bthd->bhst", queries, keys) / queries.shape[-1] ** 0.5
    weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
    return jnp.einsum("bhst,bthd->bshd", weights, values)


class Block(nn.Module):
    """Attention and a hidden layer of 4 * width, each on what is normalised before and added after."""

    width: int
    heads: int
    depth: int  # of the whole network

    def setup(self):
        small = nn.initializers.normal(SCALE / (2 * self.depth) ** 0.5)
        plain = nn.initializers.normal(SCALE)
        self.before, self.between = nn.LayerNorm(), nn.LayerNorm()
        self.project = nn.Dense(3 * self.width, kernel_init=plain)
        self.merge = nn.Dense(self.width, kernel_init=small)
        self.widen = nn.Dense(4 * self.width, kernel_init=plain)
        self.narrow = nn.Dense(self.width, kernel_init=small)

    def __call__(self, h: Float[Array, "B T W"]) -> Float[Array, "B T W"]:
        """All positions, each of which sees itself and those before it."""
        queries, keys, values = self._heads(h)
        seen = jnp.tril(jnp.ones((h.shape[1],) * 2, bool))
        return self._rest(h, attend(queries, keys, values, seen))

    def step(
        self, h: Float[Array, "B 1 W"], cache: Float[Array, "2 B T heads D"], position: Int[Array, ""]
    ) -> tuple[Float[Array, "B 1 W"], Float[Array, "2 B T heads D"]]:
        """One position, given the keys and values of those before it; they come back with its own."""
        queries, *new = self._heads(h)
        cache = jax.lax.dynamic_update_slice_in_dim(cache, jnp.stack(new), position, axis=2)
        seen = (jnp.arange(cache.shape[2]) <= position)[None]
        return self._rest(h, attend(queries, cache[0], cache[1], seen)), cache

    def _heads(self, h: Float[Array, "B S W"]) -> list[Float[Array, "B S heads D"]]:
        parts = jnp.split(self.project(self.before(h)), 3, axis=-1)
        return [part.reshape(*h.shape[:2], self.heads, -1) for part in parts]

    def _rest(self, h: Float[Array, "B S W"], found: Float[Array, "B S heads D"]) -> Float[Array, "B S W"]:
        h = h + self.merge(found.reshape(h.shape))
        return h + self.narrow(nn.gelu(self.widen(self.between(h))))


class Causal(nn.Module):
    """Codes [B, T] -> logits [B, T, K] of each, given those before it."""

    codes: int
    length: int
    width: int = 128
    depth: int = 4
    heads: int = 4

    def setup(self):
        normal = nn.initializers.normal(SCALE)
        self.embed = nn.Embed(self.codes, self.width, embedding_init=normal)
        self.start = self.param("start", normal, (self.width,))
        self.positions = self.param("positions", normal, (self.length, self.width))
        self.blocks = [Block(self.width, self.heads, self.depth) for _ in range(self.depth)]
        self.norm, self.head = nn.LayerNorm(), nn.Dense(self.codes, kernel_init=normal)

    def __call__(self, codes: Int[Array, "B T"]) -> Float[Array, "B T K"]:
        """The logits of all positions at once."""
        start = jnp.broadcast_to(self.start, (len(codes), 1, self.width))
        h = jnp.concatenate([start, self.embed(codes[:, :-1])], axis=1) + self.positions[None]
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))

    def step(
        self, before: Int[Array, " B"], position: Int[Array, ""], cache: Cache
    ) -> tuple[Float[Array, "B K"], Cache]:
        """The logits of one position, given the code before it (any, at position 0) and the cache of those earlier."""
        h = jnp.where(position == 0, self.start[None], self.embed(before)) + self.positions[position][None]
        h, kept = h[:, None], []
        for block, part in zip(self.blocks, cache, strict=True):
            h, new = block.step(h, part, position)
            kept.append(new)
        return self.head(self.norm(h))[:, 0], jnp.stack(kept)

    def empty(self, batch: int) -> Cache:
        """A cache of nothing, for so many sequences."""
        return jnp.zeros((self.depth, 2, batch, self.length, self.heads, self.width // self.heads))
