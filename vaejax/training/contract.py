"""What a method has to be, checked in one abstract trace of two images before anything is compiled.

Who writes a method, a loss or a network of their own finds out here in one line where it differs from
`vaejax.method.Method`; what fails inside their own functions is named, and is the cause of the error that is raised.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from vaejax.distributions.declared import has_density
from vaejax.errors import InputError, shortened
from vaejax.method import Batch, Method, Recipe
from vaejax.networks.calls import check_stateless
from vaejax.training.runs import Runs, check_hyper
from vaejax.training.strategy import largest_array

CONTRACT = {  # of every function: what it takes, and in words what it gives
    "init": ("key, batch", "the parameters, a tree of float arrays"),
    "loss": ("params, hyper, batch, key, step", "(loss, metrics), a scalar and a dict of scalars with 'loss'"),
    "encode": ("params, batch", "a distribution over codes [B, latents], with mean, sample and log_prob"),
    "decode": ("params, latents, batch", "a distribution over examples [B, *event], with mean, sample and log_prob"),
    "optimizer": ("hyper", "an optax.GradientTransformation, such as optax.adam(hyper.learning_rate)"),
    "generate": ("params, key, batch", "new examples, of the shape of the batch's"),
    "classify": ("params, batch", "log p(class | x), floats [B, classes]"),
    "codebook": ("params", "the vectors of all codes, floats [K, D]; encode has to give their indices, too"),
    "prior": ("params, batch", "a distribution over codes [B, latents], with sample and log_prob"),
}
ABILITIES = ("prior", "generate", "classify", "codebook")  # that a method may lack
COLUMNS = ("run", "step")  # of histories, beside the metrics
NORMALISERS = (nn.BatchNorm, nn.SpectralNorm)


def check_method(method: Method, batch: Batch) -> tuple[str, ...]:
    """The names of the metrics that the loss reports, of a method that is one for such images.

    Args:
      batch: one image, or shapes: what `vaejax.data.example` gives.

    Raises:
      InputError: it isn't; the line says what the contract is.
    """
    if not isinstance(method, Method):
        hint = "; call it with its networks" if inspect.isfunction(method) else ""
        hint = "; give its .method" if isinstance(getattr(method, "method", None), Method) else hint
        raise InputError(
            f"a method is what vaejax.build('vae', source.shape), a constructor or vaejax.Method(...) gives, not "
            f"{shortened(method)}{hint}"
        )
    check_hyper(method.hyper)
    for name, (takes, gives) in CONTRACT.items():
        _check_function(name, getattr(method, name), takes, gives)
    if method.classes is not None and (not isinstance(method.classes, int) or method.classes < 1):
        raise InputError(f"a method's classes have to be None or how many there are, not {shortened(method.classes)}")
    if not isinstance(method.unlabelled, bool):
        raise InputError(f"a method's unlabelled has to be True or False, not {shortened(method.unlabelled)}")
    if not isinstance(method.recipe, Recipe | None):
        raise InputError(f"a method's recipe is what Method.made_by gives, or None, not {shortened(method.recipe)}")
    try:
        hash(method)
    except TypeError as error:
        raise InputError(f"a method's functions have to be hashable, as every def is: {error}") from None
    return _traced(method, batch).names


def largest_array_of(method: Method, batch: Batch) -> int:
    """The bytes of the largest array that two examples need, of a method that was checked."""
    return _traced(method, batch).largest


def check_runs(method: Method, runs: Runs) -> None:
    """Runs have to be laid out for this method.

    Raises:
      InputError: they are of other hyperparameters, are no runs, or are none.
    """
    if not isinstance(runs, Runs):
        raise InputError(f"runs are what vaejax.grid(method.hyper, seeds, ...) gives, not {shortened(runs)}")
    names, own = getattr(runs.hyper, "_fields", None), method.hyper._fields
    if names != own:
        found = ", ".join(names) if names is not None else shortened(runs.hyper)
        raise InputError(
            f"these runs have the hyperparameters {found}, and the method has {', '.join(own) or 'none'}; lay them out "
            f"with vaejax.grid(method.hyper, ...) of this method"
        )
    shapes = {jnp.shape(leaf) for leaf in (*runs.hyper, runs.seeds, runs.streams)}
    if any(not jnp.issubdtype(jnp.result_type(leaf), jnp.integer) for leaf in (runs.seeds, runs.streams)):
        raise InputError("the seeds and streams of runs have to be whole numbers; lay runs out with vaejax.grid")
    if len(shapes) > 1 or len(shape := shapes.pop()) != 1 or shape[0] < 1:
        raise InputError("every column of runs has to be an array [R], with R at least 1; select runs by a slice")


def _check_function(name: str, function: Any, takes: str, gives: str) -> None:
    if function is None and name in ABILITIES:
        return
    if not callable(function):
        raise InputError(f"{name} has to be a function, ({takes}) -> {gives}, not {shortened(function)}")
    try:
        signature = inspect.signature(function)
    except ValueError:  # of some that aren't written in Python
        return
    try:
        signature.bind(*takes.split(", "))
    except TypeError:
        own = ", ".join(map(str, signature.parameters.values()))
        raise InputError(f"{name} has to be called as {name}({takes}); this one takes ({own})") from None


class Traced(NamedTuple):
    """What is known of a method from its trace: the names of its metrics, and the bytes of its largest array."""

    names: tuple[str, ...]
    largest: int


@lru_cache(maxsize=64)  # traced once
def _traced(method: Method, batch: Batch) -> Traced:
    at, names = "init", ()

    def through(hyper: Any, key: Any, batch: Batch, step: Any) -> None:
        nonlocal at, names
        params = method.init(key, batch)
        _check_params(params)
        at = "encode"
        posterior = _latent("encode", method.encode(params, batch), "mean", "sample")
        z = posterior.mean
        if jnp.ndim(z) < 2 or len(z) != len(batch.x) or not jnp.issubdtype(z.dtype, jnp.floating):
            raise InputError(f"encode has to give floats [B, latents], here [{len(batch.x)}, ...], not {_kind(z)}")
        at = "decode"
        _check_images(
            _distribution("decode", method.decode(params, z, batch), "mean", "sample", "log_prob").mean, batch
        )
        if method.prior is not None:
            at = "prior"
            _latent("prior", method.prior(params, batch), "sample")
        if method.generate is not None:
            at = "generate"
            _check_floats(at, method.generate(params, key, batch), batch.x.shape)
        if method.classify is not None:
            at = "classify"
            _check_floats(at, method.classify(params, batch), (len(batch.x), method.classes))
        if method.codebook is not None:
            at = "codebook"
            _check_floats(at, method.codebook(params), (None, z.shape[-1]))
            _distribution("codebook", posterior, "indices")
        at = "optimizer"
        optimizer = method.optimizer(hyper)
        if not all(callable(getattr(optimizer, part, None)) for part in ("init", "update")):
            raise InputError(f"optimizer has to give {CONTRACT['optimizer'][1]}, not {shortened(optimizer)}")
        optimizer.init(params)
        at = "loss"
        names = _check_loss(method.loss(params, hyper, batch, key, step))

    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape[1:]), leaf.dtype), batch)  # 1 broadcasts
    number = jax.ShapeDtypeStruct((), jnp.float32)
    key = jax.eval_shape(jax.random.key, 0)
    try:
        with nn.intercept_methods(_refuse_batch_norm):
            shapes = jax.tree.map(lambda _: number, method.hyper), key, batch, jax.ShapeDtypeStruct((), jnp.int32)
            traced = jax.make_jaxpr(through)(*shapes)
    except InputError:
        raise
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        takes, gives = CONTRACT[at]
        raise InputError(
            f"{at} fails when it is traced with examples of shape {batch.x.shape[1:]}: {shortened_text(why, 170)}; "
            f"it has to be ({takes}) -> {gives}"
        ) from error
    return Traced(names, largest_array(traced.jaxpr))


def _check_params(params: Any) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise InputError(f"init has to give {CONTRACT['init'][1]}, and there are none in {shortened(params)}")
    for path, leaf in leaves:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            where = jax.tree_util.keystr(path)
            raise InputError(
                f"init has to give {CONTRACT['init'][1]}; {where} is {_kind(leaf)}, which no gradient can train"
            )
    jax.tree.map(
        lambda tree: check_stateless("method", tree) if _is_variables(tree) else None, params, is_leaf=_is_variables
    )


def _is_variables(tree: Any) -> bool:
    """Whether these are a Linen module's."""
    return isinstance(tree, Mapping) and "params" in tree


