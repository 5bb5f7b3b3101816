"""Outputs and targets of one batch into named losses: `segmentation` and `task:<name>`."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from segduet.balancing.protocol import SEGMENTATION, task_term
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.losses.config import ClassificationLossConfig, SegmentationLossConfig
from segduet.losses.deep_supervision import DeepSupervisionLoss
from segduet.losses.segmentation import SegmentationLoss
from segduet.losses.task_loss import build_task_loss
from segduet.networks.outputs import TaskOutputs
from segduet.training.devices import Compute
from segduet.training.distillation import Distillation
from segduet.training.processes import ONE_PROCESS, Processes
from segduet.training.samples import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Losses of a batch, of all processes' shares of it together; scalars float32.

    Attributes:
        terms: what is balanced: `segmentation` and `task:<name>`, each with what a teacher adds.
        taught: a teacher's lessons by themselves, by their names (`distil_...`), for the log.
    """

    terms: Mapping[str, Tensor]
    taught: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def logged(self) -> dict[str, float]:
        """All of them as plain numbers."""
        return {name: float(v.detach()) for name, v in {**self.terms, **self.taught}.items()}


class Objective(nn.Module):
    """All losses of a training.

    Args:
        segmentation: loss of the masks.
        task_losses: task name -> its loss, see `build_task_loss`.
        distillation: what a teacher adds to them; None without one.
        processes: who has the other shares of a batch.
    """

    def __init__(
        self,
        segmentation: DeepSupervisionLoss,
        task_losses: Mapping[str, nn.Module],
        distillation: Distillation | None = None,
        processes: Processes = ONE_PROCESS,
    ) -> None:
        super().__init__()
        self._whole = processes.joined
        self.segmentation = segmentation
        self.distillation = distillation
        self.tasks = dict(task_losses)
        self._registered = nn.ModuleList(self.tasks.values())

    def computed_with(self, compute: Compute) -> Self:
        """The same losses, with a teacher that answers as `compute` says; this one stays."""
        copied = copy.copy(self)
        if self.distillation is not None:
            copied.distillation = self.distillation.computed_with(compute)
        return copied

    def forward(self, outputs: TaskOutputs, batch: Batch) -> Losses:
        """Losses with gradients.

        Cases without a mask or without a label contribute exactly zero to that term and to its
        gradient; a term of a batch in which nothing is known, or of a network without a decoder, is
        exactly 0 (B03). A teacher answers for them too: what it adds does not ask for a label.
        """
        losses = {SEGMENTATION: self._segmentation(outputs, batch)}
        for name, loss in self.tasks.items():
            shares = outputs.case_logits[name], batch.targets[name], batch.evidence[name]
            losses[task_term(name)] = loss(*(self._whole(share) for share in shares))
        if self.distillation is None:
            return Losses(terms=losses)
        lessons = self.distillation.lessons(outputs, batch)
        for lesson in lessons:
            losses[lesson.term] = losses[lesson.term] + lesson.weight * lesson.loss
        return Losses(terms=losses, taught={lesson.name: lesson.loss for lesson in lessons})

    def _segmentation(self, outputs: TaskOutputs, batch: Batch) -> Tensor:
        if not outputs.segmentation:
            return batch.image.new_zeros((), dtype=torch.float32)
        loss: Tensor = self.segmentation(outputs.segmentation, batch.label_map, batch.has_mask)
        return loss


def build_objective(
    labels: LabelScheme,
    tasks: Sequence[TaskSpec],
    targets: Mapping[str, np.ndarray],
    config: ClassificationLossConfig,
    *,
    segmentation_config: SegmentationLossConfig,
    batch_dice: bool,
    device: torch.device,
    distillation: Distillation | None = None,
    processes: Processes = ONE_PROCESS,
) -> Objective:
    """The objective of a training; class weights come from the training cases only (F31).

    Args:
        tasks: the case-level tasks, regressions with their scale.
        targets: task name -> (N, T) targets of the training cases, NaN where unknown.
        config: of every task's loss.
        segmentation_config: of the masks' loss.
        batch_dice: whether Dice is taken over the batch (from the plan).
        distillation: what a teacher adds; None without one.
        processes: who has the other shares of a batch.

    Raises:
        DataError: a task no training case has a label of, or a class that no training case has.
        RequestError: a loss that does not fit the labels or the kind of a task.
    """
    losses = {t.name: build_task_loss(t, targets[t.name], config) for t in tasks}
    segmentation = SegmentationLoss(
        labels,
        batch_dice=batch_dice,
        config=segmentation_config,
        added_up=processes.summed,
    )
    objective = Objective(DeepSupervisionLoss(segmentation), losses, distillation, processes)
    return objective.to(device)
