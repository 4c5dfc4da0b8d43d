"""Training: the runs of a sweep, one step of one of them, all of them as one program, and which device has which."""