def _distribution(name: str, found: Any, *parts: str) -> Any:
    lacks = [part for part in parts if part not in dir(found)]
    if lacks:
        raise InputError(
            f"{name} has to give {CONTRACT[name][1]}, such as a vaejax.distributions.Gaussian; this one gives "
            f"{_kind(found)}, without {' and '.join(lacks)}"
        )
    return found


def _latent(name: str, found: Any, *parts: str) -> Any:
    """A distribution over codes, which has `log_prob` unless it says that it has no density."""
    if has_density(_distribution(name, found, *parts)) and "log_prob" not in dir(found):
        raise InputError(
            f"{name} gives {_kind(found)}, without log_prob; give it one, in nats, or say has_density = False there"
        )
    return found


def _check_floats(name: str, found: Any, shape: tuple[int | None, ...]) -> None:
    """Floats of this shape, in which None is any number."""
    floats = hasattr(found, "dtype") and jnp.issubdtype(found.dtype, jnp.floating)
    own = jnp.shape(found) if floats else None
    fits = own is not None and len(own) == len(shape)
    if not fits or any(want not in (None, has) for want, has in zip(shape, own or (), strict=True)):
        wanted = ", ".join("..." if size is None else str(size) for size in shape)
        raise InputError(f"{name} has to give {CONTRACT[name][1]}, here [{wanted}], not {_kind(found)}")


