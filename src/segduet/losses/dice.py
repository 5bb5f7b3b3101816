"""Soft Dice as a loss. B batch, K classes."""

import torch
from torch import Tensor

from segduet.losses.whole_batch import AddedUp, as_they_are

SMOOTH = 1e-5  # nnU-Net 2.8.1; tiny, so that an absent class is punished for every false voxel


def soft_dice_loss(
    probabilities: Tensor,
    members: Tensor,
    valid: Tensor,
    has_mask: Tensor,
    *,
    batch_dice: bool,
    added_up: AddedUp = as_they_are,
) -> Tensor:
    """One minus the soft Dice, averaged over classes (and over images unless `batch_dice`).

    Args:
        probabilities: (B, K, *spatial) float32 in [0, 1].
        members: (B, K, *spatial) float32, 1 where the voxel belongs to the class.
        valid: (B, 1, *spatial) bool; other voxels take no part.
        has_mask: (B,) bool; other images take no part.
        batch_dice: one Dice over all voxels of the batch instead of one per image; small
            structures that many images lack would vanish otherwise.
        added_up: see `AddedUp`.

    Returns:
        Scalar float32 in [0, 1]; a class absent from both sides counts as perfect; 0 where no
        image has a mask.

    Source: Milletari et al. 2016, arXiv 1606.04797, without squares in the denominator, as in
    Isensee et al. 2021 (nnU-Net). nnU-Net's term is smaller by exactly 1 (it is minus the Dice).
    """
    axes = tuple(range(2, probabilities.ndim))
    reference = members * valid
    overlap = (probabilities * reference).sum(axes)
    total = (probabilities * valid).sum(axes) + reference.sum(axes)
    if batch_dice:
        overlap, total, num_images = added_up(
            overlap.sum(0, keepdim=True), total.sum(0, keepdim=True), has_mask.sum().reshape(1)
        )
        loss, weight = _sum_and_weight(overlap, total, num_images > 0)
    else:
        loss, weight = added_up(*_sum_and_weight(overlap, total, has_mask))
    return loss / torch.clamp(weight, min=1)


def _sum_and_weight(overlap: Tensor, total: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Losses of the images (B, K) that take part, added up, and how many they are."""
    losses_BK = 1 - (2 * overlap + SMOOTH) / (total + SMOOTH)
    weights_BK = images.to(losses_BK.dtype)[:, None].expand_as(losses_BK)
    return (losses_BK * weights_BK).sum(), weights_BK.sum()
