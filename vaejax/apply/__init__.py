"""What a trained method is good for: functions over a method and the parameters of one run."""

from vaejax.apply.classify import classify
from vaejax.apply.encode import Codes, encode
from vaejax.apply.generate import generate
from vaejax.apply.generate_codes import generate_codes
from vaejax.apply.label import carried, information, label_latents
from vaejax.apply.reconstruct import reconstruct
from vaejax.apply.traverse import data_values, prior_values, traverse

__all__ = [
    "Codes", "carried", "classify", "data_values", "encode", "generate", "generate_codes", "information",
    "label_latents", "prior_values", "reconstruct", "traverse",
]  # fmt: skip
