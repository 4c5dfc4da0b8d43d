"""What `config.json` may say: every key of its kind, so that nothing that opens a folder meets anything else."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vaejax.errors import LARGEST, InputError, shortened
from vaejax.method import KINDS


class Kind(NamedTuple):
    """What a value has to be: in words, and a test of it."""

    words: str
    fits: Callable[[Any], bool]


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("method"), str) and "shape" not in value


def _is_source(value: Any) -> bool:
    kinds = {"name": str, "data_dir": str | None, "size": int | None, "own": bool}
    if not isinstance(value, dict) or "name" not in value:
        return False
    return all(name in kinds and isinstance(of, kinds[name]) for name, of in value.items())


def _is_space(value: Any) -> bool:
    if not isinstance(value, dict) or not set(value) <= {"kind", "levels", "ragged"}:
        return False
    kind, levels = value.get("kind", "real"), value.get("levels")
    kinds, counts = (part if isinstance(part, list) else [part] for part in (kind, levels))
    return all(one in KINDS for one in kinds) and all(one is None or _is_size(one) for one in counts)


def _is_seeds(value: Any) -> bool:
    return _is_size(value) or (isinstance(value, list) and all(isinstance(seed, int) for seed in value))


def _or_null(kind: Kind) -> Kind:
    return Kind(f"{kind.words}, or null", lambda value: value is None or kind.fits(value))


SIZE = Kind("a whole number of at least 1", _is_size)
TEXT = Kind("a text", _is_text)
SHAPE = Kind(
    "one or three whole numbers of at least 1, such as [28, 28, 1]",
    lambda value: isinstance(value, list) and len(value) in (1, 3) and all(map(_is_size, value)),
)
KEYS: dict[str, Kind] = {  # what isn't here, an experiment's notes, may be anything
    "command": TEXT,
    "question": _or_null(TEXT),
    "source": Kind("an object with the 'name' of a source, and perhaps 'data_dir', 'size' or 'own'", _is_source),
    "model": Kind("an object with the name of a 'method'", _is_named),
    "space": Kind("an object with 'kind', 'levels' and 'ragged'", _is_space),
    "shape": SHAPE,
    "steps": SIZE,
    "batch_size": SIZE,
    "chunk": _or_null(SIZE),
    "window": _or_null(SIZE),
    "images": SIZE,
    "seeds": Kind("how many seeds, or a list of them", _is_seeds),
    "hyper": Kind("an object", lambda value: isinstance(value, dict)),
    "common_random_numbers": Kind("true or false", lambda value: isinstance(value, bool)),
    "precision": TEXT,
    "metrics": Kind("a list of names", lambda value: isinstance(value, list) and all(map(_is_text, value))),
    "sizes": Kind("a list of whole numbers", lambda value: isinstance(value, list) and all(map(_is_size, value))),
}


def check_config(file: Path, config: Mapping[str, Any]) -> None:
    """Nothing, where every value is of its key's kind.

    Raises:
      InputError: the first that isn't.
    """
    for name, value in config.items():
        if name in KEYS and not KEYS[name].fits(value):
            raise InputError(
                f"{file}: {name!r} has to be {KEYS[name].words}, not {shortened(value)}; put the file back from a copy"
            )
