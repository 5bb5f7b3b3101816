"""Does the mask fail where the class is wrong? DSC of rightly and of wrongly answered cases (F95).

N cases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segduet.core.scores import CaseScores, Estimate, Score
from segduet.core.tasks import TaskSpec
from segduet.evaluation.classification import estimate_json
from segduet.evaluation.intervals import mean_estimate, statistic_estimate
from segduet.evaluation.region_values import region_values
from segduet.metrics.confusion import ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSplit:
    """DSC of one region over the cases that a task was answered rightly and wrongly for.

    Attributes:
        right: mean DSC where the answer is right.
        wrong: mean DSC where it is wrong.
        difference: right minus wrong; n is that of both together.
    """

    right: Estimate
    wrong: Estimate
    difference: Estimate

    def to_json(self) -> dict[str, Any]:
        """`{right, wrong, difference}`, each `{value, ci95, n}` with its `reason` if it has one."""
        parts = {"right": self.right, "wrong": self.wrong, "difference": self.difference}
        return {name: estimate_json(estimate) for name, estimate in parts.items()}


def dsc_by_answer(
    cases: Sequence[CaseScores], regions: Sequence[str], tasks: Sequence[TaskSpec], *, seed: int
) -> dict[str, dict[str, AnswerSplit]]:
    """Task -> region -> its DSC, split by whether the answer is right; tasks with classes only.

    Findings count as right where all of them are. Cases without a mask, without a defined DSC or
    without a known class are in neither half.

    Args:
        cases: scored cases.
        regions: declared regions; their mean comes on top.
        tasks: the questions.
        seed: of the resampling.
    """
    return {
        task.name: {
            region: _split(cases, values, task, seed)
            for region, values in region_values(cases, regions).items()
        }
        for task in tasks
        if task.kind != "regression" and any(case.segmentation for case in cases)
    }


def _split(
    cases: Sequence[CaseScores], values: Mapping[str, Score], task: TaskSpec, seed: int
) -> AnswerSplit:
    usable = [
        (score.value, case)
        for case in cases
        if (score := values.get(case.case)) is not None
        and score.value is not None
        and task.name in case.answers
        and case.answers[task.name].reference
    ]
    dsc = np.array([value for value, _ in usable])
    is_right = np.array([_is_right(case, task) for _, case in usable], dtype=bool)
    patients = [case.patient for _, case in usable]

    def half(chosen: np.ndarray) -> Estimate:
        owners = [patient for patient, is_in in zip(patients, chosen, strict=True) if is_in]
        return mean_estimate(dsc[chosen].tolist(), owners, seed=seed)

    halves = np.stack([is_right, ~is_right], axis=1).astype(np.float64)

    def difference(weights: np.ndarray) -> np.ndarray:
        means = ratio(weights @ (halves * dsc[:, None]), weights @ halves)
        return np.asarray(means[..., 0] - means[..., 1])

    which = "rightly" if not is_right.any() else "wrongly"
    return AnswerSplit(
        right=half(is_right),
        wrong=half(~is_right),
        difference=statistic_estimate(
            difference,
            patients,
            seed=seed,
            undefined=f"no case with a DSC was answered {which}",
            kind="t",
        ),
    )


def _is_right(case: CaseScores, task: TaskSpec) -> bool:
    answer = case.answers[task.name]
    return set(task.named(str(answer.reference))) == set(task.named(answer.predicted))
