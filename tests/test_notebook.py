"""The tour runs from a clean kernel, and is kept without outputs."""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

TOUR = ROOT / "notebooks" / "tour.ipynb"


@pytest.fixture()
def tour():
    return nbformat.read(TOUR, as_version=4)


def test_the_tour_runs_from_a_clean_kernel(tour, tmp_path):
    small = {"STEPS = 1000": "STEPS = 4", "images=5000": "images=200", "width=16": "width=4", "size=32": "size=16"}
    for cell in tour.cells:
        for old in [old for old in small if old in cell.source]:
            cell.source = cell.source.replace(old, small.pop(old))
    assert not small  # every number that makes it slow was found
    NotebookClient(tour, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in tour.cells for output in cell.get("outputs", []) if "data" in output]
    assert sum("image/png" in output["data"] for output in shown) == 5


def test_the_tour_has_ten_cells_and_no_outputs(tour):
    assert len(tour.cells) == 10
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in tour.cells)
