"""Dice plus cross entropy for label maps. B batch, K channels of the network."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.losses.dice import soft_dice_loss

_SKIPPED = -100  # target value that torch's cross entropy leaves out


class SegmentationLoss(nn.Module):
    """Dice + CE of the softmax for plain labels, Dice + BCE of the sigmoid for regions (F28).

    Takes integer label maps and turns them into channels on the logits' device. Voxels of -1 (in
    prepared label maps: outside the image's nonzero area) are background, as in nnU-Net. Ignored
    voxels and images without a mask have no part in the loss: their gradient is exactly 0.

    Equals nnU-Net 2.8.1's loss plus 1 (Dice is 1 - Dice here, so that a perfect prediction costs
    0 and balancers may compare losses); the gradients are the same.
    """

    members: Tensor
    channel: Tensor

    def __init__(
        self, labels: LabelScheme, *, batch_dice: bool, background_dice: bool = False
    ) -> None:
        """Builds the loss.

        Args:
            labels: what the label map means.
            batch_dice: see `soft_dice_loss`; the plan says which.
            background_dice: whether the background's Dice counts too (nnU-Net: no).

        Raises:
            RequestError: `background_dice` with regions, which have no background channel.
        """
        super().__init__()
        if background_dice and labels.has_regions:
            raise RequestError(
                "segmentation loss, background_dice",
                found="a dataset of nested regions",
                expected="plain labels, which have a background channel",
                remedy="Leave the option out.",
            )
        self.first_dice_channel = 0 if background_dice else 1
        self.has_regions = labels.has_regions
        self.ignore_value = labels.ignore_value
        self.batch_dice = batch_dice
        groups = list(labels.foreground.values())
        if not labels.has_regions:
            groups = [(0,), *groups]
        table = torch.tensor([[value in group for group in groups] for value in labels.values])
        # members: (values, K), which channels a value belongs to; channel: (values,), the first.
        self.register_buffer("members", table, persistent=False)
        self.register_buffer("channel", table.int().argmax(1), persistent=False)

    def forward(self, logits: Tensor, target: Tensor, has_mask: Tensor | None = None) -> Tensor:
        """The loss of a batch at one resolution.

        Args:
            logits: (B, K, *spatial), any float dtype; computed in float32.
            target: (B, 1, *spatial) or (B, *spatial), integers of the label scheme or -1.
            has_mask: (B,) bool, False where nobody drew a mask; None means everywhere.

        Returns:
            Scalar float32, >= 0; 0 where no image has a mask.
        """
        values = (target if target.ndim == logits.ndim else target[:, None]).long().clamp_min(0)
        if has_mask is None:
            has_mask = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        valid = has_mask.to(logits.device).reshape(-1, *[1] * (logits.ndim - 1)).expand_as(values)
        if self.ignore_value is not None:
            valid = valid & (values != self.ignore_value)
        has_mask = has_mask.to(logits.device)
        if self.has_regions:
            return self._regions(logits.float(), values, valid, has_mask)
        return self._plain(logits.float(), values, valid, has_mask)

    def _plain(self, logits: Tensor, values: Tensor, valid: Tensor, has_mask: Tensor) -> Tensor:
        target = torch.where(valid, self.channel[values], _SKIPPED)[:, 0]
        summed = functional.cross_entropy(logits, target, ignore_index=_SKIPPED, reduction="sum")
        cross_entropy = summed / valid.sum().clamp_min(1)
        counted = torch.softmax(logits, 1)[:, self.first_dice_channel :]
        members = self._encoded(values)[:, self.first_dice_channel :]
        dice = soft_dice_loss(counted, members, valid, has_mask, batch_dice=self.batch_dice)
        return cross_entropy + dice

    def _regions(self, logits: Tensor, values: Tensor, valid: Tensor, has_mask: Tensor) -> Tensor:
        members = self._encoded(values)
        terms = functional.binary_cross_entropy_with_logits(logits, members, reduction="none")
        cross_entropy = (terms * valid).sum() / valid.sum().clamp_min(1)
        if self.ignore_value is None:
            # With an ignore label nnU-Net adds the regions' terms up instead of averaging them.
            cross_entropy = cross_entropy / logits.shape[1]
        regions = torch.sigmoid(logits)
        dice = soft_dice_loss(regions, members, valid, has_mask, batch_dice=self.batch_dice)
        return cross_entropy + dice

    def _encoded(self, values: Tensor) -> Tensor:
        """Label values (B, 1, *spatial) -> (B, K, *spatial) float32 of 0 and 1."""
        return self.members[values[:, 0]].movedim(-1, 1).float()
