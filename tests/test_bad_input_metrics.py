"""What can't be measured or applied gets one line that says what is wrong: no traceback, number or warning before."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from vaejax import Batch, InputError, apply, baselines, build, measure, metrics
from vaejax.analysis import statistics
from vaejax.data import load
from vaejax.metrics import METRICS, Sizes, scores

RNG = np.random.default_rng(0)
SIZES = (2, 3)
CELLS = np.stack(np.unravel_index(np.arange(6), SIZES), axis=1)
FACTORS = np.tile(CELLS, (5, 1))
Z = FACTORS + 0.1 * RNG.normal(size=FACTORS.shape)
KEY = jax.random.key(0)
DIGITS, SPRITES = load("digits"), load("sprites", size=8)
BLANK = Batch(jnp.zeros((2, 8, 8, 1)))
LARGE = Batch(jnp.zeros((2, 16, 16, 1)))


def built(name="vae", latents=2, network="mlp", **structure):
    method = build(name, (8, 8, 1), network, latents=latents, width=4, **structure)
    params = jax.eval_shape(method.init, KEY, BLANK._replace(label=jnp.zeros(2, int)))
    return method, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)


METHOD, ONE = built()
ALL = jax.tree.map(lambda leaf: np.stack([leaf] * 3), ONE)
WIDER = jax.tree.map(lambda leaf: leaf[None], built(latents=3)[1])
PLAIN, PLAIN_ONE = built("autoencoder")
CONV, CONV_ONE = built(network="conv")
CONDITIONAL, CONDITIONAL_ONE = built("conditional_vae", classes=10)
CLASSIFIER, CLASSIFIER_ONE = built("stacked_classifier", network="mlp_tanh")
QUANTISED, QUANTISED_ONE = built("vq_vae", codes=4)
TABLE = metrics.table(CELLS, SIZES)
JOINED = {"z": np.stack([Z, Z]), "factors": FACTORS, "z_test": np.stack([Z, Z]), "factors_test": FACTORS,
          "cells": np.stack([CELLS, CELLS]), "grid": SIZES, "key": KEY, "metrics": ("mig", "factor_vae_score"),
          "sizes": Sizes(9, 9, 4, 9, 9)}  # fmt: skip
ALIGNED = ("mig", "mig_sup", "modularity", "irs", "info_mec")
PAIRED = ("sap", "explicitness", "dci", "downstream")
ALONE = ("gaussian_total_correlation", "mutual_info_score")
OBJECTS = np.array([[1, None], [2, "x"]] * 15)


def metric(name, z=Z, factors=FACTORS, **options):
    """Any metric of arrays."""
    if name in ALONE:
        return METRICS[name](z, **options)
    if name == "mmd":
        return METRICS[name](z, Z)
    if name in PAIRED:
        return METRICS[name](z, factors, Z, FACTORS, **options)
    return METRICS[name](z, factors, **options)


def pair(name, factors_test, factors=FACTORS):
    return METRICS[name](Z, factors, Z[: len(factors_test)], factors_test)


def suite(**change):
    return scores(**{**JOINED, **change})


def evaluate(method=METHOD, source=SPRITES, params=ALL, key=KEY, **options):
    return metrics.evaluate(method, source, params, key, **options)


def drawn(method=METHOD, source=DIGITS, params=ALL, index=(0,), **options):
    return metrics.codes(method, source, params, index, **options)


def likelihood(method=METHOD, params=ONE, source=BLANK, key=KEY, **options):
    return metrics.log_likelihood(method, params, source, key, **options)


def likelihoods(method=METHOD, params=ALL, source=BLANK, key=KEY, **options):
    return metrics.log_likelihood_of_runs(method, params, source, key, **options)


def annealed(method=METHOD, params=ONE, source=BLANK, key=KEY, **options):
    return metrics.annealed_importance_sampling(method, params, source, key, **options)


def interventional(name, represent=TABLE, sizes=SIZES, key=KEY, **options):
    return METRICS[name](represent, sizes, key, **{"train": 9, "test": 9, "batch": 4, **options})


def traverse(method=METHOD, params=ONE, z=(0.0, 0.0), values=(0.0, 1.0), which=None):
    return apply.traverse(method, params, z, values, which)


def bootstrap(n=3, **options):
    return statistics.bootstrap(lambda weights: statistics.mean(np.arange(3.0), weights), n, **options)


CODES = {  # codes that no metric of arrays takes
    "nan": (np.where(np.arange(2) == 1, np.nan, Z), "did the run diverge"),
    "infinite": (Z * np.inf, "did the run diverge"),
    "too large": (Z * 1e200, "finite codes up to 3.4e+38"),
    "complex": (Z + 1j, "that are numbers, not complex128"),
    "strings": (Z.astype(str), "that are numbers, not <U"),
    "objects": (OBJECTS, "that are numbers, not object"),
    "dates": (FACTORS.astype("M8[s]"), "that are numbers, not datetime64"),
    "ragged": ([[1.0, 2.0], [3.0]], "one array of numbers"),
    "masked": (np.ma.masked_less(Z, 0.5), "without masked values"),
    "none": (None, "numbers, not object"),
    "frame with gaps": (pd.DataFrame(Z).mask(Z < 0.5), "did the run diverge"),
    "frame of text": (pd.DataFrame(Z).astype(str), "numbers, not "),
    "a key": (KEY, "one array of numbers"),
}
SHAPES = {"one axis": Z[:, 0], "three axes": Z[None], "no rows": Z[:0], "no codes": Z[:, :0], "a number": 3.0}
FACTOR_KINDS = {
    "fractions": (FACTORS * 0.5, "factors that are integers"),
    "strings": (FACTORS.astype(str), "factors that are integers"),
    "none": (None, "factors that are integers"),
    "one axis": (FACTORS[:, 0], "with one N"),
    "fewer": (FACTORS[:5], "with one N"),
    "constant": (np.ones_like(FACTORS), "at least one factor that varies"),
}
ROWS = [
    *(
        (f"{name} of codes: {kind}", partial(metric, name, z), line)
        for name in (*ALIGNED, *PAIRED, *ALONE, "mmd")
        for kind, (z, line) in CODES.items()
    ),
    *(
        (f"{name} of codes with {kind}", partial(metric, name, z), f"{name} takes codes [N, D]")
        for name in (*ALIGNED, *PAIRED, *ALONE, "mmd")
        for kind, z in SHAPES.items()
    ),
    *(
        (f"{name} of factors: {kind}", partial(metric, name, Z, factors), line)
        for name in (*ALIGNED, *PAIRED)
        for kind, (factors, line) in FACTOR_KINDS.items()
    ),
    *(
        (
            f"{name} of a test set of values never trained on",
            partial(pair, name, FACTORS + np.array([9, 0])),
            "can't predict factor 0",
        )
        for name in PAIRED
    ),
    ("explicitness of a test set of one kind", lambda: pair("explicitness", FACTORS[:1]), "no factor varies"),
    *(
        (f"dci(bins={bins!r})", partial(metric, "dci", bins=bins), "bins has to be")
        for bins in (1, 0, -3, 2.5, "8", None, True, [8])
    ),
    *(
        (f"downstream(labels={labels!r})", partial(metric, "downstream", labels=labels), line)
        for labels, line in (
            ((0,), "at least 1"),
            ((-1,), "at least 1"),
            ((2.5,), "a whole number"),
            ("10", "a list of"),
            (10, "a list of"),
            ((), "a number of labels"),
            ((1000,), "a number of labels"),
            (("10",), "a whole number"),
            ((None,), "a whole number"),
        )
    ),
    ("mmd of one code", lambda: metric("mmd", Z[:1]), "at least 2 codes"),
    ("udr of one run", lambda: metrics.udr(Z[None], np.ones((1, 2))), "at least 2"),
    ("udr without runs", lambda: metrics.udr(Z, np.ones(2)), "udr takes codes [R, N, D]"),
    ("udr of text", lambda: metrics.udr(np.stack([Z, Z]).astype(str), np.ones((2, 2))), "that are numbers"),
    ("udr with KLs of text", lambda: metrics.udr(np.stack([Z, Z]), np.full((2, 2), "a")), "KLs that are numbers"),
    ("udr with huge KLs", lambda: metrics.udr(np.stack([Z, Z]), np.full((2, 2), 1e99)), "KLs up to 3.4e+38"),
    ("udr of huge codes", lambda: metrics.udr(np.stack([Z, Z]) * 1e99, np.ones((2, 2))), "codes up to 3.4e+38"),
    ("udr with NaN", lambda: metrics.udr(np.stack([Z, Z * np.nan]), np.ones((2, 2))), "leave out runs that diverged"),
    *(
        (
            f"two_sample_test({name}={value!r})",
            partial(metrics.two_sample_test, Z, Z, **{name: value}),
            f"{name} has to be",
        )
        for name in ("width", "depth", "steps")
        for value in (0, -1, 1.5, "3", None, False)
    ),
    *(
        (f"two_sample_test(seed={seed!r})", partial(metrics.two_sample_test, Z, Z, seed=seed), "seed has to be")
        for seed in (None, -1, 0.5, "0")
    ),
    ("two_sample_test of three", lambda: metrics.two_sample_test(Z[:3], Z), "at least 4 images"),
    ("two_sample_test of text", lambda: metrics.two_sample_test(Z.astype(str), Z), "images that are numbers"),
    ("two_sample_test of huge images", lambda: metrics.two_sample_test(Z * 1e99, Z), "images up to 3.4e+38"),
    *(
        (f"nearest_neighbours(count={count!r})", partial(metrics.nearest_neighbours, Z, Z, count), line)
        for count, line in (
            (0, "at least 1"),
            (-1, "at least 1"),
            (31, "1 to all 30"),
            (1.0, "a whole number"),
            ("1", "a whole number"),
            (None, "a whole number"),
            (True, "a whole number"),
        )
    ),
    ("nearest_neighbours of another shape", lambda: metrics.nearest_neighbours(Z, Z[:, :1]), "images of one shape"),
    ("nearest_neighbours of NaN", lambda: metrics.nearest_neighbours(Z * np.nan, Z), "did the run diverge"),
    # interventions
    *(
        (f"{name}({size}={value!r})", partial(interventional, name, **{size: value}), f"{size} has to be")
        for name, sizes in (
            ("beta_vae_score", ("train", "test", "batch")),
            ("factor_vae_score", ("train", "test", "batch", "variance")),
        )
        for size in sizes
        for value in (0, -5, 2.5, "9", None, True)
    ),
    *(
        (f"{name}(sizes={sizes!r})", partial(interventional, name, sizes=sizes), "sizes has to be")
        for name in ("beta_vae_score", "factor_vae_score")
        for sizes in ((2, 0), (-2, 3), (2.0, 3), (2, "3"), "23", 6, (), None, (True, 3))
    ),
    *(
        (f"{name}(key={key!r})", partial(interventional, name, key=key), "key has to be one key")
        for name in ("beta_vae_score", "factor_vae_score")
        for key in (0, None, "0")
    ),
    *(
        (f"{name} of {kind}", partial(interventional, name, represent), line)
        for name in ("beta_vae_score", "factor_vae_score")
        for kind, represent, line in (
            ("codes in place of a function", CELLS, "vaejax.metrics.table"),
            ("nothing", None, "needs a function"),
            ("text", lambda factors: np.full((len(factors), 2), "a"), "are numbers"),
            ("one axis", lambda factors: np.ones(len(factors)), "codes [B, D]"),
            ("NaN", lambda factors: np.full((len(factors), 2), np.nan), "did the run diverge"),
            ("NaN later", lambda factors: np.full((len(factors), 2), 0 if len(factors) < 3 else np.nan), "diverge"),
            ("no code", lambda factors: np.ones((len(factors), 0)), "2 rows gave (2, 0)"),
            ("a row too few later", lambda factors: np.ones((len(factors) - (len(factors) > 2), 2)), "rows gave ("),
            ("a code more later", lambda factors: np.ones((len(factors), 2 + (len(factors) > 2))), "after codes of 2"),
            ("masked values", lambda factors: np.ma.masked_equal(np.array(factors), 0), "without masked values"),
            ("a fault of its own", lambda factors: factors[0, 99, 0], "this one fails for 2 rows: IndexError"),
            ("a fault in a pytree", jax.tree_util.Partial(lambda factors: jnp.ones((2, 2))), "3 rows gave (2, 2)"),
        )
    ),
    (
        "beta_vae_score of factors that never vary",
        lambda: interventional("beta_vae_score", sizes=(1, 1)),
        "that varies",
    ),
    ("factor_vae_score of single images", lambda: interventional("factor_vae_score", batch=1), "at least 2 images"),
    ("table of fewer codes", lambda: metrics.table(CELLS[:5], SIZES), "needs 6 rows"),
    ("table of text", lambda: metrics.table(CELLS.astype(str), SIZES), "that are numbers"),
    ("table of a number", lambda: metrics.table(1.0, SIZES), "needs 6 rows"),
    ("table of fractional sizes", lambda: metrics.table(CELLS, (2.0, 3)), "sizes has to be a whole number"),
    ("subgrid of nothing", lambda: metrics.subgrid((), 5), "sizes has to be a list"),
    *((f"subgrid({most!r})", partial(metrics.subgrid, SIZES, most), "most has to be") for most in (0, 2.5, "4", None)),
    # the suite
    ("cells of fewer runs", lambda: suite(cells=JOINED["cells"][:1]), "the same 2 runs and 2 codes"),
    ("cells of more runs", lambda: suite(cells=np.stack([CELLS] * 3)), "not of 3 and 2"),
    ("cells of fewer codes", lambda: suite(cells=JOINED["cells"][..., :1]), "not of 2 and 1"),
    ("cells without rows", lambda: suite(cells=JOINED["cells"][:, :0]), "needs codes [R, 6, D]"),
    ("cells of text", lambda: suite(cells=JOINED["cells"].astype(str)), "that are numbers"),
    ("a grid of no factor", lambda: suite(grid=()), "sizes has to be a list"),
    ("a fractional grid", lambda: suite(grid=(2.0, 3)), "sizes has to be a whole number"),
    (
        "a grid that never varies",
        lambda: suite(grid=(1, 1), cells=JOINED["cells"][:, :1]),
        "at least one factor that varies",
    ),
    ("codes without runs", lambda: suite(z=Z), "codes [R, N, D]"),
    ("codes of text in the suite", lambda: suite(z=JOINED["z"].astype(str)), "that are numbers"),
    ("codes that are complex in the suite", lambda: suite(z=JOINED["z"] + 1j), "that are numbers"),
    ("fractional factors in the suite", lambda: suite(factors=FACTORS / 2), "factors that are integers"),
    ("fewer test factors", lambda: suite(factors_test=FACTORS[:3]), "codes [R, N, D]"),
    (
        "explicitness of one image",
        lambda: suite(z_test=JOINED["z"][:, :1], factors_test=FACTORS[:1], metrics=["explicitness"]),
        "no factor varies",
    ),
    *(
        (f"scores(metrics={names!r})", partial(suite, metrics=names), line)
        for names, line in (
            ("mig", "a list of names"),
            (("mgi",), "did you mean 'mig'"),
            ((), "at least one"),
            ((3,), "has to be a name"),
            (None, "a list of names"),
            (7, "a list of names"),
        )
    ),
    *(
        (f"scores(sizes={sizes!r})"[:60], partial(suite, sizes=sizes), line)
        for sizes, line in (
            ((9, 9, 4, 9, 9), "sizes has to be vaejax.metrics.Sizes"),
            (None, "Sizes"),
            (100, "Sizes"),
            (Sizes(0), "train has to be at least 1"),
            (Sizes(test=2.5), "test has to be a whole number"),
            (Sizes(batch=None), "batch has to be a whole number"),
            (Sizes(variance=-1), "variance has to be at least 1"),
            (Sizes(batch=1), "at least 2 images"),
        )
    ),
    *((f"scores(key={key!r})", partial(suite, key=key), "key has to be one key") for key in (0, None, "0", Z)),
    # runs of a sweep
    *(
        (f"{call.__name__} of one run's parameters", partial(call, params=ONE), "give result.params, not")
        for call in (drawn, evaluate, likelihoods)
    ),
    *(
        (
            f"{call.__name__}(on_progress={given!r})",
            partial(call, on_progress=given),
            "on_progress has to be a function",
        )
        for call in (likelihood, evaluate)
        for given in (3, "bar", True)
    ),
    ("measure of huge chunks", lambda: measure(METHOD, DIGITS, ALL, chunk=2**31 - 1), "give a smaller chunk"),
    ("factor_vae_score of huge batches", lambda: interventional("factor_vae_score", batch=2**31 - 1), "smaller sizes"),
    ("beta_vae_score of many points", lambda: interventional("beta_vae_score", train=2**31 - 1), "give smaller sizes"),
    ("log_likelihood of huge chunks", lambda: likelihood(samples=2**31 - 1, chunk=2**31 - 1), "give a smaller chunk"),
    ("evaluate of huge sizes", lambda: evaluate(sizes=Sizes(2**31 - 1)), "give smaller sizes"),
    ("prior_values of huge steps", lambda: apply.prior_values(2**31 - 1), "2,147,483,647 steps take"),
    ("measure of one run's parameters", lambda: measure(METHOD, DIGITS, ONE), "give result.params, not"),
    *(
        (
            f"{call.__name__} of all runs' parameters",
            partial(call, params=ALL),
            "of 3 runs, where those of one are needed",
        )
        for call in (likelihood, annealed)
    ),
    *(
        (f"{call.__name__} of another method's parameters", partial(call, params=WIDER), "not those of this method")
        for call in (drawn, evaluate, likelihoods, likelihood, annealed)
    ),
    ("measure of another method's parameters", lambda: measure(METHOD, DIGITS, WIDER), "is [1, 3, 4], not [2, 4]"),
    ("measure of other parameters", lambda: measure(METHOD, DIGITS, {"a": np.ones(3)}), "is missing"),
    ("measure without parameters", lambda: measure(METHOD, DIGITS, None), "parameters are needed"),
    ("measure of parameters by name", lambda: measure(METHOD, DIGITS, "result"), "not those of this method"),
    *(
        (
            f"{call.__name__} of another shape",
            partial(call, source=load("sprites", size=16)),
            "images of 16x16x1 don't fit a method for images of 8x8x1",
        )
        for call in (drawn, evaluate, likelihoods, likelihood, annealed)
    ),
    ("measure of another shape", lambda: measure(METHOD, load("sprites", size=16), ALL), "images of 16x16x1 don't fit"),
    ("convolutions of another shape", lambda: likelihood(CONV, CONV_ONE, LARGE), "images of 16x16x1 don't fit"),
    ("a batch of another shape", lambda: likelihood(source=LARGE), "images of 16x16x1 don't fit"),
    *(
        (f"{call.__name__} of a source's name", partial(call, source="digits"), "a source of images is needed")
        for call in (drawn, evaluate, likelihoods, likelihood, annealed)
    ),
    ("measure of an array", lambda: measure(METHOD, np.zeros((2, 8, 8, 1)), ALL), "a source of images is needed"),
    *(
        (f"{call.__name__} of a method's name", partial(call, "vae"), "a method is needed")
        for call in (drawn, evaluate, likelihoods, likelihood, annealed)
    ),
    ("measure of a class", lambda: measure(type(METHOD), DIGITS, ALL), "a method is needed"),
    ("evaluate without factors", lambda: evaluate(source=DIGITS), "known factors, which digits lacks"),
    *(
        (f"measure(images={images!r})", partial(measure, METHOD, DIGITS, ALL, images=images), "images has to be")
        for images in (0, -1, 1.5, "9", None, True)
    ),
    *(
        (f"measure(chunk={chunk!r})", partial(measure, METHOD, DIGITS, ALL, chunk=chunk), "chunk has to be")
        for chunk in (0, 1.5, "2")
    ),
    *(
        (f"codes(index={index!r})", partial(drawn, index=index), line)
        for index, line in (
            ([10**6], "from 0 to 1436, since there are 1437 images in digits, not 1000000"),
            ([-1], "not -1"),
            ([0, 1437], "not 1437"),
            ([0.5], "whole numbers"),
            ([1.0], "whole numbers"),
            ([True, False], "whole numbers"),
            ([], "whole numbers"),
            (3, "whole numbers"),
            ([[0, 1]], "whole numbers"),
            ("01", "whole numbers"),
            (None, "whole numbers"),
            (["0"], "whole numbers"),
        )
    ),
    ("codes(key=0)", lambda: drawn(key=0), "key has to be one key"),
    ("codes(chunk=0)", lambda: drawn(chunk=0), "chunk has to be at least 1"),
    ("evaluate(key=0)", lambda: evaluate(key=0), "key has to be one key"),
    *(
        (f"log_likelihood({name}={value!r})", partial(call, **{name: value}), f"{name} has to be")
        for call in (likelihood, likelihoods)
        for name in ("samples", "chunk")
        for value in (0, -1, 1.5, "9", None, True)
    ),
    *(
        (f"{call.__name__}(images={images!r})", partial(call, images=images), "images has to be")
        for call in (likelihood, likelihoods, annealed)
        for images in (0, 1.5, "9", True)
    ),
    *(
        (f"annealed_importance_sampling({name}={value!r})", partial(annealed, **{name: value}), f"{name} has to be")
        for name in ("steps", "chains", "leapfrogs")
        for value in (0, 1.5, "9", None)
    ),
    *(
        (f"{call.__name__}(key={key!r})", partial(call, key=key), "key has to be one key")
        for call in (likelihood, likelihoods, annealed)
        for key in (0, None)
    ),
    (
        "log_likelihood of an empty batch",
        lambda: likelihood(source=Batch(jnp.zeros((0, 8, 8, 1)))),
        "at least one image",
    ),
    ("log_likelihood of an autoencoder", lambda: likelihood(PLAIN, PLAIN_ONE), "with a prior"),
    # what is done with one run
    *(
        (f"{name} of all runs' parameters", partial(call, METHOD, ALL), "give result.params_of(run), not result.params")
        for name, call in (
            ("reconstruct", lambda m, p: apply.reconstruct(m, p, BLANK)),
            ("generate", lambda m, p: apply.generate(m, p, KEY, BLANK)),
            ("classify", lambda m, p: apply.classify(m, p, BLANK)),
            ("traverse", lambda m, p: apply.traverse(m, p, jnp.zeros(2), jnp.zeros(3))),
        )
    ),
    (
        "reconstruct of another method's parameters",
        lambda: apply.reconstruct(CONV, ONE, BLANK),
        "not those of this method",
    ),
    ("traverse of another method's parameters", lambda: traverse(CONV, ONE), "can't decode codes of 2 latents"),
    ("traverse of a longer code", lambda: traverse(z=(0.0, 0.0, 0.0)), "can't decode codes of 3 latents"),
    ("reconstruct of another shape", lambda: apply.reconstruct(METHOD, ONE, LARGE), "images of 16x16x1 don't fit"),
    ("generate of another shape", lambda: apply.generate(METHOD, ONE, KEY, LARGE), "images of 16x16x1 don't fit"),
    ("reconstruct of an array", lambda: apply.reconstruct(METHOD, ONE, np.zeros((2, 8, 8, 1))), "vaejax.Batch(x)"),
    ("reconstruct of one image", lambda: apply.reconstruct(METHOD, ONE, Batch(np.zeros((8, 8, 1)))), "[B, H, W, C]"),
    ("reconstruct of no image", lambda: apply.reconstruct(METHOD, ONE, Batch(np.zeros((0, 8, 8, 1)))), "at least one"),
    ("reconstruct of a list", lambda: apply.reconstruct(METHOD, ONE, Batch([[1.0]])), "[B, H, W, C]"),
    ("reconstruct of bytes", lambda: apply.reconstruct(METHOD, ONE, Batch(np.zeros((2, 8, 8, 1), "u1"))), "not uint8"),
    (
        "a label too few",
        lambda: apply.reconstruct(METHOD, ONE, BLANK._replace(label=jnp.zeros(1, int))),
        "a label for each",
    ),
    ("reconstruct without labels", lambda: apply.reconstruct(CONDITIONAL, CONDITIONAL_ONE, BLANK), "reads labels"),
    ("reconstruct of a result", lambda: apply.reconstruct(METHOD, metrics.METRICS, BLANK), "not those of this method"),
    ("reconstruct by a name", lambda: apply.reconstruct("vae", ONE, BLANK), "a method is needed"),
    ("generate without a prior", lambda: apply.generate(PLAIN, PLAIN_ONE, KEY, BLANK), "has no prior"),
    ("generate(key=0)", lambda: apply.generate(METHOD, ONE, 0, BLANK), "key has to be one key"),
    ("classify by a VAE", lambda: apply.classify(METHOD, ONE, BLANK), "learned no classes"),
    (
        "classify another shape",
        lambda: apply.classify(CLASSIFIER, CLASSIFIER_ONE, LARGE),
        "images of 16x16x1 don't fit",
    ),
    *(
        (f"traverse(which={which!r})", partial(traverse, which=which), line)
        for which, line in (
            ([99], "from 0 to 1, since there are 2 latents, not 99"),
            ([-1], "not -1"),
            ([2], "not 2"),
            ([0.0], "whole numbers"),
            ([True, False], "whole numbers"),
            ([], "whole numbers"),
            (0, "whole numbers"),
            ("0", "whole numbers"),
            (jnp.array([5]), "not 5"),
        )
    ),
    *(
        (f"traverse(z={z!r})", partial(traverse, z=z), line)
        for z, line in (
            ([[0.0, 0.0]], "one code [latents]"),
            (0.0, "one code"),
            ([], "one code"),
            ("ab", "numbers"),
            ([0.0, np.nan], "finite numbers"),
            (None, "numbers"),
        )
    ),
    *(
        (f"traverse(values={values!r})", partial(traverse, values=values), line)
        for values, line in (
            ([], "values have to be"),
            (1.0, "values have to be"),
            ([[0.0, 1.0]], "a row for every code"),
            ("ab", "numbers"),
            ([np.inf], "finite numbers"),
            ([1j], "numbers"),
        )
    ),
    *(
        (f"prior_values({steps!r})", partial(apply.prior_values, steps), line)
        for steps, line in (
            (1, "at least 2 steps"),
            (-3, "at least 2 steps"),
            (2.5, "a whole number"),
            ("5", "a whole number"),
            (None, "a whole number"),
            (True, "a whole number"),
        )
    ),
    *(
        (f"prior_values(limit={limit!r})", partial(apply.prior_values, 5, limit), "limit has to be")
        for limit in (0, -1, np.nan, np.inf, "2", None, [2.0], 1j)
    ),
    ("data_values of one axis", lambda: apply.data_values(Z[:, 0], 5), "takes codes [N, D]"),
    ("data_values of NaN", lambda: apply.data_values(Z * np.nan, 5), "did the run diverge"),
    ("data_values of text", lambda: apply.data_values(Z.astype(str), 5), "that are numbers"),
    ("data_values(steps=1.5)", lambda: apply.data_values(Z, 1.5), "steps has to be a whole number"),
    ("information of fewer factors", lambda: apply.information(Z, FACTORS[:2]), "with one N"),
    ("information of fractions", lambda: apply.information(Z, FACTORS / 2), "factors that are integers"),
    *(
        (f"label_latents({names!r})", partial(apply.label_latents, Z, FACTORS, names), line)
        for names, line in (
            ("ab", "a list of what the factors are called"),
            (["a"], "1 names for 2 factors"),
            (None, "a list of"),
            (2, "a list of"),
        )
    ),
    *(
        (
            f"label_latents({name}={value!r})",
            partial(apply.label_latents, Z, FACTORS, ["a", "b"], **{name: value}),
            f"{name} has to be",
        )
        for name in ("active", "least")
        for value in (-1, np.nan, "0.1", None)
    ),
    *(
        (
            f"generate_codes(temperature={value!r})",
            partial(apply.generate_codes, QUANTISED, QUANTISED_ONE, METHOD, ONE, KEY, BLANK, value),
            "temperature has to be",
        )
        for value in (-1, np.nan, "1", None)
    ),
    ("generate_codes by a VAE", lambda: apply.generate_codes(METHOD, ONE, METHOD, ONE, KEY, BLANK), "quantising"),
    ("generate_codes of all runs", lambda: apply.generate_codes(METHOD, ALL, METHOD, ONE, KEY, BLANK), "of 3 runs"),
    (
        "generate_codes without a prior",
        lambda: apply.generate_codes(QUANTISED, QUANTISED_ONE, None, ONE, KEY, BLANK),
        "a method is needed",
    ),
    # baselines and statistics
    *(
        (f"pca({name}={value!r})", partial(baselines.pca, SPRITES, **{name: value}), f"{name} has to be")
        for name in ("latents", "images")
        for value in (0, 1.5, "3", None)
    ),
    *((f"pca(seed={seed!r})", partial(baselines.pca, SPRITES, seed=seed), "seed has to be") for seed in (-1, 0.5, "0")),
    *(
        (f"pixels(side={side!r})", lambda side=side: baselines.pixels(SPRITES, side=side)(CELLS), "side")
        for side in (0, 3, 1.5, "4")
    ),
    ("pca of a name", lambda: baselines.pca("sprites"), "a source of images is needed"),
    ("pca of digits", lambda: baselines.pca(DIGITS), "no ground-truth factors"),
    *(
        (f"bootstrap(n={n!r})", partial(bootstrap, n), line)
        for n, line in (
            (0, "a bootstrap needs"),
            (2.5, "n has to be a whole number"),
            ("3", "n has to be"),
            (None, "n has to be"),
            ([], "a bootstrap needs"),
            ([0.5, 1.0, 2.0], "a list of whole numbers"),
            (["0", "1", "2"], "a list of whole numbers"),
            ([[0, 1, 2]], "a list of whole numbers"),
        )
    ),
    *(
        (f"bootstrap({name}={value!r})", partial(bootstrap, **{name: value}), line)
        for name, value, line in (
            ("resamples", 0, "a bootstrap needs"),
            ("resamples", 1.5, "resamples has to be"),
            ("resamples", "9", "resamples has to be"),
            ("level", 1.0, "a bootstrap needs"),
            ("level", "0.95", "level has to be"),
            ("level", None, "level has to be"),
            ("level", np.nan, "a bootstrap needs"),
            ("seed", -1, "seed has to be"),
            ("seed", "0", "seed has to be"),
        )
    ),
]


@pytest.mark.parametrize(("call", "line"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_bad_input_is_one_clear_line(call, line):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as caught:
            call()
    message = str(caught.value)
    assert line in message
    assert "\n" not in message and len(message) <= 400


@pytest.mark.parametrize("name", ["beta_vae_score", "factor_vae_score"])
def test_a_functions_own_fault_stays_the_cause(name):
    def fails(factors):
        raise ZeroDivisionError("mine")

    with pytest.raises(InputError, match="ZeroDivisionError: mine") as caught:
        interventional(name, fails)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
