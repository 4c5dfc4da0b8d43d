"""Factors that depend on each other: drawn as their table says, and nothing that was removed is ever met."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaejax.data import correlated, excluding, is_rendered, load, rectangles, sprites
from vaejax.data.joint import _alias
from vaejax.data.source import factors_of, index_of
from vaejax.errors import InputError

N = 40_000
HEARTS_ON_THE_RIGHT = {"shape": [2], "x": range(16, 32)}


def drawn(source, n=N, seed=0):
    return np.asarray(jax.jit(source.sample_factors, static_argnums=1)(jax.random.key(seed), n))


def counts(factors, *sizes):
    return np.bincount(np.ravel_multi_index(factors.T, sizes), minlength=np.prod(sizes)).reshape(sizes)


def assert_fits(found, p):
    """Pearson's chi-square within five standard deviations; cells that are hardly ever drawn count as one."""
    expected = p * found.sum()
    rare = expected < 5
    found, expected = (np.append(a[~rare], a[rare].sum()) for a in (found, expected))
    known = expected > 0
    assert (found[~known] == 0).all()
    chi2 = ((found - expected)[known] ** 2 / expected[known]).sum()
    freedom = known.sum() - 1
    assert abs(chi2 - freedom) < 5 * np.sqrt(2 * freedom)


def gauss(m, n, sigma):
    """The paper's table, value by value."""
    table = np.array(
        [[np.exp(-((i / (m - 1) - j / (n - 1)) ** 2) / (2 * sigma**2)) for j in range(n)] for i in range(m)]
    )
    return table / table.sum()


# --- correlated ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.1, 0.4])
@pytest.mark.parametrize(("pair", "columns"), [(("x", "y"), (3, 4)), ((3, "scale"), (1, 3))])
def test_two_factors_follow_their_table(sigma, pair, columns):
    source = correlated(sprites(), pair, sigma)
    m, n = (source.sizes[k] for k in columns)
    p = gauss(m, n, sigma)
    np.testing.assert_allclose(source.joint.weights, p, atol=1e-12)
    assert source.joint.columns == columns
    assert_fits(counts(drawn(source)[:, columns], m, n), p)


def test_the_other_factors_are_uniform_and_independent():
    source = correlated(sprites(), ("x", "y"), 0.1)
    factors = drawn(source)
    assert_fits(counts(factors[:, :3], 3, 6, 40), np.full((3, 6, 40), 1 / 720))
    assert_fits(counts(factors[:, (0, 3)], 3, 32), gauss(32, 32, 0.1).sum(axis=1)[None] / np.full((3, 1), 3))


def test_the_table_is_symmetric_in_the_order_of_the_pair():
    one, other = (correlated(sprites(), pair, 0.3) for pair in (("x", "scale"), ("scale", "x")))
    np.testing.assert_array_equal(one.joint.weights, other.joint.weights)


@pytest.mark.parametrize("sigma", [1e6, float("inf")])
def test_a_large_sigma_is_independence(sigma):
    source = correlated(sprites(), ("x", "y"), sigma)
    np.testing.assert_allclose(source.joint.weights, 1 / 1024, rtol=1e-10)
    assert_fits(counts(drawn(source)[:, 3:], 32, 32), np.full((32, 32), 1 / 1024))


def test_a_tiny_sigma_is_equality_and_removes_nothing():
    source = correlated(sprites(), ("x", "y"), 1e-3)
    factors = drawn(source)
    assert (factors[:, 3] == factors[:, 4]).all()
    assert source.size == sprites().size and "kept" not in source.data


def test_sample_follows_and_at_is_the_whole_grid():
    base, source = rectangles(16), correlated(rectangles(16), ("width", "height"), 0.05)
    batch = jax.jit(source.sample, static_argnums=2)(source.data, jax.random.key(0), 2000)
    assert np.corrcoef(np.asarray(batch.factors[:, :2]).T)[0, 1] > 0.9
    np.testing.assert_array_equal(batch.x, source.render(batch.factors))
    index = jnp.asarray([0, 5, source.size - 1])
    assert source.size == base.size
    for mine, its in zip(source.at(source.data, index)[:2], base.at(base.data, index)[:2], strict=True):
        np.testing.assert_array_equal(mine, its)


def test_sample_and_sample_factors_draw_alike():
    source = correlated(rectangles(16), ("width", "height"), 0.2)
    key = jax.random.key(5)
    np.testing.assert_array_equal(source.sample(source.data, key, 50).factors, source.sample_factors(key, 50))


def test_sample_in_vmap_and_scan():
    source = correlated(rectangles(16), ("width", "height"), 0.2)
    keys = jax.random.split(jax.random.key(0), 3)

    @jax.jit
    def both(data, keys):
        scanned = jax.lax.scan(lambda carry, key: (carry, source.sample(data, key, 4).x), 0, keys)[1]
        return scanned, jax.vmap(lambda key: source.sample(data, key, 4).x)(keys)

    np.testing.assert_array_equal(*both(source.data, keys))


