"""`check_method`: every property that a method has to have."""
