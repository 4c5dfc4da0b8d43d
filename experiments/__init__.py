"""One short file per question; each runs with `python -m experiments.NAME`."""
