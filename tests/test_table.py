"""Tables: kinds that follow from the values, standardised columns and how that is undone, masks, labels and splits."""

import pickle
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import vaejax
from vaejax import Experiment, InputError, build, fit, grid, load_run
from vaejax.data import as_frame, csv, load, parquet, table
from vaejax.data.table import alone, described

FRAME = pd.DataFrame(
    {
        "height": [1.5, 2.0, np.nan, 4.5] * 5,
        "visits": [0, 7, 2, np.nan] * 5,
        "town": ["Ulm", "Aix", None, "Ulm"] * 5,
        "smokes": [True, False] * 10,
        "flag": [0, 1, 1, 0] * 5,
        "change": [-1, 3, 2, -4] * 5,
        "kind": ["b", "a"] * 10,
    }
)
KINDS = ("real", "count", "category", "unit", "unit", "real")


def rows(source):
    return source.at(source.data, jnp.arange(source.size))


def test_kinds_follow_from_the_values():
    source = table(FRAME, label="kind")
    assert source.space == vaejax.Space((6,), KINDS, (None, None, 2, None, None, None), 1)
    assert [column.name for column in source.columns] == list(FRAME.columns[:-1])
    assert source.columns[2].levels == ("Aix", "Ulm") and source.classes == ("a", "b")
    assert source.size == 18 and table(FRAME, "test", label="kind").size == 2


def test_the_values_are_those_of_the_frame():
    """Known numbers: every 10th row is for the test, and the training rows give the mean and the scale."""
    train = FRAME.drop(index=[0, 10])
    batch, held = rows(table(FRAME, label="kind")), rows(table(FRAME, "test", label="kind"))
    mean, scale = train["height"].mean(), train["height"].std(ddof=0)
    np.testing.assert_allclose(batch.x[:, 0], ((train["height"] - mean) / scale).fillna(0), rtol=1e-6)
    np.testing.assert_allclose(held.x[:, 0], [(1.5 - mean) / scale, 0], rtol=1e-6)
    real = np.asarray(batch.x[:, 0])[np.asarray(batch.mask[:, 0])]
    assert abs(real.mean()) < 1e-6 and abs(real.std() - 1) < 1e-6
    np.testing.assert_array_equal(batch.x[:, 1], train["visits"].fillna(0))
    np.testing.assert_array_equal(batch.x[:, 2], (train["town"] == "Ulm").astype(int))
    np.testing.assert_array_equal(batch.x[:, 3], train["smokes"])
    np.testing.assert_array_equal(batch.mask, train.drop(columns="kind").notna())
    np.testing.assert_array_equal(batch.label, (train["kind"] == "b").astype(int))


def test_a_frame_is_made_again():
    source = table(FRAME, label="kind")
    again = as_frame(source.data["x"], source.columns, source.data["mask"])
    known = FRAME.drop(index=[0, 10], columns="kind").reset_index(drop=True)
    np.testing.assert_allclose(again["height"], known["height"], rtol=1e-6)
    np.testing.assert_allclose(again["change"], known["change"], rtol=1e-6)
    assert again["town"].astype(object).where(again["town"].notna(), None).tolist() == [
        None if pd.isna(town) else town for town in known["town"]
    ]
    with pytest.raises(InputError, match=r"shape \[N, 6\]"):
        as_frame(np.zeros((3, 2)), source.columns)


@pytest.mark.parametrize("how", ["csv", "csv.gz", "semicolons", "tabs", "index", "parquet"])
def test_files_are_what_the_frame_is(tmp_path, how):
    file = tmp_path / f"t.{how}"
    if how == "parquet":
        FRAME.to_parquet(file)
    else:
        FRAME.to_csv(file, index=how == "index", sep={"semicolons": ";", "tabs": "\t"}.get(how, ","))
    kind = "parquet" if how == "parquet" else "csv"
    for split in ("train", "test"):
        wanted, found = table(FRAME, split, label="kind"), load(f"{kind}:{file}+label:kind", split)
        assert found.columns == wanted.columns and found.classes == wanted.classes and found.space == wanted.space
        jax.tree.map(np.testing.assert_array_equal, found.data, wanted.data)


