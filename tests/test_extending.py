"""What it takes to add a method, a metric, a source or a likelihood: the page's program, and the lines counted."""

import ast
import re
import sys
import types
from functools import cache

import numpy as np
import pytest

from tests.conftest import ROOT
from vaejax import METHODS, InputError, data, metrics
from vaejax.analysis import study, tables
from vaejax.data import SOURCES
from vaejax.data.records import RECORDS as RECORDS_OF_DATA
from vaejax.distributions.basic import LIKELIHOODS
from vaejax.metrics import METRICS, RECORDS, Metric

PAGE = (ROOT / "docs" / "extending.md").read_text()
LIBRARY = ROOT / "vaejax"
FIGURES = {"analysis/study.py", "analysis/findings.py", "analysis/tables.py", "plots/study.py"}  # names and colours
KNOWN = {  # what is built on these, or asks about them by name: no part of adding another
    "sprites": {"experiment.py"},  # what is trained on where nothing is named
    "digits": {"analysis/answers.py", "networks/quantizer.py"},  # of numbers
    "vae": {"metrics/baselines.py", "experiment.py"},  # of untrained weights; what is trained where nothing is named
    "mig": {"metrics/measure.py", "report/sweep.py", "analysis/answers.py"},  # is measured without being asked for
    "explicitness": {"metrics/downstream.py"},  # by its classifier
    "log_likelihood": {"metrics/evidence.py", "metrics/annealed_importance_sampling.py", "metrics/__init__.py"},
    "mmd": {"methods/wae_mmd.py", "methods/info_vae.py"},  # a loss of the same name
}


@cache
def program():
    """The blocks of the page, one after another, as a module."""
    module = types.ModuleType("extending")
    sys.modules["extending"] = module
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.S):
        exec(compile(block, "docs/extending.md", "exec"), module.__dict__)
    return module


@cache
def mentions(path):
    """The names and texts in a file, without docstrings and comments, with their lines."""
    tree = ast.parse(path.read_text())
    rooms = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree)
            if isinstance(node, rooms) and node.body and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            found.append((node.value, node.lineno))
        elif isinstance(node, ast.Name):
            found.append((node.id, node.lineno))
        elif isinstance(node, ast.alias):
            found.append((node.name, node.lineno))
    return found


def places(name, but=()):
    """File -> the lines of the library that mention this name, outside these files."""
    found = {}
    for path in sorted(LIBRARY.glob("**/*.py")):
        where = str(path.relative_to(LIBRARY))
        lines = {line for text, line in mentions(path) if text == name}
        if lines and where not in {*but, *FIGURES, *KNOWN.get(name, ())}:
            found[where] = len(lines)
    return found


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_a_file_and_a_line(name):
    """Methods that build on it apart."""
    found = {where: lines for where, lines in places(name).items() if not where.startswith("methods/")}
    assert not found and places(name)["methods/__init__.py"] == 1
    assert (LIBRARY / "methods" / f"{name}.py").exists()


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_a_file_and_a_line(name):
    file = {"two_sample_test": "two_sample"}.get(name, name)
    assert places(name, but={f"metrics/{file}.py"}) == {"metrics/records.py": 1}


@pytest.mark.parametrize("name", [name for name in LIKELIHOODS if name != "multinomial"])
def test_a_likelihood_is_a_file_and_two_lines(name):
    """Its import, its place in the table, and the kinds of data that can have it; mixed columns and corruptions have
    kinds of the same names."""
    found = places(name, but={"distributions/mixed.py", "distributions/spaces.py"})
    assert found.pop("distributions/basic.py") == 1
    assert name in ("bernoulli", "gaussian") or not found


@pytest.mark.parametrize("record", RECORDS_OF_DATA.values(), ids=list(RECORDS_OF_DATA))
def test_a_source_is_a_file_and_a_line(record):
    """Sources that build on it, and what streams it, apart."""
    name = record.make.__name__
    files = {str(path.relative_to(LIBRARY)) for path in LIBRARY.glob("data/*.py")} - {"data/records.py"}
    assert places(name, but=files) == {"data/records.py": 1}
    assert name not in {text for text, _ in mentions(LIBRARY / "data" / "__init__.py")}


def test_sources_follow_from_their_records():
    assert {name.rstrip(":") for name in SOURCES} >= {"rectangles", "npz", "digits"}
    for record in RECORDS_OF_DATA.values():
        assert SOURCES[record.prefix] is record.make is getattr(data, record.make.__name__)
        with pytest.raises(InputError, match=re.escape(record.name)):
            data.load("sprights-and-rectungles")


