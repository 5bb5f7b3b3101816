"""From what the heads know of all windows to the answers for the case.

T windows, S sums of a head, F features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from segduet.core.answers import answer_probabilities
from segduet.core.errors import DataError
from segduet.core.tasks import TaskSpec
from segduet.inference.aggregation import Aggregation, WindowVotes, exact_sum, weighted_mean
from segduet.inference.engine import Engine, HeadAnswers


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseKnowledge:
    """What the heads know of a case, window by window.

    Attributes:
        sums: task name -> (T, S) float64.
        evidence: task name -> (T,) float64.
        image_voxels: (T,) voxels of the image in each window.
    """

    sums: Mapping[str, np.ndarray]
    evidence: Mapping[str, np.ndarray]
    image_voxels: np.ndarray

    @property
    def case_sums(self) -> dict[str, np.ndarray]:
        """Task name -> (S,) float64, added up over the windows."""
        return {task: exact_sum(sums) for task, sums in self.sums.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseAnswers:
    """Answers for a case.

    Attributes:
        probabilities: task name -> (answer_size,) float64, as from `answer_probabilities`.
        evidence: task name -> predicted voxels of its evidence region, summed over windows.
        features: task name -> (F,) float32, the pooled and normalised vector of the case; where
            windows answer by themselves, the mean of theirs by the same weights.
        attention: task name -> (Z, Y, X) float32 >= 0 that sums to 1, where its head looked; only
            on request, and of heads that attend.
    """

    probabilities: Mapping[str, np.ndarray] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    attention: Mapping[str, np.ndarray] = field(default_factory=dict)


def answer_case(
    engine: Engine, known: CaseKnowledge, tasks: Sequence[TaskSpec], rule: Aggregation
) -> CaseAnswers:
    """The answers by a rule; the order of the windows cannot change a bit.

    Raises:
        DataError: the network does not answer exactly these tasks, or not in finite numbers.
    """
    is_whole = rule is Aggregation.CASE
    whole = {task: sums[None] for task, sums in known.case_sums.items()}
    answers = engine.answer(whole if is_whole else known.sums)
    _require_tasks(answers, tasks)
    votes = {
        task: WindowVotes(evidence=v, image_voxels=known.image_voxels)
        for task, v in known.evidence.items()
    }
    weights = {t: np.ones(1) if is_whole else v.weights(rule) for t, v in votes.items()}
    probabilities = {t.name: answer_probabilities(t, answers.logits[t.name]) for t in tasks}
    return CaseAnswers(
        probabilities={t: weighted_mean(v, weights[t]) for t, v in probabilities.items()},
        evidence={task: v.total_evidence for task, v in votes.items()},
        features={
            task: weighted_mean(v.astype(np.float64), weights[task]).astype(np.float32)
            for task, v in answers.features.items()
        },
    )


def _require_tasks(answers: HeadAnswers, tasks: Sequence[TaskSpec]) -> None:
    wanted = {task.name: task.num_outputs for task in tasks}
    found = {task: logits.shape[1] for task, logits in answers.logits.items()}
    if found != wanted:
        raise DataError(
            "model",
            found=f"a network that answers {found} (task: outputs)",
            expected=f"{wanted}, as the model's tasks are declared",
            remedy="Use the model folder the network was trained in.",
        )
    if not all(np.isfinite(logits).all() for logits in answers.logits.values()):
        raise DataError(
            "model",
            found="NaN or infinite class answers",
            expected="finite numbers",
            remedy="Look at the image's intensities, and at the training's history.",
        )
