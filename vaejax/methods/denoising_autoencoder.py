"""Denoising autoencoder (Vincent et al. 2008, "Extracting and Composing Robust Features with Denoising Autoencoders";
Vincent et al. 2010, "Stacked Denoising Autoencoders").

    loss = -log p(x | z),    z = encoder(x~),    x~ = corruption(x, level)

in nats per example: the target is the clean image. `corruption` is one of `vaejax.corruptions.CORRUPTIONS`, which say
what they do with the level; or `dropout`, which leaves the image as it is and drops units of the code,

    loss = -log p(x | z~),    z~_d = 0 with probability level, otherwise z_d / (1 - level)

with z = encoder(x): inverted dropout. `level = 0` is exactly `autoencoder`. What is encoded after training is not
corrupted, by either.

Departures: a number of spoilt pixels that varies from image to image (`vaejax.corruptions`); all of them count in the
loss, without more weight on those that were spoilt (Vincent et al. 2010, section 3.3); weights are not tied; Adam.
"""

from typing import NamedTuple

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.errors import choose
from vaejax.hyper import NotNegative, Share
from vaejax.method import MeanOverExamples, Method, Network
from vaejax.methods.autoencoder import autoencoder
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.corruptions import CORRUPTIONS, check_corruption, dropout, gaussian
from vaejax.networks.calls import live
from vaejax.objectives import reconstruction


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    level: Share = 0.25
    learning_rate: NotNegative = 1e-3


class NoiseHyper(NamedTuple):
    """The same with corruption="gaussian", whose level is a standard deviation."""

    level: NotNegative = 0.25
    learning_rate: NotNegative = 1e-3


@constructor
def denoising_autoencoder(
    encoder: Network, decoder: Network, likelihood: Family = Bernoulli, corruption: str = "masking", kind: str = "unit"
) -> Method:
    """A denoising autoencoder of these networks; metrics: `loss` and `reconstruction`, in nats per example.

    Args:
      corruption: `gaussian`, `masking`, `salt_and_pepper`, or `dropout` of codes.
      kind: of the data, as in `vaejax.Space`, or `mixed`; `vaejax.build` takes it from the space.

    Raises:
      InputError: an unknown corruption, one that such data can't have.
    """
    base = autoencoder(encoder, decoder, likelihood)
    spoil = choose({**CORRUPTIONS, "dropout": dropout}, corruption, "corruption")
    check_corruption(corruption, kind)
    of_codes = corruption == "dropout"

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        del step
        params = live(params, key)
        seen = batch if of_codes else batch._replace(x=spoil(key, batch.x, hyper.level))
        z = base.encode(params, seen).mean
        z = spoil(key, z, hyper.level) if of_codes else z
        loss = reconstruction(base.decode(params, z, batch), batch.x).mean()
        return loss, {"loss": loss, "reconstruction": loss}

    return base._replace(hyper=NoiseHyper() if spoil is gaussian else Hyper(), loss=loss)
