"""Dice plus cross entropy or focal loss for label maps. B batch, K channels of the network."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segduet.core.errors import RequestError
from segduet.core.labels import BACKGROUND, LabelScheme
from segduet.losses.config import NNUNET_LOSS, SegmentationLossConfig
from segduet.losses.dice import soft_dice_loss
from segduet.losses.focal import focal_terms
from segduet.losses.whole_batch import AddedUp, as_they_are

_SKIPPED = -100  # target value that torch's cross entropy leaves out


class SegmentationLoss(nn.Module):
    """Dice + CE of the softmax for plain labels, Dice + BCE of the sigmoid for regions (F28).

    Takes integer label maps and turns them into channels on the logits' device. Voxels of -1 (in
    prepared label maps: outside the image's nonzero area) are background, as in nnU-Net. Ignored
    voxels and images without a mask have no part in the loss: their gradient is exactly 0.

    By default it equals nnU-Net 2.8.1's loss plus 1 (Dice is 1 - Dice here, so that a perfect
    prediction costs 0 and balancers may compare losses); the gradients are the same. The config
    may put focal loss (F30) in the place of cross entropy and weigh the two terms.
    """

    members: Tensor
    channel: Tensor
    alpha: Tensor

    def __init__(
        self,
        labels: LabelScheme,
        *,
        batch_dice: bool,
        config: SegmentationLossConfig = NNUNET_LOSS,
        added_up: AddedUp = as_they_are,
    ) -> None:
        """Builds the loss.

        Args:
            labels: what the label map means.
            batch_dice: see `soft_dice_loss`; the plan says which.
            config: terms and their weights.
            added_up: see `AddedUp`.

        Raises:
            RequestError: `dice_background` with regions, or a `focal_alpha` that does not fit the
                channels.
        """
        super().__init__()
        _require_fit(config, labels)
        self.config = config
        self.gamma = config.focal_gamma if config.kind == "dice_focal" else 0.0
        self.first_dice_channel = 0 if config.dice_background else 1
        self.has_regions = labels.has_regions
        self.ignore_value = labels.ignore_value
        self.batch_dice, self._added_up = batch_dice, added_up
        groups = list(labels.foreground.values())
        if not labels.has_regions:
            groups = [(0,), *groups]
        table = torch.tensor([[value in group for group in groups] for value in labels.values])
        # members: (values, K), which channels a value belongs to; channel: (values,), the first.
        self.register_buffer("members", table, persistent=False)
        self.register_buffer("channel", table.int().argmax(1), persistent=False)
        self.register_buffer("alpha", torch.tensor(config.focal_alpha or ()), persistent=False)

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
        terms = functional.cross_entropy(logits, target, ignore_index=_SKIPPED, reduction="none")
        terms = focal_terms(terms, self.gamma)
        if len(self.alpha):
            terms = terms * self.alpha[self.channel[values]][:, 0]
        counted = torch.softmax(logits, 1)[:, self.first_dice_channel :]
        members = self._encoded(values)[:, self.first_dice_channel :]
        dice = self._dice(counted, members, valid, has_mask)
        return self._weighed(dice, self._mean(terms.sum(), valid))

    def _regions(self, logits: Tensor, values: Tensor, valid: Tensor, has_mask: Tensor) -> Tensor:
        members = self._encoded(values)
        terms = functional.binary_cross_entropy_with_logits(logits, members, reduction="none")
        terms = focal_terms(terms, self.gamma)
        if len(self.alpha):
            alpha = self.alpha.reshape(-1, *[1] * (logits.ndim - 2))
            terms = terms * torch.where(members > 0, alpha, 1 - alpha)
        per_voxel = self._mean((terms * valid).sum(), valid)
        if self.ignore_value is None:
            # With an ignore label nnU-Net adds the regions' terms up instead of averaging them.
            per_voxel = per_voxel / logits.shape[1]
        regions = torch.sigmoid(logits)
        return self._weighed(self._dice(regions, members, valid, has_mask), per_voxel)

    def _dice(self, found: Tensor, members: Tensor, valid: Tensor, has_mask: Tensor) -> Tensor:
        return soft_dice_loss(
            *(found, members, valid, has_mask),
            batch_dice=self.batch_dice,
            added_up=self._added_up,
        )

    def _mean(self, total: Tensor, valid: Tensor) -> Tensor:
        total, count = self._added_up(total, valid.sum())
        return total / count.clamp_min(1)

    def _weighed(self, dice: Tensor, per_voxel: Tensor) -> Tensor:
        return self.config.dice_weight * dice + self.config.ce_weight * per_voxel

    def _encoded(self, values: Tensor) -> Tensor:
        """Label values (B, 1, *spatial) -> (B, K, *spatial) float32 of 0 and 1."""
        return self.members[values[:, 0]].movedim(-1, 1).float()


def _require_fit(config: SegmentationLossConfig, labels: LabelScheme) -> None:
    if config.dice_background and labels.has_regions:
        raise RequestError(
            "segmentation_loss, dice_background",
            found="a dataset of nested regions",
            expected="plain labels, which have a background channel",
            remedy="Leave the option out.",
        )
    alpha, count = config.focal_alpha, labels.num_segmentation_heads
    if alpha is None:
        return
    names = [*([] if labels.has_regions else [BACKGROUND]), *labels.foreground]
    if len(alpha) != count or (labels.has_regions and max(alpha) > 1):
        raise RequestError(
            "segmentation_loss, focal_alpha",
            found=f"{list(alpha)}",
            expected=f"a weight for each of {names}"
            + (", from 0 to 1" if labels.has_regions else ""),
            remedy="Give one weight per channel, in this order.",
        )
