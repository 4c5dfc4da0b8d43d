"""log p(x) by annealed importance sampling (Neal 2001).

For decoders: Wu et al. 2017, "On the Quantitative Analysis of Decoder-Based Generative Models".

    f_t(z) = p(z) p(x | z)^b_t,  0 = b_0 < ... < b_T = 1;    z_0 from p(z), z_t from z_{t-1} by a move that leaves f_t
    log w = sum_t (b_t - b_{t-1}) log p(x | z_{t-1}),        log p(x) ~ log 1/C sum_c w_c

over C independent chains an image: a lower bound in expectation, like importance sampling, that needs no encoder and so
is a check on it. b follows a sigmoid, slow at both ends (Wu et al. 2017). A move is one of Hamiltonian Monte Carlo: L
leapfrog steps with fresh momentum, accepted or not (Neal 2011).

The length of a leapfrog step is adapted for every image, so that 65 % of its chains' moves are accepted. That makes a
move depend on moves before it, which the proof of the bound doesn't allow for; what comes of it is small where the
adaptation is slow, and the tests measure it against exact likelihoods.

What the prior gives without noise (the condition of a conditional method) stays as it is.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vaejax.errors import check_memory
from vaejax.method import Batch, Method, Params
from vaejax.metrics.checks import check_counts
from vaejax.metrics.evidence import BATCH, Images, OnImages, check_estimate, check_prior, estimates, like, of_one
from vaejax.metrics.record import Metric, Value
from vaejax.objectives import reconstruction, total_log_prob

ACCEPT = 0.65  # of moves, at which the adaptation aims
GAIN = 0.05  # how much of the difference the logarithm of a step takes on
FIRST_STEP = 0.1
STEEPNESS = 4.0  # of the sigmoid


def annealed_importance_sampling(
    method: Method,
    params: Params,
    source: Images,
    key: Key[Array, ""],
    *,
    steps: int = 1000,
    chains: int = 16,
    leapfrogs: int = 10,
    images: int | None = 100,
    on_progress: OnImages = None,
) -> dict[str, float]:
    """log p(x) of one model, as the mean over images.

    It takes `steps` x `leapfrogs` gradients of the decoder for each chain of each image.

    Args:
      params, source: as in `vaejax.metrics.log_likelihood`.
      steps: T, how many distributions lead from the prior to the posterior.
      chains: C.
      leapfrogs: L.
      images: how many of them to take; all if None.
      on_progress: called on the host with how many images are done, and of how many.

    Returns:
      `log_likelihood` in nats per example; `standard_error` of it over examples; `bits_per_dim`;
      `effective_sample_size`, at most C, and `acceptance` of the moves, means over images.

    Raises:
      InputError: a method without a prior; less than 1 image, step, chain or leapfrog step; images of another
        shape, or parameters that are not those of one run of this method.
    """
    check_counts(steps=steps, chains=chains, leapfrogs=leapfrogs)
    check_estimate(method, params, source, key, runs=False)
    check_prior("annealed_importance_sampling", method)
    each = math.prod(like(source).x.shape[1:])
    check_memory(f"{chains:,} chains of each of {BATCH} images", 4.0 * chains * BATCH * each, "give fewer chains")
    check_memory(f"{steps:,} temperatures", 40.0 * steps, "give fewer steps")
    estimator = Annealing(int(steps), int(chains), int(leapfrogs))
    return of_one(params, lambda one: estimates(estimator, method, one, source, key, images, on_progress))


def schedule(steps: int) -> Float[np.ndarray, " steps+1"]:
    """b_0 = 0 to b_T = 1, along a sigmoid."""
    ramp = 1 / (1 + np.exp(-STEEPNESS * np.linspace(-1, 1, steps + 1)))
    return (ramp - ramp[0]) / (ramp[-1] - ramp[0])


class Chains(NamedTuple):
    """C chains for each of B images.

    Fields:
      z: where they are, Float[C, B, ...].
      log_likelihood: log p(x | z) there.
      log_weights: log w up to here.
      log_step: of a leapfrog step, one for all chains of an image.
      accepted: how many moves were accepted, as a mean over chains.
    """

    z: Array
    log_likelihood: Float[Array, "C B"]
    log_weights: Float[Array, "C B"]
    log_step: Float[Array, " B"]
    accepted: Float[Array, " B"]


@dataclasses.dataclass(frozen=True)
class Annealing:
    """The estimator; see `vaejax.metrics.evidence.Estimator`."""

    steps: int
    chains: int
    leapfrogs: int

    def __call__(
        self, method: Method, params: Params, batch: Batch, key: Key[Array, ""]
    ) -> dict[str, Float[Array, " B"]]:
        assert method.prior is not None
        prior, count = method.prior(params, batch), len(batch.x)
        prior_key, other_key, key = jax.random.split(key, 3)
        z = jax.vmap(prior.sample)(jax.random.split(prior_key, self.chains))
        free = (z[0] != prior.sample(other_key))[None].astype(z.dtype)

        def log_joint(z: Array, b: Array) -> tuple[Array, tuple[Array, Array]]:
            """The sum of log f_b; log f_b and log p(x | z) for every chain and image."""

            def one(z: Array) -> tuple[Array, Array]:
                return total_log_prob(prior, z), -reconstruction(method.decode(params, z, batch), batch.x)

            log_prior, likelihood = jax.vmap(one)(z)
            energy = log_prior + b * likelihood
            return energy.sum(), (energy, likelihood)

        slope = jax.grad(log_joint, has_aux=True)

        def move(now: Chains, t: tuple[Array, Array, Array]) -> tuple[Chains, None]:
            number, before, b = t
            log_weights = now.log_weights + (b - before) * now.log_likelihood
            momentum_key, coin_key = jax.random.split(jax.random.fold_in(key, number))
            step = _beside(jnp.exp(now.log_step)[None], now.z)
            start = free * jax.random.normal(momentum_key, now.z.shape, now.z.dtype)
            force, (energy, _) = slope(now.z, b)

            def leap(_, at: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array, Array]:
                z, momentum, force, *_ = at
                momentum = momentum + 0.5 * step * free * force
                z = z + step * momentum
                force, (energy, likelihood) = slope(z, b)
                return z, momentum + 0.5 * step * free * force, force, energy, likelihood

            begin = now.z, start, force, energy, now.log_likelihood
            z, momentum, _, proposed, likelihood = jax.lax.fori_loop(0, self.leapfrogs, leap, begin)
            gain = proposed - _kinetic(momentum) - energy + _kinetic(start)
            chance = jnp.exp(jnp.minimum(jnp.where(jnp.isfinite(gain), gain, -jnp.inf), 0.0))
            accept = jax.random.uniform(coin_key, chance.shape) < chance
            chance = chance.mean(axis=0)
            return Chains(
                jnp.where(_beside(accept, z), z, now.z),
                jnp.where(accept, likelihood, now.log_likelihood),
                log_weights,
                now.log_step + GAIN * (chance - ACCEPT),
                now.accepted + chance,
            ), None

        _, (_, likelihood) = log_joint(z, jnp.zeros(()))
        flat = jnp.zeros(count)
        begin = Chains(z, likelihood, jnp.zeros((self.chains, count)), flat + jnp.log(FIRST_STEP), flat)
        b = jnp.asarray(schedule(self.steps), jnp.float32)
        end, _ = jax.lax.scan(move, begin, (jnp.arange(self.steps), b[:-1], b[1:]))
        total = jax.nn.logsumexp(end.log_weights, axis=0)
        return {
            "log_likelihood": total - jnp.log(self.chains),
            "effective_sample_size": jnp.exp(2 * total - jax.nn.logsumexp(2 * end.log_weights, axis=0)),
            "acceptance": end.accepted / self.steps,
        }


def _beside(values: Array, z: Array) -> Array:
    """Values [C or 1, B] with axes of length 1 for the rest of z."""
    return jnp.expand_dims(values, range(2, z.ndim))


def _kinetic(momentum: Array) -> Float[Array, "C B"]:
    return 0.5 * (momentum**2).reshape(*momentum.shape[:2], -1).sum(axis=-1)


ANNEALED_IMPORTANCE_SAMPLING = Metric(
    "annealed_importance_sampling", None, (), more=(Value("log_likelihood", "log p(x) by AIS (nats)", "higher"),),
    arrays=annealed_importance_sampling,
)  # fmt: skip
