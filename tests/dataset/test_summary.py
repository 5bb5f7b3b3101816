"""F07: the dataset report counts what is on disk."""

import json

import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.quiz import read_quiz
from segduet.dataset.importers.table import read_table
from segduet.dataset.raw_writer import write_raw
from segduet.dataset.summary import Range, summarize_dataset


@pytest.fixture
def measured(quiz, target, files):
    """The quiz with one organ of 20 voxels with 4 of lesion, one empty mask, the rest 1 + 1."""
    labels = np.zeros((6, 5, 4), np.uint8)
    labels[0] = 1
    labels[0, 0] = 2
    files.nifti(quiz / "train/subtype0/quiz_0_041.nii.gz", labels)
    files.mask(quiz / "train/subtype1/quiz_1_007.nii.gz", (0,))
    other = np.diag([0.9, 0.8, 1.0, 1.0])
    files.image(quiz / "test/quiz_038_0000.nii.gz", shape=(8, 5, 2), affine=other)
    write_raw(read_quiz(quiz, ImportOptions()), target, workers=1)
    return target


def test_totals_equal_the_files_on_disk(measured):
    """F07."""
    summary = summarize_dataset(measured, workers=2)
    on_disk = [len(list(f.iterdir())) for f in (measured.images, measured.test_images)]
    assert summary.num_images == sum(on_disk) == 7
    assert summary.num_masks == len(list(measured.masks.iterdir())) == 5
    assert summary.cases_per_split == {"train": 3, "val": 2, "test": 2}
    assert summary.cases_per_class == {
        "subtype": {
            "0": {"train": 1, "val": 1},
            "1": {"train": 1},
            "2": {"train": 1, "val": 1},
            "unknown": {"test": 2},
        }
    }


def test_volumes_are_hand_worked(measured):
    """A voxel is 0.7 x 0.8 x 3 mm = 1.68 mm3; the whole pancreas holds the lesion."""
    labels = summarize_dataset(measured).labels
    whole, lesion = labels["whole_pancreas"], labels["pancreas_lesion"]
    assert (whole.num_cases, whole.total_voxels) == (4, 20 + 3 * 2)
    assert (lesion.num_cases, lesion.total_voxels) == (4, 4 + 3)
    assert whole.volume_ml.minimum == pytest.approx(2 * 0.00168)
    assert whole.volume_ml.maximum == pytest.approx(20 * 0.00168)
    assert lesion.volume_ml.median == pytest.approx(0.00168)


def test_grids_are_ranges_per_axis(measured):
    summary = summarize_dataset(measured)
    assert summary.shape_zyx[0] == Range(minimum=2.0, median=4.0, maximum=4.0)
    assert summary.shape_zyx[2] == Range(minimum=6.0, median=6.0, maximum=8.0)
    z, _, x = summary.spacing_zyx_mm
    assert (z.minimum, z.maximum) == (1.0, 3.0)
    assert (x.minimum, x.maximum) == pytest.approx((0.7, 0.9))


def test_label_audit_counts_empty_and_inexact_masks(measured, files):
    labels = np.zeros((6, 5, 4))
    labels[:2] = 1
    files.seed_defect(measured.masks / "quiz_2_100.nii.gz", labels)
    summary = summarize_dataset(measured)
    assert (summary.num_empty_masks, summary.num_inexact_masks) == (1, 1)


def test_summary_is_plain_json(measured):
    content = json.loads(json.dumps(summarize_dataset(measured).to_json(), allow_nan=False))
    assert content["schema_version"] == 1
    assert content["labels"]["pancreas_lesion"]["num_cases"] == 4


def test_label_that_never_occurs_has_no_volume(pictures, target):
    options = ImportOptions(label_values=(255, 7), label_names=("lesion", "cyst"))
    write_raw(read_table(pictures, options), target, workers=1)
    summary = summarize_dataset(target)
    assert summary.labels["cyst"].num_cases == 0
    assert summary.labels["cyst"].volume_ml == Range(minimum=None, median=None, maximum=None)
    assert summary.labels["lesion"].volume_ml.maximum == pytest.approx(2 / 1000)


def test_undeclared_label_is_an_error(measured, files):
    files.mask(measured.masks / "quiz_2_100.nii.gz", (0, 9))
    with pytest.raises(DataError, match="found the value 9"):
        summarize_dataset(measured)
