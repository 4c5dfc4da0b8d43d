"""What does beta do? Trains a beta-VAE for every beta and seed as one program and writes a report.

python -m experiments.beta_sweep                        # 5 betas x 3 seeds on rendered sprites, minutes on 2 cores
python -m experiments.beta_sweep --source mnist --data-dir DIR
python -m experiments.beta_sweep --preset paper         # 64x64, 300,000 steps: for an accelerator

Measured with the defaults (2026-11, beta 1 to 16): KL 11.8 to 2.1 nats, reconstruction 27.7 to 76.9 nats, by 3 seeds.
"""

import dataclasses
from pathlib import Path
from typing import Literal

import pandas as pd

from experiments import checks, script
from vaejax.analysis.tables import diverged_text, finished, summary_table
from vaejax.data import example, is_rendered, load
from vaejax.errors import InputError, check_sizes
from vaejax.methods import build
from vaejax.metrics.measure import measure
from vaejax.report.sweep import present, tidy, write_sweep
from vaejax.storage.folder import write_table
from vaejax.storage.run import Run, load_run
from vaejax.training.runs import grid
from vaejax.training.strategy import plan
from vaejax.training.sweep import fit

LAPTOP_WIDTH = {"conv": 8, "conv_k2": 8, "mlp": 256}
QUESTION = "What does β do to a variational autoencoder?"


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the sweep depends on; it is written to `config.json`."""

    preset: Literal["laptop", "paper"] = "laptop"
    """defaults to start from: minutes on 2 cores, or the protocol of Locatello et al. 2019 (64x64, 300,000 steps)"""
    source: str = "sprites"
    """sprites, digits, dsprites:PATH.npz, npz:PATH, or an image data set of tensorflow-datasets (mnist, ...)"""
    data_dir: str | None = None
    """where tensorflow-datasets' data sets are prepared"""
    window: int | None = None
    """leave the images on the disk and hold only so many at a time, for data that is larger than the device"""
    size: int | None = None
    """height and width of rendered images, a power of two; 32 if not given, 64 with --preset paper"""
    method: str = "beta_vae"
    """any method that has a beta"""
    network: Literal["conv", "conv_k2", "mlp"] = "conv"
    """conv (Burgess), conv_k2 (Locatello) or mlp (Higgins)"""
    width: int | None = None
    """channels of the first convolution or units of an mlp's layer; 8 or 256 if not given (papers: 32, 1200)"""
    latents: int = 10
    """dimensions of the code"""
    likelihood: Literal["bernoulli", "gaussian", "gaussian_learned"] = "bernoulli"
    """p(x | z) of a pixel; gaussian has scale 1"""
    betas: tuple[float, ...] = (1, 2, 4, 8, 16)
    """weights of the KL term"""
    seeds: int = 3
    """runs per beta"""
    common_random_numbers: bool = True
    """runs of one seed see the same data and noise at every beta"""
    steps: int = 2000
    """training steps of every run"""
    batch_size: int = 32
    """images per step"""
    learning_rate: float = 1e-3
    """of Adam"""
    images: int = 10_000
    """how many images to measure on, of the test split where there is one"""
    chunk: int | None = None
    """runs that each device vmaps at once; chosen by backend if not given"""
    save_every: float = 60.0
    """seconds between checkpoints; 0 for one after every segment of steps"""
    name: str = "beta_sweep"
    """the folder under --out"""
    out: Path = Path("runs")
    """where the folders of sweeps are"""
    overwrite: bool = False
    """delete what an earlier sweep of this name left"""


PRESETS = {
    "laptop": Config(),
    "paper": Config(
        preset="paper",
        network="conv_k2",
        betas=(1, 2, 4, 6, 8, 16),
        seeds=50,
        steps=300_000,
        batch_size=64,
        learning_rate=1e-4,
    ),
}


