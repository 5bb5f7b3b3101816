import numpy as np
import pytest
import torch

from segduet.training.augmentation import (
    build_augmentation,
    plan_augmentation,
    seeded_globals,
)


def _augment(preset, seed, image, label_map, patch=(8, 16, 16)):
    plan = plan_augmentation(patch, preset)
    transform = build_augmentation(plan, preset)
    with seeded_globals(np.random.default_rng(seed)):
        return transform(image=image.clone(), segmentation=label_map.clone())


@pytest.fixture
def patch():
    plan = plan_augmentation((8, 16, 16), "default")
    label_map = torch.zeros((1, *plan.read_size), dtype=torch.int16)
    z, y, x = (n // 2 for n in plan.read_size)
    label_map[0, z - 2 : z + 2, y - 4 : y + 4, x - 4 : x + 4] = 1
    return label_map.float() * 5, label_map


def test_rotation_and_margin_follow_nnunets_rules():
    """F40: isotropic 3D, anisotropic 3D and both kinds of 2D."""
    degrees = {
        size: round(np.rad2deg(plan_augmentation(size, "default").rotation_rad))
        for size in [(32, 64, 64), (16, 96, 96), (128, 128), (128, 64)]
    }
    assert degrees == {(32, 64, 64): 30, (16, 96, 96): 180, (128, 128): 180, (128, 64): 15}
    in_plane = plan_augmentation((16, 96, 96), "default")
    assert in_plane.in_plane
    assert in_plane.read_size[0] == 16
    assert min(in_plane.read_size[1:]) >= 96 / 0.85 - 1


@pytest.mark.parametrize("size", [(32, 32, 32), (24, 48, 60), (64, 64), (128, 64)])
def test_the_margin_read_is_at_least_nnunets(size):
    """F40: equal for cubes; elsewhere nnU-Net leaves out one sign of the rotation."""
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

    plan = plan_augmentation(size, "default")
    angle = (-plan.rotation_rad, plan.rotation_rad)
    stock = get_patch_size(size, angle, angle, angle, (0.85, 1.25))
    assert np.all(np.array(plan.read_size) >= stock)
    if len(set(size)) == 1:
        assert plan.read_size == tuple(stock)


def test_none_is_the_identity(patch):
    """F44, p=0 identity of F40."""
    image, label_map = patch
    out = _augment("none", 0, image, label_map)
    assert torch.equal(out["image"], image)
    assert torch.equal(out["segmentation"], label_map)


def test_the_same_seed_gives_the_same_patch_and_another_seed_another(patch):
    """F40, F58."""
    first, again, other = (_augment("default", seed, *patch)["image"] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_image_and_labels_stay_aligned_and_labels_stay_integers(patch):
    """F40: where the label is, the image is bright, over many draws."""
    for seed in range(30):
        out = _augment("default", seed, *patch)
        image, label_map = out["image"][0], out["segmentation"][0]
        assert set(label_map.unique().tolist()) <= {-1, 0, 1}
        assert image[label_map == 1].mean() > image[label_map == 0].mean() + 1
        assert image.shape == (8, 16, 16)


def test_global_generators_are_left_as_they_were():
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    with seeded_globals(np.random.default_rng(0)):
        np.random.uniform()  # noqa: NPY002
        torch.rand(1)
    after = (np.random.uniform(), torch.rand(1).item())  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    assert after == (np.random.uniform(), torch.rand(1).item())  # noqa: NPY002