def test_what_is_exported_follows_from_the_tables():
    import vaejax

    assert set(METHODS) <= set(vaejax.methods.__all__) & set(vaejax.__all__)
    assert all(getattr(vaejax, name) is make for name, make in METHODS.items())
    assert set(METRICS) == set(RECORDS) <= set(metrics.__all__)


def test_records_and_figures_agree():
    """Labels, directions and ranges of the study's figures are those of the records."""
    known = {name: value for record in RECORDS.values() for name, value in record.values.items()}
    short = {key.removeprefix("info_mec_"): value for key, value in known.items() if key.startswith("info_mec_")}
    sampled = {"sampled_gaussian_total_correlation": known["gaussian_total_correlation"]._replace(
        label="Gaussian TC, sampled")}  # fmt: skip
    of_measure = set(tables.LABELS) - {"mig"}
    for name, label in {**study.SCORES, **study.MEASURES}.items():
        if name not in of_measure:
            assert {**short, **known, **sampled}[name].label == label, name
    for name in study.SCORES:
        value = {**short, **known}[name]
        assert value.better == "higher" and value.bounds == (0, 1), name
    for name, sign in study.CRITERIA.items():
        if name in known:
            assert {"higher": 1, "lower": -1}[known[name].better] == sign, name


@pytest.fixture(scope="module")
def page():
    return program()


def test_the_page_is_a_program(page):
    assert page.result.status == ["finished"] * 4
    wide = page.measured.pivot(index="metric", columns="run", values="value")
    assert np.isfinite(wide.loc[["elbo", "kl", "mig"]].to_numpy(float)).all()
    scores = page.scored.pivot(index="metric", columns="run", values="value").loc["correlation"]
    assert ((scores >= 0) & (scores <= 1)).all()


def test_a_metric_of_ones_own_is_that_of_each_run(page):
    rng = np.random.default_rng(0)
    factors, z = rng.integers(0, (3, 4), (50, 2)), rng.normal(size=(2, 50, 3))
    z[..., 0] += factors[:, 0]
    tidy = metrics.scores(z, factors, z, factors, z[:, :0], (), page.jax.random.key(0), metrics=[page.CORRELATION])
    found = tidy[tidy["metric"] == "correlation"]["value"]
    alone = [np.abs(np.corrcoef(run, factors, rowvar=False)[:3, 3:]).max(axis=0).mean() for run in z]
    np.testing.assert_allclose(found, alone, rtol=1e-5)


BAD = [
    ("a class", [int], "a metric is a name|has to be a name"),
    ("unknown name", ["migg"], "unknown metric 'migg'; did you mean 'mig'"),
    ("a record alone", Metric("own", np.mean, ("z",)), "has to be a list"),
    ("not of codes", [RECORDS["udr"]], "has to have a function"),
    ("a taken name", [Metric("mig", np.mean, ("z",))], "two metrics called 'mig'"),
    ("two of a name", [Metric("own", np.mean, ("z",)), Metric("own", np.std, ("z",))], "two metrics called 'own'"),
    ("a name with blanks", [Metric("my own", np.mean, ("z",))], "letters, digits and _"),
    ("a number for a name", [Metric(3, np.mean, ("z",))], "letters, digits and _"),  # pyright: ignore
    ("an unknown need", [Metric("own", np.mean, ("codes",))], "unknown need of the metric 'own' 'codes'"),
    ("a text for needs", [Metric("own", np.mean, "z")], "has to be a tuple"),  # pyright: ignore
    ("no needs", [Metric("own", np.mean, ())], "has to be a tuple"),
    ("a wrong direction", [Metric("own", np.mean, ("z",), better="up")], "'higher', 'lower' or None"),  # pyright: ignore
    ("many numbers", [Metric("own", lambda z: z, ("z",))], "has to give one number"),
    ("a text", [Metric("own", lambda z: "high", ("z",))], "has to give one number"),
    ("too few arguments", [Metric("own", lambda: 0.0, ("z",))], r"'own' fails when it is given \(z\): TypeError"),
    ("an error of its own", [Metric("own", lambda z: z @ z, ("z",))], "'own' fails when it is given"),
]


@pytest.mark.parametrize(("asked", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_metric_that_cannot_be_is_refused_in_one_line(asked, message):
    import jax

    z, factors = np.random.default_rng(0).normal(size=(1, 20, 3)), np.arange(40).reshape(20, 2) % 3
    with pytest.raises(InputError, match=message) as error:
        metrics.scores(z, factors, z, factors, z[:, :0], (), jax.random.key(0), metrics=asked)
    assert "\n" not in str(error.value) and len(str(error.value)) <= 400
