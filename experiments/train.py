"""Trains any method on any source, over seeds and values of its hyperparameters, and writes a report.

python -m experiments.train --method vq_vae --source mnist --data-dir DIR
python -m experiments.train --method denoising_autoencoder --options corruption=masking --hyper level=0,0.25,0.5
python -m experiments.train --method conditional_vae --source digits --options condition=label classes=10

`--hyper` takes numbers that the program is given (several of one name are a sweep, all of it one program); `--options`
what the method's constructor takes. A name that the method doesn't know is answered with those that it does.
"""

import dataclasses
import math
from pathlib import Path

import pandas as pd

from experiments import checks, options, script
from experiments.code_samples import code_samples
from vaejax.analysis.answers import asked, best
from vaejax.data import is_rendered
from vaejax.report.sweep import axis_of, example_of, tidy
from vaejax.storage.run import Run


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that the training depends on; it is written to `config.json`."""

    method: str = "vae"  # any method; docs/methods.md lists them
    source: str = "sprites"  # sprites, npz:PATH, csv:PATH, images:FOLDER, mnist, ...; docs/data.md lists them
    data_dir: str | None = None  # where tensorflow-datasets' data sets are prepared
    window: int | None = None  # hold so many images at a time, the others on the disk: for more than the device takes
    size: int | None = None  # height and width of rendered images, 32 if not given; of a folder's, resized and cropped
    network: str | None = None  # conv, conv_k2, mlp, mlp_relu, ...; the method's own, or conv, if not given
    width: tuple[int, ...] = ()  # channels of the first convolution, or an mlp's layers; the network's own if not given
    latents: int = 10  # dimensions of the code
    likelihood: str | None = None  # p(x | z): bernoulli, gaussian_learned, poisson, ...; the data's own if not given
    options: tuple[str, ...] = ()  # NAME=VALUE ... of the method's constructor: codes=64 layers=500,250
    hyper: tuple[str, ...] = ()  # NAME=NUMBER[,NUMBER...] ...: hyperparameters, the method's defaults if not given
    seeds: int = 2  # runs of every setting
    steps: int = 2000  # training steps of every run
    batch_size: int = 64  # images per step
    prior_steps: int = 2000  # of the prior over the codes of vq_vae and fsq_vae, to draw images from; 0 for none
    images: int = 10_000  # how many images to measure on, of the test split where there is one
    chunk: int | None = None  # runs that each device vmaps at once; chosen by backend if not given
    save_every: float = 60.0  # seconds between checkpoints; 0 for one after every segment of steps
    name: str | None = None  # the folder under --out; METHOD-SOURCE if not given
    out: Path = Path("runs")  # where the folders of runs are
    overwrite: bool = False  # delete what an earlier training of this name left


def main(config: Config) -> None:
    """Trains, measures, and writes `runs/NAME/`."""
    config = checks.checked(config, Config)
    default = f"{script.portable(config.method)}-{script.portable(config.source)}"
    path = script.folder(config.out, default if config.name is None else config.name)
    made, axes = options.options(config.options), options.hyper(config.hyper)
    checks.check_count(config.seeds, math.prod(map(len, axes.values())))
    checks.check_seconds(config.save_every)
    checks.check_prior(config.prior_steps)
    size = 32 if config.size is None and is_rendered(config.source) else config.size
    width = config.width[0] if len(config.width) == 1 else config.width or None
    more = {"axes": axes, "options": made, "size": size, "width": width, "notes": {"prior_steps": config.prior_steps}}
    run = script.trained(script.experiment(config, **more), path, overwrite=config.overwrite)
    by, named = axis_of(run, "setting")
    table, question = tidy(named, by), asked(config.method, config.source)
    drawn = code_samples(named, table, steps=config.prior_steps, batch_size=config.batch_size)
    script.reported(run, by, answer(table, run), question=question, more=drawn)


def answer(table: pd.DataFrame, run: Run) -> str:
    """What came out, at the best setting."""
    return best(table, "setting", run.config["steps"], example_of(run))


if __name__ == "__main__":
    script.run(main, {"": Config()}, __doc__)
