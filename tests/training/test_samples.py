import numpy as np
import pytest
import torch

from segduet.training.samples import batches


@pytest.fixture
def patches(make_job):
    return make_job().patches


def test_a_pass_shows_every_case_once_and_passes_differ(patches):
    """F58: the sequence is a permutation per pass."""
    order = [patches[i]["case"] for i in range(12)]
    for start in (0, 4, 8):
        assert sorted(order[start : start + 4]) == [f"case_{i}" for i in range(4)]
    assert len({tuple(order[s : s + 4]) for s in (0, 4, 8)}) > 1


def test_a_sample_depends_on_its_index_alone(make_job):
    """F58: not on what was drawn before."""
    settings = {"sampling": {"augmentation": "default"}}
    first, second = make_job(**settings).patches, make_job(**settings).patches
    _ = second[0], second[7]
    a, b = first[3], second[3]
    assert a["case"] == b["case"]
    assert torch.equal(a["image"], b["image"])
    assert torch.equal(a["label_map"], b["label_map"])


def test_workers_give_the_batches_that_no_workers_give(make_job):
    """F76: no sample lost or changed by the number of processes."""
    job = make_job(sampling={"augmentation": "default"})
    plain, worked = (
        list(batches(job.patches, batch_size=2, first_step=1, last_step=4, workers=n))
        for n in (0, 2)
    )
    assert [b.cases for b in plain] == [b.cases for b in worked]
    assert all(torch.equal(a.image, b.image) for a, b in zip(plain, worked, strict=True))


def test_another_seed_gives_other_patches(make_job):
    same, other = make_job(seed=0).patches, make_job(seed=1).patches
    assert any(not torch.equal(same[i]["image"], other[i]["image"]) for i in range(4))


def test_classes_follow_the_case(patches):
    for index in range(8):
        sample = patches[index]
        assert sample["classes"] == {"kind": int(sample["case"][-1]) % 2}


def test_evidence_is_the_share_of_the_target_region_in_the_patch(make_job):
    """B03, issue 2.7: hand-counted from the stored mask."""
    job = make_job(sampling={"augmentation": "none", "foreground_share": 0.0})
    for index in range(8):
        sample = job.patches[index]
        held = int((sample["label_map"] == 1).sum())
        assert sample["evidence"]["kind"] == pytest.approx(held / 144)  # blobs of 4 x 6 x 6


def test_without_foreground_the_evidence_is_the_share_of_the_image(make_job, monkeypatch):
    """An image without foreground counts by how much of the image the patch holds."""
    job = make_job()
    stored = job.patches._stored("case_0")
    empty = type(stored)(
        **{
            **{f: getattr(stored, f) for f in stored.__slots__},
            "region_voxels": {"blob": 0},
            "foreground_voxels": 0,
            "locations": {"blob": np.zeros((0, 3), dtype=np.int32)},
        }
    )
    monkeypatch.setattr(job.patches, "_stored", lambda _case: empty)
    # image 8 x 20 x 18, patch 8 x 16 x 16 wholly inside
    assert job.patches[0]["evidence"]["kind"] == pytest.approx(16 * 16 / (20 * 18))


def test_forced_foreground_is_in_every_patch(make_job):
    """F09: switched on, each patch holds foreground."""
    job = make_job(sampling={"augmentation": "none", "foreground_share": 1.0})
    assert all((job.patches[i]["label_map"] == 1).any() for i in range(16))
