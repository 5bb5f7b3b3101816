"""The records every network returns. B batch, K channels of the segmentation."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutputs:
    """All answers of one forward pass; a network never returns a bare tensor or tuple.

    Attributes:
        segmentation: logits (B, K, *spatial), highest resolution first; exactly one entry where
            deep supervision is off, none for a network that only classifies.
        case_logits: task name -> (B, num_outputs) float32.
        evidence: task name -> (B,) float32, voxels of the task's evidence region the network
            predicts in the window (probability above 0.5), 0 without a segmentation; carries no
            gradient.
        case_sums: task name -> (B, S) float32, what the head knows of the window, as sums over its
            voxels: added up over the windows of a case they are what it knows of the case.
        case_features: task name -> (B, F) float32, what the head's perceptron sees of the window.
    """

    segmentation: tuple[Tensor, ...]
    case_logits: dict[str, Tensor]
    evidence: dict[str, Tensor]
    case_sums: dict[str, Tensor] = field(default_factory=dict)
    case_features: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadAnswer:
    """What a head makes of pooled sums.

    Attributes:
        logits: (B, num_outputs) float32.
        features: (B, F) float32, the pooled and normalised vector its perceptron sees.
    """

    logits: Tensor
    features: Tensor
