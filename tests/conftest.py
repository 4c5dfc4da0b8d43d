"""Two CPU devices for every test, so that what splits runs over devices is tested; the folder of genuine data."""

import os
from pathlib import Path

import jax
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Lets go of a file's compiled programs, which together take more maps of memory than Linux allows (65,530)."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of genuine data; the test is skipped where it is absent."""
    folder = Path(os.environ.get("VAEJAX_SHARED", ROOT.parent / "shared"))
    folder = folder / "data" if (folder / "data").is_dir() else folder
    if not (folder / "README.md").exists():
        pytest.skip(f"no genuine data in {folder}; set VAEJAX_SHARED to the folder that has it")
    return folder