def test_another_sigma_is_other_data_for_the_same_functions():
    one, other = (correlated(sprites(), ("x", "y"), sigma) for sigma in (0.2, 0.3))
    assert one.sample is other.sample and one.at is other.at
    assert jax.tree.map(jnp.shape, one.data) == jax.tree.map(jnp.shape, other.data)


# --- excluding -------------------------------------------------------------------------------------------------------


def removed_by_hand(factors):
    return (factors[:, 0] == 2) & (factors[:, 3] >= 16)


def test_what_is_removed_is_never_drawn_and_the_rest_is_uniform():
    train = excluding(sprites(), HEARTS_ON_THE_RIGHT)
    factors = drawn(train)
    assert not removed_by_hand(factors).any()
    p = np.ones((3, 32))
    p[2, 16:] = 0
    assert_fits(counts(factors[:, (0, 3)], 3, 32), p / p.sum())
    assert_fits(counts(factors[:, (1, 4)], 6, 32), np.full((6, 32), 1 / 192))
    test = excluding(sprites(), HEARTS_ON_THE_RIGHT, split="test")
    assert removed_by_hand(drawn(test)).all()


def test_the_two_splits_are_the_whole():
    """Every combination is in exactly one split, once, in the order it had."""
    base = rectangles(16)
    where = [{"width": [0, 1], "angle": [3]}, {"size": range(3)}]
    parts = [excluding(base, *where, split=split) for split in ("train", "test")]
    factors = []
    for part in parts:
        batch = jax.jit(part.at)(part.data, jnp.arange(part.size))
        np.testing.assert_array_equal(batch.x[::97], base.render(batch.factors[::97]))
        factors.append(np.asarray(batch.factors))
    index = [np.ravel_multi_index(part.T, base.sizes) for part in factors]
    assert all((np.diff(part) > 0).all() for part in index)
    np.testing.assert_array_equal(np.sort(np.concatenate(index)), np.arange(base.size))
    w, _, s, a = factors[1].T
    assert (((w < 2) & (a == 3)) | (s < 3)).all() and len(w) == base.size // 2 + 2 * 8 * 3


def test_exclusions_and_correlations_multiply_in_any_order():
    base = sprites(16)
    one = correlated(excluding(base, HEARTS_ON_THE_RIGHT), ("x", "y"), 0.2)
    other = excluding(correlated(base, ("x", "y"), 0.2), HEARTS_ON_THE_RIGHT)
    assert one.size == other.size == excluding(base, HEARTS_ON_THE_RIGHT).size
    np.testing.assert_allclose(one.joint.weights, other.joint.weights)
    p = np.repeat(gauss(32, 32, 0.2)[None], 3, axis=0)
    p[2, 16:] = 0
    for source in (one, other):
        assert_fits(counts(drawn(source)[:, (0, 3, 4)], 3, 32, 32), p / p.sum())
    twice = correlated(correlated(base, ("x", "y"), 0.2), ("y", "scale"), 0.3)
    p = gauss(32, 32, 0.2)[None] * gauss(6, 32, 0.3)[:, None]
    assert_fits(counts(drawn(twice)[:, (1, 3, 4)], 6, 32, 32), p / p.sum())


def test_a_single_combination():
    source = excluding(rectangles(16), {0: [0], 1: [1], 2: [2], 3: [3]}, split="test")
    assert source.size == 1
    assert (drawn(source, 10) == [0, 1, 2, 3]).all()


# --- tables and numbers ----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=40))
def test_alias_tables_add_up_to_their_probabilities(weights):
    p = np.array(weights) / np.sum(weights)
    table = {key: np.asarray(value, float) for key, value in _alias(p).items()}
    assert ((table["accept"] >= 0) & (table["accept"] <= 1)).all()
    total = table["accept"] + np.bincount(table["alias"].astype(int), 1 - table["accept"], minlength=p.size)
    np.testing.assert_allclose(total / p.size, p, atol=1e-7)


@pytest.mark.parametrize("sizes", [(5,), (1, 7), (3, 1, 4), (2, 3, 4, 5, 6)])
def test_index_of_is_the_inverse_of_factors_of(sizes):
    index = jnp.arange(np.prod(sizes))
    np.testing.assert_array_equal(index_of(factors_of(index, sizes), sizes), index)


# --- names -----------------------------------------------------------------------------------------------------------


