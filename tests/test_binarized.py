"""Binarised images: drawn with their grey values as probabilities, anew in training and once for all in testing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import savemat

from vaejax import InputError, build, fit, grid
from vaejax.data import Arrays, Factors, arrays, binarized, correlated, load

GREY = np.random.default_rng(0).integers(0, 256, (5, 3, 4)).astype(np.uint8)
quickly_compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
DRAW = quickly_compiled(lambda source, data, key: source(data, key, 4000), static_argnums=0)
AT = quickly_compiled(lambda at, data, index: at(data, index), static_argnums=0)


def test_a_sample_has_the_grey_values_as_probabilities_and_is_drawn_anew():
    grey = arrays("grey", GREY, label=np.arange(5))
    source = binarized(grey)
    assert (source.name, source.size, source.shape) == ("grey+binarized", 5, (3, 4, 1))
    batch = DRAW(source.sample, source.data, jax.random.key(0))
    assert set(np.unique(batch.x)) == {0, 1} and batch.x.dtype == jnp.float32
    for label in range(5):
        shown = np.asarray(batch.x)[np.asarray(batch.label) == label]
        error = 4.5 * np.sqrt(0.25 / len(shown))
        np.testing.assert_allclose(shown.mean(axis=0), AT(grey.at, grey.data, jnp.array([label])).x[0], atol=error)
    again = DRAW(source.sample, source.data, jax.random.key(0))
    other = DRAW(source.sample, source.data, jax.random.key(1))
    np.testing.assert_array_equal(again.x, batch.x)
    assert (other.x != batch.x).mean() > 0.2


def test_what_is_at_an_index_is_one_fixed_image():
    """Whatever it is asked for together with; and images whose pixels are the same have other noise."""
    source = binarized(arrays("half", np.full((300, 4, 4), 0.5)))
    whole = AT(source.at, source.data, jnp.arange(300)).x
    np.testing.assert_array_equal(AT(source.at, source.data, jnp.array([7, 299, 7])).x, whole[jnp.array([7, 299, 7])])
    assert set(np.unique(whole)) == {0, 1} and len(np.unique(whole, axis=0)) > 290
    np.testing.assert_allclose(whole.mean(), 0.5, atol=4.5 * 0.5 / np.sqrt(whole.size))


def test_black_and_white_stay_as_they_are():
    x = np.random.default_rng(1).integers(0, 2, (20, 3, 3)).astype(np.uint8)
    source = binarized(arrays("binary", x))
    np.testing.assert_array_equal(AT(source.at, source.data, jnp.arange(20)).x[..., 0], x)


@pytest.mark.parametrize("changes", ["", "+excluding:0=0", "+correlated:0,1,0.2", "+binarized+excluding:0=0"])
def test_a_source_with_factors_renders_what_is_at_an_index(changes):
    """Also where combinations were removed: an image is known by its factors, not by its place in the list."""
    source = load(f"shapes3d{changes}+binarized" if "binarized" not in changes else f"shapes3d{changes}", size=8)
    assert isinstance(source, Factors) and source.name.endswith("+binarized")
    batch = AT(source.at, source.data, jnp.array([0, 5, 70_000]))
    assert set(np.unique(batch.x)) == {0, 1}
    np.testing.assert_array_equal(quickly_compiled(source.render)(batch.factors), batch.x)
    whole = load("shapes3d+binarized", size=8)
    place = np.ravel_multi_index(np.asarray(batch.factors).T, source.sizes)
    np.testing.assert_array_equal(AT(whole.at, whole.data, jnp.asarray(place)).x, batch.x)


def test_a_binarised_source_may_be_changed_again():
    source = correlated(binarized(load("shapes3d", size=8)), (0, 1), 0.2)
    again = correlated(source, (1, 2), 0.2)
    for one in (source, again, correlated(binarized(correlated(load("shapes3d", size=8), (0, 1), 0.2)), (1, 2), 0.2)):
        assert set(np.unique(AT(one.at, one.data, jnp.arange(4)).x)) == {0, 1}


def test_names_load_and_give_the_same_functions():
    for name in ("digits", "sprites"):
        one, again = load(f"{name}+binarized"), load(f"{name}+binarized")
        assert one.sample is again.sample and one.at is again.at and one.name == f"{name}+binarized"
    assert load("digits+binarized", "test").size == 360


def test_any_method_trains_on_it():
    source = load("digits+binarized")
    method = build("vae", source.shape, "mlp", latents=2, width=8)
    result = fit(method, source, grid(method.hyper, 2), steps=10, batch_size=8)
    assert np.isfinite(result.history["loss"]).all()


def test_binarised_mnist_is_fixed_where_it_is_tested(shared):
    """Its mean is that of the grey images, and binarised digits are sharper than these."""
    grey = load("mnist", "test[:2000]", str(shared / "tfds"))
    source = load("mnist+binarized", "test[:2000]", str(shared / "tfds"))
    assert isinstance(source, Arrays) and source.shape == (28, 28, 1)
    index = jnp.arange(2000)
    x, expected = AT(source.at, source.data, index).x, AT(grey.at, grey.data, index).x
    assert set(np.unique(x)) == {0, 1}
    error = 4.5 * np.sqrt((expected * (1 - expected)).sum()) / expected.size
    np.testing.assert_allclose(x.mean(), expected.mean(), atol=error)
    assert (x[expected == 0] == 0).all() and (x[expected == 1] == 1).all()


BAD = {
    "digits+binarized+binarized": "binarized can't be read; write .binarized, and once only",
    "digits+binarized:0.5": "binarized:0.5 can't be read; write .binarized",
    "digits+binarized+correlated:x,y,0.2": "digits is no full grid of factors",
    "sprites+binarised": "unknown change of a source 'binarised'; did you mean 'binarized'",
    "digit+binarized": "unknown source 'digit'; did you mean 'digits'",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_names(name):
    with pytest.raises(InputError, match=BAD[name]) as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_a_window_is_refused():
    with pytest.raises(InputError, match="takes no window") as caught:
        load("mnist+binarized", window=100)
    assert "\n" not in str(caught.value)


# --- static MNIST ----------------------------------------------------------------------------------------------------

IMAGES = np.random.default_rng(3).integers(0, 2, (6, 784)).astype(np.uint8)


def lines(rows) -> bytes:
    return "".join(" ".join(map(str, row)) + " \n" for row in rows).encode()


@pytest.mark.parametrize("form", ["text", "windows", "matlab", "matlab doubles"])
def test_static_mnist_reads_both_forms(tmp_path, form):
    for split in ("train", "valid", "test"):
        file = tmp_path / f"binarized_mnist_{split}.amat"
        if form.startswith("matlab"):
            matrix = IMAGES.astype(float) if "doubles" in form else IMAGES
            savemat(tmp_path / "x.mat", {"data": matrix}, do_compression=True)
            (tmp_path / "x.mat").rename(file)
        else:
            file.write_bytes(lines(IMAGES).replace(b"\n", b"\r\n" if form == "windows" else b"\n"))
        source = load(f"static_mnist:{tmp_path}", split)
        assert isinstance(source, Arrays) and (source.shape, source.size) == ((28, 28, 1), 6)
        np.testing.assert_array_equal(AT(source.at, source.data, jnp.arange(6)).x.reshape(6, 784), IMAGES)


BAD_FILES = {
    "nothing": (b"", "doesn't hold rows of 784 zeros and ones"),
    "a grey value": (lines(IMAGES).replace(b"1", b"2", 1), "doesn't hold rows"),
    "a fraction": (lines(IMAGES).replace(b"1", b"0.5", 1), "doesn't hold rows"),
    "two digits": (lines(IMAGES).replace(b"1 ", b"1", 1), "doesn't hold rows"),
    "a short line": (lines(IMAGES[:, :783]), "doesn't hold rows"),
    "cut off": (lines(IMAGES)[:-300], "doesn't hold rows"),
    "broken MATLAB": (b"MATLAB 5.0 MAT-file" + bytes(300), "is corrupt .*copy it again"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_of_static_mnist(tmp_path, case):
    content, message = BAD_FILES[case]
    (tmp_path / "binarized_mnist_train.amat").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(f"static_mnist:{tmp_path}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "matrices",
    [{"a": IMAGES[:, :700]}, {"a": IMAGES * 2}, {"a": IMAGES, "b": IMAGES}, {"a": "text"}, {"a": IMAGES[:0]}],
    ids=["width", "values", "two", "text", "none"],
)
def test_other_matrices_are_refused(tmp_path, matrices):
    savemat(tmp_path / "x.mat", matrices)
    (tmp_path / "x.mat").rename(tmp_path / "binarized_mnist_train.amat")
    with pytest.raises(InputError, match="doesn't hold rows of 784 zeros and ones") as caught:
        load(f"static_mnist:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_missing_files_and_splits(tmp_path):
    for name, split, message in [
        (f"static_mnist:{tmp_path}", "train", "binarized_mnist_train.amat can't be read .No such file.*; give the fol"),
        ("static_mnist:", "train", "no folder given; put its path behind the colon"),
        (f"static_mnist:{tmp_path}", "validation", "unknown split of static_mnist 'validation'; did you mean 'valid'"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            load(name, split)
        assert "\n" not in str(caught.value)


def test_static_mnist_is_genuine(shared):
    """As many images as were published, whose mean is that of grey MNIST, and which look like digits."""
    folder = shared / "static_mnist"
    test, valid = load(f"static_mnist:{folder}", "test"), load(f"static_mnist:{folder}", "valid")
    assert test.size == valid.size == 10_000 and load(f"static_mnist:{folder}").size == 50_000
    x = AT(test.at, test.data, jnp.arange(10_000)).x
    assert set(np.unique(x)) == {0, 1}
    np.testing.assert_allclose(x.mean(), 0.1325, atol=0.002)  # of the 10,000 grey test images
    grey = load("mnist", "test", str(shared / "tfds"))
    means = [np.asarray(AT(source.at, source.data, jnp.arange(10_000)).x.mean(axis=0)) for source in (test, grey)]
    np.testing.assert_allclose(means[0], means[1], atol=0.03)  # the same images in the same orientation
