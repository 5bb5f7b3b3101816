"""Whether an array holds finite numbers only, without an array of answers."""

import math

import numpy as np


def is_finite(array: np.ndarray) -> bool:
    """Whether no value of a float array is NaN or infinite; True where it is empty.

    NaN and infinity survive in the sum of squares. So may large numbers overflow: only where the
    sum is not finite is every value looked at.
    """
    values = array.ravel(order="K")
    with np.errstate(over="ignore", invalid="ignore"):
        if math.isfinite(np.vdot(values, values)):
            return True
    return bool(np.isfinite(values).all())
