"""Hierarchical VAE with top-down inference (Sønderby et al. 2016, "Ladder Variational Autoencoders"; Child 2021,
"Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images", equations 1 to 4).

    loss = E_q[-log p(x | z)] + w sum_l max(free_bits, E KL(q(z_l | z_<l, x) || p(z_l | z_<l)))
    w = min(1, step / anneal_steps)

in nats per example, where z_1 is the coarsest latent and each KL is that of two Gaussians at the sampled z_<l, averaged
over the batch. The network is `vaejax.networks.hierarchical`, from a ladder of vectors (`blocks="1x3"`) to the
published one for CIFAR-10 (`blocks=hierarchical.CIFAR10`). With `anneal_steps = 0` and `free_bits = 0`, the defaults,
it is the negative ELBO; warm-up is that of Sønderby et al., free bits are those of Kingma et al. 2016, "Improved
Variational Inference with Inverse Autoregressive Flow", equation 15, one group for each latent.

A step is skipped where the gradient's norm is above `skip_above` (Child 2021; 400 on CIFAR-10), unless that is 0.

Departures: from Sønderby et al., the posterior is made of the state and the activations by a block, where theirs is the
precision-weighted product of two Gaussians, and there is no batch normalisation; from Child, Adam without weight decay,
no clipping of gradients, no average of parameters for evaluation.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from vaejax.distributions.basic import Bernoulli, Family, Gaussian
from vaejax.distributions.given import likelihood_of
from vaejax.errors import InputError
from vaejax.hyper import NotNegative
from vaejax.method import Method, Network, Params
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.optimizers import skip_above
from vaejax.methods.parts.schedules import anneal
from vaejax.networks.hierarchical import BottomUp, Picked, TopDown, Walk, check_levels, given, read_levels
from vaejax.objectives import reconstruction, total_log_prob


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    free_bits: NotNegative = 0.0
    anneal_steps: NotNegative = 0.0
    skip_above: NotNegative = 0.0
    learning_rate: NotNegative = 1e-3


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["params", "activations"],
    meta_fields=["decoder", "count", "parameters"],
)
@dataclasses.dataclass(frozen=True)
class TopDownGaussian:
    """A distribution over flat latents [B, total], Gaussian for each block given those of the blocks before it.

    The posterior, where there are activations of images; the prior, where there are none.

    Fields:
      decoder, params: the way down, and its parameters.
      count: B.
      parameters: how many arrays the likelihood takes.
      activations: of the images, from `BottomUp`, or None.
    """

    decoder: TopDown
    params: Params
    count: int
    parameters: int
    activations: tuple[Float[Array, "B side side W"], ...] | None = None
    has_density = True

    @property
    def mean(self) -> Float[Array, "B total"]:
        """The means of every block, given the means of those before it."""
        return self.walk(lambda number, q, p: self._own(q, p).mean).z

    def sample(self, key: Key[Array, ""]) -> Float[Array, "B total"]:
        """One draw, reparameterised."""
        return self.walk(self.drawing(key)).z

    def log_prob(self, z: Float[Array, "B total"]) -> Float[Array, " B"]:
        """Log-density in nats, summed over blocks."""
        walk = self.walk(given(z, self.decoder.sides, self.decoder.latents))
        of = walk.priors if self.activations is None else walk.posteriors
        parts = split(z, of)
        return sum((total_log_prob(block, part) for block, part in zip(of, parts, strict=True)), jnp.zeros(len(z)))

    def drawing(self, key: Key[Array, ""]) -> Picked:
        """Picks a draw in every block."""
        return lambda number, q, p: self._own(q, p).sample(jax.random.fold_in(key, number))

    def walk(self, pick: Picked) -> Walk:
        """The way down with these latents."""
        arguments = self.count, pick, self.parameters, self.activations
        found: Any = self.decoder.apply(self.params, *arguments, method="walk")
        return found

    def _own(self, posterior: Gaussian | None, prior: Gaussian) -> Gaussian:
        return prior if posterior is None else posterior


def split(z: Float[Array, "B total"], blocks: tuple[Gaussian, ...]) -> list[Float[Array, "B side side latents"]]:
    """Flat latents as those of each block."""
    sizes = [block.mean[0].size for block in blocks]
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes) - 1)]
    return [part.reshape(block.mean.shape) for part, block in zip(jnp.split(z, ends, axis=1), blocks, strict=True)]


@constructor(network="hierarchical", alone=True, vectors=False)
def hierarchical_vae(
    encoder: Network, decoder: Network, likelihood: Family = Bernoulli, blocks: str | None = None
) -> Method:
    """A hierarchical VAE; latents are those of all blocks, flat: [B, total].

    Metrics: `loss`, `reconstruction`, `kl` and `kl_layer_L` for every block, the coarsest first, in nats per example.

    Args:
      encoder, decoder: those of the network `hierarchical`.
      blocks: the resolutions and how many blocks each has, as in `vaejax.networks.hierarchical`, for example
        "1x1,7x2,14x2"; what fits the images if not given.

    Raises:
      InputError: another network; blocks that can't be read or don't fit the images.
    """
    if not isinstance(encoder, BottomUp) or not isinstance(decoder, TopDown):
        raise InputError("hierarchical_vae needs the network 'hierarchical'; leave the network out")
    levels = encoder.levels if blocks is None else read_levels(blocks)
    check_levels(levels, encoder.shape)
    bottom_up, top_down = encoder.clone(levels=levels), decoder.clone(levels=levels)
    parameters = likelihood.parameters

    def init(key, batch):
        up, down = jax.random.split(key)
        params = bottom_up.init(up, batch.x, method="activations")
        activations: Any = bottom_up.apply(params, batch.x, method="activations")
        arguments = len(batch.x), lambda number, q, p: q.mean, parameters, activations
        return {"encoder": params, "decoder": top_down.init(down, *arguments, method="walk")}

    def encode(params, batch):
        activations: Any = bottom_up.apply(params["encoder"], batch.x, method="activations")
        return TopDownGaussian(top_down, params["decoder"], len(batch.x), parameters, activations)

    def prior(params, batch):
        return TopDownGaussian(top_down, params["decoder"], len(batch.x), parameters)

    def decode(params, z, batch=None):
        arrays: Any = top_down.apply(params["decoder"], z, parameters)
        return likelihood_of(likelihood, arrays, batch)

    def loss(params, hyper, batch, key, step):
        posterior = encode(params, batch)
        walk = posterior.walk(posterior.drawing(key))
        distortion = reconstruction(likelihood(*walk.outputs), batch.x).mean()
        nats = [q.kl(p).sum() / len(batch.x) for q, p in zip(walk.posteriors, walk.priors, strict=True)]
        layers = jnp.stack(nats)
        weight = anneal(step, 0.0, 1.0, hyper.anneal_steps)
        loss = distortion + weight * jnp.maximum(layers, hyper.free_bits).sum()
        metrics = {"loss": loss, "reconstruction": distortion, "kl": layers.sum()}
        return loss, metrics | {f"kl_layer_{number}": value for number, value in enumerate(nats)}

    def optimizer(hyper):
        return skip_above(hyper.skip_above, optax.adam(hyper.learning_rate))

    return Method(Hyper(), init, loss, encode, decode, optimizer, prior)
