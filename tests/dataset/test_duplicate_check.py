"""Images that show the same become findings of the right severity (B04)."""

import numpy as np
import pytest

from segduet.dataset.check import check_dataset
from segduet.dataset.findings import FindingKind
from segduet.dataset.folds import Fold, write_splits
from segduet.dataset.importers.nerve import read_nerve
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.quiz import read_quiz
from segduet.dataset.importers.table import read_table
from segduet.dataset.phantoms.layouts import write_nerve_folders, write_pancreas_quiz
from segduet.dataset.phantoms.parameters import PancreasPhantomConfig
from segduet.dataset.phantoms.ultrasound import NerveUltrasoundConfig, generate_nerve_case
from segduet.dataset.raw_writer import write_raw
from segduet.io.pictures import write_picture

CONFIG = NerveUltrasoundConfig(shape_yx=(40, 48))


@pytest.fixture
def planted(tmp_path, target, files):
    """Writes three pictures and a mirrored copy of the first; rows give class, patient, split."""

    def write(*rows):
        root = tmp_path / "pictures"
        pictures = [generate_nerve_case(CONFIG, nerve_class=i, seed=i).image for i in range(3)]
        pictures.append(np.ascontiguousarray(pictures[0][:, ::-1]))
        for case, picture in zip("abcd", pictures, strict=True):
            for folder, values in (("images", picture), ("masks", 255 * (picture > 99))):
                (root / folder).mkdir(parents=True, exist_ok=True)
                write_picture(root / folder / f"{case}.png", values.astype(np.uint8))
        columns = ["case", "class", "patient", "split"]
        files.table(
            root / "cases.csv", columns, *zip("abcd", *zip(*rows, strict=True), strict=True)
        )
        write_raw(read_table(root, ImportOptions()), target, workers=1)
        return target

    return write


READERS = {"quiz": read_quiz, "nerve": read_nerve}
CONCERNED = {FindingKind.NEAR_DUPLICATE, FindingKind.LABEL_CONFLICT}


def found(folders, **options):
    return [f for f in check_dataset(folders, 2, **options) if f.kind in CONCERNED]


def told(folders):
    return [(f.kind, f.severity, f.case) for f in found(folders)]


def test_a_leak_between_splits_is_an_error(planted):
    rows = [("x", "p1", "train"), ("y", "p2", "train"), ("y", "p3", "train"), ("x", "p4", "val")]
    folders = planted(*rows)
    assert told(folders) == [(FindingKind.NEAR_DUPLICATE, "error", "a")]
    (finding,) = found(folders)
    assert "'d'" in finding.message
    assert "of another patient, in train and val." in finding.message


def test_duplicates_in_one_split_are_a_warning_until_a_fold_divides_them(planted):
    folders = planted(*[("xyyx"[i], f"p{i}", "") for i in range(4)])
    assert told(folders) == [(FindingKind.NEAR_DUPLICATE, "warning", "a")]
    folders.splits_file.parent.mkdir(parents=True)
    write_splits(folders.splits_file, [Fold(train=("a", "b"), val=("c", "d"))])
    (finding,) = found(folders)
    assert finding.severity == "error"
    assert "on both sides of fold 0" in finding.message


def test_one_patients_copies_with_two_classes_are_a_conflict_alone(planted):
    folders = planted(*[("xyyy"[i], ("p0", "p1", "p2", "p0")[i], "") for i in range(4)])
    assert told(folders) == [(FindingKind.LABEL_CONFLICT, "warning", "a")]
    (finding,) = found(folders)
    assert "'class' is 'x' here and 'y' there" in finding.message


def test_one_patients_copies_of_one_class_are_no_finding(planted):
    assert told(planted(*[("xyyx"[i], ("p0", "p1", "p2", "p0")[i], "") for i in range(4)])) == []


def test_images_are_not_compared_where_nobody_wants_it(planted):
    folders = planted(*[("xyyx"[i], f"p{i}", "") for i in range(4)])
    assert len(found(folders)) == 1
    assert found(folders, compares_images=False) == []


def test_a_damaged_image_is_left_to_the_other_checks(planted):
    folders = planted(*[("xyyx"[i], f"p{i}", "") for i in range(4)])
    (folders.images / "d_0000.png").write_bytes(b"x")
    assert told(folders) == []
    assert [f.case for f in check_dataset(folders, 1) if f.kind == FindingKind.IMAGE] == ["d"]


@pytest.mark.parametrize("layout", ["quiz", "nerve"])
def test_generated_datasets_have_no_finding_but_the_class_in_their_names(layout, tmp_path, target):
    """The demo's data, fewer of them: the check that it shows finds no fault."""
    source = tmp_path / "phantoms"
    if layout == "quiz":
        counts = {"train": (5, 5, 5), "validation": (2, 2, 2)}
        config = PancreasPhantomConfig.demo()
        write_pancreas_quiz(source, config, counts=counts, num_test=0, seed=0, workers=2)
    else:
        size = {"num_patients": 4, "images_per_patient": 6}
        write_nerve_folders(source, NerveUltrasoundConfig.demo(), **size, seed=0, workers=2)
    write_raw(READERS[layout](source, ImportOptions()), target, workers=2)
    kinds = [(f.kind, f.severity) for f in check_dataset(target, 2)]
    assert kinds == [(FindingKind.CLASS_IN_FILE_NAME, "note")]
