"""Whether sets and abstentions keep their promise on cases whose truth is known (B16).

N cases, K classes; leading axes (...) of weights are resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from segduet.evaluation.classification import estimate_json
from segduet.evaluation.intervals import IntervalKind, statistic_estimate
from segduet.metrics.confusion import ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAnswers:
    """Answers with their sets and abstentions, of cases whose truth is known.

    Attributes:
        classes: class names.
        reference: (N,) int64 true class.
        decided: (N,) int64 class that was answered.
        members: (N, K) bool, whether the class is in the set.
        abstains: (N,) bool, whether the answer is withheld.
        patients: patient of each case.
    """

    classes: tuple[str, ...]
    reference: np.ndarray
    decided: np.ndarray
    members: np.ndarray
    abstains: np.ndarray
    patients: tuple[str, ...]

    @property
    def is_covered(self) -> np.ndarray:
        """Whether the set holds the truth: (N,) bool."""
        return np.asarray(np.take_along_axis(self.members, self.reference[:, None], axis=1)[:, 0])


def set_figures(judged: JudgedAnswers, *, seed: int) -> dict[str, Any]:
    """Coverage per class and in all, size of the sets, abstentions, accuracy of what is answered.

    Args:
        judged: at least one case.
        seed: of the resampling.

    Returns:
        `coverage` (of all) and `coverage_by_class`, `mean_set_size`, `empty_sets` (share),
        `abstention_rate`, `accuracy_answered` and `accuracy_all`, each `{value, ci95, n}` with a
        reason where value or interval is null. n is what the figure counts: cases of the class,
        answered cases, or all.
    """
    everyone = np.ones(len(judged.reference), dtype=bool)
    is_right = judged.reference == judged.decided
    size = judged.members.sum(1)

    def share(values: np.ndarray, among: np.ndarray, undefined: str = "no case") -> dict[str, Any]:
        return _mean_among(values, among, judged.patients, seed=seed, undefined=undefined)

    return {
        "coverage": share(judged.is_covered, everyone),
        "coverage_by_class": {
            name: share(judged.is_covered, judged.reference == k, f"no case of class {name!r}")
            for k, name in enumerate(judged.classes)
        },
        "mean_set_size": _mean_among(
            size, everyone, judged.patients, seed=seed, undefined="no case", kind="percentile"
        ),
        "empty_sets": share(size == 0, everyone),
        "abstention_rate": share(judged.abstains, everyone),
        "accuracy_answered": share(is_right, ~judged.abstains, "no case was answered"),
        "accuracy_all": share(is_right, everyone),
    }


def flag_figures(
    is_flagged: np.ndarray, is_right: np.ndarray, patients: tuple[str, ...], *, seed: int
) -> dict[str, Any]:
    """How often mask and class contradict each other, and how right the class is then.

    Args:
        is_flagged: (N,) bool; N >= 1.
        is_right: (N,) bool, whether the class answer is right.
        patients: patient of each case.
        seed: of the resampling.

    Returns:
        `flagged` (share), `accuracy_flagged`, `accuracy_consistent`, each `{value, ci95, n}`.
    """

    def share(values: np.ndarray, among: np.ndarray, undefined: str) -> dict[str, Any]:
        return _mean_among(values, among, patients, seed=seed, undefined=undefined)

    return {
        "flagged": share(is_flagged, np.ones_like(is_flagged), "no case"),
        "accuracy_flagged": share(is_right, is_flagged, "no case is flagged"),
        "accuracy_consistent": share(is_right, ~is_flagged, "every case is flagged"),
    }


def _mean_among(
    values: np.ndarray,
    among: np.ndarray,
    patients: tuple[str, ...],
    *,
    seed: int,
    undefined: str,
    kind: IntervalKind = "score",
) -> dict[str, Any]:
    """Mean of the values of some cases, with its interval over their patients."""
    if not among.any():
        return {"value": None, "ci95": None, "n": 0, "reason": undefined}
    chosen = values[among].astype(np.float64)
    owners = [p for p, held in zip(patients, among, strict=True) if held]
    estimate = statistic_estimate(
        _weighted_mean(chosen), owners, seed=seed, undefined=undefined, kind=kind
    )
    return estimate_json(estimate)


def _weighted_mean(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda weights: ratio(weights @ values, weights.sum(-1))
