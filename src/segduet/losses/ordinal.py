"""The loss of classes that have an order. B batch, K classes, K - 1 steps between them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segduet.core.errors import RequestError
from segduet.core.tasks import TaskSpec
from segduet.losses.classification import class_shares
from segduet.losses.config import ClassificationLossConfig
from segduet.losses.weighted_mean import weighted_mean
from segduet.losses.yes_no import yes_no_terms


class OrdinalLoss(nn.Module):
    """Binary cross entropy of every step: does the case lie above it?

    A wrong answer costs more the further it is off. Cases are weighed by class and not by step,
    so that all steps speak of the same cohort and agree with each other at the optimum.

    Source: Frank and Hall (2001), doi:10.1007/3-540-44795-4_13; Cao et al. (2020),
        arXiv:1901.07884, equation 4, here with a weight per case and free outputs per step.
    """

    class_weights: Tensor

    def __init__(
        self,
        class_weights: Sequence[float],
        *,
        label_smoothing: float = 0.0,
        focal_gamma: float = 0.0,
    ) -> None:
        """Builds the loss.

        Args:
            class_weights: one positive weight per class, lowest class first.
            label_smoothing: in [0, 1), share of the target spread evenly over above and below.
            focal_gamma: >= 0; 0 is cross entropy.
        """
        super().__init__()
        self.register_buffer("class_weights", torch.tensor(class_weights), persistent=False)
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma

    def forward(self, outputs: Tensor, targets: Tensor, evidence: Tensor | None = None) -> Tensor:
        """The loss of a batch, mean over steps.

        Args:
            outputs: (B, K - 1) logits of lying above each class, any float dtype.
            targets: (B, 1) class index, NaN where it is unknown.
            evidence: (B,) float in [0, 1], weight of each window; None means 1.

        Returns:
            Scalar float32, >= 0. Windows of unknown class or weight 0 get a gradient of exactly
            0; where all are so, the loss is 0.
        """
        known = ~targets[:, 0].isnan()
        index = torch.where(known, targets[:, 0], 0).long()
        steps = torch.arange(outputs.shape[1], device=outputs.device)
        terms = yes_no_terms(
            outputs.float(),
            (index[:, None] > steps).float(),
            label_smoothing=self.label_smoothing,
            focal_gamma=self.focal_gamma,
        )
        return weighted_mean(terms.mean(1), self.class_weights[index] * known, evidence)


def build_ordinal_loss(
    task: TaskSpec, counts: Sequence[int], config: ClassificationLossConfig
) -> OrdinalLoss:
    """The loss of a task, its class weights taken from the counts of the training cases.

    Args:
        task: an ordinal task.
        counts: training cases of every class.
        config: how classes are learnt.

    Raises:
        DataError: no training case has a class of the task, or a class has no training case.
        RequestError: logit adjustment, which is about classes and not about steps.
    """
    where = f"task {task.name!r}, training cases"
    if config.logit_adjustment:
        raise RequestError(
            f"task {task.name!r}, logit_adjustment",
            found=f"{config.logit_adjustment:g} for an ordinal task",
            expected="0: its outputs are steps between classes, which have no share of their own",
            remedy="Set it to 0 and weigh classes by inverse frequency, or make the task "
            "multiclass.",
        )
    shares = class_shares(counts, added_cases=config.added_cases, where=where)
    is_balanced = config.class_weights == "inverse_frequency"
    return OrdinalLoss(
        [1 / (len(shares) * share) if is_balanced else 1.0 for share in shares],
        label_smoothing=config.label_smoothing,
        focal_gamma=config.focal_gamma if config.kind == "focal" else 0.0,
    )
