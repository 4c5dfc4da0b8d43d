"""Disentanglement and likelihood metrics: pure functions of codes and factors, and the table of their names."""

from collections.abc import Callable

from vaejax.metrics.mig import mig

METRICS: dict[str, Callable[..., dict[str, float]]] = {
    "mig": mig,
}

__all__ = ["METRICS", "mig"]
