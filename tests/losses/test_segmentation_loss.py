import math

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from pydantic import ValidationError

from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.losses.config import SegmentationLossConfig
from segduet.losses.dice import soft_dice_loss
from segduet.losses.segmentation import SegmentationLoss

# Agreement with another float32 implementation that sums in another order.
TOLERANCE = 1e-6


def scheme(labels: dict, order: list[int] | None = None) -> LabelScheme:
    return LabelScheme.from_dataset_json(labels, order, where="test")


PLAIN = scheme({"background": 0, "organ": 1, "lesion": 2})
PLAIN_IGNORE = scheme({"background": 0, "organ": 1, "lesion": 2, "ignore": 3})
REGIONS = scheme({"background": 0, "whole": [1, 2], "lesion": 2}, [1, 2])
REGIONS_IGNORE = scheme({"background": 0, "whole": [1, 2], "lesion": 2, "ignore": 3}, [1, 2])
SCHEMES = {
    "plain": PLAIN,
    "plain_ignore": PLAIN_IGNORE,
    "regions": REGIONS,
    "regions_ignore": REGIONS_IGNORE,
}


def batch(labels: LabelScheme, shape=(3, 6, 8), seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = (shape[0], labels.num_segmentation_heads, *shape[1:])
    logits = 2 * torch.randn(size, generator=generator)
    target = torch.randint(0, len(labels.values), (shape[0], 1, *shape[1:]), generator=generator)
    return logits, target.to(torch.int16)


def nnunet_loss(labels: LabelScheme, *, batch_dice: bool):
    dice = {"batch_dice": batch_dice, "smooth": 1e-5, "ddp": False}
    memory_efficient = MemoryEfficientSoftDiceLoss
    if labels.has_regions:
        ignored = labels.ignore_value is not None
        return DC_and_BCE_loss(
            {}, {**dice, "do_bg": True}, use_ignore_label=ignored, dice_class=memory_efficient
        )
    return DC_and_CE_loss(
        {**dice, "do_bg": False}, {}, ignore_label=labels.ignore_value, dice_class=memory_efficient
    )


def nnunet_target(labels: LabelScheme, target: torch.Tensor) -> torch.Tensor:
    if not labels.has_regions:
        return target
    channels = [torch.isin(target, torch.tensor(m)) for m in labels.foreground.values()]
    if labels.ignore_value is not None:
        channels.append(target == labels.ignore_value)
    return torch.cat(channels, 1)


@pytest.mark.parametrize("shape", [(3, 6, 8), (2, 4, 5, 6)])
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("name", SCHEMES)
def test_value_and_gradient_equal_nnunets_but_for_the_constant_one(name, batch_dice, shape):
    """F28, F03: Dice + CE and Dice + BCE as nnU-Net 2.8.1 trains them, ignore label included."""
    labels = SCHEMES[name]
    logits, target = batch(labels, shape)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    mine = SegmentationLoss(labels, batch_dice=batch_dice)(ours, target)
    reference = nnunet_loss(labels, batch_dice=batch_dice)(theirs, nnunet_target(labels, target))
    assert mine.item() - 1 == pytest.approx(reference.item(), abs=TOLERANCE)
    mine.backward()
    reference.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_perfect_and_certain_prediction_costs_nothing(name):
    """F28."""
    labels = SCHEMES[name]
    _, target = batch(labels)
    groups = list(labels.foreground.values())
    groups = groups if labels.has_regions else [(0,), *groups]
    truth = torch.cat([torch.isin(target, torch.tensor(g)) for g in groups], 1)
    logits = torch.where(truth, 30.0, -30.0)
    loss = SegmentationLoss(labels, batch_dice=False)(logits, target)
    assert 0 <= loss.item() < 1e-5


def test_plain_loss_equals_a_hand_worked_case():
    """F28: two voxels, p(lesion) 0.75 where it is and 0.5 where it is not, one softmax.

    CE = (ln 4/3 + ln 2) / 2; Dice = 2 * 0.75 / (1.25 + 1).
    """
    labels = scheme({"background": 0, "lesion": 1})
    probabilities = torch.tensor([[[0.25, 0.5], [0.75, 0.5]]])[:, :, None]
    loss = SegmentationLoss(labels, batch_dice=False)(
        probabilities.log(), torch.tensor([[[[1, 0]]]])
    )
    expected = (math.log(4 / 3) + math.log(2)) / 2 + 1 - 1.5 / 2.25
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_region_loss_equals_a_hand_worked_case():
    """F28, F03: one voxel of label 2 is in both regions; sigmoids 0.8 and 0.6."""
    logits = torch.logit(torch.tensor([0.8, 0.6])).reshape(1, 2, 1, 1)
    loss = SegmentationLoss(REGIONS, batch_dice=False)(logits, torch.tensor([[[[2]]]]))
    cross_entropy = -(math.log(0.8) + math.log(0.6)) / 2
    dice = (1.6 / 1.8 + 1.2 / 1.6) / 2
    assert loss.item() == pytest.approx(cross_entropy + 1 - dice, abs=1e-5)


def test_background_in_the_dice_is_a_choice():
    """F28: with it, the Dice is the mean over both classes of the hand-worked case."""
    labels = scheme({"background": 0, "lesion": 1})
    logits = torch.tensor([[[0.25, 0.5], [0.75, 0.5]]])[:, :, None].log()
    target = torch.tensor([[[[1, 0]]]])
    config = SegmentationLossConfig(dice_background=True)
    loss = SegmentationLoss(labels, batch_dice=False, config=config)(logits, target)
    dice = (1.5 / 2.25 + 1.0 / 1.75) / 2
    expected = (math.log(4 / 3) + math.log(2)) / 2 + 1 - dice
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    with pytest.raises(RequestError, match="background channel"):
        SegmentationLoss(REGIONS, batch_dice=False, config=config)


@pytest.mark.parametrize("labels", [PLAIN, REGIONS], ids=["plain", "regions"])
def test_minus_one_is_background(labels):
    """Voxels outside the nonzero area; nnU-Net turns them into 0 before training."""
    logits, target = batch(labels)
    loss = SegmentationLoss(labels, batch_dice=True)
    marked = torch.where(target == 0, -1, target)
    assert loss(logits, marked).item() == loss(logits, target).item()


def test_target_may_lack_the_channel_axis():
    logits, target = batch(PLAIN)
    loss = SegmentationLoss(PLAIN, batch_dice=True)
    assert loss(logits, target[:, 0]).item() == loss(logits, target).item()


def test_channels_follow_the_label_schemes_order():
    """Labels declared out of order: the channel that `LabelScheme.encode` says is the target."""
    labels = scheme({"background": 0, "lesion": 2, "organ": 1})
    target = torch.randint(0, 3, (1, 1, 5, 5), generator=torch.Generator().manual_seed(4))
    truth = torch.from_numpy(labels.encode(target[:, 0].numpy())).movedim(0, 1)
    logits = torch.where(truth, 30.0, -30.0)
    assert SegmentationLoss(labels, batch_dice=True)(logits, target).item() < 1e-5


@pytest.mark.parametrize("name", ["plain_ignore", "regions_ignore"])
def test_ignored_voxels_have_no_gradient(name):
    labels = SCHEMES[name]
    logits, target = batch(labels)
    logits.requires_grad_()
    SegmentationLoss(labels, batch_dice=True)(logits, target).backward()
    ignored = (target == labels.ignore_value).expand_as(logits)
    assert logits.grad[ignored].abs().max() == 0
    assert logits.grad[~ignored].abs().min() > 0


@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("name", SCHEMES)
def test_an_image_without_mask_takes_no_part(name, batch_dice):
    """B03: gradient exactly 0, and the loss is that of the other images alone."""
    labels = SCHEMES[name]
    logits, target = batch(labels)
    loss = SegmentationLoss(labels, batch_dice=batch_dice)
    logits.requires_grad_()
    has_mask = torch.tensor([True, False, True])
    masked = loss(logits, target, has_mask)
    masked.backward()
    assert logits.grad[1].abs().max() == 0
    assert logits.grad[[0, 2]].abs().max() > 0
    alone = loss(logits.detach()[[0, 2]], target[[0, 2]])
    assert masked.item() == pytest.approx(alone.item(), abs=TOLERANCE)


@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_batch_without_any_mask_costs_exactly_nothing(name, batch_dice):
    """B03: 0 and gradient 0, with the graph intact."""
    labels = SCHEMES[name]
    logits, target = batch(labels)
    logits.requires_grad_()
    loss = SegmentationLoss(labels, batch_dice=batch_dice)(
        logits, target, torch.zeros(3, dtype=torch.bool)
    )
    assert loss.item() == 0
    loss.backward()
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("labels", [PLAIN, REGIONS], ids=["plain", "regions"])
def test_half_precision_logits_are_summed_in_float32(labels):
    logits, target = batch(labels, shape=(1, 300, 300))
    loss = SegmentationLoss(labels, batch_dice=True)
    half = loss(logits.half(), target)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(logits, target).item(), abs=1e-3)


