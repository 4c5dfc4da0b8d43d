"""What `experiments.benchmarks` measures, one file each, and who takes part: vaejax, PyTorch, scikit-learn, NumPy."""
