"""The tables of deterministic autoencoders, quickly, on genuine MNIST; and their arithmetic on known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.papers import reconstruction, stacked
from experiments.papers.table import Setting
from vaejax import Batch, build
from vaejax.data import arrays, load


@pytest.fixture(scope="module")
def mnist(shared):
    return {split: load("mnist", split, str(shared / "tfds")) for split in ("train", "test")}


@pytest.fixture
def setting(mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(Setting, "mnist", lambda self, split: mnist[split])
    return Setting(tmp_path, quick=True)


def test_reconstruction_quickly(setting):
    pca, network = reconstruction.rows(setting)
    assert 13 < pca.measured < 16  # fitted to 2,000 images
    assert 30 < network.measured < 180 and not network.inside and "seeds: " in network.note  # about 182 before training
    assert (pca.low, pca.high, network.high) == (13.57, 14.17, 4.0)


def test_stacked_quickly(setting):
    *arms, denoising, pre_training = stacked.rows(setting)
    error = {row.what.split(",")[0]: row.measured for row in arms}
    assert list(error) == list(stacked.ARMS) and all(50 < value < 100 for value in error.values())
    assert denoising.measured == pytest.approx(error["stacked plain"] - error["stacked denoising"])
    assert pre_training.measured == pytest.approx(error["no pre-training"] - error["stacked plain"])
    for row in (*arms, denoising, pre_training):
        assert row.interval is not None and row.interval[0] <= row.measured <= row.interval[1]
    assert denoising.low == pre_training.low == 0


def test_the_error_of_principal_components_is_what_they_leave():
    """Variances 9 in 30 directions and 0.01 in 20 more: the error is the sum of the latter."""
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(50, 50)))[0]
    scales = np.array([3.0] * 30 + [0.1] * 20)
    train, test = ((random.normal(size=(5000, 50)) * scales) @ axes.T + 7 for _ in range(2))
    assert reconstruction.pca_error(train, test) == pytest.approx(20 * 0.01, rel=0.05)


def test_the_arms_are_three_and_paired_by_seed():
    method = build("stacked_classifier", (8, 8, 1), latents=4, width=4)
    runs = stacked.arms(method, 7)
    table = runs.table()
    assert table["seed"].tolist() == list(range(stacked.SEEDS)) * 3
    settings = table[["level", "pretrain_steps"]].drop_duplicates().to_numpy().tolist()
    assert settings == [[0.25, 7], [0, 7], [0, 0]]


def test_errors_are_counted_in_percent(monkeypatch):
    """A classifier of two pixels whose answer is known, on blocks of images that don't divide evenly."""
    monkeypatch.setattr(stacked, "BLOCK", 3)
    x = np.zeros((8, 1, 2, 1))
    x[:, 0, 0, 0] = 1
    x[6:, 0, ::-1, 0] = x[6:, 0, :, 0]
    source = arrays("two", x, np.array([0, 0, 0, 0, 0, 1, 1, 0]))  # 6 says 1, 7 says 1
    method = build("stacked_classifier", (1, 2, 1), "mlp_relu", latents=2, width=(2,), classes=2)
    eye = {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}
    decoder = method.init(jax.random.key(0), Batch(jnp.zeros((1, 1, 2, 1)), label=jnp.zeros(1, int)))["decoder"]
    params = {"encoder": {"params": {"Dense_0": eye, "Dense_1": eye}}, "decoder": decoder, "classifier": eye}
    flipped = {**params, "classifier": {"kernel": jnp.eye(2)[::-1], "bias": jnp.zeros(2)}}
    np.testing.assert_allclose(stacked.errors(method, source, [params, flipped]), [25, 75])


def test_the_learning_rate_falls_to_0(tmp_path, monkeypatch):
    """With the whole schedule over, parameters stand still: the last step is the shortest."""
    found = {}
    monkeypatch.setattr(Setting, "fit", lambda self, name, method, *_, **__: found.update(method=method) or stop())

    def stop():
        raise StopIteration

    source = load("digits")
    with pytest.raises(StopIteration):
        reconstruction.network_errors(Setting(tmp_path, quick=True), source, source)
    method = found["method"]
    optimizer = method.optimizer(method.hyper)
    state, lengths = optimizer.init(jnp.zeros(1)), []
    for _ in range(21):
        update, state = optimizer.update(jnp.ones(1), state)
        lengths.append(float(jnp.abs(update[0])))
    np.testing.assert_allclose(lengths[0], 1e-3, rtol=1e-4)
    assert np.all(np.diff(lengths) <= 1e-9) and lengths[20] == 0