def main(config: Config) -> None:
    """Trains, measures, and writes `runs/NAME/`."""
    config = checks.checked(config, Config)
    path = script.folder(config.out, config.name)
    if config.seeds < 1 or not config.betas:
        raise InputError(f"a sweep needs at least one beta and one seed, not {len(config.betas)} and {config.seeds}")
    checks.check_count(config.seeds, len(config.betas))
    checks.check_distinct("beta", config.betas)
    sizes = {"steps": config.steps, "batch_size": config.batch_size, "chunk": config.chunk}
    check_sizes(**sizes, images=config.images)
    checks.check_seconds(config.save_every)
    script.use_devices()
    source = {"name": config.source, "data_dir": config.data_dir, "size": image_size(config)}
    train, test = load(split="train", window=config.window, **source), load(split="test", **source)
    model = {name: getattr(config, name) for name in ("method", "network", "latents", "likelihood")}
    narrow = config.width is None and config.preset == "laptop"
    model["width"] = LAPTOP_WIDTH[config.network] if narrow else config.width
    method = build(shape=train.shape, **model)
    if "beta" not in method.hyper._fields:
        raise InputError(f"the method {config.method!r} has no beta to sweep; choose beta_vae or beta_tcvae")
    common = config.common_random_numbers
    axes = {"beta": config.betas, "learning_rate": config.learning_rate}
    runs = grid(method.hyper, config.seeds, common_random_numbers=common, **axes)
    checks.check_training(method, train, test, runs.count, config.batch_size, chunk=config.chunk)
    layout = plan(method, example(train), runs.count, config.batch_size, chunk=config.chunk)

    settings = {"command": script.command(), "source": source, "model": model, "shape": train.shape, **sizes}
    settings |= {"window": config.window, "images": config.images, "seeds": config.seeds, **axes}
    settings |= {"common_random_numbers": common}
    script.claimed(path, settings, "sweep", overwrite=config.overwrite)
    print(layout)
    with script.Bar(runs.count) as bar:
        result = fit(method, train, runs, **sizes, workdir=path, on_progress=bar, save_every=config.save_every)
    print(f"measuring {runs.count} runs on {min(test.size, config.images):,} images")
    results = measure(method, test, result.params, images=config.images, chunk=config.chunk)
    write_table(path / "results.csv", results)

    run = load_run(path)
    table = tidy(run, "beta")
    page = write_sweep(run, "beta", question=QUESTION, answer=answer(table), facts=facts(config, run))
    print(summary_table(table, "beta", present(table)).reset_index().to_string(index=False))
    print(f"\n{answer(table)}\n\nreport: {page}")


def image_size(config: Config) -> int | None:
    """The size of rendered images; None for a source that has its own."""
    if config.size is None and is_rendered(config.source):
        return 64 if config.preset == "paper" else 32
    return config.size


def answer(table: pd.DataFrame) -> str:
    """One sentence from the figures: what the largest beta changes against the smallest; and which runs diverged."""
    means = finished(table).groupby(["beta", "metric"])["value"].mean().unstack()
    lost = diverged_text(table, "beta")
    if len(means) < 2:
        alone = "One beta alone shows no effect: give several, for example --betas 1 4 16."
        return lost if lost and (means.empty or table["beta"].nunique() > 1) else f"{lost} {alone}".strip()
    low, high = means.index[0], means.index[-1]

    def change(metric: str, digits: int = 1) -> str:
        return f"from {means[metric][low]:.{digits}f} to {means[metric][high]:.{digits}f}"

    gap = f"; MIG goes {change('mig', 2)}" if "mig" in means else ""
    return (
        f"As beta grows from {low:g} to {high:g}, the KL goes {change('kl')} nats per image, the active units "
        f"{change('active_units')}, and the reconstruction term {change('reconstruction')} nats{gap}. {lost}"
    ).strip()


def facts(config: Config, run: Run) -> dict[str, str]:
    """What was trained on what, for the page."""
    height, width, channels = run.config["shape"]
    training = f"{config.steps:,} steps, batch {config.batch_size}, Adam {config.learning_rate:g}"
    return {
        "Data": f"{config.source}, {height} x {width} x {channels}",
        "Model": f"{config.method}, {config.network}, {config.latents} latents, {config.likelihood} likelihood",
        "Training": f"{len(run.table)} runs of {training}",
        "Randomness": "shared by the runs of one seed" if config.common_random_numbers else "every run its own",
        **script.facts(),
    }


if __name__ == "__main__":
    script.run(main, PRESETS, __doc__)
