"""What the README and the pages of docs/ promise."""

import re
import subprocess
import sys

import numpy as np

from experiments.papers.__main__ import TABLES
from tests.conftest import ROOT
from vaejax import METHODS, load_run
from vaejax.data import SOURCES
from vaejax.distributions.basic import LIKELIHOODS
from vaejax.metrics import METRICS
from vaejax.networks import NETWORKS

README = (ROOT / "README.md").read_text()
PAGES = {page.relative_to(ROOT): page.read_text() for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]}
ALL = "\n".join(PAGES.values())


def test_the_ten_line_sweep_runs_as_printed(tmp_path):
    block, _ = blocks()
    assert len(block.strip().splitlines()) <= 10
    said = ran(block, tmp_path)
    for name in ("elbo", "kl", "active_units", "mig"):
        assert name in said


def test_the_twelve_lines_from_a_table_to_a_page_run_as_printed(tmp_path):
    _, block = blocks()
    assert len([line for line in block.splitlines() if line]) <= 12
    assert "elbo" in ran(block, tmp_path)
    run = load_run(tmp_path / "runs/table")
    assert run.table["status"].tolist() == ["finished"] * 6 and np.isfinite(run.results["value"]).all()
    assert [column.name for column in run.columns] == ["age", "pets", "town"]
    assert "beta_vae on table" in (tmp_path / "runs/table/report.html").read_text()


def blocks():
    """The programs of the README."""
    return re.findall(r"```python\n(.*?)```", README, flags=re.S)


def ran(block, folder):
    """What the program prints."""
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_method_is_in_the_table_with_its_file():
    for name in METHODS:
        assert re.search(rf"\| `{name}` \|.*vaejax/methods/{name}\.py", ALL), name


def test_every_metric_and_source_is_named():
    for name in (*METRICS, *SOURCES):
        assert re.search(rf"`{name}(PATH|DIR|FOLDER|[`.])", ALL), name


def test_every_network_likelihood_and_paper_table_is_named():
    for name in (*NETWORKS, *LIKELIHOODS, *TABLES):
        assert f"`{name}`" in ALL, name


def test_every_file_that_is_named_exists():
    for page, text in PAGES.items():
        for path in re.findall(r"\]\(([^)#]+)\)", text):
            if "://" not in path:
                assert (ROOT / page.parent / path).exists(), f"{page}: {path}"


def test_every_page_is_named_in_the_readme():
    for page in PAGES:
        assert page.name == "README.md" or f"({page})" in README, page


def test_importing_the_library_imports_nothing_heavy():
    heavy = ("tensorflow", "tensorflow_datasets", "torch", "matplotlib", "pandas", "sklearn", "grain")
    code = f"import sys, vaejax; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