def test_batch_dice_pools_the_voxels_of_all_images():
    """A hit in one image and a false voxel in another: 2/3 pooled; (1 + 0) / 2 image by image."""
    probabilities = torch.ones(2, 1, 1, 1)
    members = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1)
    valid = torch.ones(2, 1, 1, 1, dtype=torch.bool)
    has_mask = torch.ones(2, dtype=torch.bool)
    pooled, single = (
        soft_dice_loss(probabilities, members, valid, has_mask, batch_dice=b).item()
        for b in (True, False)
    )
    assert pooled == pytest.approx(1 / 3, abs=1e-4)
    assert single == pytest.approx(1 / 2, abs=1e-4)


def test_a_class_absent_from_both_sides_is_perfect():
    nothing = torch.zeros(1, 1, 2, 2)
    everywhere = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    loss = soft_dice_loss(nothing, nothing, everywhere, torch.tensor([True]), batch_dice=False)
    assert loss.item() == 0


# focal loss and the weights of the terms ----------------------------------------------------------

#: Voxel term alone, as focal loss.
FOCAL = {"kind": "dice_focal", "dice_weight": 0.0}


def segmentation_loss(labels: LabelScheme, **options) -> SegmentationLoss:
    return SegmentationLoss(labels, batch_dice=False, config=SegmentationLossConfig(**options))


