"""F11: phantoms lie in the folders of the quiz and of the nerve data, whatever the workers."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from segduet.core.errors import RequestError
from segduet.core.files import read_csv
from segduet.dataset.phantoms.layouts import write_nerve_folders, write_pancreas_quiz
from segduet.dataset.phantoms.pancreas import PancreasPhantomConfig
from segduet.dataset.phantoms.ultrasound import NerveUltrasoundConfig
from segduet.io.images import read_image, read_label_map

TINY = replace(
    PancreasPhantomConfig.demo(), spacing_z_mm=(9.0,) * 7, spacing_inplane_mm=(6.0,) * 7,
    min_shape_zyx=(8, 16, 16),
)  # fmt: skip
TINY_NERVE = NerveUltrasoundConfig(shape_yx=(64, 64), nerve_share=0.06)
COUNTS = {"train": (2, 1, 1), "validation": (1, 0, 1)}


def _files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def quiz(tmp_path_factory):
    target = tmp_path_factory.mktemp("phantom") / "quiz"
    truth = write_pancreas_quiz(target, TINY, counts=COUNTS, num_test=4, seed=1, workers=1)
    return target, truth


def test_quiz_has_the_layout_of_the_quiz(quiz):
    """seeds.md 0.1: subtype folders with image and mask, test images alone."""
    target, _ = quiz
    files = _files(target)
    masks = [f for f in files if not f.endswith("_0000.nii.gz")]
    images = [f for f in files if f.endswith("_0000.nii.gz")]
    labelled = r"(train|validation)/subtype([012])/quiz_\2_\d{3}(_0000)?\.nii\.gz"
    assert all(re.fullmatch(labelled, f) for f in masks)
    assert all(
        re.fullmatch(labelled, f) or re.fullmatch(r"test/quiz_\d{3}_0000\.nii\.gz", f)
        for f in images
    )
    counts = {
        split: tuple(sum(f.startswith(f"{split}/subtype{k}/") for f in masks) for k in range(3))
        for split in ("train", "validation")
    }
    assert counts == COUNTS
    assert len(images) == len(masks) + 4


def test_case_numbers_are_unique_over_all_splits(quiz):
    target, _ = quiz
    numbers = [int(re.search(r"_(\d{3})_0000", f)[1]) for f in _files(target) if "_0000." in f]
    assert sorted(numbers) == list(range(1, 11))


def test_masks_are_clean_integers_on_the_grid_of_their_image(quiz):
    target, _ = quiz
    for mask_path in (p for p in target.rglob("*.nii.gz") if "_0000" not in p.name):
        image = read_image([mask_path.with_name(mask_path.name.replace(".nii", "_0000.nii"))])
        mask = read_label_map(mask_path)
        assert mask.array.dtype == np.uint8
        assert set(np.unique(mask.array)) == {0, 1, 2}
        assert image.geometry.differences(mask.geometry) == []
        assert image.array[0][mask.array[0] == 1].mean() > 40


def test_truth_of_the_test_cases_lies_beside_the_quiz(quiz):
    target, truth = quiz
    assert truth == target.with_name("quiz-test-truth")
    columns, rows = read_csv(truth / "subtype_results.csv")
    assert columns == ["Names", "Subtype"]
    assert sorted(r["Subtype"] for r in rows) == ["0", "0", "1", "2"]
    images = {p.name.replace("_0000", "") for p in (target / "test").iterdir()}
    assert {r["Names"] for r in rows} == images == {p.name for p in truth.glob("*.nii.gz")}


def test_quiz_does_not_depend_on_the_number_of_workers(quiz, tmp_path):
    """F11: a case depends on seed, split and index only."""
    target, _ = quiz
    other = tmp_path / "quiz"
    write_pancreas_quiz(other, TINY, counts=COUNTS, num_test=4, seed=1, workers=3)
    assert _files(other) == _files(target)
    for name in _files(target):
        np.testing.assert_array_equal(
            read_label_map(target / name).array, read_label_map(other / name).array
        )


def test_more_test_cases_leave_the_training_cases_as_they_are(quiz, tmp_path):
    target, _ = quiz
    other = tmp_path / "quiz"
    write_pancreas_quiz(other, TINY, counts=COUNTS, num_test=0, seed=1, workers=1)
    first, second = (
        {
            read_label_map(p).array.tobytes()
            for p in (root / "train").rglob("*.nii.gz")
            if "_0000" not in p.name
        }
        for root in (target, other)
    )
    assert first == second


@pytest.mark.parametrize("counts", [{"train": (1, 1)}, {"val": (1, 1, 1)}, {"train": (1, -1, 1)}])
def test_counts_that_make_no_quiz_are_refused(counts, tmp_path):
    with pytest.raises(RequestError, match="pancreas quiz phantom"):
        write_pancreas_quiz(tmp_path / "q", TINY, counts=counts, num_test=0, seed=0, workers=1)
    assert not (tmp_path / "q").exists()


def test_nerve_folders_have_patients_classes_and_pairs(tmp_path):
    write_nerve_folders(
        tmp_path, TINY_NERVE, num_patients=2, images_per_patient=4, seed=3, workers=2
    )
    pattern = r"patient_00[12]/(medianus|radialis|ulnaris)/(\d+_\d+)(_mask)?\.png"
    found = [re.fullmatch(pattern, f) for f in _files(tmp_path)]
    assert all(found)
    assert len(found) == 16
    stems = [m[2] for m in found if not m[3]]
    assert len(set(stems)) == 8
    for mask in tmp_path.rglob("*_mask.png"):
        pixels = np.asarray(Image.open(mask))
        image = np.asarray(Image.open(mask.with_name(mask.name.replace("_mask", ""))))
        assert set(np.unique(pixels)) == {0, 1}
        assert image.shape == pixels.shape == (64, 64)


def test_nerve_folders_do_not_depend_on_the_number_of_workers(tmp_path):
    for workers in (1, 3):
        write_nerve_folders(
            tmp_path / str(workers), TINY_NERVE, num_patients=2, images_per_patient=3, seed=3,
            workers=workers,
        )  # fmt: skip
    names = _files(tmp_path / "1")
    assert names == _files(tmp_path / "3")
    for name in names:
        first, second = (np.asarray(Image.open(tmp_path / w / name)) for w in ("1", "3"))
        np.testing.assert_array_equal(first, second)


def test_nerve_folders_need_a_worker(tmp_path):
    with pytest.raises(RequestError, match="worker"):
        write_nerve_folders(
            tmp_path, TINY_NERVE, num_patients=1, images_per_patient=1, seed=0, workers=0
        )
