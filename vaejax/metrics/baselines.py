"""Representations to compare learned codes with, through the interface that the metrics take.

Each baseline is `(source, *, seed, latents, images, ...) -> represent`, and `represent` maps factor values Int[B, K] to
codes Float[B, D]; it is a pure function that can be jitted. What has to be fitted is fitted by scikit-learn, on images
that are drawn from the source with this seed; what it learned is applied as a matrix product.

| name | codes | what it shows |
|---|---|---|
| `true_factors` | the factors themselves, each from 0 to 1 | the ceiling: what a metric gives to what it asks for |
| `pca` | the first principal components, scaled to variance 1 | what second moments find |
| `ica` | FastICA of those components (Hyvarinen & Oja 2000) | what linear independence finds |
| `pixels` | the image, flat | no representation at all |
| `random_encoder` | posterior means of an encoder that was never trained | the floor: what the network's form gives |
"""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vaejax.data.source import Factors
from vaejax.errors import InputError
from vaejax.method import Batch
from vaejax.methods import build
from vaejax.metrics.checks import check_counts, check_source

Represent = Callable[[Int[Array, "B K"]], Float[Array, "B D"]]
ITERATIONS = 1000  # of FastICA
SMALLEST = 1e-5  # standard deviation, as a share of the largest, below which a component is rounding
log = logging.getLogger("vaejax")


def true_factors(source: Factors, *, seed: int = 0, latents: int = 10, images: int = 10_000) -> Represent:
    """The ground-truth factors, each scaled to [0, 1]; K codes, whatever `latents` says. Nothing is rendered.

    Raises:
      InputError: the source has no ground-truth factors.
    """
    del seed, latents, images
    _check(source)
    largest = jnp.maximum(jnp.asarray(source.sizes, jnp.float32) - 1, 1)
    return lambda factors: factors / largest[None]


def pixels(
    source: Factors, *, seed: int = 0, latents: int = 10, images: int = 10_000, side: int | None = None
) -> Represent:
    """The image as it is: H * W * C codes, whatever `latents` says.

    Metrics of 4096 codes take long (those that fit a classifier for each pair of code and factor take hours); `side`
    averages blocks of pixels down to an image of side x side first, which is then what is compared.

    Raises:
      InputError: the source has no ground-truth factors, or its sides are no multiples of `side`.
    """
    del seed, latents, images
    _check(source)
    jax.eval_shape(lambda: _pooled(jnp.zeros((1, *source.shape)), side))  # to hear of a wrong side now
    return lambda factors: _pooled(source.render(factors), side).reshape(len(factors), -1)


def pca(
    source: Factors, *, seed: int = 0, latents: int = 10, images: int = 10_000, side: int | None = None
) -> Represent:
    """The first principal components of the pixels, each scaled to variance 1.

    Args:
      seed: of the images that are drawn, and of the randomised singular value decomposition.
      latents: how many components.
      images: how many images to fit; 10,000 of 64 x 64 take 160 MB.
      side: fits images averaged down to side x side.

    Raises:
      InputError: the source has no ground-truth factors, its sides are no multiples of `side`, or there are fewer
        pixels, images, or directions in which the images vary than components.
    """
    mean, matrix = _whitening(source, seed, latents, images, side)
    return _linear(source, side, mean, matrix)


