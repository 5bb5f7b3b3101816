"""A teacher's answers to the very windows a student sees, and what they add to its losses (F70).

B windows, K channels, O outputs of a head.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from segduet.balancing.protocol import SEGMENTATION, task_term
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskScale, TaskSpec
from segduet.losses.distillation import distilled_answer, distilled_features, distilled_masks
from segduet.networks.joint import JointNetwork
from segduet.networks.outputs import TaskOutputs
from segduet.training.devices import Compute
from segduet.training.distillation_config import TeacherDistillation
from segduet.training.processes import ONE_PROCESS, Processes
from segduet.training.samples import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherMember:
    """One network of a teacher.

    Attributes:
        network: answers at least the student's tasks, where these are distilled.
        scales: task -> scale of its own training cases, of regressions.
    """

    network: JointNetwork
    scales: Mapping[str, TaskScale]


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherAnswers:
    """What a teacher makes of a batch of windows; nothing carries a gradient.

    Attributes:
        masks: (B, K, *spatial) float32, mean logits of all networks and mirrorings as in
            prediction; None of networks that only classify.
        cases: task -> (B, O) float32 of every network; regressions in the student's z-scores.
        features: task -> (B, F) float32 of every network.
    """

    masks: Tensor | None
    cases: Mapping[str, Sequence[Tensor]]
    features: Mapping[str, Sequence[Tensor]]


class Teacher:
    """Trained networks that answer windows; they are frozen, and no part of any state dict.

    Args:
        members: at least one; they are moved to the student's device, in evaluation mode.
        flips: axes, counted from the last, to mirror windows along, one entry per pass; an empty
            entry is a pass without mirroring.
        tasks: the student's tasks that the networks shall answer, regressions with their scale.
        compute: the student's device and precision.
    """

    def __init__(
        self,
        members: Sequence[TeacherMember],
        flips: Sequence[tuple[int, ...]],
        tasks: Sequence[TaskSpec],
        compute: Compute,
    ) -> None:
        self._members, self._flips = tuple(members), tuple(flips)
        self._tasks, self._compute = tuple(tasks), compute
        for member in self._members:
            member.network.to(compute.device).eval().requires_grad_(False)
            member.network.deep_supervision = False

    @property
    def passes_per_window(self) -> int:
        """Forward passes that one window costs."""
        return len(self._members) * len(self._flips)

    def computed_with(self, compute: Compute) -> Self:
        """The same networks, asked in the precision of another `compute` on the same device."""
        copied = copy.copy(self)
        copied._compute = compute
        return copied

    # not in inference mode: its tensors may take no part in a graph, as targets of a loss do
    @torch.no_grad()
    def answer(self, image: Tensor) -> TeacherAnswers:
        """Answers to windows (B, C, *spatial) on the student's device."""
        masks: Tensor | None = None
        cases: dict[str, list[Tensor]] = {task.name: [] for task in self._tasks}
        features: dict[str, list[Tensor]] = {task.name: [] for task in self._tasks}
        for member in self._members:
            sums = []
            for axes in self._flips:
                outputs = self._outputs(member.network, image.flip(axes))
                sums.append(outputs.case_sums)
                for logits in outputs.segmentation[:1]:
                    seen = logits.float().flip(axes)
                    # added up in place: a list of all passes would fill the memory
                    masks = seen if masks is None else masks.add_(seen)
            answers = member.network.answer(_mean(sums))
            for task in self._tasks:
                answer = answers[task.name]
                cases[task.name].append(_rescaled(task, answer.logits, member.scales))
                features[task.name].append(answer.features)
        if masks is not None:
            masks /= self.passes_per_window
        return TeacherAnswers(masks=masks, cases=cases, features=features)

    def _outputs(self, network: JointNetwork, image: Tensor) -> TaskOutputs:
        with self._compute.autocast():
            outputs: TaskOutputs = network(image)
        return outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One comparison of a student with its teacher.

    Attributes:
        name: for the log.
        term: which loss it is added to, before terms are balanced.
        weight: its factor there.
        loss: scalar float32, as it is.
    """

    name: str
    term: str
    weight: float
    loss: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """Compares a student's outputs with its teacher's.

    Attributes:
        teacher: answers what is compared.
        config: temperature and weights.
        labels: what the segmentation channels mean.
        tasks: the student's tasks.
        processes: who has the other shares of a batch.
    """

    teacher: Teacher
    config: TeacherDistillation
    labels: LabelScheme
    tasks: tuple[TaskSpec, ...]
    processes: Processes = ONE_PROCESS

    def computed_with(self, compute: Compute) -> Self:
        """The same comparison, with a teacher that answers as `compute` says."""
        return replace(self, teacher=self.teacher.computed_with(compute))

    def lessons(self, outputs: TaskOutputs, batch: Batch) -> list[Lesson]:
        """Lessons for the student's highest resolution, and for every task, on a batch.

        What has the weight 0 is not compared, nor are masks a student does not draw. Windows count
        as in the losses of labels, but with or without a label.
        """
        answers = self.teacher.answer(batch.image)
        found = []
        if self.config.segmentation_weight and outputs.segmentation:
            found.append(self._of_masks(outputs, answers))
        for task in self.tasks:
            if self.config.task_weight:
                found.append(self._of_answers(task, outputs, answers, batch))
            if self.config.feature_weight:
                found.append(self._of_features(task, outputs, answers))
        return found

    def _of_masks(self, outputs: TaskOutputs, answers: TeacherAnswers) -> Lesson:
        assert answers.masks is not None, "a teacher that draws masks"
        loss = distilled_masks(
            outputs.segmentation[0],
            answers.masks,
            has_regions=self.labels.has_regions,
            temperature=self.config.temperature,
        )
        return Lesson(
            name=f"distil_{SEGMENTATION}",
            term=SEGMENTATION,
            weight=self.config.segmentation_weight,
            loss=self.processes.mean(loss),
        )

    def _of_answers(
        self, task: TaskSpec, outputs: TaskOutputs, answers: TeacherAnswers, batch: Batch
    ) -> Lesson:
        whole = self.processes.joined
        loss = distilled_answer(
            task,
            whole(outputs.case_logits[task.name]),
            [whole(logits) for logits in answers.cases[task.name]],
            evidence=whole(batch.evidence[task.name]),
            temperature=self.config.temperature,
        )
        term = task_term(task.name)
        return Lesson(name=f"distil_{term}", term=term, weight=self.config.task_weight, loss=loss)

    def _of_features(self, task: TaskSpec, outputs: TaskOutputs, answers: TeacherAnswers) -> Lesson:
        whole = self.processes.joined
        return Lesson(
            name=f"distil_features:{task.name}",
            term=task_term(task.name),
            weight=self.config.feature_weight,
            loss=distilled_features(
                whole(outputs.case_features[task.name]),
                [whole(features) for features in answers.features[task.name]],
            ),
        )


def _mean(sums: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What the heads know of the windows, mean over mirrorings as in prediction."""
    return {task: torch.stack([one[task] for one in sums]).mean(0) for task in sums[0]}


def _rescaled(task: TaskSpec, logits: Tensor, scales: Mapping[str, TaskScale]) -> Tensor:
    """A regression's z-scores in the student's scale; other outputs as they are."""
    if task.kind != "regression":
        return logits
    own, wanted = scales[task.name], task.scale
    assert wanted is not None, f"{task.name}: not fitted"
    return (logits * own.sd + own.mean - wanted.mean) / wanted.sd