def _check_images(mean: Any, batch: Batch) -> None:
    made, shape = jnp.shape(mean), batch.x.shape
    if made != shape:
        made, shape = (made[1:], shape[1:]) if made[:1] == shape[:1] else (made, shape)
        raise InputError(f"the decoder makes images of shape {made}, but those of the source have {shape}")


def _check_loss(given: Any) -> tuple[str, ...]:
    pair = f"loss has to give the pair {CONTRACT['loss'][1]}"
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise InputError(f"{pair}, not {_kind(given)}")
    loss, metrics = given
    if not isinstance(metrics, Mapping):
        raise InputError(f"{pair}; its second part is {_kind(metrics)}")
    if not _is_scalar(loss, jnp.floating):
        raise InputError(
            f"{pair}; its first part has to be one float, such as a mean over the batch, not {_kind(loss)}"
        )
    if "loss" not in metrics:
        raise InputError(f"{pair}; among its metrics ({', '.join(map(str, metrics)) or 'none'}) there is no 'loss'")
    for name, value in metrics.items():
        if not isinstance(name, str) or name in COLUMNS:
            raise InputError(f"metrics have to have names, and none of {', '.join(COLUMNS)}; not {shortened(name)}")
        if not _is_scalar(value, jnp.floating) and not _is_scalar(value, jnp.integer) and not _is_scalar(value, bool):
            raise InputError(
                f"the metric {name!r} has to be one number, such as a mean over the batch, not {_kind(value)}"
            )
    return tuple(sorted(metrics))


def _is_scalar(value: Any, kind: Any) -> bool:
    if not isinstance(value, (bool, int, float)) and not hasattr(value, "dtype"):
        return False
    return jnp.shape(value) == () and bool(jnp.issubdtype(jnp.result_type(value), kind))


def _kind(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def _refuse_batch_norm(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
    if isinstance(context.module, NORMALISERS):
        check_stateless(f"layer {type(context.module).__name__}", {"params": None, "batch_stats": None})
    return call(*args, **kwargs)


def shortened_text(text: str, most: int) -> str:
    """The text, cut off after so many letters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