def ica(
    source: Factors, *, seed: int = 0, latents: int = 10, images: int = 10_000, side: int | None = None
) -> Represent:
    """Independent components of the pixels: FastICA (parallel, logcosh) on the components of `pca`.

    If it doesn't converge in 1000 iterations, which on sprites is common, a warning is logged and the last is used.

    Args: those of `pca`; `seed` is also that of the rotation from which FastICA starts.

    Raises:
      InputError: as for `pca`.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    mean, matrix = _whitening(source, seed, latents, images, side)
    codes = (_images(source, seed, images, side) - mean) @ matrix
    components = FastICA(random_state=seed, max_iter=ITERATIONS, tol=1e-3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        components.fit(codes)
    if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
        log.warning("ICA of %s, seed %d, did not converge in %d iterations", source.name, seed, ITERATIONS)
    return _linear(source, side, mean, matrix @ components.components_.T)


def random_encoder(
    source: Factors,
    *,
    seed: int = 0,
    latents: int = 10,
    images: int = 10_000,
    network: str = "conv",
    width: int | None = None,
) -> Represent:
    """The posterior means of a VAE at step 0: random weights, drawn with this seed; nothing is fitted.

    Raises:
      InputError: the source has no ground-truth factors, or the network is unknown or can't take its images.
    """
    del images
    _check(source)
    check_counts(0, seed=seed)
    method = build("vae", source.shape, network, latents, width)
    params = method.init(jax.random.key(seed), Batch(jnp.zeros((1, *source.shape))))
    return lambda factors: method.encode(params, Batch(source.render(factors))).mean


BASELINES: dict[str, Callable[..., Represent]] = {
    "true_factors": true_factors,
    "pca": pca,
    "ica": ica,
    "pixels": pixels,
    "random_encoder": random_encoder,
}


def _check(source: Any) -> None:
    check_source(source)
    if not isinstance(source, Factors):
        raise InputError(f"{source.name} has no ground-truth factors for a baseline to be a function of; use sprites")


def _pooled(x: Float[Array, "B H W C"], side: int | None) -> Float[Array, "B side side C"]:
    """Means over blocks of pixels, so that side x side are left."""
    count, height, width, channels = x.shape
    if side is None:
        return x
    check_counts(side=side)
    if height % side or width % side:
        raise InputError(f"images of {height}x{width} can't be averaged down to {side}x{side}: give a divisor as side")
    return x.reshape(count, side, height // side, side, width // side, channels).mean(axis=(2, 4))


def _images(source: Factors, seed: int, images: int, side: int | None) -> Float[np.ndarray, "N D"]:
    """Flat images, drawn uniformly with replacement, a thousand at a time."""
    check_counts(images=images)
    check_counts(0, seed=seed)
    if images < 2:
        raise InputError(f"a baseline is fitted to at least 2 images, not {images}")
    block = min(images, 1000)
    draw = jax.jit(lambda data, key: _pooled(source.sample(data, key, block).x, side).reshape(block, -1))
    keys = jax.random.split(jax.random.key(seed), -(-images // block))
    return np.concatenate([np.asarray(draw(source.data, key)) for key in keys])[:images]


def _whitening(
    source: Factors, seed: int, latents: int, images: int, side: int | None
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, "D latents"]]:
    """The mean image, and the matrix that takes what is left to its principal components of variance 1."""
    from sklearn.decomposition import PCA

    _check(source)
    check_counts(latents=latents)
    x = _images(source, seed, images, side)
    if latents > min(x.shape):
        raise InputError(f"{len(x)} images of {x.shape[1]} pixels have at least 1 component, but not {latents}")
    few = x.shape[1] <= 1024  # exactly, by the covariance, which takes float64; many by random projections
    solver, x = ("covariance_eigh", x.astype(np.float64)) if few else ("randomized", x)
    fitted = PCA(latents, svd_solver=solver, random_state=seed).fit(x)
    scale = np.sqrt(fitted.explained_variance_)
    if not scale[-1] > SMALLEST * scale[0]:
        raise InputError(f"the images of {source.name} vary in fewer than {latents} directions; ask for fewer latents")
    return np.asarray(fitted.mean_), np.asarray(fitted.components_).T / scale


def _linear(
    source: Factors, side: int | None, mean: Float[np.ndarray, " D"], matrix: Float[np.ndarray, "D latents"]
) -> Represent:
    shift, weights = jnp.asarray(mean @ matrix, jnp.float32), jnp.asarray(matrix, jnp.float32)
    return lambda factors: _pooled(source.render(factors), side).reshape(len(factors), -1) @ weights - shift[None]
