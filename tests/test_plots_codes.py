"""Codes against factors: what a latent is labelled with, and whether the figures show the numbers that they should."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from tests.test_plots import texts
from vaejax import plots
from vaejax.apply.label import information, label_latents
from vaejax.apply.traverse import data_values, prior_values
from vaejax.data.source import Column
from vaejax.errors import InputError
from vaejax.metrics import mig
from vaejax.plots import codes as figures
from vaejax.plots.traversals import short, traversal_gif, traversal_strip
from vaejax.report.pictures import in_order

RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(0, size, 4000) for size in (3, 6, 16)], axis=1)
NAMES = ("shape", "scale", "x")
pytestmark = pytest.mark.filterwarnings("error")


def frames_of(data):
    image = Image.open(io.BytesIO(data))
    frames = []
    for k in range(image.n_frames):
        image.seek(k)
        frames.append(np.asarray(image.convert("RGB")))
    return np.stack(frames), image.info


def test_a_code_that_is_a_factor_carries_all_of_it():
    z = FACTORS.astype(np.float32)
    np.testing.assert_allclose(np.diag(information(z, FACTORS)), 1.0, atol=1e-5)
    assert label_latents(z, FACTORS, NAMES) == ["z0 → shape (1.00)", "z1 → scale (1.00)", "z2 → x (1.00)"]
    swapped = -0.3 * z[:, [2, 0, 1]] + 5
    assert label_latents(swapped, FACTORS, NAMES) == ["z0 → x (1.00)", "z1 → shape (1.00)", "z2 → scale (1.00)"]


def test_the_share_is_limited_by_the_bins():
    """Twenty bins can't hold forty values: log 20 / log 40 of each pair of neighbours is told."""
    factor = np.tile(np.arange(40), 100)[:, None]
    assert information(factor.astype(np.float32), factor)[0, 0] == pytest.approx(np.log(20) / np.log(40), abs=1e-3)


@pytest.mark.parametrize("count", [300, 4000])
def test_noise_and_silent_codes_carry_nothing(count):
    """In 300 samples independent codes seem to tell a tenth of 40 values; that is no label."""
    factors = np.concatenate([FACTORS, RNG.integers(0, 40, (4000, 1))], axis=1)[:count]
    z = np.stack([RNG.standard_normal(count), np.full(count, 3.0), 1e-3 * factors[:, 2]], axis=1)
    assert label_latents(z, factors, [*NAMES, "angle"]) == ["z0 –", "z1 –", "z2 –"]
    assert label_latents(z, factors, [*NAMES, "angle"], active=0)[2] == "z2 → x (1.00)"
    assert count > 300 or information(z, factors)[0, 3] > 0.1


def test_shares_are_those_of_the_gap():
    """The mean over factors of the difference of the two largest shares is MIG."""
    z = FACTORS @ RNG.standard_normal((3, 5)) + RNG.standard_normal((4000, 5))
    shares = np.sort(information(z, FACTORS), axis=0)
    assert (shares[-1] - shares[-2]).mean() == pytest.approx(mig(z, FACTORS)["mig"], abs=1e-5)


def test_a_factor_that_never_varies_is_never_the_label():
    factors = np.concatenate([np.full((4000, 1), 7), FACTORS], axis=1)
    shares = information(FACTORS.astype(np.float32), factors)
    assert (shares[:, 0] == 0).all() and np.isfinite(shares).all()
    assert label_latents(FACTORS.astype(np.float32), factors, ["colour", *NAMES])[0] == "z0 → shape (1.00)"


@pytest.mark.parametrize("latents", [1, 4, 32])
def test_heatmap_shows_every_share_and_frames_the_best(latents):
    shares = RNG.random((latents, 3))
    shares[:, 1] = 0.01  # a factor that no code carries
    figure = plots.codes.mutual_information_heatmap(shares, NAMES, [f"z{j} –" for j in range(latents)], "β = 4")
    ax = figure.axes[0]
    said = texts(figure)
    assert {*NAMES, "z0 –", "β = 4"} <= set(said)
    np.testing.assert_allclose(ax.collections[0].get_array().reshape(latents, 3), shares)
    assert [text.get_text() for text in ax.texts] == [f"{share:.2f}" for share in shares.ravel()]
    framed = {(round(box.get_x()), round(box.get_y())) for box in ax.patches if isinstance(box, Rectangle)}
    assert framed == {(0, shares[:, 0].argmax()), (2, shares[:, 2].argmax())}


