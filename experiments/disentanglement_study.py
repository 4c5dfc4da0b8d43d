"""Do beta-VAE and its relatives separate the factors of variation? Every method, strength and seed, and every metric.

python -m experiments.disentanglement_study                     # 2 cores: 40 minutes
python -m experiments.disentanglement_study --preset gpu-hour
python -m experiments.disentanglement_study --preset paper      # 36 configurations x 50 seeds x 300,000 steps, 64x64
python -m experiments.disentanglement_study --methods beta_vae factor_vae --seeds 5 --steps 20000 --name mine

All strengths and seeds of a method are one compiled program. A study that was stopped goes on where it was when the
same command is given again. The report compares the methods with PCA, ICA and raw pixels, with the true factors (the
ceiling) and an untrained encoder (the floor); a VAE is the beta-VAE with beta = 1.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from tqdm import tqdm

from experiments import script
from experiments.factor_traversal import encode, labels_of
from experiments.groups import Group, Projection, Training, built, scored, train, with_factors
from vaejax.apply.label import information
from vaejax.apply.traverse import data_values, prior_values, traverse
from vaejax.baselines import BASELINES
from vaejax.data import Factors
from vaejax.data.source import factors_of
from vaejax.errors import InputError, choose
from vaejax.folder import claim, write_table
from vaejax.measure import ACTIVE
from vaejax.metrics import Sizes, scores, subgrid
from vaejax.metrics.suite import NAMES, check_names
from vaejax.plots.codes import mutual_information_heatmaps
from vaejax.plots.traversals import traversal_strip
from vaejax.report import Block, Figure, Text
from vaejax.report.study import write_study
from vaejax.report.study_tables import method_name
from vaejax.run import load_run
from vaejax.sweep import check_sizes

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
MIXING = "rectangles"  # width, height, size, angle
PIXELS_SIDE = 8  # of the images that the baseline of raw pixels is averaged down to, or half of theirs
SEEDLESS = ("true_factors", "pixels")  # baselines that draw nothing
BLOCK = 1000  # images at a time
SHOWN = 3  # runs of a method: best, median and worst
LATENTS_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the study depends on; it is written to `config.json`."""

    preset: Literal["laptop", "gpu-hour", "paper"] = "laptop"
    """defaults to start from: 2 cores, an hour of a GPU, or the 1,800 models of Locatello et al. 2019"""
    sources: tuple[str, ...] = ("sprites",)
    """what all methods are trained on: any source with factors (sprites, shapes3d, color_sprites, ...)"""
    correlated: tuple[str, ...] = ("x,y,0.2",)
    """two factors and sigma: what beta_vae and beta_tcvae are also trained on; metrics stay on independent factors"""
    mixing: bool = True
    """also train VAE and beta-VAE on rectangles of width, height, size and angle"""
    methods: tuple[str, ...] = (*STUDIED, "autoencoder", "sparse_autoencoder")
    """which"""
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
    """of Adam"""
    discriminator_learning_rate: float = 1e-3
    """of the discriminator's Adam"""
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
    script.use_devices()
    check_sizes(
        seeds=config.seeds, steps=config.steps, batch_size=config.batch_size, chunk=config.chunk,
        samples=config.samples, grid=config.grid, resamples=config.resamples,
    )  # fmt: skip
    check_names(config.metrics)
    groups = planned(config)
    for group in groups:
        built(group)  # so that a name or a size that is wrong stops the study now and not in an hour
    path = config.out / config.name
    settings = {**dataclasses.asdict(config), "command": script.command(), "out": str(config.out)}
    if claim(
        path, {name: value for name, value in settings.items() if name != "overwrite"}, overwrite=config.overwrite
    ):
        print(f"continuing the unfinished study in {path}")
    training = Training(config.steps, config.batch_size, config.seeds, config.chunk)
    sizes = Sizes(train=config.samples, test=-(-config.samples // 2), variance=config.samples, grid=config.grid)
    counts = [group.runs(config.seeds) for group in groups]
    print(f"{sum(counts)} models in {len(groups)} groups of one program each, {config.steps:,} steps")
    projection, parts = Projection(sum(counts) * config.steps), []
    for number, group in enumerate(groups, 1):
        tqdm.write(f"group {number} of {len(groups)}")
        folder = path / "groups" / group.name
        result, runs = train(group, training, folder, projection)
        parts.append(tidy(group, runs, scored(group, training, result, folder, sizes, config.metrics)))
    for source in config.sources:
        parts.append(baselines(config, source, sizes, path / "groups" / f"baselines-{source}.csv"))
    table = numbered(parts)
    write_table(path / "runs.csv", table.drop(columns=["metric", "value"]).drop_duplicates("run"))
    write_table(path / "results.csv", table[["run", "metric", "value"]])

    main_table = table[table["source"] != MIXING]
    page = write_study(
        path,
        main_table[~main_table["metric"].str.startswith("samples_")],
        traversals=traversals(config, table, path),
        mixing=mixing(config, table, path) if config.mixing else {},
        question=QUESTION,
        command=script.command(),
        facts=facts(config),
        resamples=config.resamples,
    )
    print(f"\nreport: {page}")


def planned(config: Config) -> list[Group]:
    """All groups: every method on every source, then correlated factors, then rectangles.

    Raises:
      InputError: nothing to train, something twice, or a method that the study doesn't know.
    """
    if not config.sources or not config.methods:
        raise InputError("a study needs at least one source and one method")
    for names in (config.sources, config.methods, config.correlated):
        if len(set(names)) < len(names):
            raise InputError(f"every name once, please: {', '.join(names)}; to repeat runs, raise --seeds")
    for method in config.methods:
        choose({**STRENGTHS, "autoencoder": None}, method, "method of the study")
    groups = [grouped(config, source, method) for source in config.sources for method in config.methods]
    for source in config.sources:
        for pair in config.correlated:
            name = f"{source}+correlated:{pair}"
            groups += [grouped(config, name, method, source) for method in ("beta_vae", "beta_tcvae")]
    if config.mixing:
        groups.append(grouped(config, MIXING, "beta_vae"))
    return groups


def grouped(config: Config, source: str, method: str, measured_on: str | None = None) -> Group:
    """One method on one source."""
    strength, values = STRENGTHS.get(method, (None, ()))
    values = FEW.get(method, ()) if config.strengths == "few" else values
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

    `group` and `number` say where a run is kept.
    """
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
    return results.merge(about.assign(run=runs["run"]), on="run")


def numbered(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """All parts in one table, with runs numbered through; a diverged run has NaN, whatever was measured of it."""
    table = pd.concat(parts, ignore_index=True)
    table["run"] = table.groupby(["source", "group", "number"], sort=False).ngroup()
    return table


def baselines(config: Config, source_name: str, sizes: Sizes, path: Path) -> pd.DataFrame:
    """The metrics of what needs no training, for every seed; kept in a file.

    The images are those that the runs are measured on. What draws nothing is measured once, and is the same for all.
    """
    if path.exists():
        return pd.read_csv(path).assign(strength_name="")
    source, parts = with_factors(source_name, config.size), []
    for name in tqdm(BASELINES, desc="baselines", unit="", dynamic_ncols=True):
        drawn = range(1 if name in SEEDLESS else config.seeds)
        table = score([represented(name, source, seed, config) for seed in drawn], source, sizes, config.metrics)
        for seed in range(config.seeds):
            about = {"source": source_name, "method": name, "strength_name": "", "strength": np.nan, "seed": seed}
            rows = table[table["run"] == min(seed, drawn[-1])]
            parts.append(rows.assign(**about, group="baselines", number=len(parts)))
    table = pd.concat(parts, ignore_index=True)
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


def traversals(config: Config, table: pd.DataFrame, path: Path) -> Mapping[str, list[Block]]:
    """For every method on the first source, its best, median and worst run by MIG."""
    source = with_factors(config.sources[0], config.size)
    rows = table[(table["source"] == config.sources[0]) & (table["group"] != "baselines")]
    tabs: dict[str, list[Block]] = {}
    for method, runs in rows[rows["metric"] == "mig"].groupby("method", sort=False):
        ranked = runs[np.isfinite(runs["value"])].sort_values("value", ascending=False)
        if ranked.empty:
            continue
        places = dict.fromkeys(np.linspace(0, len(ranked) - 1, SHOWN).round().astype(int).tolist())
        names = ("best", "median", "worst") if len(places) == SHOWN else ("best", "worst")[: len(places)]
        tabs[method_name(str(method))] = [
            pictured(source, ranked.iloc[place], path, kind) for place, kind in zip(places, names, strict=True)
        ]
    return tabs


_traverse = jax.jit(traverse, static_argnames="method")


def pictured(source: Factors, row: pd.Series, path: Path, kind: str) -> Block:
    """Traversals of one run, its latents labelled by the factors that they carry."""
    run = load_run(path / "groups" / row["group"])
    params = run.params_of(int(row["number"]))
    codes = encode(run.method, source, params, 10_000)
    order = [j for j in codes.order if codes.mean[:, j].var() > ACTIVE][:LATENTS_SHOWN]
    setting = described(row)
    if not order:
        return Text(f"The {kind} run ({setting}) has no active latent to move.")
    middle = int(np.ravel_multi_index([size // 2 for size in source.sizes], source.sizes))
    z = run.method.encode(params, source.at(source.data, jnp.asarray([middle]))).mean[0]
    spans = prior_values(9) if codes.kl is not None else data_values(codes.mean, 9)
    images = np.asarray(_traverse(run.method, params, z, jnp.asarray(spans)))[order]
    labels = labels_of(codes)
    strip = traversal_strip(images, [labels[j] for j in order], spans if spans.ndim == 1 else spans[order])
    return Figure(strip, f"The {kind} run by MIG ({setting}): MIG {row['value']:.2f}. Codes of largest KL first.")


def described(row: pd.Series) -> str:
    """ "beta = 4, seed 2"."""
    strength = "" if pd.isna(row["strength"]) else f"{row['strength_name']} = {row['strength']:g}, "
    return f"{strength}seed {row['seed']}"


def mixing(config: Config, table: pd.DataFrame, path: Path) -> Mapping[str, list[Block]]:
    """VAE and beta-VAE on width, height, size and angle: what every latent of the run of median MIG carries."""
    source = with_factors(MIXING, config.size)
    rows = table[(table["source"] == MIXING) & (table["metric"] == "mig") & np.isfinite(table["value"])]
    matrices, labels, said, tabs = {}, {}, [], {}
    for (method, strength), runs in rows.fillna({"strength": 0.0}).groupby(["method", "strength"], sort=False):
        row = runs.sort_values("value").iloc[(len(runs) - 1) // 2]
        run = load_run(path / "groups" / row["group"])
        codes = encode(run.method, source, run.params_of(int(row["number"])), 10_000)
        name = method_name(str(method)) + (f" (β = {strength:g})" if strength else "")
        order = [j for j in codes.order if codes.mean[:, j].var() > ACTIVE]
        if not order or codes.factors is None:
            said.append(f"{name}: no latent is active.")
            continue
        shares = information(codes.mean, codes.factors)
        matrices[name], labels[name] = shares[order], [f"z{j}" for j in order]
        said.append(f"{name}: {mixed(shares[order], labels[name], source.names)}")
        tabs[name] = [pictured(source, row, path, "median")]
    if not matrices:
        return {}
    heat = mutual_information_heatmaps(matrices, source.names, labels)
    caption = "Mutual information of every active latent and factor, as a share of the factor's entropy. " + " ".join(
        said
    )
    return {"What latents carry": [Figure(heat, caption)], **tabs}


def mixed(shares: np.ndarray, labels: list[str], names: tuple[str, ...], least: float = 0.05) -> str:
    """Which latents carry more than one factor."""
    found = []
    for label, row in zip(labels, shares, strict=True):
        carried = [names[k] for k in np.argsort(-row) if row[k] >= least]
        if len(carried) > 1:
            found.append(f"{label} mixes {' and '.join(carried)}")
    return (", ".join(found) or "no latent carries two factors") + "."


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