@pytest.mark.parametrize("name", SCHEMES)
def test_focal_loss_with_gamma_0_is_cross_entropy(name):
    """F30: exactly, in value and gradient, softmax and sigmoid."""
    labels = SCHEMES[name]
    logits, target = batch(labels)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    focal = segmentation_loss(labels, kind="dice_focal", focal_gamma=0)(ours, target)
    plain = segmentation_loss(labels)(theirs, target)
    assert focal.item() == plain.item()
    focal.backward()
    plain.backward()
    assert torch.equal(ours.grad, theirs.grad)


def test_focal_loss_of_a_softmax_equals_a_hand_worked_case():
    """F30: p(true) 0.75 and 0.5, gamma 2: (0.25^2 ln 4/3 + 0.5^2 ln 2) / 2; one softmax only."""
    labels = scheme({"background": 0, "lesion": 1})
    logits = torch.tensor([[[0.25, 0.5], [0.75, 0.5]]])[:, :, None].log() + 3.7  # softmax is blind
    target = torch.tensor([[[[1, 0]]]])
    easy, hard = 0.25**2 * math.log(4 / 3), 0.5**2 * math.log(2)
    loss = segmentation_loss(labels, **FOCAL)
    assert loss(logits, target).item() == pytest.approx((easy + hard) / 2, abs=1e-6)
    weighed = segmentation_loss(labels, **FOCAL, focal_alpha=(0.2, 3.0))
    expected = (3.0 * easy + 0.2 * hard) / 2
    assert weighed(logits, target).item() == pytest.approx(expected, abs=1e-6)


def test_focal_loss_of_regions_equals_a_hand_worked_case():
    """F30: label 1 is inside `whole` (sigmoid 0.8) and outside `lesion` (0.6, so p(true) 0.4)."""
    logits = torch.logit(torch.tensor([0.8, 0.6])).reshape(1, 2, 1, 1)
    target = torch.tensor([[[[1]]]])
    inside, outside = 0.2**2 * -math.log(0.8), 0.6**2 * -math.log(0.4)
    loss = segmentation_loss(REGIONS, **FOCAL)
    assert loss(logits, target).item() == pytest.approx((inside + outside) / 2, abs=1e-6)
    weighed = segmentation_loss(REGIONS, **FOCAL, focal_alpha=(0.25, 0.9))
    expected = (0.25 * inside + (1 - 0.9) * outside) / 2
    assert weighed(logits, target).item() == pytest.approx(expected, abs=1e-6)


