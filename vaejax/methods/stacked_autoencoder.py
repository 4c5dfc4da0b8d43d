"""Stacked denoising autoencoder (Bengio et al. 2007, "Greedy Layer-Wise Training of Deep Networks"; Vincent et al.
2010, "Stacked Denoising Autoencoders").

    stage k < S:  loss = -log p(h_k | g_k(f_k(h~_k))),    h_0 = x,  h_{k+1} = f_k(h_k)
    then:         loss = -log p(x | g_0(...g_{S-1}(f_{S-1}(...f_0(x)))))

in nats per example, for S layers: in stage k, steps k * pretrain_steps to (k + 1) * pretrain_steps - 1, layer k learns
to reconstruct the layer below it, of which elements are set to 0 with probability `level`; layers below are held
constant, and layers above wait. After S stages the layers are joined and all of them are trained, without corruption.
Everything is one program: which stage it is is a traced number, so settings with and without pre-training train side by
side. On a CPU only the stage at hand is computed; where runs are vmapped, all of them, and one is chosen.

`pretrain_steps = 0` is exactly `autoencoder`; `level = 0` is plain greedy pre-training. Training that ends before
S * pretrain_steps steps ends with layers that were never joined. Every stage has an Adam of its own.

The encoder has to be fully connected and the decoder its mirror image (`mlp_sigmoid`, `mlp_relu`, `mlp_tanh`; `width`
are the hidden layers). Hidden layers of sigmoids are reconstructed with a cross-entropy, as in the papers; of ReLU or
tanh with half the squared error, by units of the same kind. Departures: the codes are linear, as in Hinton &
Salakhutdinov 2006; each element is masked by itself (`vaejax.corruptions`); weights are not tied.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaejax.distributions.basic import Bernoulli, Family
from vaejax.hyper import NotNegative, Share
from vaejax.method import MeanOverExamples, Method, Network
from vaejax.methods.autoencoder import autoencoder
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.schedules import stage
from vaejax.methods.parts.stacked import layer_groups, layer_loss, optimizer_in_stages, stack_of


class Hyper(NamedTuple):
    """Numbers that a sweep may vary; `pretrain_steps` are those of each layer."""

    level: Share = 0.25
    pretrain_steps: NotNegative = 500.0
    pretrain_learning_rate: NotNegative = 1e-3
    learning_rate: NotNegative = 1e-3


@constructor(network="mlp_sigmoid", kinds=("unit", "real"), missing=False)
def stacked_autoencoder(encoder: Network, decoder: Network, likelihood: Family = Bernoulli) -> Method:
    """A stacked autoencoder of these networks' layers.

    Metrics: `loss` and `reconstruction`, both of the stage at hand, in nats per example; `stage`, from 0 to the number
    of layers.

    Raises:
      InputError: networks that are not fully connected, or not mirror images of each other.
    """
    stack = stack_of("stacked_autoencoder", encoder, decoder, likelihood, active_code=False)
    base = autoencoder(encoder, decoder, likelihood)
    last = stack.count

    @MeanOverExamples
    def loss(params, hyper, batch, key, step):
        def alone(k, params):
            return layer_loss(stack, params, k, batch.x, hyper.level, key)

        def joined(params):
            return base.loss(params, hyper, batch, key, step)[0]

        now = stage(step, hyper.pretrain_steps, last)
        loss = jax.lax.switch(now, [*(partial(alone, k) for k in range(last)), joined], params)
        return loss, {"loss": loss, "reconstruction": loss, "stage": now.astype(jnp.float32)}

    def optimizer(hyper):
        labels = {half: {"params": layer_groups(stack, half)} for half in ("encoder", "decoder")}
        return optimizer_in_stages(
            labels,
            {f"{half}_{k}": (k, last) for half in labels for k in range(last)},
            lambda step: stage(step, hyper.pretrain_steps, last),
            lambda now: jnp.where(now == last, hyper.learning_rate, hyper.pretrain_learning_rate),
        )

    return base._replace(hyper=Hyper(), loss=loss, optimizer=optimizer)
