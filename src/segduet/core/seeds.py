"""Seeds of random numbers."""

#: From 0 to this, a seed is one that the generators of NumPy, PyTorch and scikit-learn all take.
LARGEST_SEED = 2**32 - 1
