"""What a student learns from a teacher (F70). B batch, K channels, O outputs, F features.

Source: Hinton, Vinyals and Dean 2015, arXiv 1503.02531, section 2: both answers are softened by a
temperature T, and T^2 keeps the gradients as large as those of the labels. Where a teacher is
several networks, the soft target is the mean of their softened probabilities.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from segduet.core.tasks import TaskSpec
from segduet.losses.weighted_mean import weighted_mean


def distilled_masks(
    student: Tensor, teacher: Tensor, *, has_regions: bool, temperature: float
) -> Tensor:
    """Divergence of the student's voxels from the teacher's: scalar float32, >= 0.

    Mean over all voxels of the batch, ignored and unannotated ones included, since the teacher
    answers everywhere. Plain labels: KL of the softmax. Regions: KL of each region's yes or no,
    mean over regions. 0 where both agree.

    Args:
        student: (B, K, *spatial) logits, any float dtype; computed in float32.
        teacher: (B, K, *spatial) logits without a gradient.
        has_regions: nested regions (sigmoid) instead of plain labels (softmax).
        temperature: > 0; larger softens both answers.
    """
    return _divergence(
        student, [teacher], is_exclusive=not has_regions, temperature=temperature
    ).mean()


def distilled_answer(
    task: TaskSpec,
    student: Tensor,
    teachers: Sequence[Tensor],
    *,
    evidence: Tensor,
    temperature: float,
) -> Tensor:
    """Divergence of the student's answers from the teacher's: scalar float32, >= 0.

    Multiclass: KL of the softmax. Binary, multilabel and ordinal: KL of each output's yes or no,
    mean over outputs. Regression: squared difference of z-scores, which knows no temperature.
    Every window counts, labelled or not; 0 where both agree, or no window weighs anything.

    Args:
        task: the question.
        student: (B, O) outputs of the head, any float dtype; computed in float32.
        teachers: (B, O) of every network of the teacher, without a gradient; of a regression in
            the student's z-scores.
        evidence: (B,) float in [0, 1], weight of each window.
        temperature: > 0; larger softens both answers.
    """
    if task.kind == "regression":
        terms = (student.float() - torch.stack(list(teachers)).float().mean(0)).square()
    else:
        is_exclusive = task.kind == "multiclass"
        terms = _divergence(student, teachers, is_exclusive=is_exclusive, temperature=temperature)
    per_window = terms if terms.ndim == 1 else terms.mean(1)
    return weighted_mean(per_window, torch.ones_like(per_window), evidence)


def distilled_features(student: Tensor, teachers: Sequence[Tensor]) -> Tensor:
    """How differently both see which windows of a batch are alike: scalar float32, >= 0.

    Squared difference of the matrices of inner products between windows, each row scaled to length
    1, mean over pairs of windows; of several networks their mean matrix is taken. Student and
    teacher may have different numbers of features. 0 for a single window, and where both agree.

    Args:
        student: (B, F) features of a head, any float dtype; computed in float32.
        teachers: (B, F) of every network of the teacher, without a gradient; F may differ.

    Source: Tung and Mori 2019, arXiv 1907.09682, section 3.1, equations 1 to 3.
    """
    target = torch.stack([_likeness(features) for features in teachers]).mean(0)
    return (_likeness(student) - target).square().mean()


def _likeness(features: Tensor) -> Tensor:
    """(B, F) -> (B, B) float32, rows of length 1 (or of zeros)."""
    rows = features.float()
    return functional.normalize(rows @ rows.T, dim=1)


def _divergence(
    student: Tensor, teachers: Sequence[Tensor], *, is_exclusive: bool, temperature: float
) -> Tensor:
    """KL(teacher || student) times T^2: (B, *rest), or (B, K, *rest) of yes-or-no answers."""
    believed = torch.stack([_softened(t, temperature, is_exclusive) for t in teachers])
    target = believed.logsumexp(0) - math.log(len(teachers))
    found = _softened(student, temperature, is_exclusive)
    terms = functional.kl_div(found, target, reduction="none", log_target=True)
    return terms.sum(0) * temperature**2


def _softened(logits: Tensor, temperature: float, is_exclusive: bool) -> Tensor:
    """Log-probabilities, the possible answers first: (K, B, *rest), or (2, B, K, *rest)."""
    soft = logits.float() / temperature
    if is_exclusive:
        return functional.log_softmax(soft, 1).movedim(1, 0)
    return torch.stack([functional.logsigmoid(soft), functional.logsigmoid(-soft)])
