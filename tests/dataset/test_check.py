"""The check tells everything that is wrong, each in its own words (B01, F04)."""

import json
import sys
from collections import Counter
from subprocess import run

import nibabel as nib
import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.dataset.check import check_dataset
from segduet.dataset.findings import FindingKind
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.quiz import read_quiz
from segduet.dataset.raw_writer import write_raw

SINGLE = "Class '1' of 'subtype' has a single case."


@pytest.fixture
def sound(quiz, target):
    write_raw(read_quiz(quiz, ImportOptions()), target, workers=1)
    return target


def findings(folders, workers=2):
    """What is found beyond the one warning that the tiny dataset deserves."""
    return [f for f in check_dataset(folders, workers) if f.message != SINGLE]


def only(folders):
    (finding,) = findings(folders)
    return finding


def told(folders):
    finding = only(folders)
    return finding.kind, finding.severity, finding.case, finding.message


def edit_table(folders, old, new):
    path = folders.raw / "cases.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_sound_dataset_has_nothing_but_its_single_case_of_a_class(sound):
    (finding,) = check_dataset(sound, 1)
    assert (finding.kind, finding.severity, finding.message) == (
        FindingKind.CLASSES,
        "warning",
        SINGLE,
    )
    assert "merge classes" in finding.remedy


def test_damaged_image_is_found(sound):
    path = sound.images / "quiz_0_041_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:-60])
    kind, severity, case, message = told(sound)
    assert (kind, severity, case) == (FindingKind.IMAGE, "error", "quiz_0_041")
    assert "quiz_0_041_0000.nii.gz: found a file that cannot be read" in message


def test_nan_is_found(sound, files):
    array = np.zeros((6, 5, 4), np.float32)
    array[0, 0, 0] = np.nan
    files.nifti(sound.images / "quiz_0_041_0000.nii.gz", array)
    assert "1 voxel(s) that are NaN or infinite" in only(sound).message


def test_channels_on_different_grids_are_found(sound, files):
    files.image(sound.images / "quiz_0_041_0001.nii.gz", shape=(6, 5, 3))
    finding = only(sound)
    assert finding.kind is FindingKind.IMAGE
    assert "another shape than in quiz_0_041_0000.nii.gz" in finding.message


def test_undeclared_channel_is_found(sound, files):
    files.image(sound.images / "quiz_0_041_0001.nii.gz")
    assert only(sound).message == "The image has 2 channel(s), dataset.json declares 1."


@pytest.mark.parametrize(
    ("entry", "value", "named"),
    [((1, 1), 0.9, "spacing"), ((2, 3), 6.0, "origin"), ((0, 0), -0.7, "direction")],
)
def test_mask_elsewhere_in_space_is_found(sound, entry, value, named):
    path = sound.masks / "quiz_0_041.nii.gz"
    mask = nib.load(path)
    affine = mask.affine.copy()
    affine[entry] = value
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj), affine), path)
    kind, severity, case, message = told(sound)
    assert (kind, severity, case) == (FindingKind.GRID, "error", "quiz_0_041")
    assert message.startswith("Image and mask differ in")
    assert named in message


def test_mask_of_another_shape_is_found(sound, files):
    files.mask(sound.masks / "quiz_0_041.nii.gz", shape=(6, 5, 3))
    assert only(sound).message == "Image and mask differ in shape."


def test_undeclared_label_is_found(sound, files):
    files.mask(sound.masks / "quiz_0_041.nii.gz", (0, 1, 5))
    finding = only(sound)
    assert finding.kind is FindingKind.LABELS
    assert "found the value 5; expected one of [0, 1, 2]" in finding.message


def test_labels_with_a_rounding_error_are_found(sound, files):
    """F04."""
    labels = np.zeros((6, 5, 4))
    labels[:2] = 1
    files.seed_defect(sound.masks / "quiz_0_041.nii.gz", labels)
    finding = only(sound)
    assert (finding.kind, finding.severity) == (FindingKind.LABELS, "error")
    assert finding.message.startswith(
        "40 voxels are integers but for a rounding error of up to 1.5"
    )


def test_damaged_mask_is_found(sound):
    (sound.masks / "quiz_0_041.nii.gz").write_bytes(b"x")
    assert only(sound).kind is FindingKind.MASK


def test_empty_foreground_is_a_warning(sound, files):
    files.mask(sound.masks / "quiz_0_041.nii.gz", (0,))
    assert told(sound) == (
        FindingKind.FOREGROUND,
        "warning",
        "quiz_0_041",
        "The mask has no foreground.",
    )


