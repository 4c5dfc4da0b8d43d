"""Do beta-VAE and its relatives separate the factors of variation? Every method, strength and seed, and every metric.

python -m experiments.disentanglement_study                     # 2 cores: half an hour
python -m experiments.disentanglement_study --preset gpu-hour   # meant to take an hour; no GPU has been tried yet
python -m experiments.disentanglement_study --preset paper      # 36 configurations x 50 seeds x 300,000 steps, 64x64
python -m experiments.disentanglement_study --methods beta_vae:1,4 factor_vae:35 --steps 20000 --name mine

All strengths and seeds of a method are one compiled program. A study that was stopped goes on where it was when the
same command is given again. The report compares the methods with PCA, ICA and raw pixels, with the true factors (the
ceiling) and an untrained encoder (the floor); a VAE is the beta-VAE with beta = 1.

Measured with the defaults (2026-11, 2 cores, 32 minutes): FactorVAE and beta-TCVAE are better than the VAE in the
FactorVAE score (by 0.2, 5 seeds), and not beyond the seeds' spread in MIG, of which the seed explains two thirds.
With 80 seeds (--methods beta_vae:1 beta_tcvae:8 --correlated --no-mixing --seeds 80, an hour) beta-TCVAE is better than
the VAE in MIG (0.099, 0.057), DCI (0.103, 0.084) and the FactorVAE score (0.51, 0.43), each beyond its 95 % interval.
"""

import dataclasses
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from experiments import checks, script
from experiments.groups import Projection, Training, numbered, scored, tidy, train, with_factors
from experiments.pictures import mixing, traversals
from experiments.planning import MIXING, STUDIED, check_groups, check_metrics, planned
from experiments.references import baselines
from vaejax.errors import check_sizes
from vaejax.metrics import Sizes
from vaejax.metrics.suite import NAMES
from vaejax.report.study import write_study
from vaejax.storage.files import write_table

