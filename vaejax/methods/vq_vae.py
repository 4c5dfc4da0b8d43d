"""VQ-VAE (van den Oord et al. 2017, "Neural Discrete Representation Learning", equation 3).

    loss = -log p(x | e_k) + ||sg(z) - e_k||^2 + beta ||z - sg(e_k)||^2,    k = argmin_j ||z - e_j||

in nats per example, summed over the places of the grid, where z is what the encoder gives and sg stops gradients. The
decoder's gradient goes straight through to z. With codebook="gradient" that is the loss. With "ema" the second term is
replaced by exponential moving averages (the paper's appendix A.1; Razavi et al. 2019, "Generating Diverse High-Fidelity
Images with VQ-VAE-2", equation 3): with n_k how many z of the batch chose code k and s_k their sum,

    N_k <- decay N_k + (1 - decay) n_k,    m_k <- decay m_k + (1 - decay) s_k,    e_k = m_k / N_k

which is gradient descent on 1/2 ||N - n||^2 + 1/2 ||m - s||^2 with learning rate 1 - decay. N is smoothed in the
quotient: (N_k + eps) / (sum N + K eps) sum N.

The prior over codes is uniform, so that the ELBO is log p(x | e_k) - log K for every place; after training an
autoregressive one can take its place (`vaejax.methods.code_prior`).

Departures: the codebook begins at outputs of the encoder. With "ema", a code whose N_k falls below `restart_below`
times the average use is moved onto a random output of the encoder (as Dhariwal et al. 2020 do, "Jukebox", section
3.1), with the average N; 0 turns that off. `beta` here multiplies a sum, like the reconstruction term.
"""

from typing import Any

import jax
import optax

from vaejax.distributions.basic import Bernoulli, Delta, Family
from vaejax.errors import InputError, choose
from vaejax.method import Method, Network
from vaejax.methods.parts.codebook import CODEBOOKS
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.encoder_decoder import encoder_decoder
from vaejax.networks.calls import live
from vaejax.networks.quantizer import Codes, UniformCodes, counted, nearest, perplexity, straight_through
from vaejax.objectives import reconstruction

GROUPS = {"encoder": "autoencoder", "decoder": "autoencoder", "codebook": "codebook"}


@constructor(network="residual", alone=True)
def vq_vae(
    encoder: Network, decoder: Network, likelihood: Family = Bernoulli, codes: int = 512, codebook: str = "ema"
) -> Method:
    """A VQ-VAE of these networks, whose codes may be a grid [B, h, w, D] or one vector [B, D].

    `encode` gives `Codes`, with the `indices` of the codes. The parameters have the groups `encoder`, `decoder` and
    `codebook`. Metrics: `loss` (the equation without its second term, whose value is that of `commitment`),
    `reconstruction` and `commitment` (the third term without beta) per image; `perplexity` of the batch's codes, from 1
    to K: how many are in use.

    Args:
      codes: K.
      codebook: how it is learned: "ema" or "gradient".

    Raises:
      InputError: less than 2 codes, or another way to learn them.
    """
    book = choose(CODEBOOKS, codebook, "codebook")
    if codes < 2:
        raise InputError(f"a codebook needs at least 2 codes, not {codes}")
    base = encoder_decoder(encoder, decoder, Delta, likelihood, grids=True)

    def quantised(params, z):
        """The codes of z [B, *grid, D]."""
        vectors = book.codes(params["codebook"])
        indices = nearest(z.reshape(-1, z.shape[-1]), vectors)
        return Codes(vectors[indices].reshape(z.shape), indices.reshape(z.shape[:-1]))

    def init(key, batch):
        params = base.init(key, batch)
        z = base.encode(params, batch).mean
        return {**params, "codebook": book.init(z.reshape(-1, z.shape[-1]), codes, jax.random.fold_in(key, 2))}

    def encode(params, batch):
        return quantised(params, base.encode(params, batch).mean)

    def loss(params, hyper, batch, key, step):
        del step
        params = live(params, key)
        z = base.encode(params, batch).mean
        found = jax.lax.stop_gradient(quantised(params, z))
        likelihood = base.decode(params, straight_through(z, found.mean), batch)
        distortion = reconstruction(likelihood, batch.x).mean()
        commitment = ((z - found.mean) ** 2).sum() / len(z)
        loss = distortion + hyper.commitment * commitment
        flat, indices = jax.lax.stop_gradient(z).reshape(-1, z.shape[-1]), found.indices.ravel()
        learning = book.loss(params["codebook"], flat, indices, hyper, key, len(z))
        spread = perplexity(counted(indices, codes))
        metrics = {"loss": loss, "reconstruction": distortion, "commitment": commitment, "perplexity": spread}
        return loss + learning, metrics

    def optimizer(hyper):
        return optax.multi_transform(
            {"autoencoder": optax.adam(hyper.learning_rate), "codebook": book.optimizer(hyper)}, GROUPS
        )

    def prior(params, batch):
        like: Any = jax.eval_shape(encode, params, batch)
        return UniformCodes.on(codebook_of(params), like.mean.shape)

    def codebook_of(params):
        return book.codes(params["codebook"])

    return Method(book.hyper, init, loss, encode, base.decode, optimizer, prior, codebook=codebook_of)
