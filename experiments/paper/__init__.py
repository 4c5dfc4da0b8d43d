"""Published protocols, one file each; `python -m experiments.paper_tables NAME` runs one and compares its numbers."""
