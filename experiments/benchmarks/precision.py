"""What do TF32 and bfloat16 do to a beta-VAE? Trains the same runs in each precision and compares ELBO and MIG.

    python -m experiments.benchmarks.precision                  # 5 seeds on 32x32 sprites

On an accelerator `fit` is told to use the precision. A CPU computes in float32 always, so there the factors of every
matrix product and convolution, forward and backward, are rounded to the same bits first (10 of the mantissa for TF32, 7
for bfloat16) and summed in float32, which is what the hardware does. Measures are taken in float32.

Measured with the defaults on a CPU (2026-11-26), mean difference from float32 and 95 % t-interval over seeds: ELBO
+0.7 ± 2.0 nats (TF32) and +0.5 ± 1.7 (bfloat16) of -53.5, MIG -0.004 ± 0.027 and +0.005 ± 0.020 of 0.034: nothing to be
seen.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal
from scipy import stats

from experiments import script
from vaejax.data import load
from vaejax.method import Method
from vaejax.methods import build
from vaejax.metrics.measure import measure
from vaejax.training.runs import grid
from vaejax.training.sweep import fit

MANTISSA = {"float32": 23, "tf32": 10, "bf16": 7}  # bits
PRODUCTS = ("dot_general", "conv_general_dilated")
SHOWN = ("elbo", "reconstruction", "kl", "mig")


@dataclasses.dataclass(frozen=True)
class Config:
    """What is trained."""

    size: int = 32
    """height and width of the sprites"""
    width: int = 8
    """channels of the first convolution"""
    beta: float = 4.0
    """weight of the KL term"""
    seeds: int = 5
    """runs in each precision; a seed has the same weights, images and noise in all"""
    steps: int = 1000
    """training steps of every run"""
    batch_size: int = 32
    """images per step"""
    images: int = 5000
    """how many images to measure on"""


def rounded(function: Callable[..., Any], bits: int) -> Callable[..., Any]:
    """The same function with the factors of every product rounded to so many bits of mantissa."""

    def call(*inputs: Any) -> Any:
        program, shape = jax.make_jaxpr(function, return_shape=True)(*inputs)
        return jax.tree.unflatten(jax.tree.structure(shape), evaluate(program, bits, jax.tree.leaves(inputs)))

    return call


def evaluate(program: ClosedJaxpr, bits: int, inputs: list[Any]) -> list[Any]:
    """One instruction after the other; inner programs in the same way."""
    values: dict[Any, Any] = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
    values |= dict(zip(program.jaxpr.invars, inputs, strict=True))

    def read(var: Any) -> Any:
        return var.val if isinstance(var, Literal) else values[var]

    for instruction in program.jaxpr.eqns:
        found = [read(var) for var in instruction.invars]
        inner = [value for value in instruction.params.values() if isinstance(value, ClosedJaxpr)]
        if instruction.primitive.name in PRODUCTS:
            found = [jax.lax.reduce_precision(value, 8, bits) for value in found]
        if inner and instruction.primitive.name in ("jit", "pjit", "custom_jvp_call", "custom_vjp_call", "closed_call"):
            outputs = evaluate(inner[0], bits, found)
        else:
            outputs = instruction.primitive.bind(*found, **instruction.params)
            outputs = outputs if instruction.primitive.multiple_results else [outputs]
        values |= dict(zip(instruction.outvars, outputs, strict=True))
    return [read(var) for var in program.jaxpr.outvars]


def in_precision(method: Method, bits: int) -> Method:
    """The method trained with rounded products, in the loss and in its gradient by the parameters."""

    @jax.custom_vjp
    def loss(params: Any, *rest: Any) -> Any:
        return rounded(method.loss, bits)(params, *rest)

    def forward(params: Any, *rest: Any) -> tuple[Any, Any]:
        return rounded(jax.value_and_grad(method.loss, has_aux=True), bits)(params, *rest)

    def backward(gradients: Any, cotangent: Any) -> tuple[Any, ...]:
        return jax.tree.map(lambda leaf: cotangent[0] * leaf, gradients), None, None, None, None

    loss.defvjp(forward, backward)
    return method._replace(loss=loss)


def main(config: Config) -> None:
    """Trains in every precision and prints the means and the differences to float32."""
    script.use_devices()
    source = load("sprites", size=config.size)
    method = build("beta_vae", source.shape, width=config.width)
    runs = grid(method.hyper, config.seeds, beta=config.beta)
    emulate = jax.default_backend() == "cpu"
    found = {}
    for name, bits in MANTISSA.items():
        print(f"{name}: {'rounded to' if emulate else 'with'} {bits} bits of mantissa")
        trained = in_precision(method, bits) if emulate and name != "float32" else method
        with script.Bar(runs.count) as bar:
            result = fit(
                trained,
                source,
                runs,
                steps=config.steps,
                batch_size=config.batch_size,
                precision=name,
                on_progress=bar,
            )
        table = measure(method, source, result.params, images=config.images)
        found[name] = table.pivot(index="run", columns="metric", values="value")
    print(f"\n{'':16}{'float32':>10}{'tf32 - float32':>24}{'bf16 - float32':>24}   (mean, 95 % t-interval over seeds)")
    for metric in SHOWN:
        base = found["float32"][metric]
        gaps = [interval(found[name][metric].to_numpy() - base.to_numpy()) for name in ("tf32", "bf16")]
        print(f"{metric:16}{base.mean():10.3f}{gaps[0]:>24}{gaps[1]:>24}")


def interval(values: np.ndarray) -> str:
    """The mean and half the width of its 95 % t-interval."""
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1) if len(values) > 1 else np.nan
    return f"{values.mean():+.3f} ± {half:.3f}"


if __name__ == "__main__":
    script.run(main, {"default": Config()}, __doc__)
