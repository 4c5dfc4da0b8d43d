"""What the disentanglement study trains: every method on every source as groups, and what is looked at beforehand."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments import checks, script
from experiments.groups import Group, built, with_factors
from vaejax.errors import InputError, choose
from vaejax.metrics import subgrid
from vaejax.metrics.baselines import BASELINES
from vaejax.metrics.suite import check_names
from vaejax.training.beforehand import check_training
from vaejax.training.runs import grid

STRENGTHS: dict[str, tuple[str, tuple[float, ...]]] = {  # method -> what is swept, and the values of the paper
    "beta_vae": ("beta", (1, 2, 4, 6, 8, 16)),
    "annealed_capacity": ("c_max", (5, 10, 25, 50, 75, 100)),
    "factor_vae": ("gamma", (10, 20, 30, 40, 50, 100)),
    "dip_vae_i": ("lambda_od", (1, 2, 5, 10, 20, 50)),
    "dip_vae_ii": ("lambda_od", (1, 2, 5, 10, 20, 50)),
    "beta_tcvae": ("beta", (1, 2, 4, 6, 8, 10)),
    "sparse_autoencoder": ("lambda_l1", (0.01, 0.1, 1)),
}
FEW: dict[str, tuple[float, ...]] = {  # a part of them
    "beta_vae": (1, 4, 8),
    "annealed_capacity": (10, 25),
    "factor_vae": (10, 40),
    "dip_vae_i": (2, 10),
    "dip_vae_ii": (2, 10),
    "beta_tcvae": (4, 8),
    "sparse_autoencoder": (0.1,),
}
STUDIED = ("beta_vae", "annealed_capacity", "factor_vae", "dip_vae_i", "dip_vae_ii", "beta_tcvae")
CORRELATED = ("beta_vae", "beta_tcvae")  # what is trained on correlated factors
MIXING = "rectangles"  # width, height, size, angle
LEAST_SAMPLES = 20  # fewer leave too many values of a factor without an image
FITTED = 2000  # images that show whether there are as many principal components as latents
MOST = {"samples": 10_000_000, "resamples": 1_000_000}


def check_metrics(config: Any) -> None:
    """The metrics, and how many samples they are given.

    Raises:
      InputError: no metric, one twice or unknown, or too few or too many samples.
    """
    if not config.metrics or len(set(check_names(config.metrics))) < len(config.metrics):
        raise InputError(f"--metrics takes at least one, and each once, not {' '.join(config.metrics) or 'none'}")
    for name, most in MOST.items():
        if getattr(config, name) > most:
            raise InputError(f"{name} has to be at most {most:,}, not {getattr(config, name):,}")
    if config.samples < LEAST_SAMPLES:
        raise InputError(f"the metrics need at least {LEAST_SAMPLES} samples, not {config.samples}; raise --samples")


def check_groups(groups: list[Group], config: Any, path: Path) -> None:
    """All that training and measuring ask for: a wrong name or size stops the study now, and not in an hour.

    Raises:
      InputError: something can't be trained or measured, or stands in the way.
    """
    for group in groups:
        method, source = built(group)
        checks.check_count(config.seeds, max(1, len(group.values)))
        runs = grid(method.hyper, config.seeds, **group.axes)
        check_training(method, source, source, runs.count, config.batch_size, chunk=config.chunk)
        script.folder(path / "groups", group.name)
    names = [group.name for group in groups]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(f"two groups would have the folder {twice}; leave one of the sources out")
    for name in {group.measured_on for group in groups}:
        source = with_factors(name, config.size)
        if np.prod(source.sizes) != source.size:
            raise InputError(f"disentanglement is measured on all combinations of factors, which {name} lacks")
        subgrid(source.sizes, config.grid)
    for name in config.sources:
        source = with_factors(name, config.size)
        if config.latents > min(FITTED, np.prod(source.shape)):
            raise InputError(f"PCA, a baseline, has no {config.latents} components of {name}; give fewer --latents")
        BASELINES["pca"](source, seed=0, latents=config.latents, images=FITTED)


def planned(config: Any) -> list[Group]:
    """All groups: every method on every source, then correlated factors, then rectangles.

    Raises:
      InputError: nothing to train, something twice, or a method that the study doesn't know.
    """
    if not config.sources or not config.methods:
        raise InputError("a study needs at least one source and one method")
    methods = [strengths(text, config) for text in config.methods]
    for names in (config.sources, [method for method, _ in methods], config.correlated):
        if len(set(names)) < len(names):
            raise InputError(f"every name once, please: {', '.join(names)}; to repeat runs, raise --seeds")
    groups = [grouped(config, source, *method) for source in config.sources for method in methods]
    for source in config.sources:
        for pair in config.correlated:
            name = f"{source}+correlated:{pair}"
            groups += [grouped(config, name, *strengths(method, config), source) for method in CORRELATED]
    if config.mixing and MIXING not in config.sources:
        groups.append(grouped(config, MIXING, *strengths("beta_vae", config)))
    return groups


def strengths(text: str, config: Any) -> tuple[str, tuple[float, ...]]:
    """A method and its strengths, from `beta_vae` or `beta_vae:1,4`.

    Raises:
      InputError: a method that the study doesn't know, or strengths that aren't numbers, each once.
    """
    method, colon, own = text.partition(":")
    strength, values = choose({**STRENGTHS, "autoencoder": ("", ())}, method, "method of the study")
    if not colon:
        return method, FEW.get(method, ()) if config.strengths == "few" else values
    try:
        values = tuple(map(float, own.split(",")))
    except ValueError as error:
        raise InputError(f"{text} can't be read; write {method}:VALUE,VALUE, for example {method}:1,4") from error
    if not strength:
        raise InputError(f"{text}: {method} has no strength to vary")
    checks.check_distinct("value", values, f"{text}: ")
    return method, values


def grouped(config: Any, source: str, method: str, values: tuple[float, ...], measured_on: str | None = None) -> Group:
    """One method on one source."""
    strength, _ = STRENGTHS.get(method, (None, ()))
    model: dict[str, Any] = {"method": method}
    model |= {name: getattr(config, name) for name in ("network", "width", "latents")}
    fixed = {"learning_rate": config.learning_rate}
    rendered = {"name": source, "size": config.size}
    if method == "factor_vae":
        model |= {name: getattr(config, name) for name in ("discriminator_width", "discriminator_depth")}
        fixed["discriminator_learning_rate"] = config.discriminator_learning_rate
    if method == "annealed_capacity":
        fixed["anneal_steps"] = config.steps / 3  # as in the paper: 100,000 of 300,000
    if method == "beta_tcvae":
        model["size"] = with_factors(source, config.size).size
    return Group(rendered, model, strength, tuple(values), fixed, measured_on or source)
