"""The one record every network returns. B batch, K channels of the segmentation."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutputs:
    """All answers of one forward pass; a network never returns a bare tensor or tuple.

    Attributes:
        segmentation: logits (B, K, *spatial), highest resolution first; exactly one entry where
            deep supervision is off.
        case_logits: task name -> (B, num_classes) float32.
        evidence: task name -> (B,) float32, voxels of the task's evidence region the network
            predicts in the window (probability above 0.5); carries no gradient.
    """

    segmentation: tuple[Tensor, ...]
    case_logits: dict[str, Tensor]
    evidence: dict[str, Tensor]
