"""Where in the window a task's evidence lies, as the network itself predicts it.

B batch, K channels of the segmentation.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from segduet.core.errors import DataError
from segduet.core.labels import LabelScheme
from segduet.core.tasks import TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRegion:
    """Which segmentation channels speak for a task.

    Attributes:
        channel: the channel of the label or region; None for any foreground.
        has_regions: whether the channels are nested regions (sigmoid) or plain labels (softmax).
    """

    channel: int | None
    has_regions: bool

    @classmethod
    def of_task(cls, task: TaskSpec, labels: LabelScheme) -> Self:
        """Looks the task's evidence region up among the labels.

        Raises:
            DataError: the region is not a foreground label or region of the dataset.
        """
        if task.evidence_region is None:
            return cls(channel=None, has_regions=labels.has_regions)
        names = list(labels.foreground)
        if task.evidence_region not in names:
            raise DataError(
                f"task {task.name!r}",
                found=f"evidence_region {task.evidence_region!r}",
                expected=f"one of {names}, or none for any foreground",
                remedy="Correct the task in dataset.json.",
            )
        first = 0 if labels.has_regions else 1  # plain labels have a background channel
        channel = first + names.index(task.evidence_region)
        return cls(channel=channel, has_regions=labels.has_regions)

    def probability(self, logits: Tensor) -> Tensor:
        """How probably each voxel belongs to the region.

        Args:
            logits: (B, K, *spatial), any float dtype.

        Returns:
            (B, 1, *spatial) float32 in [0, 1]; for any foreground the sum over the foreground
            labels, or the largest of the regions.
        """
        if self.has_regions:
            chosen = logits.float()
            if self.channel is None:
                return torch.sigmoid(chosen.amax(1, keepdim=True))
            return torch.sigmoid(chosen[:, self.channel : self.channel + 1])
        probabilities = torch.softmax(logits.float(), 1)
        if self.channel is None:
            # Not 1 - background: that can round below zero, and a million voxels add it up.
            return probabilities[:, 1:].sum(1, keepdim=True)
        return probabilities[:, self.channel : self.channel + 1]
