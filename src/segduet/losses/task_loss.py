"""The loss of a case-level task of any kind (B02). B batch, O outputs, T numbers of a target."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segduet.core.tasks import TaskSpec
from segduet.losses.classification import MISSING, ClassificationLoss, build_classification_loss
from segduet.losses.config import ClassificationLossConfig
from segduet.losses.multilabel import build_multilabel_loss
from segduet.losses.ordinal import build_ordinal_loss
from segduet.losses.regression import RegressionLoss


class ExclusiveClassLoss(nn.Module):
    """`ClassificationLoss` behind the targets all kinds share; a single logit stands against 0."""

    def __init__(self, loss: ClassificationLoss) -> None:
        """Takes the loss over; one of two classes may be fed with one logit or two."""
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Tensor, targets: Tensor, evidence: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            outputs: (B, K) logits, or (B, 1): the logit of the positive class.
            targets: (B, 1) class index, NaN where it is unknown.
            evidence: (B,) float in [0, 1], weight of each window; None means 1.

        Returns:
            Scalar float32, >= 0, see `ClassificationLoss`.
        """
        logits = functional.pad(outputs, (1, 0)) if outputs.shape[1] == 1 else outputs
        index = targets[:, 0]
        classes = torch.where(index.isnan(), MISSING, index).long()
        loss: Tensor = self.loss(logits, classes, evidence)
        return loss


def build_task_loss(
    task: TaskSpec, training_targets: np.ndarray, config: ClassificationLossConfig
) -> nn.Module:
    """The loss of a task: (outputs (B, O), targets (B, T), evidence (B,)) -> scalar.

    Unknown targets (NaN) have a gradient of exactly zero. All weights come from the training cases
    (F31); a regression's scale has been fitted to them (`core.answers.fitted_task`).

    Args:
        task: the question.
        training_targets: (N, T) of the training cases, NaN where unknown.
        config: how classes are learnt; a regression has none.

    Raises:
        DataError: no training case is known, or a class or finding occurs in none.
        RequestError: an option the kind cannot serve.
    """
    match task.kind:
        case "binary" | "multiclass":
            counts = _class_counts(task, training_targets)
            return ExclusiveClassLoss(build_classification_loss(task, counts, config))
        case "ordinal":
            return build_ordinal_loss(task, _class_counts(task, training_targets), config)
        case "multilabel":
            pairs = [(int((t == 0).sum()), int((t == 1).sum())) for t in training_targets.T]
            return build_multilabel_loss(task, pairs, config)
        case "regression":
            assert task.scale is not None, f"{task.name}: not fitted"
            return RegressionLoss(task.scale)


def _class_counts(task: TaskSpec, targets: np.ndarray) -> list[int]:
    return [int((targets[:, 0] == k).sum()) for k in range(len(task.classes))]
