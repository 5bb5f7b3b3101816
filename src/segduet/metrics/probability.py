"""How good probabilities are: ranking, squared error, calibration.

N cases, K classes; leading axes (...) of `weights` are resamples, as in `confusion.py`.
"""

import numpy as np

from segduet.metrics.confusion import ratio

#: Wide enough for some dozens of cases; the usual 15 leaves bins of one or two.
NUM_CALIBRATION_BINS = 10


def auroc(
    reference: np.ndarray, probabilities: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Area under the ROC curve, one class against the rest, mean over classes: (...) in [0, 1].

    Equals scikit-learn's `roc_auc_score(multi_class="ovr", average="macro")`; for two classes both
    one-against-rest areas are the same, the usual AUROC. Ties count one half. NaN where a class is
    absent from the reference or is the only one: no mean over the remaining classes is passed off
    as the macro value.

    Args:
        reference: (N,) integer class indices in [0, K).
        probabilities: (N, K) float64.
        weights: (..., N) how often each case counts; None counts each once.

    Source: Hanley and McNeil (1982), doi:10.1148/radiology.143.1.7063747.
    """
    counted = _counted(reference, weights)
    areas = [
        binary_auroc(reference == k, probabilities[:, k], weights=counted)
        for k in range(probabilities.shape[1])
    ]
    mean: np.ndarray = np.stack(areas).mean(0)
    return mean


def brier(
    reference: np.ndarray, probabilities: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mean over cases of the squared errors summed over classes: (...) in [0, 2]; lower is better.

    Equals scikit-learn's `brier_score_loss(scale_by_half=False)`. NaN without cases.

    Args:
        reference: (N,) integer class indices in [0, K).
        probabilities: (N, K) float64.
        weights: (..., N) how often each case counts; None counts each once.

    Source: Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    counted = _counted(reference, weights)
    truth = np.eye(probabilities.shape[1])[reference]
    errors = ((probabilities - truth) ** 2).sum(1)
    return ratio(counted @ errors, counted.sum(-1))


def ece(
    reference: np.ndarray,
    probabilities: np.ndarray,
    *,
    num_bins: int = NUM_CALIBRATION_BINS,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Expected calibration error of the top class: (...) in [0, 1]; lower is better.

    Cases are sorted into equal-width bins (l, u] of the largest probability (0 into the first);
    the gap between mean confidence and accuracy of each bin is weighted by its size. Biased upwards
    for few cases. NaN without cases.

    Args:
        reference: (N,) integer class indices in [0, K).
        probabilities: (N, K) float64; the first of equal largest classes is the answer.
        num_bins: bins between 0 and 1.
        weights: (..., N) how often each case counts; None counts each once.

    Source: Guo et al. (2017), arXiv:1706.04599, equation 3.
    """
    counted = _counted(reference, weights)
    confidence = probabilities.max(1)
    is_right = probabilities.argmax(1) == reference
    inner_edges = np.linspace(0.0, 1.0, num_bins + 1)[1:-1]
    bins = np.eye(num_bins)[np.searchsorted(inner_edges, confidence, side="left")]
    # |sum of (right - confidence)| per bin is already the gap times the bin's size
    gaps = np.abs((counted * (is_right - confidence)) @ bins)
    return ratio(gaps.sum(-1), counted.sum(-1))


def binary_auroc(
    is_positive: np.ndarray, score: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Chance that a positive case scores above a negative one: (...) in [0, 1].

    Equals scikit-learn's `roc_auc_score`. Ties count one half. NaN without a positive or without a
    negative case.

    Args:
        is_positive: (N,) bool.
        score: (N,) float64, higher where positive is more likely.
        weights: (..., N) how often each case counts; None counts each once.

    Source: Hanley and McNeil (1982), doi:10.1148/radiology.143.1.7063747.
    """
    counted = _counted(is_positive, weights)
    positive, negative = score[is_positive], score[~is_positive]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    of_positive, of_negative = counted[..., is_positive], counted[..., ~is_positive]
    won = ((of_positive @ wins) * of_negative).sum(-1)
    return ratio(won, of_positive.sum(-1) * of_negative.sum(-1))


def average_precision(
    is_positive: np.ndarray, score: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Precision at every threshold, weighed by the recall it adds: (...) in [0, 1].

    Equals scikit-learn's `average_precision_score`: no interpolation, cases of equal score share a
    threshold. NaN without a positive case.

    Args:
        is_positive: (N,) bool.
        score: (N,) float64, higher where positive is more likely.
        weights: (..., N) how often each case counts; None counts each once.

    Source: Davis and Goadrich (2006), doi:10.1145/1143844.1143874 (why not to interpolate).
    """
    order = np.argsort(-score, kind="stable")
    counted = _counted(is_positive, weights)[..., order]
    is_last_of_equals = np.diff(score[order], append=-np.inf) != 0
    found = np.cumsum(counted * is_positive[order], axis=-1)[..., is_last_of_equals]
    answered = np.cumsum(counted, axis=-1)[..., is_last_of_equals]
    precision = np.nan_to_num(ratio(found, answered), nan=0.0)
    gained = np.diff(found, axis=-1, prepend=0.0)
    return ratio((precision * gained).sum(-1), (counted * is_positive[order]).sum(-1))


def _counted(reference: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    return np.ones(len(reference)) if weights is None else np.asarray(weights, dtype=np.float64)
