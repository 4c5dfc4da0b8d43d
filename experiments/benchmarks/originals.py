"""What the disentanglement metrics cost as the unsupervised study computed them: the same definitions in NumPy, SciPy
and scikit-learn, one model, factor, code and batch at a time. A rival for the benchmark; nothing here imports jax.

Every function of ORIGINALS takes a `Model` and gives values under the names of `vaejax.metrics.scores`. Where the study
encoded images, its interventional scores look codes up in a table, so what is timed is the metrics alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

GRID = (3, 6, 10, 16, 16)  # factors of dSprites, thinned to the 46,080 combinations of the published subset
BINS = 20
Values = dict[str, float]


class Model(NamedTuple):
    """A representation and how it is sampled.

    Fields:
      z, factors, z_test, factors_test: codes [N, 10] and factors [N, 5] of random images.
      cells: the codes [G, 10] of all combinations of factors, the last factor fastest.
      batch, variance: images of an interventional batch, and for the variances.
    """

    z: np.ndarray
    factors: np.ndarray
    z_test: np.ndarray
    factors_test: np.ndarray
    cells: np.ndarray
    batch: int = 64
    variance: int = 10_000


def model(run: int, train: int, test: int, batch: int = 64, variance: int = 10_000) -> Model:
    """Codes that tell more or less of the factors, as a trained model's do; the images are the same for every run."""
    images = np.random.default_rng(0)
    index = [images.integers(np.prod(GRID), size=count) for count in (train, test)]
    random = np.random.default_rng([1, run])
    carried = (random.random((len(GRID), 10)) < 0.3) | (
        np.arange(len(GRID))[:, None] == np.arange(10)[None] % len(GRID)
    )
    mixing = random.normal(size=carried.shape) * carried
    factors = np.stack(np.unravel_index(np.arange(np.prod(GRID)), GRID), axis=1)
    noise = 0.1 * random.normal(size=(len(factors), 10))
    cells = (np.tanh(2 * ((factors + 0.5) / GRID - 0.5) @ mixing) + noise).astype(np.float32)
    first, second = index
    return Model(cells[first], factors[first], cells[second], factors[second], cells, batch, variance)


def binned(z: np.ndarray) -> list[np.ndarray]:
    """Every code in 20 equal-width bins."""
    return [np.digitize(column, np.histogram(column, BINS)[1][:-1]) for column in z.T]


