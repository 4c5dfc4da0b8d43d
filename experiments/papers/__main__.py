"""Published numbers against ours: reruns a protocol, or a stated reduction of it, and says whether it is in its band.

python -m experiments.papers static_vae --static-mnist DIR
python -m experiments.papers all --data-dir DIR --static-mnist DIR    # hours on 2 cores; goes on where it stopped

--quick takes a few steps of each, to try it out.

Each table is a file in experiments/papers, which says what it gave and when. Rows that were measured are kept in
runs/paper_tables/NAME/rows.json and shown again; --overwrite measures them anew.
"""

import dataclasses
import json
import math
import time
from pathlib import Path

import tyro
from tqdm import tqdm

from experiments import checks, script
from experiments.benchmarks.tables import Table, text
from experiments.papers import aae, hierarchical, iwae, quadrants, reconstruction, stacked, static_vae, vq
from experiments.papers.table import Protocol, Row, Setting, read_rows
from vaejax.errors import InputError, choose
from vaejax.storage.disk import attempt
from vaejax.storage.files import write_text

TABLES: dict[str, Protocol] = {
    "static_vae": static_vae.rows,
    "iwae": iwae.rows,
    "quadrants": quadrants.rows,
    "aae": aae.rows,
    "reconstruction": reconstruction.rows,
    "stacked": stacked.rows,
    "vq": vq.rows,
    "hierarchical": hierarchical.rows,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which tables to make, from which data."""

    name: tyro.conf.Positional[str] = "all"
    """the name of a table, or all"""
    data_dir: str | None = None
    """where tensorflow-datasets has prepared mnist"""
    static_mnist: Path | None = None
    """the folder of the statically binarised MNIST: binarized_mnist_{train,valid,test}.amat"""
    quick: bool = False
    """a few steps of small networks: to try it out; its numbers mean nothing"""
    out: Path = Path("runs/paper_tables")
    """where the folders of tables are"""
    overwrite: bool = False
    """measure again what was measured"""


def main(config: Config) -> None:
    """Makes every table that is asked for, and prints each when it is done and all of them at the end."""
    config = checks.checked(config, Config)
    if config.name != "all":
        choose(TABLES, config.name, "table")
    script.use_devices()
    made = []
    names = [config.name] if config.name != "all" else list(TABLES)
    for name in names:
        script.check_place(folder_of(name, config))
    for number, name in enumerate(names, 1):
        if len(names) > 1:
            tqdm.write(f"table {number} of {len(names)}: {name}")
        made.append(shown(name, rows(name, config)))
        tqdm.write(f"\n{text(made[-1])}\n")
    if len(made) > 1:
        print("\n\n".join(map(text, made)))


def folder_of(name: str, config: Config) -> Path:
    """Where a table and its training are kept."""
    return config.out / (f"{name}-quick" if config.quick else name)


def rows(name: str, config: Config) -> list[Row]:
    """The rows of a table: measured now, or read where they were measured before.

    Raises:
      InputError: data that isn't there, or a folder that can't be written.
    """
    folder = folder_of(name, config)
    path = folder / "rows.json"
    if path.exists() and not config.overwrite:
        return read_rows(path)
    start = time.monotonic()
    found = TABLES[name](Setting(folder, config.data_dir, config.static_mnist, config.quick, config.overwrite))
    broken = [row.what for row in found if not math.isfinite(row.measured)]
    if broken:
        raise InputError(f"{name}: {broken[0]} came out as no number; see the histories in {folder}")
    kept = {"command": script.command(), "seconds": round(time.monotonic() - start), **script.facts()}
    attempt(folder, lambda: folder.mkdir(parents=True, exist_ok=True))
    write_text(path, json.dumps({**kept, "rows": [row._asdict() for row in found]}, indent=2) + "\n")
    return found


def shown(name: str, rows: list[Row]) -> Table:
    """The rows as a table to print."""
    cells = [(row.what, published(row), measured(row), band(row), verdict(row)) for row in rows]
    notes = [f"{row.what}: {row.note}" for row in rows if row.note]
    if not all(row.inside for row in rows):
        notes.append(f"what is known of why a number is outside its band is at the top of experiments/papers/{name}.py")
    return Table(name, ("", "published", "measured", "band", "in it"), cells, notes, ())


def published(row: Row) -> str:
    """The printed number, if there is one."""
    return "–" if row.published is None else f"{row.published:.4g}"


def measured(row: Row) -> str:
    """The number with its interval."""
    interval = f" [{row.interval[0]:.4g}, {row.interval[1]:.4g}]" if row.interval else ""
    return f"{row.measured:.4g}{interval}"


def band(row: Row) -> str:
    """The band as text."""
    if math.isinf(row.low) and math.isinf(row.high):
        return "–"
    if math.isinf(row.low):
        return f"≤ {row.high:g}"
    return f"≥ {row.low:g}" if math.isinf(row.high) else f"{row.low:g} to {row.high:g}"


def verdict(row: Row) -> str:
    """Whether it is in its band, where it has one."""
    return "–" if band(row) == "–" else "yes" if row.inside else "NO"


if __name__ == "__main__":
    script.run(main, {"": Config()}, __doc__)
