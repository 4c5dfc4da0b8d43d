"""What a trained method is good for: functions over a method and the parameters of one run."""

from vaejax.apply.classify import classify
from vaejax.apply.generate import generate
from vaejax.apply.generate_codes import generate_codes
from vaejax.apply.label import information, label_latents
from vaejax.apply.reconstruct import reconstruct
from vaejax.apply.traverse import data_values, prior_values, traverse

__all__ = [
    "classify", "data_values", "generate", "generate_codes", "information", "label_latents", "prior_values",
    "reconstruct", "traverse",
]  # fmt: skip
