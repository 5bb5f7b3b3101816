"""Numbers of any findings at once. N cases, K findings.

Leading axes (...) of `weights` are resamples, as in `confusion.py`.
"""

import numpy as np

from segduet.metrics.confusion import ratio
from segduet.metrics.resamples import case_weights


def finding_f1(
    reference: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """F1 of each finding, 2 TP / (2 TP + FP + FN): (..., K) float64 in [0, 1].

    A finding that is neither true nor answered scores 0, as absent classes do; the mean over
    findings equals scikit-learn's `f1_score(average="macro", zero_division=0)`. NaN without cases.

    Args:
        reference: (N, K) bool, which findings there are.
        predicted: (N, K) bool, which ones were answered.
        weights: (..., N) how often each case counts; None counts each once.
    """
    counted = case_weights(reference, weights)
    hits = counted @ (reference & predicted)
    involved = counted @ (reference.astype(np.float64) + predicted)
    scores = np.nan_to_num(ratio(2 * hits, involved), nan=0.0)
    return np.where(counted.sum(-1, keepdims=True) > 0, scores, np.nan)


def exact_match(
    reference: np.ndarray, predicted: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Share of cases in which every finding is answered rightly: (...) float64 in [0, 1].

    Equals scikit-learn's `accuracy_score` of multilabel data. NaN without cases.

    Args:
        reference: (N, K) bool.
        predicted: (N, K) bool.
        weights: (..., N) how often each case counts; None counts each once.
    """
    counted = case_weights(reference, weights)
    return ratio(counted @ (reference == predicted).all(1), counted.sum(-1))
