"""What every benchmark is given, the models that they train, and what has to hold before a ratio is printed."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmarks import timing
from experiments.benchmarks.timing import Compared, Contender, Failed, compare
from vaejax.networks.conv import channels, halvings

INSTALL = "PyTorch is not installed, so it is left out: pip install 'vaejax[bench]' (or: make benchmark)"


class Setting(NamedTuple):
    """What every command is given.

    Fields:
      rounds, seconds: how many turns of about how long.
      machine: `timing.machine()` and `timing.ceilings()`.
      folder: for what contenders share.
      torch: whether PyTorch is installed.
      data_dir: where mnist is, or None.
      say: shows what is going on.
    """

    rounds: int
    seconds: float
    quick: bool
    machine: dict[str, Any]
    folder: Path
    torch: bool
    data_dir: Path | None
    say: Callable[[str], Any]

    @property
    def accelerated(self) -> bool:
        """Whether jax computes on something else than the CPU."""
        return self.machine["backend"] != "cpu"

    def compare(self, contenders: Sequence[Contender], rounds: int | None = None, seconds: float | None = None):
        """`timing.compare` of these."""
        seconds = self.seconds if seconds is None else seconds
        return compare(contenders, rounds or self.rounds, seconds, self.say)


class Model(NamedTuple):
    """What is trained: a network of vaejax.networks, the side of its images, its width, and images per step."""

    network: str
    side: int
    width: int
    batch: int = 64

    def __str__(self) -> str:
        return f"{self.network} {self.side}x{self.side}, width {self.width}, batch {self.batch}"


PAPER = Model("conv", 64, 32)
SMALL = Model("conv", 32, 8, batch=32)  # what `make sweep` trains


def flops(model: Model, latents: int = 10) -> float:
    """Of one step: two for every multiplication with a weight, forward; backward counted as twice that.

    That is a little too much: the first layer has no gradient of its input, and products with padding are counted.
    """
    sides = [height for height, _ in halvings(model.side, model.side)]
    if model.network == "mlp":
        sizes = [model.side**2, model.width, model.width, 2 * latents]
        back = [latents, *[model.width] * 3, model.side**2]
        products = sum(a * b for row in (sizes, back) for a, b in pairwise(row))
    else:
        depth = [1, *channels(len(sides) - 1, model.width)]
        layers = sum(16 * a * b * side**2 for a, b, side in zip(depth[:-1], depth[1:], sides[1:], strict=True))
        dense = 8 * model.width * (sides[-1] ** 2 * depth[-1])
        products = 2 * (layers + dense) + 8 * model.width * 3 * latents
    return 3 * 2 * products * model.batch


def export(model: Model, setting: Setting) -> tuple[str, float]:
    """A file of images, weights and noise for both sides, and the loss that they give in vaejax."""
    path = str(setting.folder / f"{model}.npz")
    contender = Contender("export", "experiments.benchmarks.ours:export", {"path": path, **model._asdict()})
    with timing.Worker(contender) as worker:
        setting.say(f"{model}: images and weights")
        return path, worker.start().facts["loss"]


def need(found: Compared, names: Iterable[str]) -> None:
    """Nothing, where these were measured.

    Raises:
      Failed: one was not.
    """
    for name in names:
        if name in found.failed:
            raise Failed(found.failed[name])


def check(found: Compared, loss: float, setting: Setting) -> None:
    """Nothing, where everybody who says a loss before training says this one.

    Raises:
      Failed: somebody says another.
    """
    tolerance = 1e-3 if setting.accelerated else 1e-5  # accelerators round the factors of a product
    for name, one in found.timings.items():
        theirs = one.facts.get("loss", loss)
        if not abs(theirs - loss) <= tolerance * abs(loss):
            raise Failed(f"{name} has a loss of {theirs} where vaejax has {loss}, so there is nothing to compare")


def notes(found: Iterable[Compared], setting: Setting, rival: bool = True) -> list[str]:
    """What a reader has to know: what failed, who else was there, what is missing."""
    found = list(found)
    lines = [f"left out: {reason}" for one in found for reason in one.failed.values()]
    others = max(one.others for one in found)
    if others > timing.QUIET:
        where = "on this machine or on its host: measure again when they are done"
        lines.append(f"others took {100 * others:.0f} % of the cores, {where}")
    return lines if setting.torch or not rival else [*lines, INSTALL]