def test_missing_mask_is_found(sound):
    (sound.masks / "quiz_0_041.nii.gz").unlink()
    assert only(sound).message == "There is a training image, but no mask."


def test_missing_image_is_found(sound):
    (sound.images / "quiz_0_041_0000.nii.gz").unlink()
    assert [f.message for f in findings(sound)] == [
        "dataset.json says numTraining 5, imagesTr has 4 cases.",
        "There is a mask, but no image.",
    ]


def test_row_without_files_is_found(sound):
    edit_table(sound, "quiz_037,", "quiz_999,")
    assert [(f.case, f.message) for f in findings(sound)] == [
        ("quiz_037", "There are files of this case, but no row in cases.csv."),
        ("quiz_999", "cases.csv has a row for this case, but there are no files."),
    ]


def test_stray_file_is_found(sound):
    (sound.images / "notes.txt").touch()
    assert "imagesTr/notes.txt is no image <case>_0000.nii.gz" in only(sound).message


def test_case_in_training_and_test_is_found(sound, files):
    files.image(sound.test_images / "quiz_0_041_0000.nii.gz")
    messages = [f.message for f in findings(sound)]
    assert "The case is in more than one of the folders of images, or of masks." in messages


def test_case_without_class_is_a_warning(sound):
    edit_table(sound, "quiz_0_041,quiz_0_041,,train,0", "quiz_0_041,quiz_0_041,,train,")
    assert [(f.severity, f.case, f.message) for f in findings(sound)] == [
        ("warning", "quiz_0_041", "The case has no class for 'subtype'."),
        ("warning", "", "Class '0' of 'subtype' has a single case."),
    ]


def test_class_without_cases_is_found(sound):
    edit_table(sound, "quiz_1_007,quiz_1_007,,train,1", "quiz_1_007,quiz_1_007,,train,0")
    assert told(sound) == (
        FindingKind.CLASSES,
        "error",
        "",
        "Class '1' of 'subtype' has no case for training.",
    )


def test_unknown_class_and_split_are_found_by_line(sound):
    edit_table(sound, "quiz_0_041,quiz_0_041,,train,0", "quiz_0_041,quiz_0_041,,dev,7")
    messages = [f.message for f in findings(sound) if f.kind is FindingKind.TABLE]
    assert messages[0].startswith("line 2: found split 'dev'")
    assert messages[1] == "line 2: class '7' for 'subtype'; expected one of ['0', '1', '2']."


def test_patient_in_two_splits_is_found(sound):
    """B04."""
    edit_table(sound, "quiz_0_005,quiz_0_005,", "quiz_0_005,quiz_0_041,")
    assert told(sound) == (
        FindingKind.PATIENTS,
        "error",
        "",
        "Patient 'quiz_0_041' has cases in several splits: train, val.",
    )


def test_repeated_row_is_found(sound):
    edit_table(sound, "quiz_037,", "quiz_037,quiz_037,,test,\nquiz_037,")
    assert only(sound).message == "cases.csv, line 8: the case occurs a second time."


def test_missing_column_is_found(sound):
    edit_table(sound, "subtype", "kind")
    assert findings(sound)[0].message == "cases.csv has no column subtype."


def test_missing_table_is_found(sound):
    (sound.raw / "cases.csv").unlink()
    kinds = Counter(f.kind for f in findings(sound))
    assert kinds == {FindingKind.TABLE: 1, FindingKind.FILES: 7}


def test_all_problems_are_told_at_once_whatever_the_workers(sound, files):
    (sound.masks / "quiz_0_041.nii.gz").write_bytes(b"x")
    files.mask(sound.masks / "quiz_1_007.nii.gz", (0, 5))
    (sound.images / "quiz_2_100_0000.nii.gz").unlink()
    found = findings(sound, workers=1)
    assert {f.case for f in found} == {"quiz_0_041", "quiz_1_007", "quiz_2_100", ""}
    assert findings(sound, workers=4) == found
    assert json.loads(json.dumps(found[0].to_json()))["severity"] == "error"


def test_dataset_without_description_cannot_be_checked(target):
    with pytest.raises(DataError, match=r"dataset\.json: found no such file"):
        check_dataset(target, 1)


def test_import_and_check_load_no_torch():
    """Layers: io and dataset stay light."""
    code = (
        "import sys, segduet.dataset.check, segduet.dataset.summary, segduet.dataset.raw_writer, "
        "segduet.dataset.importers.registry; "
        "sys.exit(bool({'torch', 'nnunetv2'} & set(sys.modules)))"
    )
    assert run([sys.executable, "-c", code], check=False).returncode == 0
