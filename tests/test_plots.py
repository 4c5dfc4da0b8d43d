"""The figures show the numbers that they should: means, intervals, runs, and which runs diverged."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from vaejax import plots
from vaejax.analysis import tables
from vaejax.errors import InputError

BETAS = (1.0, 2.0, 4.0, 8.0, 16.0)


def make_table(betas=BETAS, seeds=3, latents=10, mig=True):
    rng = np.random.default_rng(0)
    rows, run = [], 0
    for beta in betas:
        for seed in range(seeds):
            kls = rng.exponential(2.0 / (1 + beta), latents)
            values = {"kl": kls.sum(), "reconstruction": 80 + 5 * beta + rng.normal()}
            values |= {"elbo": -values["kl"] - values["reconstruction"], "active_units": float((kls > 0.1).sum())}
            values |= {"mig": rng.random()} if mig else {}
            values |= {f"kl_latent_{index}": kl for index, kl in enumerate(kls)}
            rows += [(run, beta, seed, metric, value) for metric, value in values.items()]
            run += 1
    return pd.DataFrame(rows, columns=["run", "beta", "seed", "metric", "value"])


def make_history(betas=BETAS, seeds=3):
    runs = [(beta, seed) for beta in betas for seed in range(seeds)]
    rng = np.random.default_rng(1)
    rows = [
        {"run": run, "step": step, "beta": beta, "seed": seed, "loss": 200 / (1 + step) + beta + rng.normal(),
         "reconstruction": 150 / (1 + step), "kl": beta * step / 100}
        for run, (beta, seed) in enumerate(runs) for step in range(0, 101, 10)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def diverge(table, runs):
    """As it comes out of a sweep: NaN, but for counts, where a comparison with NaN gives 0."""
    table = table.copy()
    bad = table["run"].isin(runs)
    table.loc[bad, "value"] = np.where(table.loc[bad, "metric"] == "active_units", 0.0, np.nan)
    return table


def texts(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=40)  # draws it: nothing may fail or warn
    found = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return [text.get_text() for text in found if text.get_text()]


def sample(table, metric, beta):
    return table[(table["metric"] == metric) & (table["beta"] == beta)]["value"].to_numpy()


pytestmark = pytest.mark.filterwarnings("error")


def test_interval_is_students():
    values = np.array([1.0, 4.0, 2.5, 3.0])
    low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
    assert tables.interval(values) == pytest.approx((values.mean(), (high - low) / 2))
    assert tables.interval(np.array([2.0]))[0] == 2.0 and np.isnan(tables.interval(np.array([2.0]))[1])
    assert np.isnan(tables.interval(np.array([]))).all()


@pytest.mark.parametrize(
    ("mean", "half_width", "text"),
    [
        (12.3456, 0.4321, "12.3 ± 0.4"),
        (12.3456, 0.1321, "12.35 ± 0.13"),
        (-52.71, 3.9, "−53 ± 4"),
        (1234.5, 567.8, "1234 ± 568"),
        (0.00123, 0.00096, "0.001 ± 0.001"),
        (5.0, 0.0, "5 ± 0"),
        (12.3456, np.nan, "12.35"),
        (0.0, np.nan, "0"),
        (-3.0, np.nan, "−3"),
        (np.nan, np.nan, "–"),
    ],
)
def test_numbers_with_errors(mean, half_width, text):
    assert tables.with_error(mean, half_width) == text


def test_summary():
    table = make_table()
    rows = plots.summary(table, metrics=("kl", "mig")).set_index(["beta", "metric"])
    assert len(rows) == 2 * len(BETAS)
    for (beta, metric), row in rows.iterrows():
        values = sample(table, metric, beta)
        half_width = stats.t.ppf(0.975, 2) * stats.sem(values)
        ends = values.mean() - half_width, values.mean() + half_width
        low, high = ends if metric == "kl" else np.clip(ends, 0, 1)
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((values.mean(), low, high))
        assert (row["runs"], row["diverged"]) == (3, 0)


def test_no_interval_leaves_the_bounds_of_its_measure():
    rows = [
        {"run": seed, "beta": 1.0, "seed": seed, "metric": metric, "value": value}
        for metric, values in {
            "mig": (0.0, 0.01, 0.2), "accuracy": (1.0, 0.99, 0.8), "active_units": (2.0, 2.0, 1.0),
            "elbo": (-1.0, 0.0, 9.0), "kl_latent_0": (1.0, 1.0, 1.0), "kl_latent_1": (1.0, 1.0, 0.0),
        }.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    found = tables.summary(pd.DataFrame(rows), metrics=("mig", "accuracy", "active_units", "elbo")).set_index("metric")
    assert found.loc["mig", "low"] == 0 and found.loc["mig", "text"] == "0.07 [0.00, 0.35]"
    assert found.loc["accuracy", "high"] == 1 and found.loc["active_units", "high"] == 2
    assert found.loc["elbo", "low"] < -9


def test_summary_leaves_out_what_diverged_and_says_so():
    table = diverge(make_table(), runs=(2, 3, 4, 5))  # one of beta = 1, all of beta = 2
    rows = plots.summary(table).set_index(["beta", "metric"])
    assert rows.loc[(1.0, "active_units"), "mean"] == sample(table, "active_units", 1.0)[:2].mean()
    assert tuple(rows.loc[(1.0, "kl"), ["runs", "diverged"]]) == (2, 1)
    assert tuple(rows.loc[(2.0, "kl"), ["runs", "diverged", "text"]]) == (0, 3, "diverged")
    wide = plots.summary_table(table)
    assert list(wide["Runs"]) == ["1 of 3 runs diverged", "3 of 3 runs diverged", "3", "3", "3"]
    assert list(wide.index) == ["1", "2", "4", "8", "16"] and wide.index.name == "β"
    assert wide.columns[0] == "ELBO (nats/image)"


def test_a_metric_that_is_undefined_in_a_finished_run_is_no_divergence():
    table = make_table()
    table.loc[(table["run"] == 0) & (table["metric"] == "mig"), "value"] = np.nan
    row = plots.summary(table, metrics=("mig",)).iloc[0]
    assert (row["runs"], row["diverged"]) == (2, 0) and row["text"].endswith("(n = 2)")


def test_one_seed_has_no_interval():
    table = make_table(seeds=1, mig=False)
    rows = plots.summary(table)
    assert rows[["low", "high"]].isna().all(axis=None) and not rows["text"].str.contains("±").any()
    assert "mig" not in set(rows["metric"])
    for figure in (plots.curves(table), plots.rate_distortion(table), plots.kl_per_latent(table)):
        texts(figure)


def test_curves():
    table = diverge(make_table(), runs=(14,))
    figure = plots.curves(table, metrics=("elbo", "kl"))
    expected = plots.summary(table, metrics=("kl",))
    ax = figure.axes[1]
    line, band, dots = ax.lines[0], ax.collections[0], ax.collections[1]
    np.testing.assert_allclose(line.get_xydata(), np.stack([BETAS, expected["mean"]], axis=1))
    corners = band.get_paths()[0].vertices
    for beta, low, high in zip(BETAS, expected["low"], expected["high"], strict=True):
        edge = corners[corners[:, 0] == beta, 1]
        assert (edge.min(), edge.max()) == pytest.approx((low, high))
    assert len(dots.get_offsets()) == 14
    assert (ax.get_xscale(), ax.xaxis.get_transform().base) == ("log", 2)
    said = texts(figure)
    assert "KL (nats/image)" in said and "Not in the means: 1 of 3 runs diverged at β = 16" in said


def test_an_axis_with_zero_is_evenly_spaced_and_keeps_the_diverged():
    figure = plots.curves(diverge(make_table(betas=(0.0, 1.0, 16.0)), runs=(6, 7, 8)))
    ax = figure.axes[0]
    assert ax.get_xscale() == "linear"
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0, 1, 2])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "16"]
    assert ax.get_xlim()[1] > 2
    texts(figure)


def test_unordered_settings_are_not_connected():
    table = make_table()
    table = table[table["beta"] < 4].assign(method=lambda frame: np.where(frame["beta"] == 1, "β-VAE", "FactorVAE"))
    figure = plots.curves(table, x="method", metrics=("kl",))
    assert figure.axes[0].lines[0].get_linestyle() == "None"
    means = [sample(table, "kl", beta).mean() for beta in (1.0, 2.0)]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), means)
    assert "FactorVAE" in texts(figure)


def test_rate_distortion():
    table = diverge(make_table(), runs=(0,))
    figure = plots.rate_distortion(table)
    ax = figure.axes[0]
    for axis, metric in enumerate(("kl", "reconstruction")):
        expected = plots.summary(table, metrics=(metric,))["mean"]
        np.testing.assert_allclose(ax.lines[0].get_xydata()[:, axis], expected)
    assert len(ax.collections[0].get_offsets()) == 14
    means = [line for line in ax.lines if line.get_marker() == "o"]
    assert [to_hex(line.get_color()) for line in means] == list(plots.colours(BETAS).values())
    said = texts(figure)
    assert "β = 16" in said and any(text.startswith("ELBO −") for text in said)
    assert "Not in the means: 1 of 3 runs diverged at β = 1" in said


def test_kl_per_latent_sorts_within_runs():
    table = diverge(make_table(), runs=(0, 1, 2))
    figure = plots.kl_per_latent(table)
    shown = figure.axes[0].collections[0].get_array().reshape(5, 10)
    assert shown.mask[0].all() and not shown.mask[1:].any()
    latents = [f"kl_latent_{index}" for index in range(10)]
    runs = table[table["metric"].isin(latents) & (table["beta"] == 4.0)].groupby("run")["value"]
    expected = np.mean([np.sort(values)[::-1] for _, values in runs], axis=0)
    np.testing.assert_allclose(shown[2], expected)
    assert "Not in the means: 3 of 3 runs diverged at β = 1" in texts(figure)


def test_learning_curves():
    history = make_history()
    history.loc[(history["run"] == 14) & (history["step"] > 50), ["loss", "reconstruction", "kl"]] = np.nan
    figure = plots.learning_curves(history)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    for beta, runs in ((1.0, (0, 1, 2)), (16.0, (12, 13))):
        expected = history[history["run"].isin(runs)].groupby("step")["loss"].mean()
        line = lines[f"β = {beta:g}"]
        np.testing.assert_allclose(line.get_ydata(), expected)
        assert to_hex(line.get_color()) == plots.colours(BETAS)[beta]
    assert len(figure.axes) == 3 and len(figure.axes[0].lines) == 15 + 5
    assert "Not in the means: 1 of 3 runs diverged at β = 16" in texts(figure)


def test_nothing_finite_is_still_a_figure():
    table = make_table().assign(value=np.nan)
    history = make_history().assign(loss=np.nan)
    assert "no finite value" in texts(plots.curves(table))
    assert "no finite value" in texts(plots.rate_distortion(table))
    assert any("3 of 3 runs diverged" in text for text in texts(plots.kl_per_latent(table)))
    texts(plots.learning_curves(history))


def test_colours_follow_the_value_and_not_its_place_in_the_table():
    colours = plots.colours([4.0, 1.0, 16.0, 1.0])
    assert list(colours) == [1.0, 4.0, 16.0] and colours == plots.colours([1.0, 4.0, 16.0])
    assert len(set(colours.values())) == 3


@pytest.mark.parametrize("size", [8, 28, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_image_grid_shows_every_pixel(size, channels):
    images = np.random.default_rng(0).random((2, 5, size, size, channels), dtype=np.float32)
    figure = plots.image_grid(images, row_labels=["input", "output"], column_labels=list("abcde"), title="Digits")
    mosaic = np.asarray(figure.axes[0].images[0].get_array())
    scale = (mosaic.shape[1] - 4) // 5 // size
    assert mosaic.shape == (4 + 2 * (4 + size * scale), 4 + 5 * (4 + size * scale), 3)
    tile = mosaic[8 + size * scale :, 8 + size * scale :][: size * scale : scale, : size * scale : scale]
    expected = np.broadcast_to(np.round(images[1, 1] * 255), (size, size, 3))
    np.testing.assert_array_equal(tile, expected)
    assert set(texts(figure)) == {"input", "output", *"abcde", "Digits"}
    assert figure.get_size_inches()[0] <= plots.style.WIDTH + 0.01


def test_image_grid_renders_pixel_for_pixel():
    images = np.random.default_rng(0).random((1, 3, 16, 16, 1))
    figure = plots.image_grid(images)
    file = io.BytesIO()
    figure.savefig(file, format="rgba")
    width, height = np.round(figure.get_size_inches() * plots.images.GRID_DPI).astype(int)
    drawn = np.frombuffer(file.getvalue(), np.uint8).reshape(height, width, 4)[..., :3]
    np.testing.assert_array_equal(drawn, figure.axes[0].images[0].get_array())


def test_image_grid_survives_what_is_not_a_number():
    images = np.full((1, 2, 8, 8, 1), np.nan)
    images[0, 1] = 7.0
    mosaic = np.asarray(plots.image_grid(images).axes[0].images[0].get_array())
    assert mosaic[8, 8, 0] == 153 and mosaic[8, -8, 0] == 255


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda table: plots.curves(table, metrics=("elbow",)), "unknown metric 'elbow'; did you mean 'elbo'?"),
        (lambda table: plots.curves(table, x="betta"), "unknown column 'betta'; did you mean 'beta'?"),
        (lambda table: plots.summary(table[:0]), "no rows"),
        (lambda table: plots.rate_distortion(table[table["metric"] != "kl"]), "unknown metric 'kl'"),
        (lambda table: plots.kl_per_latent(table[table["metric"] == "kl"]), "no metric kl_latent_0"),
        (lambda table: plots.curves(table.assign(gamma=table["beta"], beta=1.0)), "choose one value of gamma first"),
        (lambda table: plots.summary(table.assign(beta=np.nan)), "no 'beta'"),
        (lambda _: plots.learning_curves(make_history(), metrics=("kll",)), "unknown metric 'kll'"),
        (lambda _: plots.image_grid(np.zeros((2, 8, 8, 1))), "must have shape"),
        (lambda _: plots.image_grid(np.zeros((2, 1, 8, 8, 1)), row_labels=["a"]), "1 row labels for 2 rows"),
    ],
)
def test_errors_are_one_clear_line(call, message):
    with pytest.raises(InputError) as error:
        call(make_table())
    assert message in str(error.value) and "\n" not in str(error.value)


def test_nothing_global_is_touched():
    script = (
        "import sys, matplotlib; before = matplotlib.rcParams.copy()\n"
        "import numpy as np; from vaejax import plots; plots.image_grid(np.zeros((1, 1, 8, 8, 1)))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert all(matplotlib.rcParams[name] == before[name] for name in before if name != 'backend')"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
