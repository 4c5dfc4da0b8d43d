"""What `experiments.benchmark` measures, one file each, and who takes part: vaejax, PyTorch, scikit-learn and NumPy."""
