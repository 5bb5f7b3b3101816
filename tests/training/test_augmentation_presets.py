import numpy as np
import pytest
import torch

from segduet.training.augmentation import build_augmentation, plan_augmentation, seeded_globals
from segduet.training.augmentation.cue_preserving import BlankBackground


def _described(transform):
    """(name, probability), or a list of such for one of several."""
    if hasattr(transform, "list_of_transforms"):
        return [_described(t) for t in transform.list_of_transforms]
    if hasattr(transform, "apply_probability"):
        return (type(transform.transform).__name__, transform.apply_probability)
    return (type(transform).__name__, 1)


def _operations(preset, patch=(12, 16, 16)):
    return build_augmentation(plan_augmentation(patch, preset), preset).transforms


def test_da5_has_the_fifteen_operations_in_order():
    """F43: names and probabilities."""
    spatial, *others = _operations("da5")
    assert (spatial.p_rotation, spatial.p_scaling, spatial.p_elastic_deform) == (0.4, 0.2, 0)
    assert [_described(t) for t in others] == [
        ("Rot90Transform", 0.5),
        ("TransposeAxesTransform", 0.5),
        [("MedianFilterTransform", 0.2), ("GaussianBlurTransform", 0.2)],
        ("GaussianNoiseTransform", 0.1),
        ("BrightnessAdditiveTransform", 0.1),
        [("ContrastTransform", 0.2), ("ContrastTransform", 0.2)],
        ("SimulateLowResolutionTransform", 0.15),
        ("GammaTransform", 0.1),
        ("GammaTransform", 0.1),
        ("MirrorTransform", 1),
        ("BlankRectangleTransform", 0.4),
        ("BrightnessGradientAdditiveTransform", 0.3),
        ("LocalGammaTransform", 0.3),
        ("SharpeningTransform", 0.2),
    ]


def test_the_other_presets_have_their_declared_operations():
    """F44."""
    assert {p: [_described(t) for t in _operations(p)] for p in ("none", "mild", "default")} == {
        "none": [],
        "mild": [
            ("SpatialTransform", 1),
            ("GaussianNoiseTransform", 0.1),
            ("MultiplicativeBrightnessTransform", 0.15),
            ("MirrorTransform", 1),
        ],
        "default": [
            ("SpatialTransform", 1),
            ("GaussianNoiseTransform", 0.1),
            ("GaussianBlurTransform", 0.2),
            ("MultiplicativeBrightnessTransform", 0.15),
            ("ContrastTransform", 0.15),
            ("SimulateLowResolutionTransform", 0.25),
            ("GammaTransform", 0.1),
            ("GammaTransform", 0.3),
            ("MirrorTransform", 1),
        ],
    }


def test_cue_preserving_has_nothing_that_smooths_scales_or_inverts():
    """F44."""
    spatial, *others = _operations("cue_preserving")
    assert (spatial.p_rotation, spatial.p_scaling, spatial.p_elastic_deform) == (0.2, 0, 0)
    assert spatial.mode_image == "nearest"
    assert [_described(t) for t in others] == [
        ("MultiplicativeBrightnessTransform", 0.15),
        ("ContrastTransform", 0.15),
        ("GammaTransform", 0.15),
        ("MirrorTransform", 1),
        ("BlankBackground", 0.2),
    ]
    assert others[2].transform.p_invert_image == 0