def information(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """I(code; factor) [D, K] and H(factor) [K]."""
    from sklearn.metrics import mutual_info_score

    pairs = [[mutual_info_score(factor, code) for factor in model.factors.T] for code in binned(model.z)]
    return np.array(pairs), np.array([mutual_info_score(factor, factor) for factor in model.factors.T])


def mig(model: Model) -> Values:
    """Mutual information gap."""
    found, entropy = information(model)
    second, best = np.sort(found, axis=0)[-2:]
    return {"mig": float(np.mean((best - second) / entropy))}


def mig_sup(model: Model) -> Values:
    """The gap from the side of the codes."""
    found, entropy = information(model)
    second, best = np.sort(found / entropy, axis=1)[:, -2:].T
    return {"mig_sup": float(np.mean(best - second))}


def modularity(model: Model) -> Values:
    """Modularity."""
    squared = information(model)[0] ** 2
    best = squared.max(axis=1)
    return {"modularity": float(np.mean(1 - (squared.sum(axis=1) - best) / (best * (squared.shape[1] - 1))))}


def mutual_info_score(model: Model) -> Values:
    """Mean mutual information of two codes."""
    from sklearn.metrics import mutual_info_score as between

    bins = binned(model.z)
    pairs = [between(a, b) for i, a in enumerate(bins) for j, b in enumerate(bins) if i != j]
    return {"mutual_info_score": float(np.mean(pairs))}


def gaussian_total_correlation(model: Model) -> Values:
    """Total correlation and Wasserstein correlation of a Gaussian."""
    from scipy.linalg import sqrtm

    covariance = np.cov(model.z.T)
    variances = np.diag(covariance)
    total = 0.5 * (np.log(variances).sum() - np.linalg.slogdet(covariance)[1])
    distance = 2 * variances.sum() - 2 * np.trace(np.real(sqrtm(covariance * variances[:, None])))
    return {"gaussian_total_correlation": total, "gaussian_total_correlation_wasserstein": distance}


def irs(model: Model) -> Values:
    """Interventional robustness."""
    z = model.z
    largest = np.abs(z - z.mean(axis=0)).max(axis=0)
    deviations = []
    for factor in binned(model.factors):
        of_value = []
        for value in np.unique(factor):
            some = z[factor == value]
            of_value.append(np.percentile(np.abs(some - some.mean(axis=0)), 99, axis=0))
        deviations.append(np.mean(of_value, axis=0))
    return {"irs": np.average((1 - np.array(deviations) / largest).max(axis=0), weights=largest)}


def info_mec(model: Model) -> Values:
    """InfoM, InfoC and InfoE."""
    from sklearn.feature_selection import mutual_info_classif
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    z = (model.z - model.z.mean(axis=0)) / model.z.std(axis=0)
    entropy, explained, shares = information(model)[1], [], []
    for factor, h in zip(model.factors.T, entropy, strict=True):
        pairs = [mutual_info_classif(code[:, None], factor, n_neighbors=10, random_state=0)[0] for code in z.T]
        shares.append(np.array(pairs) / h)
        fitted = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100).fit(z, factor)
        explained.append(1 - log_loss(factor, fitted.predict_proba(z)) / np.log(len(fitted.classes_)))
    ranges = np.ptp(model.z, axis=0)
    share = np.array(shares)[:, ranges > ranges.max() / 20]

    def excess(ratio: np.ndarray, rivals: int) -> float:
        return float((np.mean(ratio) - 1 / rivals) / (1 - 1 / rivals))

    return {
        "info_mec_infom": excess(share.max(axis=0) / share.sum(axis=0), share.shape[0]),
        "info_mec_infoc": excess(share.max(axis=1) / share.sum(axis=1), share.shape[1]),
        "info_mec_infoe": float(np.mean(explained)),
    }


def draw(random: np.random.RandomState, count: int) -> np.ndarray:
    """Random factors [count, 5], a factor at a time."""
    return np.stack([random.randint(size, size=count) for size in GRID], axis=1)


def encode(model: Model, factors: np.ndarray) -> np.ndarray:
    """Their codes, out of the table."""
    return model.cells[np.ravel_multi_index(tuple(factors.T), GRID)]


