"""Whether parameters are those of a method, of one run or of all, and images those that it was built for."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaejax.errors import InputError, is_masked, shortened
from vaejax.method import Batch, Method, Params
from vaejax.training.runs import Result

KEPT = 32  # methods and shapes of images whose parameters are remembered
Shape = tuple[int, ...]


class Expected(NamedTuple):
    """What a method has for images of some shape.

    Fields:
      params: the shape of every parameter, by its name; None for a method that can't say (without `init`).
      image: the shape of the images that it makes.
    """

    params: dict[str, Shape] | None
    image: Shape | None


def check_params(method: Method, example: Batch, params: Params, runs: bool) -> None:
    """Nothing, where the method has such parameters and makes such images; only shapes are compared, also under jit.

    Args:
      example: images and what comes with them, or their shapes (`vaejax.data.example` of a source); any number.
      runs: whether every leaf has to have a leading run axis, as in `Result.params`, or none, as in `params_of`.

    Raises:
      InputError: parameters of one run in place of all, or the reverse; those of another method; images of another
        shape; something else than a method, a batch or parameters.
    """
    check_method(method)
    check_batch(example)
    if isinstance(params, Result) or hasattr(params, "params_of"):
        raise InputError(f"give the parameters, {'result.params' if runs else 'result.params_of(run)'}, not the result")
    if any(map(is_masked, jax.tree.leaves(params))):
        raise InputError("these parameters have masked values; give those of a result")
    expected = _expected_of(method, example)
    shape = np.shape(example.x)[1:]
    if expected.image is not None and expected.image != shape:
        raise InputError(f"images of {_sides(shape)} don't fit a method for images of {_sides(expected.image)}")
    if expected.params is None:
        return
    found = _shapes(params)
    if not found:
        raise InputError(f"parameters are needed, such as result.params, not {shortened(params)}")
    one = found == expected.params
    many = not one and _count(found, expected.params)
    if one and runs:
        raise InputError(
            "these are the parameters of one run, where those of all runs are needed: give result.params, not "
            "result.params_of(run)"
        )
    if many and not runs:
        raise InputError(
            f"these are the parameters of {many} runs, where those of one are needed: give result.params_of(run), not "
            "result.params"
        )
    if not (one or many):
        raise InputError(
            f"these parameters are not those of this method for images of {_sides(shape)}: "
            f"{_difference(found, expected.params)}; give the method and the parameters of one result"
        )
    for leaf in jax.tree.leaves(params):
        kind = getattr(leaf, "dtype", np.dtype(float) if isinstance(leaf, float) else None)
        if kind is None or not jnp.issubdtype(kind, jnp.floating):
            raise InputError(f"parameters are floats, and some of these are {shortened(leaf)}; give those of a result")


def check_method(method: Any) -> None:
    """Nothing, where it is a method.

    Raises:
      InputError: it is something else.
    """
    if not isinstance(method, Method):
        raise InputError(f"a method is needed, such as vaejax.build gives or result.method is, not {shortened(method)}")


def check_batch(batch: Any) -> None:
    """Nothing, where it is a batch of at least one image, with as many labels and factors.

    Raises:
      InputError: it is something else.
    """
    if not isinstance(batch, Batch):
        raise InputError(f"images have to come in a batch, as in vaejax.Batch(x), not {shortened(batch)}")
    shape: Any = np.shape(batch.x) if hasattr(batch.x, "shape") else ()
    rank = len(shape)
    if rank not in (2, 4) or 0 in shape:
        what = shape if hasattr(batch.x, "shape") else shortened(batch.x)
        raise InputError(
            f"images have to be an array [B, H, W, C] with at least one image (or vectors [B, D]), not {what}"
        )
    if not jnp.issubdtype(batch.x.dtype, jnp.floating):
        raise InputError(f"images have to be floats, from 0 to 1, not {batch.x.dtype}; convert and scale them")
    for name in ("x", "factors", "label", "mask"):
        if is_masked(getattr(batch, name)):
            raise InputError(f"{name} of a batch has masked values, which would be taken for numbers; leave them out")
    for name, axes in (("label", 1), ("factors", 2)):
        given = getattr(batch, name)
        if given is not None and (len(np.shape(given)) != axes or np.shape(given)[0] != shape[0]):
            raise InputError(f"a batch of {shape[0]} images has a {name} for each, not {np.shape(given)}")


def check_decoder(method: Method, params: Params, latents: int) -> None:
    """`check_params` of one run where there are no images: whether codes of so many latents can be decoded.

    Raises:
      InputError: they can't.
    """
    check_method(method)
    if _decodes(method, params, latents):
        return
    leaves = [leaf for leaf in jax.tree.leaves(params) if np.ndim(leaf)]
    counts = {np.shape(leaf)[0] for leaf in leaves}
    if len(counts) == 1 and _decodes(method, jax.tree.map(lambda leaf: leaf[0], params), latents):
        raise InputError(
            f"these are the parameters of {counts.pop()} runs, where those of one are needed: give "
            "result.params_of(run), not result.params"
        )
    raise InputError(
        f"this method with these parameters can't decode codes of {latents} latents; give the method and the "
        "parameters of one result, and a code that its encoder gives"
    )


def _decodes(method: Method, params: Params, latents: int) -> bool:
    try:
        jax.eval_shape(lambda params: method.decode(params, jnp.zeros((1, latents))).mean, params)
    except Exception:  # whatever a network says of parameters or codes that don't fit it
        return False
    return True


def _expected_of(method: Method, example: Batch) -> Expected:
    leaves, tree = jax.tree.flatten(example)
    shapes = tuple(((1, *leaf.shape[1:]), str(leaf.dtype)) for leaf in leaves)
    try:
        hash(method)
    except TypeError:  # hyperparameters that are arrays: worked out anew every time
        return _expected.__wrapped__(method, tree, shapes)
    return _expected(method, tree, shapes)


@lru_cache(KEPT)
def _expected(method: Method, tree: Any, shapes: tuple[tuple[Shape, str], ...]) -> Expected:
    """Nothing is computed: shapes alone are traced.

    Raises:
      InputError: the method can't take such images.
    """
    if method.init is None:
        return Expected(None, None)
    batch = jax.tree.unflatten(tree, [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes])

    def trace(key: jax.Array, batch: Batch) -> tuple[Params, Any]:
        params = method.init(key, batch)
        return params, method.decode(params, method.encode(params, batch).mean, batch).mean

    try:
        params, made = jax.eval_shape(trace, jax.random.key(0), batch)
    except InputError:
        raise
    except Exception as error:  # whatever a network says of images that it can't take
        raise InputError(
            f"this method can't take images of {_sides(shapes[0][0][1:])}; its network: {shortened(str(error), 120)}"
        ) from error
    return Expected(_shapes(params), made.shape[1:])


def _shapes(params: Params) -> dict[str, Shape]:
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.shape(leaf) for path, leaf in leaves}


def _count(found: dict[str, Shape], one: dict[str, Shape]) -> int:
    """How many runs' parameters these are, 0 if they are none."""
    counts = {shape[:1] for shape in found.values()}
    alike = found.keys() == one.keys() and all(shape[1:] == one[name] for name, shape in found.items())
    return counts.pop()[0] if alike and len(counts) == 1 and () not in counts else 0


def _difference(found: dict[str, Shape], expected: dict[str, Shape]) -> str:
    """The first that is not as expected, with or without a run axis."""
    for name, shape in expected.items():
        if name not in found:
            return f"{name[:80]} is missing"
        if shape not in (found[name], found[name][1:]):
            return f"{name[:80]} is {list(found[name])}, not {list(shape)}"
    more = next((name for name in found if name not in expected), None)
    return f"it has no {more[:80]}" if more else "runs differ in number from leaf to leaf"


def _sides(shape: Shape) -> str:
    return "x".join(map(str, shape)) if math.prod(shape) else str(shape)
