"""Figures: pure functions from tidy frames and arrays to `matplotlib.figure.Figure`, without pyplot or rcParams."""

from vaejax.analysis.tables import label, summary, summary_table
from vaejax.plots.codes import factor_curves, mutual_information_heatmap, mutual_information_heatmaps
from vaejax.plots.columns import column_traversals
from vaejax.plots.examples import examples
from vaejax.plots.images import beside_nearest, image_grid
from vaejax.plots.style import colours
from vaejax.plots.sweep import curves, kl_per_latent, learning_curves, rate_distortion
from vaejax.plots.traversals import traversal_gif, traversal_strip, traversals_beside

__all__ = [
    "beside_nearest",
    "colours",
    "column_traversals",
    "curves",
    "examples",
    "factor_curves",
    "image_grid",
    "kl_per_latent",
    "label",
    "learning_curves",
    "mutual_information_heatmap",
    "mutual_information_heatmaps",
    "rate_distortion",
    "summary",
    "summary_table",
    "traversal_gif",
    "traversal_strip",
    "traversals_beside",
]
