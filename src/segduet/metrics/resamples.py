"""How often each case counts: once, or as a bootstrap drew it."""

import numpy as np


def case_weights(cases: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """How often each case counts: (..., N) float64; once each where nothing else is said.

    Args:
        cases: (N, ...) anything with one row per case.
        weights: (..., N) counts, such as those of resamples; None counts each once.
    """
    return np.ones(len(cases)) if weights is None else np.asarray(weights, dtype=np.float64)