def test_options_on_the_command_line_are_those_of_the_function(tmp_path):
    file = tmp_path / "t.csv"
    frame = FRAME.assign(fold=["train", "test", "train", "train", "train"] * 4)
    frame.to_csv(file, index=False)
    text = f"csv:{file}+label:kind+kinds:visits=real,flag=category+without:change,smokes+split_by:fold"
    found = load(text, "test")
    words = dict(label="kind", kinds={"visits": "real", "flag": "category"}, without=["change", "smokes"])
    wanted = csv(str(file), "test", **words, split_by="fold")
    assert found.columns == wanted.columns and found.size == 4
    assert [(column.name, column.kind) for column in found.columns] == [
        ("height", "real"), ("visits", "real"), ("town", "category"), ("flag", "category")]  # fmt: skip
    assert found.columns[3].levels == ("0", "1")
    assert load(f"csv:{file}+without:fold+test:0.25", "test").size == 5


def test_shares_of_rows_are_exact_and_evenly_spaced():
    frame = pd.DataFrame({"row": np.arange(100.0) + 0.5})
    for test, wanted in ((None, range(0, 100, 10)), (0.2, range(0, 100, 5)), ("1/3", range(0, 100, 3))):
        source = table(frame, "test", test=test)
        found = as_frame(source.data["x"], source.columns)["row"]
        np.testing.assert_allclose(found, np.array(wanted) + 0.5, rtol=1e-5)


def test_a_run_keeps_the_columns_and_goes_on(tmp_path):
    """Bit for bit, and a file that has changed is noticed, also where only its units have."""
    source, held = table(FRAME, label="kind"), table(FRAME, "test", label="kind")
    experiment, told = Experiment(source, "vae", seeds=1, steps=4, latents=2, width=8, test=held), []
    run = vaejax.run(experiment, tmp_path / "run", on_event=told.append)
    assert [event.stage for event in told] == ["data", "training", "measuring"] and "count visits" in told[0].text
    opened = load_run(tmp_path / "run", source=source, test=held)
    assert opened.columns == run.columns == source.columns and opened.config["classes"] == ["a", "b"]
    method = build("vae", source.space, latents=2, width=8)
    runs = grid(method.hyper, seeds=1)
    first = fit(method, source, runs, steps=4, batch_size=8, workdir=tmp_path / "fit")
    again = fit(method, pickle.loads(pickle.dumps(source)), runs, steps=4, batch_size=8, workdir=tmp_path / "fit")
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
    assert load_run(tmp_path / "fit").columns == source.columns
    for changed in (FRAME.assign(height=FRAME["height"] * 2), FRAME.assign(flag=1 - FRAME["flag"])):
        with pytest.raises(InputError, match="data"):
            fit(method, table(changed, label="kind"), runs, steps=4, batch_size=8, workdir=tmp_path / "fit")


@pytest.mark.parametrize(
    ("name", "rows_", "columns", "classes"),
    [("iris", 150, 4, 3), ("wine", 178, 13, 3), ("breast_cancer", 569, 30, 2), ("diabetes", 442, 10, 0)],
)
def test_the_tables_of_scikit_learn(name, rows_, columns, classes):
    train, test = load(name), load(name, "test")
    assert train.size + test.size == rows_ and train.shape == (columns,) and len(train.classes) == classes
    assert test.size == -(-rows_ // 10) and train.columns == test.columns
    real = [number for number, column in enumerate(train.columns) if column.kind == "real"]
    assert len(real) == columns - (name == "diabetes")
    x = np.asarray(rows(train).x)[:, real]
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(0), 1, atol=1e-5)
    for source in (train, test):
        assert classes == 0 or set(np.unique(rows(source).label).tolist()) == set(range(classes))


