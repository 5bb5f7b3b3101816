"""How good probabilities are: ranking, squared error, calibration.

N cases, K classes; leading axes (...) of `weights` are resamples, as in `confusion.py`.
"""

import numpy as np
from scipy import special

from segduet.metrics.confusion import ratio
from segduet.metrics.resamples import case_weights
from segduet.metrics.steps import Steps

#: Wide enough for some dozens of cases; the usual 15 leaves bins of one or two.
NUM_CALIBRATION_BINS = 10
#: Makes the kernel's standard deviation 0.07 at one half: about as wide as a bin.
KERNEL_BANDWIDTH = 0.02
#: Certainty itself would have no neighbours under a Beta kernel.
_NEARLY_CERTAIN = 1e-6


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
    counted = case_weights(reference, weights)
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
    counted = case_weights(reference, weights)
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
    counted = case_weights(reference, weights)
    confidence = probabilities.max(1)
    is_right = probabilities.argmax(1) == reference
    inner_edges = np.linspace(0.0, 1.0, num_bins + 1)[1:-1]
    bins = np.eye(num_bins)[np.searchsorted(inner_edges, confidence, side="left")]
    # |sum of (right - confidence)| per bin is already the gap times the bin's size
    gaps = np.abs((counted * (is_right - confidence)) @ bins)
    return ratio(gaps.sum(-1), counted.sum(-1))


def ece_kde(
    reference: np.ndarray,
    probabilities: np.ndarray,
    *,
    bandwidth: float = KERNEL_BANDWIDTH,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Calibration error of the top class without bins: (...) in [0, 1]; lower is better.

    Each case's confidence is held against the accuracy of the others, weighed by a Beta kernel of
    their confidence, so that no bin edge decides. A case never smooths itself, however often it
    was drawn. NaN with fewer than two cases.

    Args:
        reference: (N,) integer class indices in [0, K).
        probabilities: (N, K) float64; the first of equal largest classes is the answer.
        bandwidth: of the kernel, > 0; a case of confidence c weighs the others with the density of
            Beta(c / bandwidth + 1, (1 - c) / bandwidth + 1).
        weights: (..., N) how often each case counts; None counts each once.

    Source: Popordanoska et al. (2022), arXiv:2210.07810, the L1 error of the top label; the fixed
        bandwidth instead of the likeliest one for each data set is our choice.
    """
    counted = case_weights(reference, weights)
    confidence = probabilities.max(1)
    is_right = (probabilities.argmax(1) == reference).astype(np.float64)
    kernel = _beta_kernel(confidence, bandwidth)
    accuracy = ratio(counted @ (kernel * is_right).T, counted @ kernel.T)
    has_neighbours = np.isfinite(accuracy)
    gaps = np.where(has_neighbours, np.abs(accuracy - confidence), 0.0)
    return ratio((counted * gaps).sum(-1), (counted * has_neighbours).sum(-1))


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
    counted = case_weights(is_positive, weights)
    positive, negative = score[is_positive], score[~is_positive]
    # all pairs: for hundreds of cases one product of matrices is faster than sorting
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
    counted, steps = case_weights(is_positive, weights), Steps.of(-score)
    positive, answered = steps.sums(counted * is_positive), steps.sums(counted)
    precision = ratio(np.cumsum(positive, axis=-1), np.cumsum(answered, axis=-1))
    # of a resample, the first steps may hold no case: they add no recall
    gained = np.nan_to_num(precision, nan=0.0) * positive
    return ratio(gained.sum(-1), positive.sum(-1))


def macro_average_precision(
    reference: np.ndarray, probabilities: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Average precision of one class against the rest, mean over classes: (...) in [0, 1].

    NaN where a class is absent from the reference, as for `auroc` (scikit-learn counts such a
    class as 0).

    Args:
        reference: (N,) integer class indices in [0, K).
        probabilities: (N, K) float64.
        weights: (..., N) how often each case counts; None counts each once.
    """
    counted = case_weights(reference, weights)
    each = [
        average_precision(reference == k, probabilities[:, k], weights=counted)
        for k in range(probabilities.shape[1])
    ]
    mean: np.ndarray = np.stack(each).mean(0)
    return mean


def _beta_kernel(confidence: np.ndarray, bandwidth: float) -> np.ndarray:
    """How much case i (column) says about case j (row): (N, N), largest of each row 1, own 0."""
    at = np.minimum(confidence, 1 - _NEARLY_CERTAIN)[:, None]
    right, wrong = confidence / bandwidth, (1 - confidence) / bandwidth
    log_density = right * np.log(at) + wrong * np.log1p(-at) - special.betaln(right + 1, wrong + 1)
    np.fill_diagonal(log_density, -np.inf)
    largest = log_density.max(1, keepdims=True, initial=np.finfo(np.float64).min)
    kernel: np.ndarray = np.exp(log_density - largest)
    return kernel
