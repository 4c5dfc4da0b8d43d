"""Grey images turned into black and white ones at random: a pixel is 1 with the probability that is its grey value.

Salakhutdinov & Murray 2008, "On the Quantitative Analysis of Deep Belief Networks". Drawn anew whenever an image is
shown in training ("dynamic binarisation", as in Burda et al. 2016), and once and for all where images are numbered.
"""

from functools import cache

import jax
from jaxtyping import Array, Float, Int, Key

from vaejax.data.source import Data, Factors, Source, index_of
from vaejax.method import Batch

SEED = 0


def binarized(source: Source) -> Source:
    """The same images in 0 and 1.

    `sample` draws every pixel anew. `at` (and `render` of a source with factors) draws with one fixed key and the
    number of the image (of the combination of factors) folded in, so that it is one fixed set of images.
    """
    name = f"{source.name}+binarized"
    if not isinstance(source, Factors):
        at, sample = _numbered(source.at, source.sample)
        return source._replace(name=name, at=at, sample=sample)
    at, sample, render = _combined(source.at, source.sample, source.render, source.sizes)
    joint = source.joint and source.joint._replace(source=binarized(source.joint.source))
    return source._replace(name=name, at=at, sample=sample, render=render, joint=joint)


@cache
def _numbered(base_at, base_sample):
    """`at` and `sample` of a source in arrays; the same objects for equal arguments, so that nothing retraces."""

    def at(data: Data, index: Int[Array, " n"]) -> Batch:
        batch = base_at(data, index)
        return batch._replace(x=_fixed(index, batch.x))

    return at, _anew(base_sample)


@cache
def _combined(base_at, base_sample, base_render, sizes: tuple[int, ...]):
    """`at`, `sample` and `render` of a source with factors: an image is known by its combination of them."""

    def at(data: Data, index: Int[Array, " n"]) -> Batch:
        batch = base_at(data, index)
        assert batch.factors is not None
        return batch._replace(x=_fixed(index_of(batch.factors, sizes), batch.x))

    def render(factors: Int[Array, "n K"]) -> Float[Array, "n H W C"]:
        return _fixed(index_of(factors, sizes), base_render(factors))

    return at, _anew(base_sample), render


def _anew(base_sample):
    def sample(data: Data, key: Key[Array, ""], n: int) -> Batch:
        which, noise = jax.random.split(key)
        batch = base_sample(data, which, n)
        return batch._replace(x=jax.random.bernoulli(noise, batch.x).astype(batch.x.dtype))

    return sample


def _fixed(number: Int[Array, " n"], x: Float[Array, "n H W C"]) -> Float[Array, "n H W C"]:
    """Each image drawn with a key of its own."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(SEED), number)
    uniform = jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:], x.dtype))(keys)
    return (jax.lax.optimization_barrier(uniform) < x).astype(x.dtype)
