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
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from tqdm import tqdm

from experiments import checks, script
from experiments.groups import Group, Projection, Training, built, kept, scored, train, with_factors
from experiments.pictures import mixing, traversals
from vaejax.data import Factors
from vaejax.data.source import factors_of
from vaejax.errors import InputError, check_sizes, choose
from vaejax.metrics import Sizes, scores, subgrid
from vaejax.metrics.baselines import BASELINES
from vaejax.metrics.suite import NAMES, check_names
from vaejax.report.study import write_study
from vaejax.storage.folder import attempt, write_table
from vaejax.training.beforehand import check_training
from vaejax.training.runs import grid

QUESTION = "Do β-VAE and its relatives separate the factors of variation, and how much of it is the method?"
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
PIXELS_SIDE = 8  # of the images that the baseline of raw pixels is averaged down to, or half of theirs
SEEDLESS = ("true_factors", "pixels")  # baselines that draw nothing
BLOCK = 1000  # images at a time
LEAST_SAMPLES = 20  # fewer leave too many values of a factor without an image
FITTED = 2000  # images that show whether there are as many principal components as latents
MOST = {"samples": 10_000_000, "resamples": 1_000_000}


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the study depends on; it is written to `config.json`."""

    preset: Literal["laptop", "gpu-hour", "paper"] = "laptop"
    """where to start from: 2 cores, an hour of a GPU (not tried yet), or the 1,800 models of Locatello et al. 2019"""
    sources: tuple[str, ...] = ("sprites",)
    """what all methods are trained on: any source with factors (sprites, shapes3d, color_sprites, ...)"""
    correlated: tuple[str, ...] = ("x,y,0.2",)
    """two factors and sigma: what beta_vae and beta_tcvae are also trained on; metrics stay on independent factors"""
    mixing: bool = True
    """also train VAE and beta-VAE on rectangles of width, height, size and angle"""
    methods: tuple[str, ...] = (*STUDIED, "autoencoder", "sparse_autoencoder")
    """which; with strengths of your own as in beta_vae:1,4 factor_vae:35"""
    strengths: Literal["few", "all"] = "few"
    """two or three of each method's values, or all of the paper's"""
    size: int = 32
    """height and width of the images"""
    network: Literal["conv", "conv_k2", "mlp"] = "mlp"
    """conv (Burgess), conv_k2 (Locatello) or mlp (Higgins)"""
    width: int = 256
    """channels of the first convolution or units of an mlp's layer (papers: 32, 1200)"""
    latents: int = 10
    """dimensions of the code"""
    discriminator_width: int = 128
    """units of a layer of FactorVAE's discriminator (paper: 1000)"""
    discriminator_depth: int = 3
    """its hidden layers (paper: 6)"""
    seeds: int = 5
    """runs per method and strength"""
    steps: int = 6000
    """training steps of every run"""
    batch_size: int = 64
    """images per step"""
    learning_rate: float = 1e-3
    """of Adam (paper: 1e-4)"""
    discriminator_learning_rate: float = 1e-3
    """of the discriminator's Adam (paper: 1e-4)"""
    metrics: tuple[str, ...] = NAMES
    """which of the disentanglement metrics"""
    samples: int = 10_000
    """images, and batches, that metrics are trained on (paper: 10,000); half as many to test"""
    grid: int = 50_000
    """combinations of factors, at most, that the interventional metrics draw from"""
    chunk: int | None = None
    """runs that each device vmaps at once; chosen by backend if not given"""
    resamples: int = 1000
    """of the bootstrap over seeds"""
    save_every: float = 60.0
    """seconds between checkpoints; 0 for one after every segment of steps"""
    name: str = "disentanglement"
    """the folder under --out"""
    out: Path = Path("runs")
    """where the folders of studies are"""
    overwrite: bool = False
    """delete what an earlier study of this name left"""


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


def check_metrics(config: Config) -> None:
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


def check_groups(groups: list[Group], config: Config, path: Path) -> None:
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


def planned(config: Config) -> list[Group]:
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


def strengths(text: str, config: Config) -> tuple[str, tuple[float, ...]]:
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


def grouped(
    config: Config, source: str, method: str, values: tuple[float, ...], measured_on: str | None = None
) -> Group:
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


def tidy(group: Group, runs: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """What the report needs of a group; a beta-VAE with beta = 1 is called a VAE there.

    `group` and `number` say where a run is kept. A run that diverged has NaN, whatever was measured of it.
    """
    lost = results["run"].isin(runs.loc[runs["status"] == "diverged", "run"])
    strength = runs[group.strength] if group.strength else np.nan
    about = pd.DataFrame(
        {
            "source": group.source["name"],
            "method": group.model["method"],
            "strength_name": group.strength or "",
            "strength": strength,
            "seed": runs["seed"],
            "group": group.name,
            "number": runs["run"],
        }
    )
    plain = (about["method"] == "beta_vae") & (about["strength"] == 1)
    about.loc[plain, ["method", "strength_name", "strength"]] = ["vae", "", np.nan]
    values = results["value"].mask(lost & ~results["metric"].str.startswith("samples_"))
    return results.assign(value=values).merge(about.assign(run=runs["run"]), on="run")


def numbered(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """All parts in one table, with runs numbered through."""
    table = pd.concat(parts, ignore_index=True)
    table["run"] = table.groupby(["source", "group", "number"], sort=False).ngroup()
    return table


def baselines(config: Config, source_name: str, sizes: Sizes, path: Path) -> pd.DataFrame:
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


def represented(name: str, source: Factors, seed: int, config: Config) -> Callable[[np.ndarray], np.ndarray]:
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
