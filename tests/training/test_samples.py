from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from segduet.core.errors import DataError, RequestError
from segduet.core.prepared import PreparedCase
from segduet.nnunet.store import PreparedStore
from segduet.training.config import Recipe, SamplingConfig
from segduet.training.samples import PatchDataset, batches, require_masks


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
        assert sample["targets"]["kind"].tolist() == [int(sample["case"][-1]) % 2]


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


# which cases, and where in them -------------------------------------------------------------------


def changed(patches, *, targets=None, **sampling):
    """The same patches, drawn in another way."""
    source = patches._source if targets is None else replace(patches._source, targets=targets)
    return PatchDataset(source, patches._plan, SamplingConfig(augmentation="none", **sampling))


def test_balanced_cases_show_every_class_equally_often(patches):
    """F32, F61: three dark cases and one bright one; shuffled it is seen a quarter of the time."""
    targets = {"kind": np.array([[0], [0], [0], [1]], np.float32)}
    shares = {}
    for cases in ("shuffled", "class_balanced"):
        dataset = changed(patches, targets=targets, cases=cases)
        shares[cases] = np.mean([dataset[i]["targets"]["kind"] for i in range(24)])
    assert shares == {"shuffled": 0.25, "class_balanced": 0.5}


def test_a_balanced_sample_depends_on_its_index_alone(patches):
    """F32, F76: whatever was drawn before, and on any number of workers."""
    dataset = changed(patches, cases="class_balanced", balanced_task="kind")
    alone = [dataset[i]["image"] for i in (3, 0, 7)]
    plain, worked = (
        list(batches(dataset, batch_size=2, first_step=0, last_step=4, workers=n)) for n in (0, 2)
    )
    assert all(torch.equal(a.image, b.image) for a, b in zip(plain, worked, strict=True))
    images = torch.cat([batch.image for batch in plain])
    assert all(torch.equal(images[i], image) for i, image in zip((3, 0, 7), alone, strict=True))


def test_patches_are_centred_on_the_region_that_was_named(patches, monkeypatch):
    """F09, F61: a blob at the far corner is in all of its patches, and in few of the others'."""
    stored = patches._stored("case_0")
    voxels = {"blob": np.array([[7, 19, 17]], np.int32), "rest": np.array([[0, 0, 0]], np.int32)}
    two = replace(stored, locations=voxels)
    starts = {}
    for region in ("blob", None):
        dataset = changed(patches, foreground_share=1.0, foreground_region=region)
        monkeypatch.setattr(dataset, "_stored", lambda _case: two)
        corner = torch.from_numpy(np.asarray(stored.image[:])[:, -8:, -16:, -16:])
        starts[region] = np.mean([torch.equal(dataset[i]["image"], corner) for i in range(40)])
    assert starts["blob"] == 1.0
    assert starts[None] == pytest.approx(0.5, abs=0.2)


def test_samplings_that_do_not_fit_the_data_are_refused(patches):
    """F09, F32: one message each."""
    with pytest.raises(RequestError, match=r"foreground_region.*'lesion'.*\['blob'\]"):
        changed(patches, foreground_region="lesion")
    with pytest.raises(RequestError, match=r"balanced_task.*'grade'.*\['kind'\]"):
        changed(patches, cases="class_balanced", balanced_task="grade")
    unknown = {"kind": np.full((4, 1), np.nan, np.float32)}
    with pytest.raises(DataError, match=r"task 'kind'.*not a single case whose class is known"):
        changed(patches, targets=unknown, cases="class_balanced")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"balanced_task": "kind"}, "needs cases class_balanced"),
        ({"foreground_region": "blob", "foreground_share": 0}, "no effect with foreground_share 0"),
        ({"cases": "balanced"}, "shuffled"),
    ],
)
def test_sampling_options_without_effect_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        SamplingConfig(**options)


WEIGHTS = {"class_weights": "inverse_frequency"}
EQUAL = {"class_weights": "equal"}
BALANCED = {"cases": "class_balanced"}


@pytest.mark.parametrize(
    ("loss", "sampling", "named"),
    [
        (WEIGHTS, BALANCED, ("class_weights=inverse_frequency", "cases=class_balanced")),
        ({**WEIGHTS, "logit_adjustment": 1.0}, {}, ("class_weights", "logit_adjustment > 0")),
        ({**EQUAL, "logit_adjustment": 1.0}, BALANCED, ("logit_adjustment", "class_balanced")),
    ],
)
def test_class_imbalance_is_never_counted_twice(loss, sampling, named):
    """F32, F61: two corrections are refused, and the message names both."""
    with pytest.raises(ValidationError, match="count it twice") as caught:
        Recipe(classification_loss=loss, sampling=sampling)
    assert all(name in str(caught.value) for name in named)


@pytest.mark.parametrize(
    ("loss", "sampling"),
    [(WEIGHTS, {}), (EQUAL, BALANCED), ({**EQUAL, "logit_adjustment": 1.0}, {}), (EQUAL, {})],
)
def test_one_correction_or_none_is_fine(loss, sampling):
    recipe = Recipe(classification_loss=loss, sampling=sampling)
    assert Recipe.model_validate(recipe.model_dump()) == recipe


# cases without a mask -----------------------------------------------------------------------------


def test_a_case_without_a_mask_is_marked_and_counts_by_its_share_of_the_image(half_drawn):
    """B03: evidence is coverage, the label map is -1 all over."""
    dataset = changed(half_drawn)
    for index in range(8):
        sample = dataset[index]
        is_drawn = sample["case"] != "case_3"
        assert sample["has_mask"] == is_drawn
        assert bool((sample["label_map"] == -1).all()) == (not is_drawn)
        if not is_drawn:
            # image 8 x 20 x 18, patch 8 x 16 x 16 wholly inside
            assert sample["evidence"]["kind"] == pytest.approx(16 * 16 / (20 * 18))
    (batch,) = batches(dataset, batch_size=4, first_step=0, last_step=1, workers=0)
    assert batch.has_mask.tolist() == [case != "case_3" for case in batch.cases]
    assert batch.to(torch.device("cpu")).has_mask.tolist() == batch.has_mask.tolist()


def test_a_segmentation_needs_a_mask_among_its_training_cases(half_drawn):
    """B03: one message."""
    require_masks(half_drawn._source)
    with pytest.raises(DataError, match=r"1 training cases.*not a single mask"):
        require_masks(replace(half_drawn._source, cases=("case_3",)))


@pytest.fixture
def half_drawn(patches, tmp_path):
    """Patches of case 0, which has a mask, and of case 3, which has none."""
    source = patches._source
    store = PreparedStore(
        folder=tmp_path / "tiny", records=tmp_path / "records", patch_zyx=(8, 16, 16)
    )
    for case, has_mask in (("case_0", True), ("case_3", False)):
        stored = source.store.open(case)
        prepared = PreparedCase(
            case=case,
            image=stored.image[:],
            label_map=stored.label_map[0] if has_mask else None,
            placement=stored.placement,
        )
        store.write(prepared, source.labels, settings_hash="tiny")
    source = replace(source, store=store, cases=("case_0", "case_3"))
    return PatchDataset(source, patches._plan, SamplingConfig(augmentation="none"))
