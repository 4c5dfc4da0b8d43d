"""What every experiment script does: keeping compiled programs."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

STARTS = """
import jax
from experiments import script
script.keep_compiled()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.monitoring.register_event_listener(lambda event, **_: print(event))
print(jax.jit(lambda x: (x * 3).sum())(jax.numpy.ones(4)))
"""


def start(**env):
    ran = subprocess.run(
        [sys.executable, "-c", STARTS],
        env={"PATH": "", "HOME": "/nowhere", **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "12.0" in ran.stdout
    return ran


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"])
def test_the_second_start_compiles_nothing(tmp_path, variable):
    env = {variable: str(tmp_path)}
    assert "cache_misses" in start(**env).stdout
    again = start(**env).stdout
    assert "cache_hits" in again and "cache_misses" not in again
    folder = tmp_path / "vaejax" / "compiled" if variable == "XDG_CACHE_HOME" else tmp_path
    assert any(path.name.startswith("jit_") for path in folder.iterdir())


def test_a_cache_that_cannot_be_written_costs_nothing_else(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cache" in start(XDG_CACHE_HOME=str(tmp_path / "file")).stderr
