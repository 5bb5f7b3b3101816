"""Losses on a few fixed validation patches, for watching overfitting; never a result."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from segduet.core.labels import LabelScheme
from segduet.networks.joint import JointNetwork
from segduet.training.devices import Compute
from segduet.training.objective import Objective
from segduet.training.panels import overlay_panel
from segduet.training.samples import Batch


@torch.no_grad()
def validate_patches(
    network: JointNetwork,
    patches: Iterable[Batch],
    objective: Objective,
    labels: LabelScheme,
    compute: Compute,
) -> dict[str, float | None]:
    """Mean losses and `patch_dice` over the patches; the network's mode is left as it was.

    Of several processes each brings its shares of the batches, and all get the same figures.

    `patch_dice` is the mean over foreground regions of Dice with voxels pooled over all patches,
    None where no patch holds foreground or no masks are drawn. It is not a DSC: see `full_case` in
    the history for that.
    """
    was_training = network.training
    network.eval()
    totals: dict[str, float] = {}
    overlap = torch.zeros(2, len(labels.foreground), dtype=torch.float64)
    num_batches = 0
    for batch in patches:
        moved = batch.to(compute.device)
        with compute.autocast():
            outputs = network(moved.image)
        for name, loss in objective(outputs, moved).logged.items():
            totals[name] = totals.get(name, 0.0) + loss
        for logits in outputs.segmentation[:1]:  # none where the network only classifies
            drawn = moved.has_mask
            overlap += _overlap(logits[drawn].float(), moved.label_map[drawn], labels)
        num_batches += 1
    network.train(was_training)
    (overlap,) = compute.processes.added_up([overlap])
    means: dict[str, float | None] = {k: v / num_batches for k, v in totals.items()}
    seen = overlap[1] > 0
    dice = (2 * overlap[0][seen] / overlap[1][seen]).mean() if seen.any() else None
    return {**means, "patch_dice": None if dice is None else float(dice)}


@torch.no_grad()
def preview_patches(
    network: JointNetwork, batch: Batch, labels: LabelScheme, compute: Compute
) -> dict[str, np.ndarray]:
    """A picture of every patch with reference and prediction; the network's mode is left as it was.

    Returns:
        Position and case -> (H, W, 3) uint8, see `overlay_panel`; the first channel is shown.
        None of a network that draws no masks.
    """
    was_training = network.training
    network.eval()
    with compute.autocast():
        outputs = network(batch.to(compute.device).image)
    network.train(was_training)
    pictures: dict[str, np.ndarray] = {}
    if not outputs.segmentation:
        return pictures
    for position, case in enumerate(batch.cases):
        logits = outputs.segmentation[0][position].float().cpu().numpy()
        arrays = (
            batch.image[position, 0].cpu().numpy(),
            batch.label_map[position, 0].cpu().numpy(),
            labels.decode(logits),
        )
        image, reference, predicted = (a[None] if a.ndim == 2 else a for a in arrays)
        pictures[f"{position}_{case}"] = overlay_panel(image, reference, predicted)
    return pictures


def _overlap(logits: Tensor, label_map: Tensor, labels: LabelScheme) -> Tensor:
    """Intersection and sum of sizes per foreground region: (2, regions) float64."""
    target = label_map[:, 0]
    winner = logits.argmax(1)
    rows = []
    for channel, values in enumerate(labels.foreground.values()):
        reference = torch.isin(target, torch.tensor(values, device=target.device))
        predicted = logits[:, channel] > 0 if labels.has_regions else winner == channel + 1
        both = (reference & predicted).sum(dtype=torch.float64)
        rows.append(torch.stack([both, (reference.sum() + predicted.sum()).double()]))
    return torch.stack(rows, dim=1).cpu()
