"""Grey images turned into black and white ones at random: a pixel is 1 with the probability that is its grey value.

Salakhutdinov & Murray 2008, "On the Quantitative Analysis of Deep Belief Networks". Drawn anew whenever an image is
shown in training ("dynamic binarisation", as in Burda et al. 2016), and once and for all where images are numbered.
"""

import jax
from jaxtyping import Array, Float, Int, Key

from vaejax.data.bound import bound
from vaejax.data.source import Arrays, Data, Factors, Source, called, index_of
from vaejax.errors import InputError
from vaejax.method import Batch, as_space

SEED = 0


def binarized(source: Source) -> Source:
    """The same images in 0 and 1.

    `sample` draws every pixel anew. `at` (and `render` of a source with factors) draws with one fixed key and the
    number of the image (of the combination of factors) folded in, so that it is one fixed set of images.

    Raises:
      InputError: something else than a source that is on the device.
    """
    if not isinstance(source, Arrays | Factors):
        raise InputError(f"{called(source)} can't be binarized; give a source that is on the device")
    if as_space(source.space).kind != "unit":
        raise InputError(f"{called(source)} can't be binarized: only values from 0 to 1 can; leave +binarized out")
    name, sample = f"{source.name}+binarized", bound(_anew, source.sample)
    if isinstance(source, Arrays):
        return source._replace(name=name, at=bound(_numbered, source.at), sample=sample)
    at = bound(_combined, source.at, source.sizes)
    if isinstance(source.render, jax.tree_util.Partial):  # it holds arrays, which are no key of a cache
        render = jax.tree_util.Partial(bound(_drawn, source.sizes), source.render)
    else:
        render = bound(_drawn, source.sizes, source.render)
    joint = source.joint and source.joint._replace(source=binarized(source.joint.source))
    return source._replace(name=name, at=at, sample=sample, render=render, joint=joint, made=None)


def _numbered(base_at, data: Data, index: Int[Array, " n"]) -> Batch:
    """`at` of a source in arrays."""
    batch = base_at(data, index)
    return batch._replace(x=_fixed(index, batch.x))


def _combined(base_at, sizes: tuple[int, ...], data: Data, index: Int[Array, " n"]) -> Batch:
    """`at` of a source with factors: an image is known by its combination of them."""
    batch = base_at(data, index)
    assert batch.factors is not None
    return batch._replace(x=_fixed(index_of(batch.factors, sizes), batch.x))


def _drawn(sizes: tuple[int, ...], base_render, factors: Int[Array, "n K"]) -> Float[Array, "n H W C"]:
    """`render` of a source with factors."""
    return _fixed(index_of(factors, sizes), base_render(factors))


def _anew(base_sample, data: Data, key: Key[Array, ""], n: int) -> Batch:
    """`sample` of any source."""
    which, noise = jax.random.split(key)
    batch = base_sample(data, which, n)
    return batch._replace(x=jax.random.bernoulli(noise, batch.x).astype(batch.x.dtype))


def _fixed(number: Int[Array, " n"], x: Float[Array, "n H W C"]) -> Float[Array, "n H W C"]:
    """Each image drawn with a key of its own."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(SEED), number)
    uniform = jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:], x.dtype))(keys)
    return (jax.lax.optimization_barrier(uniform) < x).astype(x.dtype)
