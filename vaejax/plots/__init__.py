"""Figures: pure functions from tidy frames and arrays to `matplotlib.figure.Figure`, without pyplot or rcParams."""

from vaejax.plots.images import image_grid
from vaejax.plots.style import colours
from vaejax.plots.sweep import curves, kl_per_latent, learning_curves, rate_distortion
from vaejax.report.tables import label, summary, summary_table

__all__ = [
    "colours",
    "curves",
    "image_grid",
    "kl_per_latent",
    "label",
    "learning_curves",
    "rate_distortion",
    "summary",
    "summary_table",
]