def test_two_models_side_by_side_share_one_scale():
    matrices = {"VAE": 0.5 * RNG.random((10, 4)), "β-VAE": RNG.random((6, 4))}
    figure = figures.mutual_information_heatmaps(matrices, ["width", "height", "size", "angle"])
    for ax, (name, matrix) in zip(figure.axes, matrices.items(), strict=False):
        assert ax.get_title(loc="left") == name
        np.testing.assert_allclose(ax.collections[0].get_array().reshape(matrix.shape), matrix)
        assert ax.collections[0].get_clim() == (0, 1)
    assert {"z9", "angle", "VAE", "β-VAE"} <= set(texts(figure))


def test_curves_are_means_with_bands():
    z = np.stack([FACTORS[:, 2] + RNG.standard_normal(4000), RNG.standard_normal(4000)], axis=1)
    figure = figures.factor_curves(z, FACTORS, NAMES, ["z4", "z1"], information(z, FACTORS))
    panels = np.array(figure.axes).reshape(2, 3)
    for (j, k), ax in np.ndenumerate(panels):
        values = np.unique(FACTORS[:, k])
        groups = [z[FACTORS[:, k] == value, j] for value in values]
        np.testing.assert_allclose(ax.lines[0].get_xydata(), np.stack([values, [g.mean() for g in groups]], axis=1))
        corners = ax.collections[0].get_paths()[0].vertices
        edge = corners[corners[:, 0] == values[-1], 1]
        np.testing.assert_allclose([edge.min(), edge.max()], np.percentile(groups[-1], [10, 90]))
    assert panels[0, 2].lines[0].get_alpha() == 1.0 > panels[1, 2].lines[0].get_alpha()
    assert {"shape", "scale", "x", "z4", "z1"} <= set(texts(figure))


def test_curves_of_many_latents_and_factors_can_be_drawn():
    names = ["object color", "camera height", "horizontal axis", "vertical axis", "background", "size", "shape"]
    figure = figures.factor_curves(RNG.standard_normal((200, 10)), RNG.integers(0, 4, (200, 7)), names)
    assert len(figure.axes) == 10 * 7 and "camera\nheight" in texts(figure)


