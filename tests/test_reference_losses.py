"""The losses of every method over 20 steps are those that were written down: what is tidied changes no number.

`python -m tests.test_reference_losses` writes them anew, after a change that is meant to change them; the diff of the
file says of which methods.
"""

import json
import platform
from pathlib import Path

import jax
import jaxlib
import numpy as np
import pytest

from tests.test_methods import DIGITS, TABLE
from vaejax import METHODS, build, fit, grid

FILE = Path(__file__).with_name("reference_losses.json")
STEPS = 20


def losses(name):
    """Float32[STEPS]: the loss of each step."""
    row = TABLE[name]
    width = {"mlp": 16, "mlp_sigmoid": (24, 16), "residual": 8, "hierarchical": 8}[row.network]
    method = build(name, DIGITS.shape, row.network, 3, width, **row.structure)
    mesh = jax.make_mesh((1,), ("runs",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
    found, runs = [], grid(method.hyper, 1, **row.fixed)
    options = {"batch_size": 16, "chunk": 1, "mesh": mesh}
    fit(method, DIGITS, runs, steps=STEPS, on_progress=lambda told: found.append(told.metrics["loss"][0]), **options)
    return np.float32(found)


def machine():
    """What decides the last bits: the compiler and what the processor can do."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    flags = {word for line in lines if line.startswith("flags") for word in line.split()[2:]}
    wide = sorted(flag for flag in flags if flag.startswith(("avx", "fma", "amx")))
    return {"jaxlib": jaxlib.__version__, "processor": platform.machine(), "vectors": wide}


@pytest.fixture(autouse=True)
def segments_of_one_step(monkeypatch):
    one_step(monkeypatch.setattr)


def one_step(put):
    from vaejax.training import sweep

    put(sweep, "SHORTEST_SEGMENT", 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_losses_are_those_that_were_written_down(name):
    written = json.loads(FILE.read_text())
    known = np.array([float.fromhex(text) for text in written["losses"][name]], np.float32)
    if written["machine"] == machine():
        np.testing.assert_array_equal(losses(name), known)  # bit for bit
    else:
        np.testing.assert_allclose(losses(name), known, rtol=1e-3)


def test_every_method_is_written_down():
    assert set(json.loads(FILE.read_text())["losses"]) == set(METHODS)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    one_step(setattr)
    found = {name: [float(value).hex() for value in losses(name)] for name in METHODS}
    FILE.write_text(json.dumps({"machine": machine(), "losses": found}, indent=1) + "\n")
