"""Published protocols, one file each; `python -m experiments.papers NAME` runs one and compares its numbers."""
