"""A ladder of latents at several resolutions (Sønderby et al. 2016), of residual blocks (Child 2021, "Very Deep VAEs").

Bottom-up, residual blocks make activations a_r of the image at every resolution r, from the finest to the coarsest.
Top-down, a state h starts at the coarsest as learned numbers; at every resolution it is enlarged, and goes through
blocks of one latent each:

    q(z | x, h) from block(h, a_r),    p(z | h) and more from block(h)
    h <- h + more + W z,    h <- h + block(h)

and the likelihood's parameters are a linear function of the last h. A block is GELU, 1x1, GELU, 3x3, GELU, 3x3, GELU,
1x1, usually with a quarter of the width inside; 1x1 in place of 3x3 where the side is 1 or 2. The last layer of a
block that is added starts smaller by 1 / sqrt(blocks), as does W; that of p(z | h) starts at zero, so that every
prior starts at N(0, 1).

`blocks` lists the resolutions from the coarsest, as SIDExTOP-DOWN or SIDExTOP-DOWN/BOTTOM-UP: "1x1,7x2,14x3" has 6
latents and as many blocks bottom-up, "4x2/5" has 2 latents and 5 blocks bottom-up, "1x1+8" has 8 blocks top-down
without a latent after the one with. Each side divides the next. If the finest is smaller than the image, it is the
image's side over a power of two, and strided convolutions lead there and back. If the only side is 1, dense layers do,
and the ladder is one of vectors, for images of any shape.

`CIFAR10` is the published network. Departures from Child 2021: pixels run from -1 to 1; networks give the logarithms of
variances, not of standard deviations; weights are normal of variance 1 / fan-in at the beginning; a_r is what the last
block at r makes, where the paper's last block already leads to the next resolution; every resolution has its learned
numbers; vectors and strided convolutions are not in the paper.
"""

import itertools
import re
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from vaejax.distributions.basic import Gaussian
from vaejax.errors import InputError
from vaejax.networks.residual import Convolution

CIFAR10 = "1x1/3,4x3/4,8x6/7,16x11/7,32x22/12"  # Child 2021: width 384, 16 latents a block, 39 million parameters
PART = re.compile(r"(\d{1,4})x(\d{1,3})(?:\+(\d{1,3}))?(?:/(\d{1,3}))?")  # side, latents, blocks without, bottom-up
HOW = "write blocks as SIDExNUMBER from the coarsest, for example 1x1,4x2,8x2"
LECUN = nn.initializers.lecun_normal()
Picked = Callable[[int, Gaussian | None, Gaussian], Float[Array, "B side side latents"]]


class Level(NamedTuple):
    """One resolution.

    Fields:
      side: height and width of its activations.
      down, up: how many blocks it has top-down, with a latent each, and bottom-up.
      plain: how many residual blocks without a latent follow top-down.
    """

    side: int
    down: int
    up: int
    plain: int = 0


Levels = tuple[Level, ...]  # from the coarsest


def read_levels(blocks: str) -> Levels:
    """The levels that `blocks` lists.

    Raises:
      InputError: it can't be read, a number is 0, or a side doesn't divide the next.
    """
    parts = [PART.fullmatch(part.strip()) for part in blocks.split(",")]
    levels = tuple(
        Level(int(part[1]), int(part[2]), int(part[4] or part[2]), int(part[3] or 0)) for part in parts if part
    )
    if not all(parts) or any(0 in level[:3] for level in levels):
        raise InputError(f"blocks {blocks!r} can't be read; {HOW}")
    sides = [level.side for level in levels]
    if any(b % a or a == b for a, b in itertools.pairwise(sides)):
        raise InputError(f"blocks {blocks!r}: every side has to be a multiple of the one before; {HOW}")
    return levels