@pytest.mark.parametrize(("side", "channels", "latents"), [(8, 1, 32), (28, 1, 10), (64, 3, 3), (128, 3, 2)])
def test_gif_goes_there_and_back_for_ever(side, channels, latents):
    images = np.linspace(0, 1, latents * 5)[::-1].reshape(latents, 5, 1, 1, 1) * np.ones((side, side, channels))
    data = traversal_gif(images, [f"z{j} → x (0.5)" for j in range(latents)], prior_values(5))
    frames, info = frames_of(data)
    assert len(frames) == 8 and info["loop"] == 0 and info["duration"] == 100 and len(data) < 1_500_000
    for step in (1, 2, 3):
        np.testing.assert_array_equal(frames[step], frames[-step])
    shown = plots.traversals.SIDE // side * side if latents < 12 else 88
    centre = frames[:, frames.shape[1] // -(-latents // 6) // 2, :, 0]  # through the first row of images
    left = next(x for x in range(centre.shape[1]) if (centre[:5, x] != 255).all()) + shown // 2
    np.testing.assert_allclose(centre[:5, left], 255 * images[0, :, 0, 0, 0], atol=6)  # a palette


def test_every_pixel_is_enlarged_by_a_whole_number():
    images = np.zeros((1, 2, 8, 8, 3))
    images[0, :, 2, 3] = 1, 0, 0
    frames, _ = frames_of(traversal_gif(images, ["z0"], [0, 1]))
    red = (frames[0] == (255, 0, 0)).all(axis=-1)
    rows, columns = np.nonzero(red)
    assert red.sum() == 16 * 16 == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert (frames[0, 0, 0] == 255).all() and (frames[0] == 0).all(axis=-1).sum() >= 63 * 256


def test_the_slider_moves_and_an_image_without_values_has_none():
    images = np.zeros((2, 3, 8, 8, 1))
    frames, _ = frames_of(traversal_gif(images, ["image", "z0"], [[np.nan] * 3, [-1, 0, 1]]))
    changed = (frames[0] != frames[2]).any(axis=-1)
    middle = frames.shape[2] // 2
    assert changed[:, middle:].any() and not changed[:, :middle].any()


def test_a_large_gif_gets_fewer_colours(monkeypatch):
    images = RNG.random((2, 4, 64, 64, 3))
    full = traversal_gif(images, ["a", "b"], prior_values(4))
    monkeypatch.setattr(plots.traversals, "LIMIT", len(full) - 1)
    assert len(traversal_gif(images, ["a", "b"], prior_values(4))) < len(full)


def test_an_image_that_is_not_a_number_is_grey():
    frames, _ = frames_of(traversal_gif(np.full((1, 2, 8, 8, 1), np.nan), ["z0"], [0, 1]))
    assert (np.abs(frames[0, 40, 60].astype(int) - 153) <= 3).all()


def test_the_strip_shows_images_labels_and_values():
    images = RNG.random((2, 3, 8, 8, 1))
    figure = traversal_strip(images, ["z1 –\n0.00 nats", "z0"], prior_values(3))
    assert {"z1 –\n0.00 nats", "z0", "−2", "0", "2"} <= set(texts(figure))
    mosaic, pixels = np.asarray(figure.axes[0].images[0].get_array()), np.round(255 * images[1, 2, ..., 0])
    scale = (mosaic.shape[0] - 12) // 16
    tile = mosaic[-4 - 8 * scale : -4, -4 - 8 * scale : -4]
    np.testing.assert_array_equal(tile[::scale, ::scale, 0], pixels)
    own = traversal_strip(images, ["z1 –\n0.00 nats", "z0"], [[-1.04, 0, 3], [0, 1, 2.5]])
    assert {"z1 –\n0.00 nats, −1 to 3", "z0\n0 to 2.5"} <= set(texts(own))


@pytest.mark.parametrize(("value", "text"), [(-2, "−2"), (-0.04, "0"), (0.25, "0.2"), (12.34, "12.3"), (-0.5, "−0.5")])
def test_values_are_short(value, text):
    assert short(np.float32(value)) == text


def test_ranges_are_the_priors_or_the_percentiles_of_the_data():
    np.testing.assert_allclose(prior_values(5), [-2, -1, 0, 1, 2])
    z = RNG.standard_normal((1000, 3)) * [1, 10, 0] + [0, 5, 2]
    values = data_values(jnp.asarray(z), 4)
    np.testing.assert_allclose(values[:, 0], np.percentile(z, 1, axis=0), rtol=1e-4)
    np.testing.assert_allclose(values[:, -1], np.percentile(z, 99, axis=0), rtol=1e-4)
    np.testing.assert_allclose(np.diff(values, axis=1), np.diff(values, axis=1)[:, :1].repeat(3, axis=1), atol=1e-5)


Z, SHARES, IMAGES = np.zeros((4, 2)), np.zeros((2, 3)), np.zeros((2, 3, 8, 8, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: information(Z, np.zeros((5, 3), int)), "information takes codes [N, D] and factors [N, K]"),
        (lambda: information(Z, np.zeros((4, 3))), "takes factors that are integers"),
        (lambda: information(Z * np.nan, np.zeros((4, 3), int)), "finite codes"),
        (lambda: label_latents(Z, np.zeros((4, 3), int), ["a"]), "1 names for 3 factors"),
        (lambda: figures.mutual_information_heatmaps({}, NAMES), "at least one matrix"),
        (lambda: figures.mutual_information_heatmap(SHARES, ["a"], ["z0", "z1"]), "[codes, factors], here [2, 1]"),
        (lambda: figures.factor_curves(Z, np.zeros((5, 3), int), NAMES), "have to have one N"),
        (lambda: figures.factor_curves(Z, np.zeros((4, 3), int), NAMES, ["z0"]), "1 labels for 3 factors and 2 codes"),
        (lambda: traversal_gif(IMAGES[0], ["a"], [0, 1]), "a traversal is images"),
        (lambda: traversal_gif(IMAGES, ["a"], [0, 1, 2]), "1 labels for 2 latents"),
        (lambda: traversal_gif(IMAGES, ["a", "b"], [0, 1]), "takes values [3] or [2, 3], not [2]"),
        (lambda: traversal_gif(IMAGES[:, :1], ["a", "b"], [0]), "at least 2 steps, not 1"),
        (lambda: traversal_strip(IMAGES, ["a", "b"], [0, 1]), "takes values [3] or [2, 3]"),
        (lambda: prior_values(1), "at least 2 steps, not 1"),
        (lambda: data_values(Z, 0), "at least 2 steps, not 0"),
    ],
)
def test_errors_are_one_clear_line(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value) and "\n" not in str(error.value)


