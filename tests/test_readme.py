"""What the README and the pages of docs/ promise."""

import re
import subprocess
import sys

from experiments.papers.__main__ import TABLES
from tests.conftest import ROOT
from vaejax import METHODS
from vaejax.data import SOURCES
from vaejax.distributions.basic import LIKELIHOODS
from vaejax.metrics import METRICS
from vaejax.networks import NETWORKS

README = (ROOT / "README.md").read_text()
PAGES = {page.relative_to(ROOT): page.read_text() for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]}
ALL = "\n".join(PAGES.values())


def test_the_ten_line_sweep_runs_as_printed(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len(block.strip().splitlines()) <= 10
    ran = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    for name in ("elbo", "kl", "active_units", "mig"):
        assert name in ran.stdout


def test_every_method_is_in_the_table_with_its_file():
    for name in METHODS:
        assert re.search(rf"\| `{name}` \|.*vaejax/methods/{name}\.py", ALL), name


def test_every_metric_and_source_is_named():
    for name in (*METRICS, *SOURCES):
        assert re.search(rf"`{name}(PATH|DIR|[`.])", ALL), name


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