def test_names_load_what_they_say():
    source = load("sprites+correlated:x,y,0.2", size=16)
    assert source.name == "sprites+correlated:x,y,0.2" and source.shape == (16, 16, 1)
    np.testing.assert_array_equal(source.joint.weights, correlated(sprites(16), ("x", "y"), 0.2).joint.weights)
    assert load("sprites+correlated:x,y,0.2", "test", size=16).size == sprites().size

    name = "sprites+excluding:shape=2,x=16-31+excluding:scale=0/2-3+correlated:x,y,0.4"
    train, test = load(name, size=16), load(name, "test", size=16)
    assert (train.name, test.name) == (name, name.replace("+corr", " (test)+corr"))
    assert train.size + test.size == sprites().size
    again = excluding(sprites(16), HEARTS_ON_THE_RIGHT, {"scale": [0, 2, 3]})
    np.testing.assert_array_equal(train.data["kept"], again.data["kept"])
    assert load("rectangles+excluding:0=0", size=16).size == 7 * 8 * 6 * 16


def test_the_same_name_gives_the_same_functions():
    one, again = (load("rectangles+correlated:width,height,0.2", size=16) for _ in range(2))
    assert one.sample is again.sample and one.at is again.at


def test_genuine_dsprites_are_correlated(shared):
    source = load(f"dsprites:{shared / 'dsprites' / 'dsprites_downsampled.npz'}+correlated:x,y,0.1")
    batch = jax.jit(source.sample, static_argnums=2)(source.data, jax.random.key(0), 500)
    assert np.corrcoef(np.asarray(batch.factors[:, 3:]).T)[0, 1] > 0.8
    np.testing.assert_array_equal(batch.x, source.render(batch.factors))


def test_is_rendered():
    assert is_rendered("shapes3d") and is_rendered("sprites+correlated:x,y,0.2") and is_rendered("sprites+odd")
    assert not is_rendered("mnist") and not is_rendered("dsprites:a.npz+correlated:x,y,0.2")


BAD = {
    "sprites+correlated:x,z,0.2": "unknown factor of sprites 'z'; choose one of: orientation, scale, shape, x, y",
    "sprites+correlated:x,shap,0.2": "did you mean 'shape'",
    "sprites+correlated:x,5,0.2": "no 5",
    "sprites+correlated:x,x,0.2": "can't be correlated with itself",
    "sprites+correlated:x,3,0.2": "can't be correlated with itself",
    "sprites+correlated:x,y,0": "sigma has to be above 0",
    "sprites+correlated:x,y,-1": "sigma has to be above 0",
    "sprites+correlated:x,y,nan": "sigma has to be above 0",
    "sprites+correlated:x,y,much": "can't be read; write .correlated:FACTOR,FACTOR,SIGMA",
    "sprites+correlated:x,y": "can't be read",
    "sprites+correlated": "can't be read",
    "sprites+correlate:x,y,0.2": "unknown change of a source 'correlate'; did you mean 'correlated'",
    "sprites+excluding:": "can't be read; write .excluding:FACTOR=VALUES",
    "sprites+excluding:shape": "can't be read",
    "sprites+excluding:shape=heart": "can't be read",
    "sprites+excluding:shape=1,shape=2": "can't be read",
    "sprites+excluding:shape=1,0=2": "twice",
    "sprites+excluding:shape=3": "shape has the values 0 to 2; 3 can't be excluded",
    "sprites+excluding:x=9-3": "none can't be excluded",
    "sprites+excluding:shape=0-2": "no combination of factors is left; exclude less",
    "digits+correlated:x,y,0.2": "digits is no full grid of factors",
    "sprite+correlated:x,y,0.2": "unknown source 'sprite'; did you mean 'sprites'",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_names(name):
    with pytest.raises(InputError, match=BAD[name]) as caught:
        load(name)
    assert "\n" not in str(caught.value)


BAD_CALLS = {
    "three factors": (lambda: correlated(sprites(), ("x", "y", "scale"), 0.2), "two factors are correlated, not 3"),
    "a negative number": (lambda: correlated(sprites(), (-1, 0), 0.2), "no -1"),
    "nothing to exclude": (lambda: excluding(sprites()), "say what to exclude"),
    "an empty exclusion": (lambda: excluding(sprites(), {}), "say what to exclude"),
    "no values": (lambda: excluding(sprites(), {"shape": []}), "none can't be excluded"),
    "a fraction": (lambda: excluding(sprites(), {"shape": [0.5]}), "0.5 can't be excluded"),
    "another split": (lambda: excluding(sprites(), {"shape": [0]}, split="both"), "unknown split 'both'"),
    "nothing left": (lambda: excluding(excluding(sprites(), {0: [0]}), {0: [1, 2]}), "no combination .* is left"),
    "a split of a name": (lambda: load("sprites+excluding:shape=0", "both"), "unknown split"),
    "a window": (lambda: load("sprites+correlated:x,y,0.2", window=10), "takes no window"),
    "a size": (lambda: load("digits+correlated:x,y,0.2", size=8), "only rendered sources take a size"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls(case):
    call, message = BAD_CALLS[case]
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
