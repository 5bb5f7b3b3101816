"""Binary cross entropy of many yes-or-no questions at once."""

from torch import Tensor
from torch.nn import functional

from segduet.losses.focal import focal_terms


def yes_no_terms(
    logits: Tensor, answers: Tensor, *, label_smoothing: float, focal_gamma: float
) -> Tensor:
    """The loss of each question: same shape, float32 >= 0; safe for large logits.

    Equals `ClassificationLoss` on the two logits 0 and z, label smoothing and focal loss included.

    Args:
        logits: any shape, float32.
        answers: same shape, 0 or 1.
        label_smoothing: in [0, 1), share of the target spread evenly over yes and no.
        focal_gamma: >= 0; 0 is cross entropy.
    """
    soft = answers * (1 - label_smoothing) + label_smoothing / 2
    yes = focal_terms(functional.softplus(-logits), focal_gamma)
    no = focal_terms(functional.softplus(logits), focal_gamma)
    return soft * yes + (1 - soft) * no