def _stock(preset, plan):
    """nnU-Net's own transform for the same patch; its blur must not pick its kernel by timing."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import (
        nnUNetTrainerDA5,
    )

    trainer = {"default": nnUNetTrainer, "da5": nnUNetTrainerDA5}[preset]
    stock = trainer.get_training_transforms(
        plan.patch_size,
        (-plan.rotation_rad, plan.rotation_rad),
        None,
        plan.mirror_axes,
        plan.in_plane,
    )
    for transform in stock.transforms:
        inner = getattr(transform, "transform", transform)
        if hasattr(inner, "benchmark"):
            inner.benchmark = False
    return stock


@pytest.mark.parametrize("size", [(12, 16, 16), (6, 20, 20), (8, 12, 16), (24, 24), (24, 12)])
@pytest.mark.parametrize("preset", ["default", "da5"])
def test_every_patch_is_nnunets_own_bit_for_bit(preset, size):
    """F40-F43: the same seed through nnU-Net's transforms, 2 channels, 25 draws."""
    plan = plan_augmentation(size, preset)
    ours, stock = build_augmentation(plan, preset), _stock(preset, plan)
    generator = torch.Generator().manual_seed(1)
    image = torch.randn((2, *plan.read_size), generator=generator)
    label_map = torch.randint(0, 3, (1, *plan.read_size), generator=generator).to(torch.int16)
    for seed in range(25):
        outs = []
        for transform in (ours, stock):
            with seeded_globals(np.random.default_rng(seed)):
                outs.append(transform(image=image.clone(), segmentation=label_map.clone()))
        assert torch.equal(outs[0]["image"], outs[1]["image"])
        # nnU-Net's last step makes the outside background
        assert torch.equal(outs[0]["segmentation"].clamp(min=0), outs[1]["segmentation"])


def _roughness(image):
    """Energy of the second differences over the variance: 1 scale of texture, no contrast."""
    energy = sum(image.diff(n=2, dim=axis).square().mean() for axis in range(image.ndim))
    return float(energy / image.var())


@pytest.mark.parametrize("size", [(12, 20, 20), (28, 28)])
def test_cue_preserving_keeps_fine_texture_that_default_and_da5_lose(size):
    """F44: high-frequency energy of white texture, kept share, mean over 80 patches."""
    kept = {}
    for preset in ("none", "default", "da5", "cue_preserving"):
        plan = plan_augmentation(size, preset)
        transform = build_augmentation(plan, preset)
        label_map = torch.ones((1, *plan.read_size), dtype=torch.int16)
        shares = []
        for seed in range(80):
            generator = torch.Generator().manual_seed(seed)
            image = torch.randn((1, *plan.read_size), generator=generator)
            before = _roughness(image[0])
            with seeded_globals(np.random.default_rng(seed)):
                out = transform(image=image.clone(), segmentation=label_map.clone())
            shares.append(_roughness(out["image"][0]) / before)
        kept[preset] = np.mean(shares)
    assert kept["none"] == pytest.approx(1)
    assert kept["cue_preserving"] > 0.95
    assert kept["default"] < 0.85
    assert kept["da5"] < 0.85


def test_cue_preserving_keeps_sizes_that_default_changes():
    """F44: voxels of a marked cube, spread over 60 patches."""
    spread = {}
    for preset in ("default", "cue_preserving"):
        plan = plan_augmentation((20, 20, 20), preset)
        transform = build_augmentation(plan, preset)
        label_map = torch.zeros((1, *plan.read_size), dtype=torch.int16)
        label_map[(0, *(slice(n // 2 - 4, n // 2 + 4) for n in plan.read_size))] = 1
        volumes = []
        for seed in range(60):
            with seeded_globals(np.random.default_rng(seed)):
                out = transform(image=label_map.float(), segmentation=label_map.clone())
            volumes.append(int((out["segmentation"] == 1).sum()))
        spread[preset] = np.std(volumes) / 512
    assert spread["cue_preserving"] < 0.03
    assert spread["default"] > 0.1


def test_blank_rectangles_hide_known_background_only():
    """F44: neither a region nor what is unlabelled changes; background does."""
    label_map = torch.zeros((1, 12, 12), dtype=torch.int16)
    label_map[0, 3:8, 3:8] = 2
    label_map[0, 10:] = -1
    image = torch.arange(288.0).reshape(2, 12, 12)
    blank = BlankBackground((12, 12))
    changed = torch.zeros_like(image, dtype=torch.bool)
    for seed in range(60):
        with seeded_globals(np.random.default_rng(seed)):
            out = blank(image=image, segmentation=label_map)
        changed |= out["image"] != image
        assert torch.equal(out["segmentation"], label_map)
    assert not changed[:, label_map[0] != 0].any()
    assert changed[:, label_map[0] == 0].float().mean() > 0.9
    assert torch.equal(image, torch.arange(288.0).reshape(2, 12, 12))
