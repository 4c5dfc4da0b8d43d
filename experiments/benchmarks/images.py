"""Drawing sprites, against reading them from memory; streaming images from the disk, against having them there."""

import numpy as np

from experiments.benchmarks.setting import PAPER, SMALL, Setting, export, need, notes
from experiments.benchmarks.tables import Table
from experiments.benchmarks.timing import Contender, Quartiles, quartiles, ratio


def render(setting: Setting) -> list[Table]:
    """Sprites drawn, against images read.

    Raises:
      Failed: something can't be measured.
    """
    model = SMALL if setting.quick else PAPER
    sizes = {"side": model.side, "batch": model.batch}
    path, _ = export(model, setting)
    drawn, read, trained = (
        "vaejax.data.sprites, jitted",
        "NumPy: bytes in memory, by index",
        "a training step, for scale",
    )
    found = setting.compare(
        [
            Contender(read, "experiments.benchmarks.ours:read", sizes),
            Contender(drawn, "experiments.benchmarks.ours:render", sizes),
            Contender(trained, "experiments.benchmarks.ours:train", {"path": path, **model._asdict()}),
        ]
    )
    need(found, [read, drawn, trained])
    images = {name: quartiles(one.rates) for name, one in found.timings.items()}
    images[trained] = Quartiles(*(model.batch * value for value in images[trained]))
    rows = [
        (name, rate, rate.median / images[read].median, 100 * images[trained].median / rate.median)
        for name, rate in images.items()
    ]
    names = ("", "images/s", "x NumPy", "% of a training step")
    return [Table(f"A batch of sprites: {model}", names, rows, notes([found], setting, rival=False), names[3:])]


def stream(setting: Setting) -> list[Table]:
    """Images of MNIST's size and number, in memory and streamed from the disk.

    Raises:
      Failed: something can't be measured.
    """
    count, window, steps = (6000, 1000, 50) if setting.quick else (60_000, 10_000, 400)
    path = str(setting.folder / "stream.npz")
    np.savez(path, x=np.random.default_rng(0).integers(256, size=(count, 28, 28), dtype=np.uint8))
    paths = {"": path}
    if setting.data_dir is not None:
        paths["MNIST, PNG in array_record: "] = f"tfds:mnist:{setting.data_dir}"
    model = {"network": "conv", "width": 8 if setting.quick else 32, "batch": 64, "steps": steps}
    contenders = [Contender("in memory", "experiments.benchmarks.ours:stream", {"path": path, **model, "window": None})]
    for name, where in paths.items():
        arguments = {"path": where, **model, "window": window}
        contenders.append(Contender(f"{name}streamed", "experiments.benchmarks.ours:stream", arguments))
    found = setting.compare(contenders, rounds=min(setting.rounds, 3), seconds=0)
    need(found, [one.name for one in contenders])
    memory = found.timings["in memory"]
    rows = []
    for name, one in found.timings.items():
        said = [turn.said for turn in one.turns]
        shares = quartiles([100 * each["waiting"] for each in said])
        first = None if one is memory else quartiles([each["first"] for each in said])
        rows.append((name, quartiles(one.rates), ratio(one, memory), shares, first, one.memory / 1e6))
    names = ("", "model-steps/s", "x in memory", "% waiting", "s for the first window", "peak MB")
    title = f"Streaming {count:,} images of 28x28, {window:,} at a time: 2 models, conv, batch 64, {steps} steps"
    remarks = notes([found], setting, rival=False)
    return [Table(title, names, rows, remarks, ("model-steps/s",))]
