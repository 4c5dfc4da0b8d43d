"""What a page says of how its numbers came about: data, model, training, and the software and machine."""

import math
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax

from vaejax.analysis.tables import short
from vaejax.distributions.spaces import family_of
from vaejax.storage.run import Run, space_of

SAID = ("method", "network", "latents", "width", "likelihood", "own")  # of a model, beside its options


def _likelihood(config: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """The name of the likelihood, also where it followed from the data."""
    return f"{family_of(space_of(config), model.get('likelihood'))[0]} likelihood"


def facts(run: Run) -> dict[str, str]:
    """What was trained on what, and where."""
    config, model = run.config, run.config["model"]
    options = [f"{name}={value}" for name, value in model.items() if name not in SAID]
    sizes = [f"{model['latents']} latents", _likelihood(config, model)] if "latents" in model else []
    parameters = sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(run.params))
    parts = [" ".join([model["method"], *options]), *filter(None, [model.get("network")]), *sizes]
    hyper = {name: run.table[name].unique() for name in run.method.hyper._fields}
    shared = (run.table["stream"] == 0).all() if "stream" in run.table else True
    return {
        "Data": f"{config['source']['name']}, {' x '.join(map(str, config['shape']))}",
        "Model": ", ".join([*parts, f"{parameters:,} parameters"]),
        "Hyperparameters": ", ".join(f"{name} {'/'.join(map(short, values))}" for name, values in hyper.items()),
        "Training": f"{len(run.table)} runs of {config['steps']:,} steps, batch {config['batch_size']}",
        "Randomness": "shared by the runs of one seed" if shared else "every run its own",
        **machine(),
    }


def machine() -> dict[str, str]:
    """The versions and the machine that a result came from."""
    kinds = {device.device_kind for device in jax.devices()}
    devices = f"{jax.device_count()} x {', '.join(sorted(kinds))} ({jax.default_backend()})"
    libraries = ", ".join(f"{name} {version(name)}" for name in ("vaejax", "jax", "flax", "optax", "numpy"))
    return {
        "Software": f"{libraries}, Python {platform.python_version()}",
        "Hardware": f"{devices}, {os.cpu_count()} cores",
    }