def fitting_levels(shape: tuple[int, ...]) -> Levels:
    """Levels for images of this shape: a vector and every side from 4 to 16, or three vectors if they aren't square."""
    height, width, _ = shape
    side = height
    while side > 16 and side % 2 == 0:
        side //= 2
    if height != width or side > 16 or side < 4:
        return (Level(1, 3, 3),)
    sides = [side]
    while sides[-1] % 2 == 0 and sides[-1] > 4:
        sides.append(sides[-1] // 2)
    return tuple(Level(side, 1 if side == 1 else 2, 1 if side == 1 else 2) for side in [1, *sides[::-1]])


def check_levels(levels: Levels, shape: tuple[int, ...]) -> None:
    """Nothing, for levels that images of this shape can have.

    Raises:
      InputError: the finest side is not that of the image over a power of two.
    """
    height, width, _ = shape
    finest = levels[-1].side
    halvings = _halvings(height, finest)
    if finest > 1 and (height != width or finest << halvings != height):
        raise InputError(
            f"the finest side has to be that of the image over a power of two, not {finest} of {height}x{width}; "
            "images that aren't square take vectors alone, for example blocks 1x3"
        )


def _halvings(side: int, finest: int) -> int:
    return max(0, (side // finest).bit_length() - 1)


class Block(nn.Module):
    """h [B, side, side, I] -> [B, side, side, features], by 1x1, 3x3, 3x3 and 1x1, each after GELU.

    Fields:
      features: what comes out; as many as go in, which are then added, if not given.
      inside: channels between the four.
      scale: of the last layer's weights at the beginning.
    """

    inside: int
    features: int | None = None
    scale: float = 1.0

    @nn.compact
    def __call__(self, h: Float[Array, "B side side I"]) -> Float[Array, "B side side O"]:
        given, wide = h, h.shape[1] > 2
        h = nn.Dense(self.inside, kernel_init=LECUN)(nn.gelu(h))
        for _ in range(2):
            layer = Convolution(self.inside, 3, "same", LECUN) if wide else nn.Dense(self.inside, kernel_init=LECUN)
            h = layer(nn.gelu(h))
        last = nn.Dense(self.features or given.shape[-1], kernel_init=_scaled(self.scale))(nn.gelu(h))
        return last if self.features else given + last


def _scaled(scale: float) -> nn.initializers.Initializer:
    return nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal") if scale else nn.initializers.zeros


class BottomUp(nn.Module):
    """x [B, H, W, C] -> the activations [B, side, side, width] of every level, from the coarsest."""

    shape: tuple[int, ...]
    width: int
    inside: int
    levels: Levels

    def __call__(self, x: Float[Array, "B H W C"], parameters: int) -> tuple[Array, ...]:
        """Not an encoder by itself.

        Raises:
          InputError: always.
        """
        raise InputError("the network 'hierarchical' is for the method hierarchical_vae alone; choose another one")

    @nn.compact
    def activations(self, x: Float[Array, "B H W C"]) -> tuple[Float[Array, "B side side width"], ...]:
        """Of every level, from the coarsest."""
        h, found = 2 * x - 1, []
        count = sum(level.up for level in self.levels)
        if self.levels[-1].side == 1:
            h = nn.Dense(self.width, kernel_init=LECUN)(h.reshape(len(h), -1))[:, None, None]
        for _ in range(_halvings(self.shape[0], self.levels[-1].side) if self.levels[-1].side > 1 else 0):
            h = nn.gelu(Convolution(self.width, 4, "half", LECUN)(h))
        if self.levels[-1].side > 1:
            h = Convolution(self.width, 3, "same", LECUN)(h)
        for level in self.levels[::-1]:
            h = _shrunk(h, level.side)
            for _ in range(level.up):
                h = Block(self.inside, scale=count**-0.5)(h)
            found.append(h)
        return tuple(found[::-1])


def _shrunk(h: Float[Array, "B big big C"], side: int) -> Float[Array, "B side side C"]:
    """Means over squares."""
    ratio = h.shape[1] // side
    return h.reshape(len(h), side, ratio, side, ratio, -1).mean(axis=(2, 4)) if ratio > 1 else h


def _grown(h: Float[Array, "B small small C"], side: int) -> Float[Array, "B side side C"]:
    """Every value as a square."""
    ratio = side // h.shape[1]
    return h.repeat(ratio, axis=1).repeat(ratio, axis=2) if ratio > 1 else h


class LatentBlock(nn.Module):
    """One step of the way down, with one latent."""

    width: int
    inside: int
    latents: int
    scale: float

    def setup(self):
        self.posterior = Block(self.inside, 2 * self.latents)
        self.prior = Block(self.inside, 2 * self.latents + self.width, scale=0.0)
        self.project = nn.Dense(self.width, kernel_init=_scaled(self.scale))
        self.rest = Block(self.inside, scale=self.scale)

    def __call__(
        self,
        h: Float[Array, "B side side W"],
        activations: Float[Array, "B side side W"] | None,
        pick: Picked,
        number: int,
    ) -> tuple[Array, Array, Gaussian | None, Gaussian]:
        """The state after it, the latent that was picked, its posterior where there are activations, and its prior."""
        found = None
        if activations is not None:
            found = Gaussian(*jnp.split(self.posterior(jnp.concatenate([h, activations], axis=-1)), 2, axis=-1))
        mean, log_var, more = jnp.split(self.prior(h), [self.latents, 2 * self.latents], axis=-1)
        prior = Gaussian(mean, log_var)
        z = pick(number, found, prior)
        return self.rest(h + more + self.project(z)), z, found, prior


class Head(nn.Module):
    """The last state [B, side, side, width] -> the `parameters` arrays [B, *shape] of a likelihood."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self, h: Float[Array, "B side side W"], parameters: int) -> tuple[Float[Array, "B H W C"], ...]:
        height, width, channels = self.shape
        gain = self.param("gain", nn.initializers.ones, h.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, h.shape[-1:])
        h = h * gain[None, None, None] + bias[None, None, None]
        if h.shape[1] == 1:
            h = nn.Dense(height * width * channels * parameters, kernel_init=LECUN)(nn.gelu(h.reshape(len(h), -1)))
            return tuple(part.reshape(-1, *self.shape) for part in jnp.split(h, parameters, axis=-1))
        count = _halvings(height, h.shape[1])
        for number in range(count):
            features = channels * parameters if number == count - 1 else h.shape[-1]
            h = Convolution(features, 4, "double", LECUN)(nn.gelu(h))
        h = h if count else nn.Dense(channels * parameters, kernel_init=LECUN)(h)
        return tuple(jnp.split(h, parameters, axis=-1))


class Walk(NamedTuple):
    """What one way down gives.

    Fields:
      z: the latents of all blocks, [B, total], the coarsest first.
      posteriors: of every block, as [B, side, side, latents]; none without activations.
      priors: of every block.
      outputs: the arrays of a likelihood, [B, *shape].
    """

    z: Float[Array, "B total"]
    posteriors: tuple[Gaussian, ...]
    priors: tuple[Gaussian, ...]
    outputs: tuple[Float[Array, "B H W C"], ...]


class TopDown(nn.Module):
    """z [B, total] -> the `parameters` arrays [B, *shape] of a likelihood; and everything else that goes this way."""

    shape: tuple[int, ...]
    latents: int
    width: int
    inside: int
    levels: Levels

    def setup(self):
        count = sum(level.down for level in self.levels)
        self.blocks = [LatentBlock(self.width, self.inside, self.latents, count**-0.5) for _ in range(count)]
        self.plain = [Block(self.inside, scale=count**-0.5) for level in self.levels for _ in range(level.plain)]
        zeros = nn.initializers.zeros
        self.starts = [
            self.param(f"start_{s}", zeros, (s, s, self.width)) for s in (level.side for level in self.levels)
        ]
        self.head = Head(self.shape)

    @property
    def sides(self) -> tuple[int, ...]:
        """The side of every block's latents."""
        return tuple(level.side for level in self.levels for _ in range(level.down))

    def __call__(self, z: Float[Array, "B total"], parameters: int) -> tuple[Float[Array, "B H W C"], ...]:
        """The arrays of a likelihood."""
        return self.walk(len(z), given(z, self.sides, self.latents), parameters).outputs

    def walk(
        self,
        count: int,
        pick: Picked,
        parameters: int,
        activations: tuple[Float[Array, "B side side W"], ...] | None = None,
    ) -> Walk:
        """The way down for so many images.

        Args:
          pick: `(number of the block, its posterior, its prior) -> z`; the posterior is None without activations.
          activations: those of `BottomUp`.
        """
        h, found = jnp.zeros((count, 1, 1, self.width)), []
        blocks, plain = iter(enumerate(self.blocks)), iter(self.plain)
        h = _grown(h, self.levels[0].side)
        for at, (level, start) in enumerate(zip(self.levels, self.starts, strict=True)):
            h = _grown(h, level.side) + start[None]
            for _ in range(level.down):
                number, block = next(blocks)
                h, *rest = block(h, None if activations is None else activations[at], pick, number)
                found.append(rest)
            for _ in range(level.plain):
                h = next(plain)(h)
        z = jnp.concatenate([z.reshape(count, -1) for z, _, _ in found], axis=1)
        posteriors = tuple(posterior for _, posterior, _ in found if posterior is not None)
        return Walk(z, posteriors, tuple(prior for *_, prior in found), self.head(h, parameters))


def given(z: Float[Array, "B total"], sides: tuple[int, ...], latents: int) -> Picked:
    """Picks these latents."""
    ends = [sum(side**2 for side in sides[:number]) * latents for number in range(len(sides) + 1)]

    def pick(number: int, posterior: Gaussian | None, prior: Gaussian) -> Array:
        del posterior, prior
        part, side = z[:, ends[number] : ends[number + 1]], sides[number]
        return part.reshape(-1, side, side, latents)

    return pick
