"""The beta-VAE of `vaejax.methods.beta_vae` in PyTorch, in the forms that users give it: a rival for the benchmark.

The networks are those of vaejax/networks/conv.py and vaejax/networks/mlp.py, written again with `torch.nn`. Weights
that vaejax has drawn can be loaded, so that the same images and the same noise have to give the same loss.

It needs PyTorch: `pip install 'vaejax[bench]'`. Nothing here imports jax.
"""
# pyright: reportMissingImports=false
# (PyTorch is an optional extra)

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENTS = 10
BETA = 4.0


def conv_networks(side: int, width: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder and decoder of Burgess et al. 2018 for images whose side is a power of two from 16."""
    layers, hidden, flat = int(np.log2(side)) - 2, 8 * width, 32 * width
    channels = [1, *[width] * (layers - 2), 2 * width, 2 * width]
    down = [(nn.Conv2d(i, o, 4, 2, 1), nn.ReLU()) for i, o in pairwise(channels)]
    up = [(nn.ReLU(), nn.ConvTranspose2d(o, i, 4, 2, 1)) for i, o in pairwise(channels)]
    dense = [nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, 2 * LATENTS)]
    encoder = nn.Sequential(*(layer for pair in down for layer in pair), *dense)
    dense = [nn.Linear(LATENTS, hidden), nn.ReLU(), nn.Linear(hidden, flat), nn.Unflatten(1, (2 * width, 4, 4))]
    return encoder, nn.Sequential(*dense, *(layer for pair in up[::-1] for layer in pair))


def mlp_networks(side: int, width: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder and decoder of Higgins et al. 2017."""
    flat = side * side
    down = [nn.Flatten(), nn.Linear(flat, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    up = [nn.Linear(LATENTS, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()]
    decoder = nn.Sequential(*up, nn.Linear(width, flat), nn.Unflatten(1, (1, side, side)))
    return nn.Sequential(*down, nn.Linear(width, 2 * LATENTS)), decoder


NETWORKS = {"conv": conv_networks, "mlp": mlp_networks}


class BetaVAE(nn.Module):
    """A Gaussian posterior and a Bernoulli likelihood."""

    def __init__(self, network: str, side: int, width: int):
        super().__init__()
        self.encoder, self.decoder = NETWORKS[network](side, width)

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """Images [B, 1, H, W] in [0, 1], noise [B, latents] -> nats per image: sums, then the mean over the batch."""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        logits = self.decoder(mean + torch.exp(0.5 * log_var) * noise)
        distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        rate = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum()
        return (distortion + BETA * rate) / len(x)

    @torch.no_grad()
    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """vaejax's parameters: `encoder/Dense_0/kernel` -> array, and so on."""
        for half, network in (("encoder", self.encoder), ("decoder", self.decoder)):
            dense: list[Any] = [layer for layer in network if isinstance(layer, nn.Linear)]
            conv: list[Any] = [layer for layer in network if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
            for kind, layers in (("Dense", dense), ("_Conv", conv)):
                for number, layer in enumerate(layers):
                    kernel, bias = (weights[f"{half}/{kind}_{number}/{part}"] for part in ("kernel", "bias"))
                    if conv and half == "encoder" and layer is dense[0]:
                        kernel = channels_first(kernel, conv[-1].out_channels)
                    if conv and half == "decoder" and layer is dense[-1]:
                        kernel = channels_first(kernel.T, conv[0].in_channels).T
                        bias = channels_first(bias, conv[0].in_channels)
                    layer.weight.copy_(torch.from_numpy(kernel.transpose(AXES[type(layer)]).copy()))
                    layer.bias.copy_(torch.from_numpy(bias.copy()))


AXES = {nn.Linear: (1, 0), nn.Conv2d: (3, 2, 0, 1), nn.ConvTranspose2d: (2, 3, 0, 1)}  # of vaejax's kernels


def channels_first(rows: np.ndarray, channels: int) -> np.ndarray:
    """Rows in the order of an image [H, W, C] -> those of [C, H, W]."""
    return rows.reshape(-1, channels, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape)


class Trainer:
    """One model, its optimizer, and images in memory; `step` trains on a random batch of them."""

    def __init__(self, network: str, side: int, width: int, batch: int, form: str, images: Tensor):
        self.images, self.batch = images, batch
        self.format = torch.channels_last if "channels_last" in form else torch.contiguous_format
        model: Any = BetaVAE(network, side, width).to(images.device)  # `to` lacks a declaration for memory_format
        self.model: BetaVAE = model.to(memory_format=self.format)
        self.loss: Callable[[Tensor, Tensor], Tensor] = self.model.loss
        if "compiled" in form:  # on a GPU as one CUDA graph
            self.loss = torch.compile(self.loss, mode="reduce-overhead" if images.is_cuda else None)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)

    def floats(self, images: Tensor) -> Tensor:
        """Bytes as float32 in [0, 1], in the layout that the network takes."""
        return (images.float() / 255).contiguous(memory_format=self.format)

    def step(self) -> None:
        """Draws a batch and noise, and takes one step of Adam."""
        device = self.images.device
        x = self.floats(self.images[torch.randint(len(self.images), (self.batch,), device=device)])
        loss = self.loss(x, torch.randn(self.batch, LATENTS, device=device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def train(
    path: str, network: str, side: int, width: int, batch: int, form: str = "plain", threads: int = 0, models: int = 1
) -> tuple[Callable[[int], None], dict[str, Any]]:
    """A contender: steps of so many models, one model after the other.

    Args:
      path: images, weights and noise, as `experiments.benchmarks.ours.export` writes them.
      form: words of `channels_last` and `compiled`; anything else is plain PyTorch.
      threads: of the CPU; 0 for all cores.
    """
    if threads:
        torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")  # as vaejax: float32 also on a GPU
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with np.load(path) as file:
        given = dict(file)
    images = torch.from_numpy(given["images"]).permute(0, 3, 1, 2).contiguous().to(device)
    trainers = [Trainer(network, side, width, batch, form, images) for _ in range(models)]
    for trainer in trainers:
        trainer.model.load(given)
    first = trainers[0]
    loss = first.loss(first.floats(images[:batch]), torch.from_numpy(given["noise"]).to(device)).item()

    def advance(n: int) -> None:
        for trainer in trainers:
            for _ in range(n):
                trainer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return advance, {"loss": loss, "units": models, "threads": torch.get_num_threads()}
