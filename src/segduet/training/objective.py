"""Outputs and targets of one batch into named losses: `segmentation` and `task:<name>`."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from segduet.balancing.protocol import SEGMENTATION, task_term
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec
from segduet.losses.classification import ClassificationLoss, build_classification_loss
from segduet.losses.config import ClassificationLossConfig
from segduet.losses.deep_supervision import DeepSupervisionLoss
from segduet.losses.segmentation import SegmentationLoss
from segduet.networks.outputs import TaskOutputs
from segduet.training.samples import Batch


class Objective(nn.Module):
    """All losses of a training.

    Args:
        labels: what the masks mean.
        batch_dice: whether Dice is taken over the batch.
        class_losses: task name -> its loss.
    """

    def __init__(
        self,
        labels: LabelScheme,
        *,
        batch_dice: bool,
        class_losses: Mapping[str, ClassificationLoss],
    ) -> None:
        super().__init__()
        self.segmentation = DeepSupervisionLoss(SegmentationLoss(labels, batch_dice=batch_dice))
        self.tasks = dict(class_losses)
        self._registered = nn.ModuleList(self.tasks.values())

    def forward(self, outputs: TaskOutputs, batch: Batch) -> dict[str, Tensor]:
        """Scalar float32 losses with gradients; unknown class labels contribute exactly zero."""
        losses = {SEGMENTATION: self.segmentation(outputs.segmentation, batch.label_map)}
        for name, loss in self.tasks.items():
            logits, classes = outputs.case_logits[name], batch.classes[name]
            losses[task_term(name)] = loss(logits, classes, batch.evidence[name])
        return losses


def build_objective(
    labels: LabelScheme,
    tasks: Sequence[TaskSpec],
    counts: Mapping[str, Sequence[int]],
    config: ClassificationLossConfig,
    *,
    batch_dice: bool,
    device: torch.device,
) -> Objective:
    """The objective of a training; class weights come from the training cases' counts only (F31).

    Args:
        counts: task name -> training cases per class.
        batch_dice: whether Dice is taken over the batch (from the plan).

    Raises:
        DataError: a class that no training case has.
    """
    losses = {t.name: build_classification_loss(t, counts[t.name], config) for t in tasks}
    return Objective(labels, batch_dice=batch_dice, class_losses=losses).to(device)
