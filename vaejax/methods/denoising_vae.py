"""Denoising VAE (Im et al. 2017, "Denoising Criterion for Variational Auto-Encoding Framework").

    loss = -E[log p(x, z) - log q(z | x~)],    x~ = corruption(x, level),    z ~ q(z | x~)

in nats per example: the posterior is that of the corrupted image, the likelihood that of the clean one. Whatever image
the encoder is shown, this is an upper bound on -log p(x). With `samples` K > 1 it is the importance-weighted one, with
K codes of one corrupted image:

    loss = -E log (1/K) sum_k p(x, z_k) / q(z_k | x~)

`samples = 1` takes the KL in closed form, and `level = 0` is then exactly `vae`. What is encoded after training is
q(z | x) of the image as it is given.

The corruptions are `vaejax.corruptions`; the default is the paper's for MNIST (salt and pepper, 5 %), `gaussian` that
for Frey Faces. Departures: a number of spoilt pixels that varies from image to image; Adam.
"""

from typing import NamedTuple

import jax

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.errors import InputError, choose
from vaejax.hyper import NotNegative, Share
from vaejax.method import MeanOverExamples, Method, Network
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.corruptions import CORRUPTIONS, check_corruption, gaussian
from vaejax.methods.parts.elbo import Terms, distortions
from vaejax.methods.vae import vae
from vaejax.networks.calls import live
from vaejax.objectives import iwae_bound, rate, reconstruction, total_log_prob


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    level: Share = 0.05
    learning_rate: NotNegative = 1e-3


class NoiseHyper(NamedTuple):
    """The same with corruption="gaussian", whose level is a standard deviation."""

    level: NotNegative = 0.05
    learning_rate: NotNegative = 1e-3


@constructor
def denoising_vae(
    encoder: Network,
    decoder: Network,
    likelihood: Family = Bernoulli,
    corruption: str = "salt_and_pepper",
    samples: int = 1,
    kind: str = "unit",
) -> Method:
    """A denoising VAE of these networks; metrics: `loss`, `reconstruction` and `kl`, in nats per example.

    With more than one sample the loss is less than the sum of the other two.

    Args:
      corruption: `gaussian`, `masking` or `salt_and_pepper`.
      samples: codes per image.
      kind: of the data, as in `vaejax.Space`, or `mixed`; `vaejax.build` takes it from the space.

    Raises:
      InputError: an unknown corruption, one that such data can't have, or less than 1 sample.
    """
    if samples < 1:
        raise InputError(f"a denoising VAE draws at least samples=1 code of an image, not {samples}")
    spoil = choose(CORRUPTIONS, corruption, "corruption")
    check_corruption(corruption, kind)
    base = vae(encoder, decoder, likelihood)
    assert base.prior is not None
    prior_of = base.prior

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        del step
        params = live(params, key)
        seen = batch._replace(x=spoil(jax.random.fold_in(key, 1), batch.x, hyper.level))
        posterior, prior = base.encode(params, seen), prior_of(params, batch)
        if samples == 1:
            z = posterior.sample(key)
            distortion = reconstruction(base.decode(params, z, batch), batch.x)
            terms = Terms(posterior, z, distortion, rate(posterior, prior, z))
            loss = (terms.distortion + terms.rate).mean()
            return loss, terms.metrics(loss)
        z = jax.vmap(posterior.sample)(jax.random.split(key, samples))  # [K, B, latents]
        distortion = distortions(base, params, z, batch)
        nats = jax.vmap(lambda z: total_log_prob(posterior, z) - total_log_prob(prior, z))(z)
        loss = -iwae_bound(-distortion - nats).mean()
        kl = rate(posterior, prior, z[0]).mean()
        return loss, {"loss": loss, "reconstruction": distortion.mean(), "kl": kl}

    return base._replace(hyper=NoiseHyper() if spoil is gaussian else Hyper(), loss=loss)
