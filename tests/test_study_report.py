"""A study's tables, sentences and page say what its runs say, and say in one line what they can't."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Drawing

from tests.test_report import Elements
from vaejax.analysis import findings
from vaejax.analysis import study as tables
from vaejax.errors import InputError
from vaejax.plots import study as plots
from vaejax.report import Figure
from vaejax.report.study import write_study

RESAMPLES = 200
CORRELATED = "sprites+correlated:x,y,0.2"
LEVEL = {
    "vae": 0.2,
    "beta_vae": 0.21,
    "factor_vae": 0.4,
    "autoencoder": 0.15,
    "random_encoder": 0.02,
    "true_factors": 1,
}
STRENGTHS = {method: ("", [np.nan]) for method in LEVEL}
STRENGTHS |= {"beta_vae": ("beta", [2.0, 4.0]), "factor_vae": ("gamma", [10.0, 20.0, 40.0])}

pytestmark = pytest.mark.filterwarnings("error")


def make_study(seeds=6, sources=("sprites", CORRELATED), methods=tuple(STRENGTHS), noise=0.02):
    """FactorVAE is 0.2 better than the VAE and lowers the total correlation; correlated factors cost 0.1."""
    rng, rows, run = np.random.default_rng(0), [], 0
    for source in sources:
        for method in methods:
            name, strengths = STRENGTHS[method]
            for step, strength in enumerate(strengths):
                for seed in range(seeds):
                    level = LEVEL[method] - (
                        0.1 if "+" in source and method not in ("true_factors", "random_encoder") else 0
                    )
                    spread = 0 if method == "true_factors" else noise
                    values = {
                        "mig": level + spread * rng.normal(),
                        "dci_disentanglement": level + spread * rng.normal(),
                    }
                    values |= {"downstream_100": level, "samples_train": 100.0, "kl_latent_0": 1.0}
                    values |= {"gaussian_total_correlation": 3.0 - step - (name != "") + 0.1 * rng.normal()}
                    if method in ("vae", "beta_vae", "factor_vae"):
                        kl, distortion = 20 - step + rng.normal(), 60 + 5 * step + rng.normal()
                        values |= {"elbo": -kl - distortion, "reconstruction": distortion, "kl": kl}
                        values |= {"active_units": 8.0 - step, "udr": values["mig"] / 2}
                    rows += [(run, source, method, name, strength, seed, key, v) for key, v in values.items()]
                    run += 1
    return pd.DataFrame(rows, columns=list(tables.COLUMNS))


def diverge(table, method, seed):
    table = table.copy()
    bad = (table["method"] == method) & (table["seed"] == seed)
    table.loc[bad, "value"] = np.where(table.loc[bad, "metric"] == "active_units", 0.0, np.nan)
    return table


@pytest.fixture(scope="module")
def table():
    return make_study()


@pytest.fixture(scope="module")
def study(table):
    return tables.scores(table, "sprites")


def test_scores_are_in_order(table, study):
    assert [str(setting) for setting in study.settings] == [
        "VAE", "β-VAE (β = 2)", "β-VAE (β = 4)", "FactorVAE (γ = 10)", "FactorVAE (γ = 20)", "FactorVAE (γ = 40)",
        "Autoencoder", "Random encoder", "True factors",
    ]  # fmt: skip
    assert list(study.values)[:3] == ["mig", "dci_disentanglement", "downstream_100"]
    assert "samples_train" not in study.values and "kl_latent_0" not in study.values
    shuffled = tables.scores(table.sample(frac=1, random_state=1), "sprites")
    assert shuffled.settings == study.settings
    np.testing.assert_array_equal(shuffled.values["mig"], study.values["mig"])
    rows = table[(table["source"] == "sprites") & (table["strength"] == 20.0) & (table["metric"] == "mig")]
    np.testing.assert_array_equal(study.values["mig"][4], rows.sort_values("seed")["value"])
    assert np.isnan(study.values["elbo"][6:]).all() and not study.lost.any()
    assert study.variational().methods == ["vae", "beta_vae", "factor_vae"]


def test_diverged_runs_are_left_out(table):
    study = tables.scores(diverge(table, "beta_vae", 2), "sprites")
    assert study.lost.sum() == 2 and study.lost[1:3, 2].all()
    assert np.isnan(study.values["active_units"][1, 2])
    summary = tables.summary(study, ["mig"], RESAMPLES)
    assert list(summary["Runs"])[:3] == ["6", "1 of 6 runs diverged", "1 of 6 runs diverged"]
    assert findings.lost(study) == "2 runs diverged and are left out: 2 of β-VAE."
    alone = tables.scores(diverge(table[table["seed"] == 2], "beta_vae", 2), "sprites")
    assert list(tables.summary(alone, ["mig"], RESAMPLES)["MIG"])[1] == "diverged"


def test_bad_tables_are_refused(table):
    with pytest.raises(InputError, match="its sources are: sprites"):
        tables.scores(table, "shapes")
    with pytest.raises(InputError, match="unknown column 'seed'"):
        tables.scores(table.drop(columns="seed"), "sprites")
    with pytest.raises(InputError, match="two runs of 'vae' on 'sprites' share"):
        tables.scores(pd.concat([table, table[table["method"] == "vae"]]), "sprites")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (tables.spread(0.314, 0.2, 0.4), "0.31 [0.20, 0.40]"),
        (tables.spread(-0.1, -0.2, 0.05, signed=True), "−0.10 [−0.20, +0.05]"),
        (tables.spread(0.5, np.nan, np.nan), "0.50"),
        (tables.spread(-123.4, -12.34, 1.234), "−123 [−12.3, 1.23]"),
        (tables.number(np.nan), "–"),
    ],
)
def test_numbers_as_text(text, expected):
    assert text == expected


def test_best_of_methods_and_differences(study):
    table = tables.best_of_methods(study, ["mig"], RESAMPLES).set_index("method")
    mig = study.values["mig"]
    assert table.loc["vae", "mean"] == pytest.approx(mig[0].mean()) and np.isnan(table.loc["vae", "difference"])
    factor = table.loc["factor_vae"]
    assert factor["difference"] == pytest.approx(factor["mean"] - mig[0].mean())
    assert factor["difference_low"] > 0.1 and factor["strengths"].startswith("γ = ")
    assert (table.loc["true_factors", ["mean", "low", "high"]] == 1.0).all()
    single = tables.differences(study, ["mig"], RESAMPLES).set_index("setting")
    assert len(single) == 5
    setting = study.settings[4]
    assert single.loc[[setting], "value"].iloc[0] == pytest.approx((mig[4] - mig[0]).mean())


def test_a_single_run_is_compared_as_fixed():
    gap = tables.difference(np.array([1.0, np.nan, np.nan]), np.array([0.1, 0.2, 0.3]), RESAMPLES)
    assert (float(gap.value), float(gap.low), float(gap.high)) == pytest.approx((0.8, 0.7, 0.9))
    nothing = tables.difference(np.array([1.0, np.nan]), np.array([np.nan, 2.0]), RESAMPLES)
    assert np.isnan(nothing.value)


def test_selection_by_the_score_itself_finds_the_best(study):
    table = tables.selection(study.variational(), "mig", resamples=RESAMPLES).set_index(["criterion", "method"])
    for method in ("all", "vae", "factor_vae"):
        row = table.loc[("udr", method)]
        assert row["rho"] == pytest.approx(1.0) and row["chosen"] == row["best"] > row["mean"]
    assert np.isnan(table.loc[("udr", "vae"), "rho_low"]) and table.loc[("udr", "all"), "rho_low"] > 0.9


def test_chances_of_method_and_strength(study):
    table = tables.chances(study.variational(), ["mig", "gaussian_total_correlation"], RESAMPLES)
    rows = table.set_index(["choice", "metric"])
    assert set(table["choice"]) == {"method", "beta_vae", "factor_vae"}
    assert tuple(rows.loc[("method", "mig")]) == (1.0, 1.0, 1.0)
    assert rows.loc[("factor_vae", "gaussian_total_correlation"), "chance"] == 1.0
    row = rows.loc[("factor_vae", "mig")]
    assert row["low"] < 0.5 < row["high"]


def test_the_effect_of_a_source_is_paired_by_seed(table, study):
    moved = table[table["source"] == "sprites"].assign(source="sprites+correlated:x,y,0.1")
    moved["value"] -= 0.1
    found, metrics = tables.effect_of_source(study, tables.scores(moved, moved["source"].iloc[0]), ["mig", "sap"])
    assert metrics == ["mig"] and len(found) == 6
    np.testing.assert_allclose(found[["difference", "difference_low", "difference_high"]], -0.1)


def test_shares_and_correlations(study):
    part = study.variational()
    shares = tables.shares(part, ["mig", "gaussian_total_correlation", "active_units"], RESAMPLES)
    assert shares["mig"].value[0] > 0.9 and shares["active_units"].value[2] == pytest.approx(0.0, abs=1e-9)
    for share in shares.values():
        assert share.value.sum() == pytest.approx(1.0)
    rho = tables.correlations(part, ["mig", "udr", "kl"], RESAMPLES)
    assert rho.value[0, 1] == pytest.approx(1.0) and rho.value[2, 0] == rho.value[0, 2]


def test_answers_say_what_is_there(table):
    text = "\n".join(findings.answers(table, resamples=RESAMPLES))
    assert "FactorVAE separates the factors better than the VAE, in MIG and DCI disentanglement: by +0.19 [" in text
    assert "Without choosing, 3 of 5 single settings beat it so: FactorVAE (γ = 10), FactorVAE (γ = 20)" in text
    assert "For β-VAE an interval includes or lies below zero" in text
    assert re.search(
        r"falls with β-VAE \(ρ = \S+ \[\S+ \S+ at every step\) and FactorVAE \(ρ = \S+ \[\S+ \S+ at every step\)", text
    )
    assert "The true factors score at least 0.99 in 3 of 3 scores." in text
    assert "The random encoder is the lowest in 3 of 3 scores." in text
    assert f"On {CORRELATED} against sprites, MIG is lower for 3 and higher for 0 of 3 methods" in text
    assert "seeds, even" not in text


def test_answers_are_cautious(table):
    same = table.copy()
    same.loc[same["method"] == "factor_vae", "value"] = table.loc[table["method"] == "factor_vae", "value"].where(
        ~table["metric"].isin(["mig", "dci_disentanglement"]), table["value"] - 0.2
    )
    same.loc[(same["method"] == "autoencoder"), "value"] -= 1.0
    text = "\n".join(findings.answers(same[same["seed"] < 3], resamples=RESAMPLES))
    assert "No method beats the VAE in MIG and DCI disentanglement with intervals above zero" in text
    assert "something else is lower in MIG (Autoencoder)" in text
    assert "With 3 seeds, even where there is no difference" in text and "about 1 of 4 cases" in text
    one = "\n".join(findings.answers(table[table["seed"] == 0], resamples=RESAMPLES))
    assert "There is one seed: no interval" in one and "[" not in one.replace(CORRELATED, "")


def shown(**levels):
    """A study of six seeds in which methods have these levels, almost without noise."""
    made = make_study(sources=("sprites",), methods=("vae", "factor_vae", "random_encoder"), noise=0.001)
    pca = made[made["method"] == "random_encoder"].assign(method="pca", run=lambda t: t["run"] + 1000)
    made = pd.concat([made, pca], ignore_index=True)
    scored = made["metric"].isin(["mig", "dci_disentanglement"])
    for method, level in levels.items():
        rows = scored & (made["method"] == method)
        made.loc[rows, "value"] += level - made.loc[rows, "value"].mean()
    return made


def test_models_that_have_learned_nothing_say_so_first():
    levels = {"vae": 0.03, "factor_vae": 0.035, "random_encoder": 0.03, "pca": 0.06}
    first = findings.answers(shown(**levels), resamples=RESAMPLES)[0]
    assert first.startswith("These models have learned nothing yet") and "for PCA. Train them longer first" in first
    assert "0.03 for an untrained encoder and 0.06 for PCA" in first
    for better in ({"factor_vae": 0.08}, {"pca": 0.01}):
        first = findings.answers(shown(**levels | better), resamples=RESAMPLES)[0]
        assert "learned nothing" not in first


def test_no_headline_of_few_seeds_or_a_small_difference():
    levels = {"vae": 0.2, "factor_vae": 0.21, "random_encoder": 0.03, "pca": 0.06}
    first = findings.answers(shown(**levels), resamples=RESAMPLES)[0]
    assert "No method is called better than the VAE" in first and "less than 0.015 is nothing" in first
    assert "nearest is FactorVAE, +0.01 [" in first
    clear = shown(**levels | {"factor_vae": 0.3})
    assert "FactorVAE separates the factors better" in findings.answers(clear, resamples=RESAMPLES)[0]
    few = findings.answers(clear[clear["seed"] < 4], resamples=RESAMPLES)[0]
    assert "since 4 seeds are too few; nearest is FactorVAE, +0.1" in few


def test_every_run_is_a_dot(study):
    figure = plots.distributions(study, ["mig", "elbo"], tables.means(study, RESAMPLES))
    figure.savefig(io.BytesIO(), dpi=30)
    dots = figure.axes[0].collections[0].get_offsets()
    np.testing.assert_array_equal(np.sort(dots[:, 1]), np.sort(study.values["mig"].ravel()))
    lines = figure.axes[0].collections[2].get_segments()
    np.testing.assert_allclose([line[0, 1] for line in lines], study.values["mig"].mean(axis=1))
    names = [text.get_text() for text in figure.axes[0].texts]
    assert "FactorVAE, γ" in names and "↑\n1.00" in names


def test_methods_have_one_colour():
    colours = plots.method_colours(["vae", "new_one", "another"])
    assert colours["vae"] == plots.COLOURS["vae"] and len(set(colours.values())) == len(colours)


def drawing():
    figure = Drawing(figsize=(2, 2))
    figure.add_subplot().plot([1, 2])
    return figure


def write(folder, table):
    page = write_study(
        folder, table, traversals={"VAE": [Figure(drawing(), "Best."), Figure(drawing(), "Worst.")]}, mixing={},
        question="Does it?", command="python -m x", facts={"Steps": "100"}, resamples=RESAMPLES,
    )  # fmt: skip
    return page.read_text()


def test_the_page(tmp_path, table):
    page = write(tmp_path, diverge(table, "beta_vae", 1))
    elements = Elements(page)
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == ["Findings", "Methods", "Every run", "Variance", "Seed or choice", "Selection", "Metrics",
                        "Correlated factors", "Traversals", "Mixing"]  # fmt: skip
    assert sum(tag == "figcaption" for tag, _ in elements.elements) == 12
    assert page.count("Left out:") == 1 and "Left out: no runs on width" in page
    assert "FactorVAE separates the factors" in page and "+0.2" in page
    assert "nan" not in re.sub(r"base64,[^\"]*|<svg.*?</svg>", "", page, flags=re.DOTALL)
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {
        "methods.png", "every-run_1.png", "every-run_2.png", "variance.png", "seed-or-choice.png", "selection_1.png",
        "selection_2.png", "metrics_1.png", "metrics_2.png", "correlated-factors.png", "traversals_vae_1.png",
        "traversals_vae_2.png",
    }  # fmt: skip


SMALL = {
    "one seed": (lambda table: table[table["seed"] == 0], {"Variance", "Seed or choice"}),
    "one method": (
        lambda table: table[(table["method"] == "vae") & (table["source"] == "sprites")],
        {"Methods", "Variance", "Seed or choice", "Correlated factors"},
    ),
    "baselines only": (
        lambda table: table[table["method"].isin(["autoencoder", "true_factors"])],
        {"Findings", "Variance", "Seed or choice", "Selection", "Metrics"},
    ),
    "no scores": (
        lambda table: table[table["metric"].isin(["elbo", "kl", "reconstruction"])],
        {"Findings", "Methods", "Seed or choice", "Selection", "Metrics", "Correlated factors"},
    ),
    "unknown names": (
        lambda table: table.assign(method=table["method"] + "2", metric=table["metric"].replace("mig", "gap")),
        set(),
    ),
    "everything diverged": (
        lambda table: table.assign(value=np.nan),
        {
            "Methods",
            "Every run",
            "Variance",
            "Seed or choice",
            "Selection",
            "Metrics",
            "Correlated factors",
        },
    ),
}


@pytest.mark.parametrize("kind", SMALL)
def test_what_cannot_be_shown_is_left_out_in_one_line(tmp_path, table, kind):
    change, expected = SMALL[kind]
    page = write(tmp_path, change(table[table["seed"] < 3]))
    parts = re.findall(r"<h2>(.*?)</h2>(.*?)(?=<h2>|</main>)", page, flags=re.DOTALL)
    assert {title for title, inside in parts if "Left out:" in inside} == expected | {"Mixing"}


def lost(table, where):
    """The table after the runs at these rows diverged."""
    return table.assign(value=table["value"].mask(where(table) & (table["metric"] != "active_units")))


@pytest.mark.parametrize(
    ("where", "says", "not_said"),
    [
        (lambda t: t["run"] >= 0, "trained runs diverged: there is nothing to compare. A lower learning", "seeds"),
        (lambda t: t["method"] == "vae", "can't be said: every run of the VAE diverged", "No method beats"),
        (lambda t: t["seed"] > 0, "There is one seed: no interval", "With 3 seeds"),
        (lambda t: (t["method"] != "beta_vae") | (t["strength"] != 4), "can't be said", "explain"),
    ],
    ids=["all", "the reference", "all but one seed", "all but one setting"],
)
def test_findings_are_of_the_runs_that_are_left(table, where, says, not_said):
    found = findings.answers(lost(table[table["seed"] < 3], where), "sprites", resamples=20)
    text = " ".join(found)
    assert says in text and not_said not in text and "nan" not in text and "0.00, 0.00]" not in text


def test_of_one_run_nothing_is_chosen_and_nothing_explained(table):
    one = table[(table["method"] == "vae") & (table["seed"] == 0) & (table["source"] == "sprites")]
    (text,) = findings.answers(one, resamples=20)
    assert text.startswith("There is one seed")


def test_several_sources_are_tabs(tmp_path, table):
    small = table[table["metric"].isin(["mig", "udr"]) & (table["seed"] < 3)]
    page = write(tmp_path, pd.concat([small, small.assign(source="shapes3d").query("method != 'beta_vae'")]
                                     ).drop_duplicates(["source", "method", "strength", "seed", "metric"]))  # fmt: skip
    assert page.count('<h3 class="label">shapes3d</h3>') == 8
    assert "the study has no correlated variant of shapes3d" in page
