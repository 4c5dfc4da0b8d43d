"""Pictures of a study's runs: traversals of latents that are labelled by what they carry, and what each of them mixes.

A `table` has a row per (run, metric), and says in `group` and `number` where in the study's folder a run is kept.
"""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from experiments.factor_traversal import labels_of
from vaejax.analysis.study import Setting, method_name
from vaejax.apply import data_values, information, prior_values, traverse
from vaejax.apply.encode import encode, middle
from vaejax.data import Factors
from vaejax.metrics.measure import ACTIVE
from vaejax.plots import mutual_information_heatmaps, traversal_strip
from vaejax.report import Block, Figure, Text
from vaejax.storage.run import load_run

SHOWN = 3  # runs of a method: best, median and worst
LATENTS_SHOWN = 8


def traversals(source: Factors, table: pd.DataFrame, path: Path) -> Mapping[str, list[Block]]:
    """For every method on this source, its best, median and worst run by MIG."""
    rows = table[(table["source"] == source.name) & (table["group"] != "baselines")]
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
    setting = f"{setting_of(row)}, seed {row['seed']}"
    if not order:
        return Text(f"The {kind} run ({setting}) has no active unit to move.")
    z = run.method.encode(params, source.at(source.data, jnp.asarray([middle(source)]))).mean[0]
    spans = prior_values(9) if codes.kl is not None else data_values(codes.mean, 9)
    images = np.asarray(_traverse(run.method, params, z, jnp.asarray(spans)))[order]
    labels = labels_of(codes)
    strip = traversal_strip(images, [labels[j] for j in order], spans if spans.ndim == 1 else spans[order])
    return Figure(strip, f"The {kind} run by MIG ({setting}): MIG {row['value']:.2f}. Codes of largest KL first.")


def setting_of(row: pd.Series) -> Setting:
    """The method and the strength of a run; its text is "β-VAE (β = 4)"."""
    return Setting(row["method"], row["strength_name"], None if pd.isna(row["strength"]) else row["strength"])


def mixing(source: Factors, table: pd.DataFrame, path: Path) -> Mapping[str, list[Block]]:
    """For every method and strength on this source, what each latent of the run of median MIG carries."""
    rows = table[(table["source"] == source.name) & (table["metric"] == "mig") & np.isfinite(table["value"])]
    matrices, labels, said, tabs = {}, {}, [], {}
    for _, runs in rows.groupby(["method", "strength"], sort=False, dropna=False):
        row = runs.sort_values("value").iloc[(len(runs) - 1) // 2]
        run = load_run(path / "groups" / row["group"])
        codes = encode(run.method, source, run.params_of(int(row["number"])), 10_000)
        name = str(setting_of(row))
        order = [j for j in codes.order if codes.mean[:, j].var() > ACTIVE]
        if not order or codes.factors is None:
            said.append(f"{name}: no unit is active.")
            continue
        shares = information(codes.mean, codes.factors)
        matrices[name], labels[name] = shares[order], [f"z{j}" for j in order]
        said.append(f"{name}: {mixed(shares[order], labels[name], source.names)}")
        tabs[name] = [pictured(source, row, path, "median")]
    if not matrices:
        return {}
    heat = mutual_information_heatmaps(matrices, source.names, labels)
    caption = f"Mutual information of active units and factors, as a share of the factor's entropy. {' '.join(said)}"
    return {"What latents carry": [Figure(heat, caption)], **tabs}


def mixed(shares: np.ndarray, labels: list[str], names: tuple[str, ...], least: float = 0.05) -> str:
    """Which latents carry more than one factor."""
    found = []
    for label, row in zip(labels, shares, strict=True):
        carried = [names[k] for k in np.argsort(-row) if row[k] >= least]
        if len(carried) > 1:
            found.append(f"{label} mixes {' and '.join(carried)}")
    return (", ".join(found) or "no latent carries two factors") + "."
