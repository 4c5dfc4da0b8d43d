"""log p(x) by importance sampling with the posterior as proposal: Rezende et al. 2014, appendix E; Burda et al. 2016.

    log p(x) ~ log 1/S sum_s w_s,    w_s = p(x | z_s) p(z_s) / q(z_s | x),    z_s from q(z | x)

a lower bound in expectation that rises to log p(x) with S (Burda et al. 2016, theorem 1). How far to trust it is told
by the effective sample size (sum_s w_s)^2 / sum_s w_s^2: where that is a few of thousands, the bound is loose, and
`vaejax.metrics.annealed_importance_sampling` is the check.

An image is encoded once. Samples are drawn and weighed a chunk at a time, with running sums of weights in logarithms,
so that memory doesn't depend on S, nor on how many images there are. Chunks of any size have the same samples.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vaejax.distributions.declared import has_density
from vaejax.errors import InputError, check_memory
from vaejax.method import Batch, Method, Params
from vaejax.metrics.checks import check_counts
from vaejax.metrics.evidence import BATCH, Images, OnImages, check_estimate, check_prior, estimates, like, of_one
from vaejax.metrics.record import Metric
from vaejax.objectives import log_weight

CHUNK = 50


def log_likelihood(
    method: Method,
    params: Params,
    source: Images,
    key: Key[Array, ""],
    *,
    samples: int = 5000,
    chunk: int = CHUNK,
    images: int | None = None,
    on_progress: OnImages = None,
) -> dict[str, float]:
    """log p(x) of one model, as the mean over images.

    Args:
      params: of one model, as in `Result.params_of`.
      source: images, of the test split if that is what was loaded; or a batch of them. A Bernoulli likelihood is one of
        images in 0 and 1 only: see `+binarized`.
      samples: S.
      chunk: how many samples of each image to draw at once.
      images: how many of them to take; all if not given.
      on_progress: called on the host with how many images are done, and of how many, at most 50 times; all images are
        one call of the program if not given.

    Returns:
      `log_likelihood` in nats per example; `standard_error` of it over examples; `bits_per_dim`, -log2 p(x) for each
      element that is there, such as a channel of a pixel (of a density, where the likelihood has one); `elbo`, in nats,
      from the same samples; `effective_sample_size`, at most S, the mean over examples.

    Raises:
      InputError: a method without a prior, or whose posterior has no density; less than 1 image, sample or chunk;
        images of another shape, or parameters that are not those of one run of this method.
    """
    check_estimate(method, params, source, key, runs=False)
    estimator = _estimator(method, params, source, samples, chunk)
    return of_one(params, lambda one: estimates(estimator, method, one, source, key, images, on_progress))


def log_likelihood_of_runs(
    method: Method,
    params: Params,
    source: Images,
    key: Key[Array, ""],
    *,
    samples: int = 5000,
    chunk: int = CHUNK,
    images: int | None = None,
    on_progress: OnImages = None,
) -> dict[str, Float[np.ndarray, " R"]]:
    """`log_likelihood` of R models, each value an array of R; runs are laid over the devices, with the same noise.

    Args:
      params: every leaf with a leading run axis, as in `Result.params`.
      on_progress: as in `log_likelihood`; images are counted once for every run.

    Raises:
      InputError: as `log_likelihood`, but parameters have to be those of all runs.
    """
    check_estimate(method, params, source, key, runs=True)
    first = jax.tree.map(lambda leaf: leaf[0], params)
    estimator = _estimator(method, first, source, samples, chunk)
    return estimates(estimator, method, params, source, key, images, on_progress)


def _estimator(method: Method, params: Params, source: Images, samples: int, chunk: int) -> "ImportanceSampling":
    """The estimator, after a look at the method.

    Raises:
      InputError: as `log_likelihood`.
    """
    check_counts(samples=samples, chunk=chunk)
    check_prior("log_likelihood", method)
    if not has_density(jax.eval_shape(method.encode, params, like(source))):
        raise InputError(
            "log_likelihood draws codes from a posterior with a density, which this method's encoder doesn't give; "
            "annealed_importance_sampling needs none"
        )
    samples, chunk = int(samples), int(min(chunk, samples))
    each = math.prod(like(source).x.shape[1:])
    check_memory(f"{chunk:,} samples of each of {BATCH} images", 4.0 * chunk * BATCH * each, "give a smaller chunk")
    return ImportanceSampling(samples, chunk)


class Sums(NamedTuple):
    """Running sums over samples, in logarithms but for the last: of w, of w^2, and of log w."""

    weight: Float[Array, " B"]
    square: Float[Array, " B"]
    log_weight: Float[Array, " B"]


@dataclasses.dataclass(frozen=True)
class ImportanceSampling:
    """The estimator; see `vaejax.metrics.evidence.Estimator`."""

    samples: int
    chunk: int

    def __call__(
        self, method: Method, params: Params, batch: Batch, key: Key[Array, ""]
    ) -> dict[str, Float[Array, " B"]]:
        assert method.prior is not None
        posterior, prior = method.encode(params, batch), method.prior(params, batch)

        def weigh(number: Array) -> Float[Array, " B"]:
            z = posterior.sample(jax.random.fold_in(key, number))
            return log_weight(posterior, prior, method.decode(params, z, batch), z, batch.x)

        def add(sums: Sums, start: Array) -> tuple[Sums, None]:
            numbers = start + jnp.arange(self.chunk)
            there = (numbers < self.samples)[:, None]  # the last chunk may reach beyond
            log_weights = jax.vmap(weigh)(numbers)
            masked = jnp.where(there, log_weights, -jnp.inf)
            return Sums(
                jnp.logaddexp(sums.weight, jax.nn.logsumexp(masked, axis=0)),
                jnp.logaddexp(sums.square, jax.nn.logsumexp(2 * masked, axis=0)),
                sums.log_weight + jnp.where(there, log_weights, 0.0).sum(axis=0),
            ), None

        none = jnp.full(len(batch.x), -jnp.inf)
        sums, _ = jax.lax.scan(add, Sums(none, none, jnp.zeros_like(none)), jnp.arange(0, self.samples, self.chunk))
        return {
            "log_likelihood": sums.weight - jnp.log(self.samples),
            "elbo": sums.log_weight / self.samples,
            "effective_sample_size": jnp.exp(2 * sums.weight - sums.square),
        }


LOG_LIKELIHOOD = Metric("log_likelihood", None, (), "log p(x) (nats)", "higher", arrays=log_likelihood)