def beta_vae_score(model: Model) -> Values:
    """BetaVAE score."""
    from sklearn.linear_model import LogisticRegression

    random = np.random.RandomState(0)

    def examples(count: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = np.zeros((count, model.z.shape[1])), np.zeros(count, int)
        for i in range(count):
            y[i] = random.randint(len(GRID))
            first, second = draw(random, model.batch), draw(random, model.batch)
            second[:, y[i]] = first[:, y[i]]
            x[i] = np.mean(np.abs(encode(model, first) - encode(model, second)), axis=0)
        return x, y

    fitted = LogisticRegression(C=1.0, solver="lbfgs", tol=1e-4, max_iter=1000).fit(*examples(len(model.z)))
    return {"beta_vae_score": float(fitted.score(*examples(len(model.z_test))))}


def factor_vae_score(model: Model) -> Values:
    """FactorVAE score."""
    random = np.random.RandomState(0)
    variance = np.var(encode(model, draw(random, model.variance)), axis=0, ddof=1)
    active = np.sqrt(variance) >= 0.05

    def votes(count: int) -> np.ndarray:
        table = np.zeros((len(GRID), active.sum()), int)
        for _ in range(count):
            held, factors = random.randint(len(GRID)), draw(random, model.batch)
            factors[:, held] = factors[0, held]
            local = np.var(encode(model, factors), axis=0, ddof=1)
            table[held, np.argmin(local[active] / variance[active])] += 1
        return table

    majority, new = votes(len(model.z)).argmax(axis=0), votes(len(model.z_test))
    return {"factor_vae_score": new[majority, np.arange(new.shape[1])].sum() / new.sum()}


def sap(model: Model) -> Values:
    """Separated attribute predictability."""
    from sklearn.svm import LinearSVC

    def accuracy(code: int, factor: int) -> float:
        machine = LinearSVC(C=0.01, class_weight="balanced").fit(model.z[:, [code]], model.factors[:, factor])
        return float(machine.score(model.z_test[:, [code]], model.factors_test[:, factor]))

    scores = [[accuracy(code, factor) for factor in range(len(GRID))] for code in range(model.z.shape[1])]
    second, best = np.sort(scores, axis=0)[-2:]
    return {"sap": float(np.mean(best - second))}


def explicitness(model: Model) -> Values:
    """Explicitness."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    mean, scale = model.z.mean(axis=0), model.z.std(axis=0)
    x, x_test = (model.z - mean) / scale, (model.z_test - mean) / scale
    areas = []
    for y, y_test in zip(model.factors.T, model.factors_test.T, strict=True):
        fitted = LogisticRegression(C=1.0, solver="lbfgs", tol=1e-4, max_iter=1000).fit(x, y)
        p = fitted.predict_proba(x_test)
        areas.append(np.mean([roc_auc_score(y_test == c, p[:, i]) for i, c in enumerate(fitted.classes_)]))
    return {"explicitness": float(np.mean(areas))}


def downstream(model: Model) -> Values:
    """Accuracy with 10, 100, 1,000 and 10,000 labels."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = model.z.mean(axis=0), model.z.std(axis=0)
    x, x_test = (model.z - mean) / scale, (model.z_test - mean) / scale
    accuracies = {}
    for count in [count for count in (10, 100, 1000, 10000) if count <= len(x)]:
        right = []
        for y, y_test in zip(model.factors.T, model.factors_test.T, strict=True):
            fitted = LogisticRegression(C=1.0, solver="lbfgs", tol=1e-4, max_iter=1000).fit(x[:count], y[:count])
            right.append(fitted.score(x_test, y_test))
        accuracies[f"downstream_accuracy_{count}"] = float(np.mean(right))
    return {"downstream": list(accuracies.values())[-1], **accuracies}


def dci(model: Model) -> Values:
    """Disentanglement, completeness, informativeness."""
    from sklearn.ensemble import GradientBoostingClassifier

    columns, right = [], []
    for y, y_test in zip(model.factors.T, model.factors_test.T, strict=True):
        trees = GradientBoostingClassifier(n_estimators=100, max_depth=3, learning_rate=0.1, random_state=0)
        columns.append(np.abs(trees.fit(model.z, y).feature_importances_))
        right.append(np.mean(trees.predict(model.z_test) == y_test))
    importance = np.array(columns).T + 1e-11

    def concentration(share: np.ndarray) -> np.ndarray:
        p = share / share.sum(axis=0)
        return 1 + (p * np.log(p)).sum(axis=0) / np.log(len(share))

    rows, cols = importance.sum(axis=1) / importance.sum(), importance.sum(axis=0) / importance.sum()
    return {
        "dci_disentanglement": (concentration(importance.T) * rows).sum(),
        "dci_completeness": (concentration(importance) * cols).sum(),
        "dci_informativeness": float(np.mean(right)),
    }


ORIGINALS: dict[str, Callable[[Model], Values]] = {
    "beta_vae_score": beta_vae_score,
    "factor_vae_score": factor_vae_score,
    "mig": mig,
    "mig_sup": mig_sup,
    "modularity": modularity,
    "irs": irs,
    "info_mec": info_mec,
    "gaussian_total_correlation": gaussian_total_correlation,
    "mutual_info_score": mutual_info_score,
    "sap": sap,
    "explicitness": explicitness,
    "downstream": downstream,
    "dci": dci,
}


def score(name: str, **sizes: int) -> tuple[Callable[[int], dict[str, Any]], dict[str, Any]]:
    """A contender: one of ORIGINALS, of the first of the models that `experiments.benchmarks.ours.score` has."""
    import warnings

    import scipy.linalg  # noqa: F401  (before anything is timed)
    import sklearn.ensemble
    import sklearn.feature_selection
    import sklearn.linear_model
    import sklearn.metrics
    import sklearn.svm  # noqa: F401

    warnings.filterwarnings("ignore", module="sklearn")
    one = model(0, **sizes)

    def advance(n: int) -> dict[str, Any]:
        values: Values = {}
        for _ in range(n):
            values = ORIGINALS[name](one)
        return {"values": {key: float(value) for key, value in values.items()}}

    return advance, {"fixed": True}
