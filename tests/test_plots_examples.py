"""Examples are drawn as what their space says: pixels, lines, or rows of a table in its units."""

import numpy as np
import pytest

from vaejax import plots
from vaejax.data.source import Column
from vaejax.errors import InputError
from vaejax.method import Space

RNG = np.random.default_rng(0)
COLUMNS = (Column("age", "real", 40.0, 9.0), Column("pets", "count"), Column("town", "category", levels=("A", "B")))
TABLE = Space((3,), ("real", "count", "category"), (None, None, 2))
ROWS = np.array([[[1, 2, 0], [0, 1, 1]], [[0.5, 2.5, 0], [0, 1, 0]]], float)  # [original and remade, 2 examples, 3]


def words(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_images_are_pixels_and_one_row_is_enough():
    x = RNG.random((2, 3, 4, 5, 1))
    assert len(plots.examples((4, 5, 1), x, ["a", "b"]).axes[0].images) == 1
    one, same = (plots.examples((4, 5, 1), part).axes[0].images[0].get_array() for part in (x[0], x[:1]))
    np.testing.assert_array_equal(one, same)


def test_vectors_are_lines_of_one_scale_and_what_is_hidden_is_not_drawn():
    x = RNG.normal(size=(2, 3, 6))
    mask = np.ones(x.shape, bool)
    mask[0, 1, 2:4] = False
    figure = plots.examples(Space((6,), "real"), x, ["a", "b"], ["1", "2", "3"], mask=mask)
    panels = np.array(figure.axes).reshape(2, 3)
    drawn = panels[0, 1].lines[1].get_ydata()
    assert np.isnan(drawn).tolist() == [False, False, True, True, False, False]
    np.testing.assert_allclose(drawn[[0, 5]], x[0, 1, [0, 5]], rtol=1e-6)
    assert len({ax.get_ylim() for ax in panels.ravel()}) == 1


def test_a_table_has_its_units_names_and_gaps():
    mask = np.ones(ROWS.shape, bool)
    mask[0, 1, 0] = False
    said = words(plots.examples(TABLE, ROWS, ["original", "β = 1"], columns=COLUMNS, mask=mask))
    assert said[0] == "age" and said[1:5] == ["49", "44.5", "–", "40"]
    assert said[5:10] == ["pets", "2", "2.5", "1", "1"] and said[10:15] == ["town", "A", "A", "B", "A"]
    assert said[15:] == ["1  original", "1  β = 1", "2  original", "2  β = 1"]
    assert words(plots.examples(TABLE, ROWS))[0] == "0 (real)"  # kinds, where there are no names


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: plots.examples((4, 4, 1), np.zeros((2, 3, 5, 4, 1))), r"\[rows, cols, 4, 4, 1\] or \[cols, 4, 4, 1\]"),
        (lambda: plots.examples((6,), np.zeros((0, 6))), r"not \[1, 0, 6\]"),
        (lambda: plots.examples((6,), np.zeros((2, 3, 6)), ["a"]), "1 row labels for 2 rows"),
        (lambda: plots.examples((6,), np.zeros((2, 3, 6)), None, ["a"]), "1 column labels for 3 columns"),
        (lambda: plots.examples((6,), np.zeros((2, 3, 6)), mask=np.ones((2, 3))), "has the same shape"),
        (lambda: plots.examples((5, 6), np.zeros((2, 3, 5, 6))), "can't be drawn yet"),
        (lambda: plots.examples(TABLE, ROWS, columns=COLUMNS[:2]), "2 columns for examples of 3"),
    ],
)
def test_what_does_not_fit_is_one_line(call, line):
    with pytest.raises(InputError, match=line):
        call()
