import numpy as np
import pytest
import torch

from segduet.training.augmentation import plan_augmentation, seeded_globals
from segduet.training.augmentation.da5 import rectangle_sides
from segduet.training.augmentation.operations import (
    blur,
    brightness,
    contrast,
    gamma,
    low_resolution,
    mirror,
    noise,
    sometimes,
    spatial,
)


def _image(shape=(1, 6, 20, 20), seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 2


def _draws(transform, count, image=None):
    image = _image() if image is None else image
    with seeded_globals(np.random.default_rng(7)):
        return [
            transform(image=image.clone(), segmentation=image.clone())["image"]
            for _ in range(count)
        ]


def test_noise_is_within_its_bound_and_centred():
    """F41: standard deviation uniform in [0, 0.1], so 0.05 on average."""
    added = [out - _image() for out in _draws(noise(0.1), 300)]
    spreads = torch.stack([a.std() for a in added])
    assert spreads.max() < 0.105
    assert spreads.mean() == pytest.approx(0.05, abs=0.006)
    assert torch.stack(added).mean().abs() < 0.001


def test_brightness_multiplies_within_bounds_and_both_ways():
    """F41."""
    factors = torch.stack(
        [(out / _image()).median() for out in _draws(brightness(0.75, 1.25), 300)]
    )
    assert factors.min() >= 0.75 - 1e-5
    assert factors.max() <= 1.25 + 1e-5
    assert (factors < 1).float().mean() == pytest.approx(0.5, abs=0.12)  # 4 standard deviations


def test_contrast_keeps_the_mean_and_scales_the_spread_within_bounds():
    """F41."""
    image = _image()
    outs = _draws(contrast(0.5, 2, preserve_range=False), 200)
    ratios = torch.stack([out.std() / image.std() for out in outs])
    assert ratios.min() < 0.6
    assert ratios.max() > 1.8
    assert torch.all((ratios >= 0.5 - 1e-4) & (ratios <= 2 + 1e-4))
    assert all(torch.isclose(out.mean(), image.mean(), atol=1e-4) for out in outs)


def test_contrast_can_keep_the_range():
    """F41."""
    image = _image()
    for out in _draws(contrast(1.5, 2), 20):
        assert out.max() <= image.max() + 1e-5
        assert out.min() >= image.min() - 1e-5


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_keeps_mean_spread_and_order(inverted):
    """F41: also on the negative."""
    image = _image()
    order = image.flatten().argsort()
    for out in _draws(gamma(0.7, 1.5, inverted=inverted), 40):
        assert torch.isclose(out.mean(), image.mean(), atol=1e-3)
        assert torch.isclose(out.std(), image.std(), atol=1e-3)
        assert (out.flatten()[order].diff() >= -1e-4).all()


def test_inverted_gamma_spreads_the_other_end():
    """F41: a power above 1 spreads the bright end, on the negative the dark one."""
    image = torch.linspace(0, 1, 400).reshape(1, 20, 20)
    plain, inverted = (
        _draws(gamma(1.4, 1.5, inverted=negative), 1, image)[0].flatten()
        for negative in (False, True)
    )
    assert plain[-1] - plain[-40] > plain[39] - plain[0]
    assert inverted[-1] - inverted[-40] < inverted[39] - inverted[0]


@pytest.mark.parametrize("size", [(8, 16, 16), (4, 16, 16), (2, 9, 9), (24, 24)])
@pytest.mark.parametrize("kind", ["blur", "low_resolution"])
def test_blur_and_low_resolution_lower_roughness_and_keep_the_shape(kind, size):
    """F42: also on patches thinner than the kernel."""
    plan = plan_augmentation(size, "default")
    built = {
        "blur": blur(plan, 0.5, 1.5, synchronize_axes=False),
        "low_resolution": low_resolution(plan, 0.25),
    }
    image = _image((1, *size))
    outs = _draws(built[kind], 60, image)
    rough = torch.stack([out.diff(dim=-1).std() / image.diff(dim=-1).std() for out in outs])
    assert all(out.shape == image.shape and out.dtype == image.dtype for out in outs)
    assert rough.isfinite().all()
    assert rough.max() <= 1 + 1e-5
    assert rough.min() < 0.95


def test_an_operation_is_applied_to_its_share_of_the_patches():
    """F40, F44: probability 0 is the identity, 0.3 is three in ten."""
    image = _image((1, 4, 4))
    changed = {
        p: sum(not torch.equal(o, image) for o in _draws(sometimes(noise(0.1), p), 1000, image))
        for p in (0, 0.3, 1)
    }
    assert changed[0] == 0
    assert changed[0.3] == pytest.approx(300, abs=60)  # 4 standard deviations
    assert changed[1] == 1000


def test_spatial_without_probability_cuts_the_centre():
    """F40: p = 0 identity."""
    plan = plan_augmentation((4, 6, 6), "default")
    image = _image((1, *plan.read_size))
    (transform,) = spatial(plan, p_rotation=0, p_scaling=0)
    label_map = torch.ones((1, *plan.read_size), dtype=torch.int16)
    out = transform(image=image.clone(), segmentation=label_map)
    start = [(r - p) // 2 for r, p in zip(plan.read_size, plan.patch_size, strict=True)]
    centre = (0, *(slice(s, s + p) for s, p in zip(start, plan.patch_size, strict=True)))
    assert torch.equal(out["image"][0], image[centre])


@pytest.mark.parametrize("size", [(4, 5, 6), (5, 6)])
def test_mirroring_gives_every_combination_of_flips_and_nothing_else(size):
    """F40: all axes in 2D and 3D."""
    plan = plan_augmentation(size, "mild")
    image = _image((1, *size))
    axes = range(1, len(size) + 1)
    choices = [[a for i, a in enumerate(axes) if mask >> i & 1] for mask in range(2 ** len(size))]
    flips = [image.flip(chosen) for chosen in choices]
    outs = _draws(mirror(plan), 100, image)
    found = {next(i for i, f in enumerate(flips) if torch.equal(f, out)) for out in outs}
    assert found == set(range(2 ** len(size)))


def test_rectangles_are_a_tenth_to_a_third_of_the_patch():
    """F43: at least one voxel; the second number is excluded, as in numpy's randint."""
    assert rectangle_sides((60, 30, 4)) == [[6, 20], [3, 10], [1, 2]]