QUESTION = "Do β-VAE and its relatives separate the factors of variation, and how much of it is the method?"


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the study depends on; it is written to `config.json`."""

    preset: Literal["laptop", "gpu-hour", "paper"] = "laptop"
    """where to start from: 2 cores, an hour of a GPU (not tried yet), or the 1,800 models of Locatello et al. 2019"""
    sources: tuple[str, ...] = ("sprites",)
    """what all methods are trained on: any source with factors (sprites, shapes3d, color_sprites, ...)"""
    correlated: tuple[str, ...] = ("x,y,0.2",)
    """two factors and sigma: what beta_vae and beta_tcvae are also trained on; metrics stay on independent factors"""
    mixing: bool = True  # also train VAE and beta-VAE on rectangles of width, height, size and angle
    methods: tuple[str, ...] = (*STUDIED, "autoencoder", "sparse_autoencoder")
    """which; with strengths of your own as in beta_vae:1,4 factor_vae:35"""
    strengths: Literal["few", "all"] = "few"  # two or three of each method's values, or all of the paper's
    size: int = 32  # height and width of the images
    network: Literal["conv", "conv_k2", "mlp"] = "mlp"  # conv (Burgess), conv_k2 (Locatello) or mlp (Higgins)
    width: int = 256  # channels of the first convolution or units of an mlp's layer (papers: 32, 1200)
    latents: int = 10  # dimensions of the code
    discriminator_width: int = 128  # units of a layer of FactorVAE's discriminator (paper: 1000)
    discriminator_depth: int = 3  # its hidden layers (paper: 6)
    seeds: int = 5  # runs per method and strength
    steps: int = 6000  # training steps of every run
    batch_size: int = 64  # images per step
    learning_rate: float = 1e-3  # of Adam (paper: 1e-4)
    discriminator_learning_rate: float = 1e-3  # of the discriminator's Adam (paper: 1e-4)
    metrics: tuple[str, ...] = NAMES  # which of the disentanglement metrics
    samples: int = 10_000  # images, and batches, that metrics are trained on (paper: 10,000); half as many to test
    grid: int = 50_000  # combinations of factors, at most, that the interventional metrics draw from
    chunk: int | None = None  # runs that each device vmaps at once; chosen by backend if not given
    resamples: int = 1000  # of the bootstrap over seeds
    save_every: float = 60.0  # seconds between checkpoints; 0 for one after every segment of steps
    name: str = "disentanglement"  # the folder under --out
    out: Path = Path("runs")  # where the folders of studies are
    overwrite: bool = False  # delete what an earlier study of this name left


STUDY = Config(
    preset="paper",
    correlated=(),
    mixing=False,
    methods=STUDIED,
    strengths="all",
    size=64,
    network="conv_k2",
    width=32,
    discriminator_width=1000,
    discriminator_depth=6,
    seeds=50,
    steps=300_000,
    batch_size=64,
    learning_rate=1e-4,
    discriminator_learning_rate=1e-4,
    grid=1_000_000,
)
PRESETS = {
    "laptop": Config(),
    "gpu-hour": dataclasses.replace(STUDY, preset="gpu-hour", strengths="few", seeds=5, steps=50_000),
    "paper": STUDY,
}


def main(config: Config) -> None:
    """Trains, measures, and writes `runs/NAME/`."""
    config = checks.checked(config, Config)
    path = script.folder(config.out, config.name)
    check_sizes(
        seeds=config.seeds, steps=config.steps, batch_size=config.batch_size, chunk=config.chunk,
        samples=config.samples, grid=config.grid, resamples=config.resamples, width=config.width,
        discriminator_width=config.discriminator_width, discriminator_depth=config.discriminator_depth,
    )  # fmt: skip
    check_metrics(config)
    checks.check_seconds(config.save_every)
    script.use_devices()
    groups = planned(config)
    check_groups(groups, config, path)
    settings = {**dataclasses.asdict(config), "command": script.command(), "out": str(config.out)}
    for name in ("overwrite", "save_every"):
        del settings[name]
    script.claimed(path, settings, "study", overwrite=config.overwrite)
    training = Training(config.steps, config.batch_size, config.seeds, config.chunk, config.save_every)
    sizes = Sizes(train=config.samples, test=-(-config.samples // 2), variance=config.samples, grid=config.grid)
    counts = [group.runs(config.seeds) for group in groups]
    print(f"{sum(counts)} models in {len(groups)} groups of one program each, {config.steps:,} steps")
    compared = [
        baselines(config, source, sizes, path / "groups" / f"baselines-{script.portable(source)}.csv")
        for source in config.sources
    ]
    projection, parts = Projection(sum(counts) * config.steps), []
    for number, group in enumerate(groups, 1):
        tqdm.write(f"group {number} of {len(groups)}")
        folder = path / "groups" / group.name
        result, runs = train(group, training, folder, projection)
        parts.append(tidy(group, runs, scored(group, training, result, folder, sizes, config.metrics)))
    table = numbered([*parts, *compared])
    write_table(path / "runs.csv", table.drop(columns=["metric", "value"]).drop_duplicates("run"))
    write_table(path / "results.csv", table[["run", "metric", "value"]])

    mixed = config.mixing or MIXING in config.sources
    page = write_study(
        path,
        table[table["source"].isin(config.sources) | (table["source"] != MIXING)],
        traversals=traversals(with_factors(config.sources[0], config.size), table, path),
        mixing=mixing(with_factors(MIXING, config.size), table, path) if mixed else {},
        question=QUESTION,
        command=script.command(),
        facts=facts(config),
        resamples=config.resamples,
    )
    print(f"\nreport: {page}")


def facts(config: Config) -> dict[str, str]:
    """What was trained on what, for the page."""
    return {
        "Data": f"{', '.join(config.sources)}, {config.size} x {config.size}",
        "Network": f"{config.network}, width {config.width}, {config.latents} latents, Bernoulli likelihood",
        "Discriminator": f"{config.discriminator_depth} layers of {config.discriminator_width}",
        "Training": f"{config.steps:,} steps, batch {config.batch_size}, Adam {config.learning_rate:g}",
        "Metrics": f"{config.samples:,} samples to train, half as many to test; at most {config.grid:,} combinations",
        "Randomness": "runs of one seed share weights, data and noise",
        **script.facts(),
    }


if __name__ == "__main__":
    script.run(main, PRESETS, __doc__)
