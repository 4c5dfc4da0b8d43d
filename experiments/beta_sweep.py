"""What does beta do? Trains a beta-VAE for every beta and seed as one program and writes a report.

python -m experiments.beta_sweep                        # 3 betas x 5 seeds on rendered scenes, about 4 minutes
python -m experiments.beta_sweep --source mnist --data-dir DIR
python -m experiments.beta_sweep --preset paper         # 64x64, 300,000 steps: for an accelerator
"""

import dataclasses
from pathlib import Path
from typing import Literal

from experiments import checks, script
from vaejax.analysis.answers import trade_off
from vaejax.data import is_rendered
from vaejax.report.sweep import tidy

LAPTOP_WIDTH = {"conv": 8, "conv_k2": 8, "mlp": 256}
QUESTION = "What does β do to a variational autoencoder?"


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the sweep depends on; it is written to `config.json`."""

    preset: Literal["laptop", "paper"] = "laptop"  # minutes on 2 cores, or Locatello et al. 2019 (64x64, 300,000 steps)
    source: str = "shapes3d"  # shapes3d, sprites, images:FOLDER, mnist, ... of docs/data.md; tables: experiments.train
    data_dir: str | None = None  # where tensorflow-datasets' data sets are prepared
    window: int | None = None  # hold so many images at a time, the others on the disk: for more than the device takes
    size: int | None = None  # height and width of rendered images, a power of two; 32, or 64 with --preset paper
    method: str = "beta_vae"  # any method that has a beta
    network: Literal["conv", "conv_k2", "mlp"] = "conv"  # conv (Burgess), conv_k2 (Locatello) or mlp (Higgins)
    width: int | None = None  # channels of the first convolution, or an mlp's units; 8 or 256 (papers: 32, 1200)
    latents: int = 6  # dimensions of the code
    likelihood: Literal["bernoulli", "gaussian", "gaussian_learned"] = "bernoulli"  # p(x | z); gaussian has scale 1
    betas: tuple[float, ...] = (1, 4, 16)  # weights of the KL term
    seeds: int = 5  # runs per beta
    first_seed: int = 0  # the seeds are this one and those that follow
    common_random_numbers: bool = True  # runs of one seed see the same data and noise at every beta
    steps: int = 4000  # training steps of every run
    batch_size: int = 32  # images per step
    learning_rate: float = 1e-3  # of Adam
    images: int = 10_000  # how many images to measure on, of the test split where there is one
    chunk: int | None = None  # runs that each device vmaps at once; chosen by backend if not given
    save_every: float = 60.0  # seconds between checkpoints; 0 for one after every segment of steps
    name: str = "beta_sweep"  # the folder under --out
    out: Path = Path("runs")  # where the folders of sweeps are
    overwrite: bool = False  # delete what an earlier sweep of this name left


PAPER = Config(
    preset="paper", source="sprites", network="conv_k2", betas=(1, 2, 4, 6, 8, 16), seeds=50, steps=300_000,
    batch_size=64, learning_rate=1e-4, latents=10,
)  # fmt: skip
PRESETS = {"laptop": Config(), "paper": PAPER}


def main(config: Config) -> None:
    """Trains, measures, and writes `runs/NAME/`."""
    config = checks.checked(config, Config)
    path = script.folder(config.out, config.name)
    checks.check_sweep("beta", config.betas, config.seeds, config.save_every)
    seeds = checks.seeds_from(config.first_seed, config.seeds)
    axes = {"beta": config.betas, "learning_rate": config.learning_rate}
    narrow = config.width is None and config.preset == "laptop"
    width = LAPTOP_WIDTH[config.network] if narrow else config.width
    notes = {**axes, "common_random_numbers": config.common_random_numbers}
    more = {"axes": axes, "seeds": seeds, "width": width, "size": image_size(config), "notes": notes}
    run = script.trained(script.experiment(config, **more), path, overwrite=config.overwrite)
    script.reported(run, "beta", trade_off(tidy(run, "beta"), "beta"), question=QUESTION)


def image_size(config: Config) -> int | None:
    """The size of rendered images; None for a source that has its own."""
    unsaid = config.size is None and is_rendered(config.source)
    return (64 if config.preset == "paper" else 32) if unsaid else config.size


if __name__ == "__main__":
    script.run(main, PRESETS, __doc__)
