"""What the disentanglement study compares its methods with: the metrics of representations that need no training."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from tqdm import tqdm

from experiments.groups import kept, with_factors
from vaejax.data import Factors
from vaejax.data.source import factors_of
from vaejax.metrics import Sizes, scores, subgrid
from vaejax.metrics.baselines import BASELINES
from vaejax.storage.disk import attempt
from vaejax.storage.files import write_table

PIXELS_SIDE = 8  # of the images that the baseline of raw pixels is averaged down to, or half of theirs
SEEDLESS = ("true_factors", "pixels")  # baselines that draw nothing
BLOCK = 1000  # images at a time


def baselines(config: Any, source_name: str, sizes: Sizes, path: Path) -> pd.DataFrame:
    """The metrics of what needs no training, for every seed; kept in a file.

    The images are those that the runs are measured on. What draws nothing is measured once, and is the same for all.
    """
    if path.exists():
        return kept(path).assign(strength_name="")
    source, parts = with_factors(source_name, config.size), []
    for name in tqdm(BASELINES, desc="baselines", unit="", dynamic_ncols=True):
        drawn = range(1 if name in SEEDLESS else config.seeds)
        table = score([represented(name, source, seed, config) for seed in drawn], source, sizes, config.metrics)
        for seed in range(config.seeds):
            about = {"source": source_name, "method": name, "strength_name": "", "strength": np.nan, "seed": seed}
            rows = table[table["run"] == min(seed, drawn[-1])]
            parts.append(rows.assign(**about, group="baselines", number=len(parts)))
    table = pd.concat(parts, ignore_index=True)
    attempt(path.parent, lambda: path.parent.mkdir(exist_ok=True))
    write_table(path, table)
    return table


def represented(name: str, source: Factors, seed: int, config: Any) -> Callable[[np.ndarray], np.ndarray]:
    """A baseline as a function of factors on the host, a thousand at a time."""
    options: dict[str, Any] = {"seed": seed, "latents": config.latents}
    if name == "pixels":
        options["side"] = min(PIXELS_SIDE, config.size // 2)
    if name == "random_encoder":
        options |= {"network": config.network, "width": config.width}
    represent = jax.jit(BASELINES[name](source, **options))

    def in_blocks(factors: np.ndarray) -> np.ndarray:
        blocks = -(-len(factors) // BLOCK)
        padded = np.resize(factors, (blocks, BLOCK, factors.shape[1]))
        return np.concatenate([np.asarray(represent(block)) for block in padded])[: len(factors)]

    return in_blocks


def score(
    representations: list[Callable[[np.ndarray], np.ndarray]], source: Factors, sizes: Sizes, names: Iterable[str]
) -> pd.DataFrame:
    """The metrics of some representations."""
    train_key, test_key, key = jax.random.split(jax.random.key(0), 3)
    cells, grid = subgrid(source.sizes, sizes.grid)
    factors = np.asarray(source.sample_factors(train_key, sizes.train))
    factors_test = np.asarray(source.sample_factors(test_key, sizes.test))
    every = np.asarray(factors_of(jnp.asarray(cells), source.sizes))
    z, z_test, table = (np.stack([of(part) for of in representations]) for part in (factors, factors_test, every))
    return scores(z, factors, z_test, factors_test, table, grid, key, sizes=sizes, metrics=names)