def test_latents_are_in_the_order_of_their_factors():
    factor, share = np.array([1, -1, 0, 1, -1]), np.array([0.3, 0.02, 0.5, 0.6, 0.01])
    order = in_order(factor, share, rank=np.array([4, 3, 0, 1, 2]))
    assert order.tolist() == [2, 3, 0, 4, 1]


def test_traversals_stand_side_by_side():
    images = np.random.default_rng(0).random((2, 3, 4, 5, 6, 3))
    labels = (["hue, 81 %", "size, 20 %", "–"], ["size, 90 %", "–", "–"])
    figure = plots.traversals_beside({"β = 1": (images[0], labels[0]), "β = 16": (images[1], labels[1])})
    said = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert said == [["β = 1", *labels[0]], ["β = 16", *labels[1]]]
    first, second = (ax.get_position() for ax in figure.axes)
    assert first.x1 < second.x0 and first.y0 == second.y0
    with pytest.raises(InputError, match="2 labels for 3 latents"):
        plots.traversals_beside({"a": (images[0], ["x", "y"])})
    with pytest.raises(InputError, match="at least one model"):
        plots.traversals_beside({})


def test_rows_of_a_table_move_in_the_units_of_its_columns():
    columns = (
        Column("alcohol", "real", 13.0, 0.5),
        Column("still", "real"),
        Column("sort", "category", levels=("a", "b")),
    )
    rows = np.zeros((2, 5, 3))
    rows[0, :, 0], rows[1, :, 2] = np.linspace(-2, 2, 5), np.linspace(0, 1, 5)
    steps = np.linspace(-2, 2, 5)
    figure = plots.column_traversals(rows, ["z0", "z1"], steps, columns)
    panels = np.array(figure.axes).reshape(2, 3)
    assert [ax.get_title() for ax in panels[0]] == ["alcohol", "still", "sort"]
    np.testing.assert_allclose(panels[0, 0].lines[0].get_xydata(), np.stack([steps, 13 + 0.5 * steps], axis=1))
    np.testing.assert_allclose(panels[1, 2].lines[0].get_ydata(), np.linspace(0, 1, 5))
    many = plots.column_traversals(np.concatenate([rows] * 5, axis=2), ["z0", "z1"], steps, columns * 5)
    assert [ax.get_title() for ax in many.axes[:10]] == ["alcohol", "sort"] * 5  # those that move
    with pytest.raises(InputError, match=r"\[3 latents, T, 3 columns\], not \[2, 5, 3\]"):
        plots.column_traversals(rows, ["z0", "z1", "z2"], steps, columns)
    with pytest.raises(InputError, match="takes as many values"):
        plots.column_traversals(rows, ["z0", "z1"], steps[:3], columns)
