"""A classifier that begins as a stacked denoising autoencoder (Vincent et al. 2010, "Stacked Denoising Autoencoders",
section 3.5; Bengio et al. 2007, "Greedy Layer-Wise Training of Deep Networks").

    stage k < S:  loss = -log p(h_k | g_k(f_k(h~_k))),    h_0 = x,  h_{k+1} = f_k(h_k)
    then:         loss = -log softmax(W h_S + b)[label]

in nats per example. The stages are those of `stacked_autoencoder`, on all images of a batch; after them W, b and every
f_k are trained on those that have a label. A label of -1 is none. `pretrain_steps = 0` is a multilayer perceptron.

The codes h_S are the top hidden layer, with its activation. Decoders stay as pre-training left them, so that after the
last stage they no longer fit the encoder well. Networks and departures: those of `stacked_autoencoder`, but for the
linear codes.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vaejax.distributions.basic import Bernoulli, Delta, Family
from vaejax.errors import InputError
from vaejax.hyper import NotNegative, Share
from vaejax.method import Batch, Method, Network, Params
from vaejax.methods.parts.constructor import constructor
from vaejax.methods.parts.encoder_decoder import encoder_decoder
from vaejax.methods.parts.schedules import stage
from vaejax.methods.parts.stacked import layer_groups, layer_loss, optimizer_in_stages, stack_of
from vaejax.networks.mlp import ACTIVATIONS, GLOROT
from vaejax.objectives import labelled


class Hyper(NamedTuple):
    """Numbers that a sweep may vary; `pretrain_steps` are those of each layer."""

    level: Share = 0.25
    pretrain_steps: NotNegative = 500.0
    pretrain_learning_rate: NotNegative = 1e-3
    learning_rate: NotNegative = 1e-3


@constructor(network="mlp_sigmoid", kinds=("unit", "real"), missing=False)
def stacked_classifier(encoder: Network, decoder: Network, likelihood: Family = Bernoulli, classes: int = 10) -> Method:
    """A classifier of these networks' layers; the parameters have the groups `encoder`, `decoder` and `classifier`.

    `vaejax.apply.classify` gives its answers.

    Metrics: `loss`, of the stage at hand, in nats per example (with a label, in the last); `accuracy`, the share of
    labelled images in the batch that are classified right, 0 in the stages before the last; `stage`, from 0 to the
    number of layers.

    Raises:
      InputError: networks that are not fully connected, or not mirror images of each other; less than 2 classes; and,
        when it is first trained, images without labels.
    """
    if classes < 2:
        raise InputError(f"a classifier tells at least 2 classes apart, not {classes}")
    stack = stack_of("stacked_classifier", encoder, decoder, likelihood, active_code=True)
    base = encoder_decoder(encoder, decoder, Delta, likelihood)
    last = stack.count

    def init(key, batch):
        params = base.init(key, batch)
        size = encode(params, batch).mean.shape[-1]
        kernel = GLOROT(jax.random.fold_in(key, 2), (size, classes))
        return {**params, "classifier": {"kernel": kernel, "bias": jnp.zeros(classes)}}

    def encode(params: Params, batch: Batch) -> Delta:
        return Delta(ACTIVATIONS[stack.activation](base.encode(params, batch).mean))

    def classify(params: Params, batch: Batch) -> Float[Array, "B classes"]:
        return log_probabilities(params["classifier"], encode(params, batch).mean)

    def loss(params, hyper, batch, key, step):
        if batch.label is None:
            raise InputError("stacked_classifier learns from labels, and the source has none; take one with labels")

        def alone(k, params):
            return layer_loss(stack, params, k, batch.x, hyper.level, key), jnp.zeros(())

        def joined(params):
            return labelled(classify(params, batch), batch.label)

        now = stage(step, hyper.pretrain_steps, last)
        loss, accuracy = jax.lax.switch(now, [*(partial(alone, k) for k in range(last)), joined], params)
        return loss, {"loss": loss, "accuracy": accuracy, "stage": now.astype(jnp.float32)}

    def optimizer(hyper):
        labels = {half: {"params": layer_groups(stack, half)} for half in ("encoder", "decoder")}
        stages = {f"encoder_{k}": (k, last) for k in range(last)} | {f"decoder_{k}": (k,) for k in range(last)}
        return optimizer_in_stages(
            {**labels, "classifier": "classifier"},
            {**stages, "classifier": (last,)},
            lambda step: stage(step, hyper.pretrain_steps, last),
            lambda now: jnp.where(now == last, hyper.learning_rate, hyper.pretrain_learning_rate),
        )

    return Method(
        Hyper(), init, loss, encode, base.decode, optimizer, classes=classes, unlabelled=True, classify=classify
    )


def log_probabilities(layer: dict[str, Any], h: Float[Array, "B n"]) -> Float[Array, "B classes"]:
    """log softmax(W h + b), in nats; `layer` is {"kernel": W, "bias": b}."""
    return jax.nn.log_softmax(h @ layer["kernel"] + layer["bias"][None])
