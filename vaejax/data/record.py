"""How `load` knows a source: a record of its name, of the function that makes it, and of what may go with the name."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Named(NamedTuple):
    """A source that has a name for `vaejax.data.load`.

    Fields:
      name: what the user writes: `digits`, or with a path in capitals, `npz:PATH`.
      make: `(size) -> Factors` where it is rendered; else `(split) -> Source`, or `(path, split) -> Source` where there
        is a path, with `size=` where it is sized, and its options by name.
      rendered: whether its images are drawn, in any size, and are the same in both splits.
      sized: whether `make` takes a size though nothing is rendered.
      stream: `(path, split, window) -> Streamed`, where it can stay on the disk; otherwise as `make`.
      options: what may stand behind the name, as `+NAME:TEXT` -> an example; `make` takes the text by that name.
    """

    name: str
    make: Callable[..., Any]
    rendered: bool = False
    sized: bool = False
    stream: Callable[..., Any] | None = None
    options: Mapping[str, str] = {}

    @property
    def prefix(self) -> str:
        """What the name of a source begins with, or is where there is no path: `npz:`."""
        head, colon, _ = self.name.partition(":")
        return head + colon
