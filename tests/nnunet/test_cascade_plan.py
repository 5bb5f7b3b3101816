"""F14: for large images a planner writes a cascade, and our plan reads it."""

import pytest

from segduet.nnunet import planning
from segduet.nnunet.fingerprint import dataset_fingerprint
from segduet.nnunet.planning import plan_dataset


@pytest.fixture
def large_images(monkeypatch):
    """The toy's fingerprint with ten times as many voxels along each axis: no image is so large."""
    monkeypatch.setattr("segduet.nnunet.fingerprint._NUM_FOREGROUND_VOXELS", 100_000)

    def enlarged(*arguments, **options):
        found = dataset_fingerprint(*arguments, **options)
        shapes = [[10 * n for n in shape] for shape in found["shapes_after_crop"]]
        return {**found, "shapes_after_crop": shapes}

    monkeypatch.setattr(planning, "dataset_fingerprint", enlarged)


def test_large_images_get_a_cascade_of_two_stages(toy, large_images):
    """Low resolution first, then full resolution with its network, patch and prepared cases."""
    plan = plan_dataset(toy[1], planner="small")
    assert set(plan.configurations) == {"2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"}
    low, full, second = (
        plan.configuration(name) for name in ("3d_lowres", "3d_fullres", "3d_cascade_fullres")
    )
    assert (low.previous_stage, low.next_stages) == (None, ("3d_cascade_fullres",))
    assert (second.previous_stage, second.next_stages) == ("3d_lowres", ())
    assert (full.previous_stage, full.next_stages) == (None, ())
    assert second.model_copy(update={"previous_stage": None}) == full
    assert all(a > b for a, b in zip(low.spacing, full.spacing, strict=True))
