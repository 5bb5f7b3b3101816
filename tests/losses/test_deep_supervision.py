import pytest
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import (
    DownsampleSegForDSTransform,
)
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

from segduet.core.labels import LabelScheme
from segduet.losses.deep_supervision import (
    DeepSupervisionLoss,
    deep_supervision_weights,
    resized_labels,
)
from segduet.losses.segmentation import SegmentationLoss

LABELS = LabelScheme.from_dataset_json({"background": 0, "a": 1, "b": 2}, None, where="test")


def test_weights_halve_drop_the_lowest_and_sum_to_one():
    """F29."""
    assert deep_supervision_weights(4) == pytest.approx((4 / 7, 2 / 7, 1 / 7, 0))
    assert deep_supervision_weights(2) == (1, 0)
    assert deep_supervision_weights(1) == (1,)
    for count in range(1, 8):
        assert sum(deep_supervision_weights(count)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("shape", "scales"),
    [
        ((12, 20), [(1, 1), (0.5, 0.5), (0.25, 0.25)]),
        ((5, 12, 20), [(1, 1, 1), (1, 0.5, 0.5), (0.2, 0.25, 0.25)]),
        ((9, 10), [(1, 1), (1 / 3, 0.5)]),
    ],
)
def test_labels_shrink_as_in_nnunets_augmentation(shape, scales):
    """F29: the same voxel is taken at every resolution."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(-1, 3, (1, *shape), generator=generator, dtype=torch.int16)
    expected = DownsampleSegForDSTransform(scales)(segmentation=target)["segmentation"]
    for reference in expected:
        ours = resized_labels(target[None], reference.shape[1:])[0]
        assert ours.dtype == torch.int16
        assert torch.equal(ours, reference)


def example() -> tuple[list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    outputs = [torch.randn(2, 3, n, 2 * n, generator=generator) for n in (8, 4, 2)]
    return outputs, torch.randint(0, 3, (2, 1, 8, 16), generator=generator)


def test_loss_and_gradients_equal_nnunets_wrapper_but_for_the_constant_one():
    """F29, F28: the weights sum to 1, so the difference of 1 stays 1."""
    outputs, target = example()
    ours = [o.clone().requires_grad_() for o in outputs]
    theirs = [o.clone().requires_grad_() for o in outputs]
    mine = DeepSupervisionLoss(SegmentationLoss(LABELS, batch_dice=True))(ours, target)
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    wrapped = DeepSupervisionWrapper(
        DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss), [2 / 3, 1 / 3, 0]
    )
    reference = wrapped(theirs, [resized_labels(target, o.shape[2:]) for o in outputs])
    assert mine.item() - 1 == pytest.approx(reference.item(), abs=1e-6)
    mine.backward()
    reference.backward()
    for own, other in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(own.grad, other.grad, atol=1e-6, rtol=0)
    assert ours[2].grad is None


def test_a_single_output_gives_the_plain_loss():
    outputs, target = example()
    loss = SegmentationLoss(LABELS, batch_dice=False)
    single = DeepSupervisionLoss(loss)(outputs[:1], target[:, 0])
    assert single.item() == loss(outputs[0], target).item()


def test_missing_masks_are_left_out_at_every_resolution():
    """B03."""
    outputs, target = example()
    outputs = [o.requires_grad_() for o in outputs]
    loss = DeepSupervisionLoss(SegmentationLoss(LABELS, batch_dice=True))
    loss(outputs, target, torch.tensor([False, True])).backward()
    for output in outputs[:2]:
        assert output.grad[0].abs().max() == 0
        assert output.grad[1].abs().max() > 0
