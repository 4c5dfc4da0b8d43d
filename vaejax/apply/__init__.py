"""What a trained method is good for: functions over a method and the parameters of one run."""

from vaejax.apply.generate import generate
from vaejax.apply.reconstruct import reconstruct
from vaejax.apply.traverse import traverse

__all__ = ["generate", "reconstruct", "traverse"]
