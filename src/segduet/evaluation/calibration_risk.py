"""What abstaining buys: the risk of wrong answers against the share that is answered (B16).

N cases; leading axes (...) of `weights` are resamples.
"""

from typing import Any

import numpy as np

from segduet.evaluation.classification import estimate_json
from segduet.evaluation.intervals import statistic_estimate
from segduet.metrics.confusion import ratio

#: Points of the curve that are kept, evenly along the cases.
_NUM_POINTS = 20


def risk_coverage_curve(confidence: np.ndarray, is_wrong: np.ndarray) -> list[dict[str, float]]:
    """Share of wrong answers among the most certain ones, for growing shares of them.

    Args:
        confidence: (N,) float64, such as the largest calibrated probability; N >= 1.
        is_wrong: (N,) bool.

    Returns:
        `{coverage, risk, least_confidence}` of at most 20 thresholds, coverage ascending; the last
        answers everything. Cases of equal confidence are answered together.

    Source: El-Yaniv and Wiener (2010), JMLR 11:1605 (the curve).
    """
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.diff(confidence[order], append=-np.inf) != 0)
    wrong = np.cumsum(is_wrong[order])
    kept = np.unique(np.linspace(0, len(ends) - 1, min(_NUM_POINTS, len(ends))).round().astype(int))
    return [
        {
            "coverage": float((end + 1) / len(confidence)),
            "risk": float(wrong[end] / (end + 1)),
            "least_confidence": float(confidence[order][end]),
        }
        for end in ends[kept]
    ]


def aurc(
    confidence: np.ndarray, is_wrong: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Area under the risk-coverage curve: (...) in [0, 1]; lower is better.

    The mean over cases of the risk among all that are at least as certain. 0 where every answer is
    right; the error rate itself where all are equally certain. NaN without cases.

    Args:
        confidence: (N,) float64.
        is_wrong: (N,) bool.
        weights: (..., N) how often each case counts; None counts each once.

    Source: Geifman et al. (2019), arXiv:1805.08206, section 2.
    """
    order = np.argsort(-confidence, kind="stable")
    counted = (
        np.ones(len(order)) if weights is None else np.asarray(weights, np.float64)[..., order]
    )
    ends = np.flatnonzero(np.diff(confidence[order], append=-np.inf) != 0)
    end_of = np.searchsorted(ends, np.arange(len(order)))
    answered = np.cumsum(counted, axis=-1)[..., ends]
    wrong = np.cumsum(counted * is_wrong[order], axis=-1)[..., ends]
    # at a threshold that answers nobody the risk weighs nothing, so it may be 0
    risk = np.nan_to_num(ratio(wrong, answered), nan=0.0)
    return ratio((counted * risk[..., end_of]).sum(-1), counted.sum(-1))


def abstention_curve(
    confidence: np.ndarray, is_wrong: np.ndarray, patients: tuple[str, ...], *, seed: int
) -> dict[str, Any]:
    """Curve and area together, plain types, with how the confidence is defined.

    Args:
        confidence: (N,) float64, the largest calibrated probability of each case.
        is_wrong: (N,) bool.
        patients: patient of each case.
        seed: of the resampling.
    """
    area = statistic_estimate(
        lambda weights: aurc(confidence, is_wrong, weights=weights),
        patients,
        seed=seed,
        undefined="undefined",
    )
    return {
        "confidence": "largest calibrated probability",
        "aurc": estimate_json(area),
        "curve": risk_coverage_curve(confidence, is_wrong),
    }