def test_irises_are_fishers():
    """Every flower is there with its species, by the means that are known of them."""
    parts = [load("iris", split) for split in ("train", "test")]
    frame = pd.concat([as_frame(part.data["x"], part.columns).assign(
        species=np.array(part.classes)[np.asarray(part.data["label"])]) for part in parts])  # fmt: skip
    means = frame.groupby("species")["petal length (cm)"].mean()
    np.testing.assert_allclose(means[["setosa", "versicolor", "virginica"]], [1.462, 4.26, 5.552], rtol=1e-5)


def but(**columns):
    return FRAME.assign(**columns)


def with_row(column, row, value):
    return FRAME.assign(**{column: [value if at == row else old for at, old in enumerate(FRAME[column])]})


TWICE = pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"])
BAD = {  # id: (call, part of the line)
    "an array": (lambda: table(np.zeros((3, 2))), "a table is a pandas DataFrame"),
    "no rows": (lambda: table(FRAME[:0]), "has 0 rows"),
    "one row": (lambda: table(FRAME[:1]), "has 1 rows"),
    "two columns of a name": (lambda: table(TWICE), "two columns 'a'"),
    "an unknown split": (lambda: table(FRAME, "valid"), "unknown split 'valid'"),
    "an unknown label": (lambda: table(FRAME, label="kimd"), "did you mean 'kind'"),
    "a label with a fraction": (lambda: table(FRAME, label="height"), "has 1.5 in row 0; a label is"),
    "a label of one class": (lambda: table(but(kind="a"), label="kind"), "has 1 classes"),
    "infinity": (lambda: table(with_row("change", 5, np.inf)), "column 'change' has inf in row 5"),
    "a negative count": (lambda: table(FRAME, kinds={"change": "count"}), "have -1 in row 0, column 'change'; a count"),
    "half a count": (lambda: table(FRAME, kinds={"height": "count"}), "have 1.5 in row 0, column 'height'; a count"),
    "a unit beyond 1": (lambda: table(FRAME, kinds={"visits": "unit"}), "have 7 in row 1, column 'visits'; unit"),
    "a real text": (lambda: table(FRAME, kinds={"town": "real"}), "has 'Ulm' in row 0, which is no number"),
    "an unknown kind": (lambda: table(FRAME, kinds={"town": "text"}), "unknown kind of column"),
    "a kind of no column": (lambda: table(FRAME, kinds={"twon": "real"}), "did you mean 'town'"),
    "a kind of the label": (lambda: table(FRAME, label="kind", kinds={"kind": "category"}), "takes no kind"),
    "kinds in a list": (lambda: table(FRAME, kinds=["real"]), "kinds takes a kind for some columns"),
    "without a number": (lambda: table(FRAME, without=[3]), "without takes names of columns"),
    "without any": (lambda: table(FRAME, without=list(FRAME)), "no columns left"),
    "a constant": (lambda: table(but(flag=1)), "column 'flag' is 1 in every training row"),
    "a constant text": (lambda: table(but(town="Ulm")), "column 'town' is Ulm in every training row"),
    "a constant in training": (lambda: table(but(flag=[1] + [0] * 9 + [1] + [0] * 9)), "'flag' is 0 in every training"),
    "nothing": (lambda: table(but(height=np.nan)), "column 'height' has no value at all"),
    "names": (lambda: table(pd.DataFrame({"a": [f"n{k}" for k in range(300)]})), "300 different values, more than 256"),
    "a text among numbers": (
        lambda: table(but(flag=[str(k) for k in range(19)] + ["none"])), "'none' in row 19 among numbers",
    ),
    "dates": (lambda: table(but(day=pd.Timestamp("2020-01-01"))), "column 'day' is of datetime64"),
    "lists": (lambda: table(but(flag=[[1]] * 20)), "in row 0; give numbers or texts"),
    "texts and numbers": (lambda: table(with_row("town", 3, 5)), "numbers and texts, such as 5"),
    "complex": (lambda: table(but(flag=1j)), "is of complex128"),
    "a share of 1": (lambda: table(FRAME, test=1.0), "above 0 and below 1"),
    "a share of text": (lambda: table(FRAME, test="some"), "has to be a share"),
    "a tiny share": (lambda: table(FRAME[:5].assign(kind="a"), "train", test=0.999), "would be in one split"),
    "two ways to split": (lambda: table(FRAME, split_by="kind", test=0.5), "leave test out"),
    "a split of others": (lambda: table(FRAME, split_by="kind"), "column 'kind' has b in row 0; a column of splits"),
    "no test rows": (lambda: table(but(kind="train"), split_by="kind"), "would be in one split"),
    "a name of a number": (lambda: table(FRAME, name=3), "name has to be a text"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_table_is_one_line(case):
    call, line = BAD[case]
    with pytest.raises(InputError) as error:
        call()
    text = str(error.value)
    assert line in text and text.isprintable() and len(text) <= 400, text


FILES = {  # id: (content, what stands behind the path, part of the line)
    "empty": (b"", "", "can't be read as CSV"),
    "a header alone": (b"a,b\n", "", "can't be read as CSV|has 0 rows"),
    "no text": (bytes(range(128, 255)), "", "can't be read as CSV"),
    "a long line": (b"a,b\n1,2\n1,2,3\n4,5\n", "", "can't be read as CSV .*line 3"),
    "two columns of a name": (b"a,a\n1,2\n3,4\n", "", "two columns 'a'"),
    "a column without a name": (b"a,\n1,2\n3,4\n", "", "column 1 has no name"),
    "a text among numbers": (b"a\n1\n2\n3\n?\n5\n", "", r"'\?' in row 3 among numbers"),
    "an unknown option": (b"a\n1\n2\n", "+label:a+colour:b", "unknown change of a source"),
    "an option without a text": (b"a\n1\n2\n", "+label:", r"write it once, as \+label:COLUMN"),
    "an option twice": (b"a\n1\n2\n", "+label:a+label:a", "write it once"),
    "kinds without a kind": (b"a\n1\n2\n", "+kinds:a", "can't be read; write"),
    "kinds twice": (b"a\n1\n2\n", "+kinds:a=real,a=count", "each column once"),
    "black and white": (b"a\n1.5\n2\n3\n", "+binarized", "can't be binarized"),
}


@pytest.mark.parametrize("case", FILES)
def test_what_is_no_csv_is_one_line(tmp_path, case):
    content, more, line = FILES[case]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=line) as error:
        load(f"csv:{tmp_path / 't.csv'}{more}")
    assert str(error.value).isprintable() and len(str(error.value)) <= 400


def test_what_is_no_parquet_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    for name, line in (("csv:none.csv", "no such file"), ("parquet:none", "no such file"),
                       (f"parquet:{tmp_path}/t.parquet", "can't be read as Parquet")):  # fmt: skip
        with pytest.raises(InputError, match=line):
            load(name)
    with pytest.raises(InputError, match="takes no window, because it is small"):
        load("csv:t.csv", window=5)
    monkeypatch.setattr(sys.modules["vaejax.data.parquet"], "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'vaejax\[parquet\]'"):
        parquet(str(tmp_path / "t.parquet"))


def test_columns_that_only_name_a_row_are_pointed_out(caplog):
    frame = pd.DataFrame({"id": range(60), "note": [f"text {n}" for n in range(60)], "kids": [0, 1, 2] * 20})
    with caplog.at_level("INFO", logger="vaejax"):
        source = table(frame.assign(income=np.linspace(1, 2, 60)))
    assert alone(source) == ["id", "note"]
    assert "nearly every row has its own id and note: leave out what only names a row" in caplog.text
    assert "own" not in described(table(frame.assign(income=np.linspace(1, 2, 60)), without=["id", "note"]))
