"""beta-TCVAE (Chen et al. 2018, "Isolating Sources of Disentanglement in Variational Autoencoders", equation 4).

    loss = E_q[-log p(x | z)] + KL(q(z | x) || N(0, I)) + (beta - 1) * TC,
    TC = KL(q(z) || prod_d q(z_d)) = E_q(z)[log q(z) - sum_d log q(z_d)],    q(z) = 1/N sum_n q(z | x_n)

in nats per example. The paper's alpha = gamma = 1, where the KL is mutual information + TC + dimension-wise KL, so that
adding (beta - 1) * TC weights TC alone with beta. `beta = 1` is exactly `vae`.

q(z) is estimated from the batch of M images that the z were drawn for (`vaejax.objectives.log_weights`):
  mws  minibatch-weighted sampling (equation 5): every q(z_i | x_j) has weight 1 / (N M), on average a lower bound of
       log q(z) and every log q(z_d). The value of TC is then off by many nats (its constant is (D - 1) log(N M)); its
       changes count. N shifts TC and the loss and changes no gradient. Without `size`, N = 1: the value is the TC of
       the batch as if it were the data set, which is between 0 and (D - 1) log M on average.
  mss  minibatch-stratified sampling (appendix C.2): x_i itself weighs 1 / N, one other image (N - M + 1) / (N (M - 1)),
       the rest 1 / (M - 1). Unbiased for q(z) and every q(z_d), not for their logarithms. Needs `size` = N >= M.

Departures: batches are drawn with replacement, where mss assumes without; an image that comes twice in a batch then
counts too much, by a share of about 1/N. In mss the image of the middle weight is the next in the batch.
"""

from typing import NamedTuple

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.errors import InputError, choose
from vaejax.hyper import NotNegative
from vaejax.method import Method, Network
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.elbo import elbo_terms
from vaejax.methods.vae import vae
from vaejax.objectives import LOG_WEIGHTS, total_correlation


class Hyper(NamedTuple):
    """Numbers that a sweep may vary."""

    beta: NotNegative = 6.0
    learning_rate: NotNegative = 1e-3


@constructor
def beta_tcvae(
    encoder: Network,
    decoder: Network,
    likelihood: Family = Bernoulli,
    estimator: str = "mws",
    size: int | None = None,
) -> Method:
    """A beta-TCVAE of these networks.

    Metrics: `loss`, `reconstruction`, `kl` and `total_correlation` (the estimate), in nats per example.

    Args:
      estimator: `mws` or `mss`, see above.
      size: N, the number of images in the data set.

    Raises:
      InputError: an unknown estimator, `mss` without a size, or a size below 1; when a step is traced, `mss` with
        batches larger than the data set.
    """
    base = vae(encoder, decoder, likelihood)
    log_weights = choose(LOG_WEIGHTS, estimator, "estimator")
    if size is None and estimator == "mss":
        raise InputError("the estimator 'mss' has to know the number of images: give size=N, or use 'mws'")
    if size is not None and size < 1:
        raise InputError(f"a data set has at least 1 image: size can't be {size}")

    def loss(params, hyper, batch, key, step):
        del step
        terms = elbo_terms(base, params, batch, key)
        correlation = total_correlation(terms.z, terms.posterior, log_weights(len(batch.x), size or 1)).mean()
        loss = (terms.distortion + terms.rate).mean() + (hyper.beta - 1) * correlation
        return loss, terms.metrics(loss, total_correlation=correlation)

    return base._replace(hyper=Hyper(), loss=loss)