def test_focal_regions_agree_with_torchvisions_formula_in_bulk():
    """F30: alpha_t (1 - p_t)^gamma CE, written out with p and 1 - p instead of through the CE."""
    logits, target = batch(REGIONS, seed=3)
    truth = torch.cat([torch.isin(target, torch.tensor(m)) for m in ((1, 2), (2,))], 1).float()
    p = torch.sigmoid(logits.double())
    right = p * truth + (1 - p) * (1 - truth)
    expected = (-((1 - right) ** 1.5) * right.log()).mean()
    loss = segmentation_loss(REGIONS, **FOCAL, focal_gamma=1.5)
    assert loss(logits, target).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("labels", [PLAIN, REGIONS], ids=["plain", "regions"])
def test_focal_loss_turns_the_gradient_towards_hard_voxels(labels):
    """F30: the share of the gradient that the worst-answered voxels get grows with gamma."""
    logits, target = batch(labels, shape=(1, 8, 8))
    shares = []
    for gamma in (0.0, 2.0, 5.0):
        ours = logits.clone().requires_grad_()
        segmentation_loss(labels, **FOCAL, focal_gamma=gamma)(ours, target).backward()
        pulls = ours.grad.abs().sum(1).flatten().sort(descending=True).values
        shares.append((pulls[:16].sum() / pulls.sum()).item())
    assert shares[0] < shares[1] < shares[2]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_perfect_prediction_costs_nothing_under_focal_loss_and_has_a_finite_gradient(name, gamma):
    """F28, F30: the power of 0 has none for gamma < 1."""
    labels = SCHEMES[name]
    _, target = batch(labels)
    groups = list(labels.foreground.values())
    groups = groups if labels.has_regions else [(0,), *groups]
    truth = torch.cat([torch.isin(target, torch.tensor(g)) for g in groups], 1)
    logits = torch.where(truth, 200.0, -200.0).requires_grad_()
    loss = segmentation_loss(labels, kind="dice_focal", focal_gamma=gamma)(logits, target)
    loss.backward()
    assert 0 <= loss.item() < 1e-5
    assert logits.grad.isfinite().all()


def test_the_weights_of_the_terms_scale_them():
    """F28: 2 Dice + 3 CE from the two terms alone."""
    logits, target = batch(PLAIN)
    dice = segmentation_loss(PLAIN, ce_weight=0)(logits, target).item()
    voxels = segmentation_loss(PLAIN, dice_weight=0)(logits, target).item()
    both = segmentation_loss(PLAIN, dice_weight=2, ce_weight=3)(logits, target).item()
    assert both == pytest.approx(2 * dice + 3 * voxels, abs=TOLERANCE)
    assert dice != pytest.approx(voxels, abs=0.01)


def test_an_image_without_mask_takes_no_part_in_focal_loss():
    """B03: with alpha too."""
    for labels, alpha in ((PLAIN, (0.1, 1.0, 2.0)), (REGIONS, (0.3, 0.7))):
        logits, target = batch(labels)
        logits.requires_grad_()
        loss = segmentation_loss(labels, kind="dice_focal", focal_alpha=alpha)
        masked = loss(logits, target, torch.tensor([True, False, True]))
        masked.backward()
        assert logits.grad[1].abs().max() == 0
        alone = loss(logits.detach()[[0, 2]], target[[0, 2]])
        assert masked.item() == pytest.approx(alone.item(), abs=TOLERANCE)


@pytest.mark.parametrize(
    ("labels", "alpha"), [(PLAIN, (1.0, 2.0)), (REGIONS, (0.5,)), (REGIONS, (0.5, 1.5))]
)
def test_alphas_that_do_not_fit_the_channels_are_refused(labels, alpha):
    """F30: one message that names the channels."""
    with pytest.raises(RequestError, match=r"focal_alpha.*expected a weight for each of .*lesion"):
        segmentation_loss(labels, kind="dice_focal", focal_alpha=alpha)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dice_weight": 0, "ce_weight": 0}, "nothing is learnt"),
        ({"focal_gamma": 1.0}, "need kind dice_focal"),
        ({"focal_alpha": (1.0, 1.0)}, "need kind dice_focal"),
        ({"kind": "dice_focal", "ce_weight": 0}, "no effect with ce_weight 0"),
        ({"dice_background": True, "dice_weight": 0}, "no effect with dice_weight 0"),
        ({"kind": "dice_focal", "focal_alpha": (-1.0, 1.0)}, "must not be negative"),
        ({"gamma": 2}, "Extra inputs"),
    ],
)
def test_segmentation_loss_options_without_effect_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        SegmentationLossConfig(**options)
