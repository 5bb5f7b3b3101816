"""F01, F03: the quiz layout."""

import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.dataset.importers.options import ImportOptions, RegionMode
from segduet.dataset.importers.registry import IMPORTERS


def load(root, **options):
    return IMPORTERS["quiz"](root, ImportOptions(**options))


def facts(source):
    """Case -> (patient, split, labels)."""
    records = (case.record for case in source.cases)
    return {r.case: (r.patient, r.split, dict(r.labels)) for r in records}


def test_quiz_finds_all_cases_with_subtype_and_split(quiz):
    """F01."""
    assert facts(load(quiz)) == {
        "quiz_0_041": ("quiz_0_041", "train", {"subtype": "0"}),
        "quiz_1_007": ("quiz_1_007", "train", {"subtype": "1"}),
        "quiz_2_100": ("quiz_2_100", "train", {"subtype": "2"}),
        "quiz_0_005": ("quiz_0_005", "val", {"subtype": "0"}),
        "quiz_2_006": ("quiz_2_006", "val", {"subtype": "2"}),
        "quiz_037": ("quiz_037", "test", {}),
        "quiz_038": ("quiz_038", "test", {}),
    }


def test_quiz_regions_encode_and_decode_to_the_same_label_map(quiz):
    """F03: the whole pancreas holds the lesion."""
    scheme = load(quiz).label_scheme
    assert scheme.foreground == {"whole_pancreas": (1, 2), "pancreas_lesion": (2,)}
    label_map = np.array([[[0, 1, 2, 2]]])
    regions = scheme.encode(label_map)
    assert regions[:, 0, 0].tolist() == [[False, True, True, True], [False, False, True, True]]
    np.testing.assert_array_equal(scheme.decode(np.where(regions, 1.0, -1.0)), label_map)


def test_quiz_without_regions_has_plain_labels(quiz):
    source = load(quiz, region_mode=RegionMode.PLAIN, channel_names=("mr",))
    assert source.labels == {"background": 0, "pancreas": 1, "pancreas_lesion": 2}
    assert source.regions_class_order == ()
    assert source.channel_names == ("mr",)
    assert source.tasks[0].evidence_region in source.labels


def move(root, old, new):
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    (root / old).rename(root / new)


TRAIN_0 = "train/subtype0/quiz_0_041"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: (r / f"{TRAIN_0}.nii.gz").unlink(), "found an image without a mask"),
        (lambda r: (r / f"{TRAIN_0}_0000.nii.gz").unlink(), "found a mask without an image"),
        (
            lambda r: [
                move(r, f"{TRAIN_0}{s}.nii.gz", f"train/subtype1/quiz_0_041{s}.nii.gz")
                for s in ("", "_0000")
            ],
            "folder and name must agree on the subtype",
        ),
        (
            lambda r: [
                move(r, f"train/subtype2/quiz_2_100{s}.nii.gz", f"train/subtype0/odd{s}.nii.gz")
                for s in ("", "_0000")
            ],
            "found the name 'odd' in subtype0",
        ),
        (
            lambda r: move(r, f"{TRAIN_0}.nii.gz", f"{TRAIN_0}.nii.gz.bak"),
            r"the ending '\.bak'",
        ),
        (
            lambda r: move(r, f"{TRAIN_0}.nii.gz", "train/quiz_0_041.nii.gz"),
            "an entry that is no subtype folder",
        ),
        (
            lambda r: move(r, "train/subtype2", "train/subtype3"),
            "only subtype0, subtype1 and subtype2 here",
        ),
        (
            lambda r: move(r, "test/quiz_037_0000.nii.gz", "test/quiz_037.nii.gz"),
            "a test file of another name",
        ),
        (lambda r: move(r, "train", "training"), "no folder `train`"),
    ],
)
def test_quiz_that_does_not_fit_is_refused(quiz, change, message):
    """F01: unpaired, contradicting and misplaced files raise."""
    change(quiz)
    with pytest.raises(DataError, match=message):
        load(quiz)


def test_quiz_id_in_train_and_validation_is_refused(quiz, files):
    """F01: a cross-split id raises, and both places are told."""
    stem = quiz / "validation" / "subtype0" / "quiz_0_041"
    files.image(stem.with_name("quiz_0_041_0000.nii.gz"))
    files.mask(stem.with_name("quiz_0_041.nii.gz"))
    with pytest.raises(DataError, match=r"case 'quiz_0_041': found it twice: .*train.*validation"):
        load(quiz)


def test_quiz_file_in_two_formats_is_refused(quiz, files):
    """F01: a duplicate raises."""
    files.mask(quiz / f"{TRAIN_0}.nii")
    with pytest.raises(DataError, match="a second file of this name"):
        load(quiz)


def test_hidden_files_are_no_cases(quiz):
    (quiz / "train" / "subtype0" / "._quiz_0_041.nii.gz").touch()
    assert len(load(quiz).cases) == 7
