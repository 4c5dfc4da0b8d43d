"""What a page says of a sweep: differences within seeds, choices that other seeds make, and what stays undecided."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vaejax.analysis import pairs
from vaejax.analysis.answers import trade_off


def swept(mig, dci=None, **same):
    """A tidy table: for every beta a list of values over seeds, of MIG and DCI; what is the same for all runs of it."""
    rows, run = [], 0
    for beta, values in mig.items():
        for seed, value in enumerate(values):
            found = {"mig": value, "elbo": -100.0 - beta, "reconstruction": 80.0 + 2 * beta, "kl": 20.0 / beta}
            found |= {"dci_disentanglement": dci[beta][seed]} if dci else {}
            found |= {"active_units": 10.0 - beta / 4, **{f"kl_latent_{j}": 1.0 for j in range(10)}, **same}
            rows += [{"run": run, "beta": beta, "seed": seed, "metric": k, "value": v} for k, v in found.items()]
            run += 1
    return pd.DataFrame(rows)


CLEAR = {1.0: [0.05, 0.04, 0.06, 0.05, 0.03], 16.0: [0.30, 0.31, 0.28, 0.25, 0.35]}
SAME = {1.0: [0.05, 0.04, 0.06, 0.05, 0.03], 16.0: [0.06, 0.03, 0.05, 0.07, 0.02]}


def test_a_change_is_the_paired_t_interval():
    found = pairs.change(swept(CLEAR), "beta", "mig", 16.0, 1.0)
    gaps = np.subtract(CLEAR[16.0], CLEAR[1.0])
    low, high = stats.ttest_rel(CLEAR[16.0], CLEAR[1.0]).confidence_interval(0.95)
    assert found is not None and found.decided
    assert (found.difference, found.low, found.high) == pytest.approx((gaps.mean(), low, high))
    assert (found.agree, found.seeds, found.mean, found.base) == (5, 5, pytest.approx(0.298), pytest.approx(0.046))


def test_a_seed_that_diverged_in_one_setting_has_no_difference():
    table = swept(CLEAR)
    table.loc[(table["run"] == 0), "value"] = np.nan
    found = pairs.change(table, "beta", "mig", 16.0, 1.0)
    assert found is not None and found.seeds == 4 and not found.decided  # fewer than enough
    assert found.difference == pytest.approx(np.subtract(CLEAR[16.0], CLEAR[1.0])[1:].mean())


def test_the_best_setting_is_judged_by_seeds_that_did_not_choose_it():
    rng = np.random.default_rng(0)
    noise = {float(beta): rng.normal(0.2, 0.1, 5).tolist() for beta in (1, *range(2, 40))}  # no beta is better
    gaps = []
    for _ in range(200):
        noise = {beta: rng.normal(0.2, 0.1, 5) for beta in noise}
        found = pairs.best(swept(noise), "beta", "mig", 1.0)
        gaps.append((found.difference, found.mean - found.base))
    honest, naive = np.mean(gaps, axis=0)
    assert abs(honest) < 0.02 < 0.08 < naive
    unanimous = pairs.best(swept({**CLEAR, 4.0: [0.1] * 5}), "beta", "mig", 1.0)
    assert unanimous.setting == 16 and unanimous.difference == pytest.approx(unanimous.mean - unanimous.base)


@pytest.mark.parametrize(
    ("table", "says", "not_says"),
    [
        (swept(CLEAR, CLEAR), ["β = 16 separates the factors better than β = 1: MIG 0.30 against 0.05 (+0.25 [+",
                               "5 of 5 seeds) and DCI", "reconstruction term is 30.0 [30.0, 30.0] nats higher",
                               "ELBO is 15.0 [15.0, 15.0] nats lower", "6.0 of 10 latents are active"], "ndecided"),
        (swept(CLEAR, SAME), ["better than β = 1: MIG", "Undecided: DCI disentanglement 0.05 against 0.05"], "few"),
        (swept(SAME, SAME), ["Whether β = 16 separates the factors better than β = 1 is undecided: MIG"], "better: "),
        (swept({beta: values[:3] for beta, values in CLEAR.items()}),
         ["3 seeds are too few to say whether a larger β separates", "Give 5 seeds or more"], "β = 16 separates"),
        (swept({beta: values[:1] for beta, values in CLEAR.items()}), ["1 seed is too few", "(+0.25)"], "nan"),
        (swept({1.0: CLEAR[16.0], 16.0: CLEAR[1.0]}), ["β = 16 separates the factors worse than β = 1: MIG"], "better"),
        (swept(CLEAR)[lambda table: table["metric"] != "mig"], ["As beta grows from 1 to 16, the KL goes"], "MIG"),
        (swept({1.0: CLEAR[1.0]}), ["One beta alone shows no effect"], "separates"),
    ],
    ids=["better", "partly", "undecided", "few seeds", "one seed", "worse", "no factors", "one beta"],
)  # fmt: skip
def test_the_answer_claims_no_more_than_the_intervals(table, says, not_says):
    text = trade_off(table, "beta")
    for part in says:
        assert part in text, text
    assert not_says not in text


def test_beta_one_is_what_the_others_are_compared_with():
    assert pairs.reference([0.5, 1.0, 4.0]) == 1.0 and pairs.reference([2.0, 4.0]) == 2.0
