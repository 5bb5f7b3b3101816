"""Real folders come in whole: cardiac MR, breast ultrasound, hippocampus (F02, F06, F07, B04)."""

from collections import Counter

from segduet.core.cases import CaseTable
from segduet.core.description import DatasetDescription
from segduet.dataset.check import check_dataset
from segduet.dataset.folds import declared_fold, stratified_grouped_folds
from segduet.dataset.importers.options import ImportOptions, RegionMode
from segduet.dataset.importers.table import read_table
from segduet.dataset.raw_writer import write_raw
from segduet.dataset.summary import summarize_dataset

WORKERS = 2


def imported(root, target, **options):
    source = read_table(root, ImportOptions(workers=WORKERS, **options))
    summary = write_raw(source, target, WORKERS)
    description = DatasetDescription.read(target.raw / "dataset.json")
    return summary, description, CaseTable.read(target.raw / "cases.csv", description.tasks)


def faults(target):
    """What `check` finds but copies, which `benchmarks/duplicates_busi.py` looks for, and notes."""
    findings = check_dataset(target, WORKERS, compares_images=False)
    return [f for f in findings if f.severity != "note"]


def test_cardiac_volumes(shared_data, target):
    root = shared_data("acdc_small")
    summary, description, table = imported(root, target, label_names=("RV", "MYO", "LV"))
    assert (summary.num_training, summary.num_test) == (160, 0)
    assert summary.class_counts["class"] == dict.fromkeys(("DCM", "HCM", "MINF", "NOR", "RV"), 32)
    assert description.labels == {"background": 0, "RV": 1, "MYO": 2, "LV": 3}
    assert summary.to_json()["masks_changed"] == 0
    assert faults(target) == []

    fold = declared_fold(table)
    assert fold is not None
    assert (len(fold.train), len(fold.val)) == (140, 20)
    folds = stratified_grouped_folds(table, description.tasks[0], cases=table.cases)
    for part in folds:
        assert max(table.class_counts(description.tasks[0], part.val)) <= 8
        assert len(part.val) == 32


def test_breast_ultrasound_pictures(shared_data, target):
    root = shared_data("busi_256")
    summary, description, table = imported(root, target, label_names=("lesion",))
    assert summary.num_training == 619
    assert summary.class_counts["class"] == {"benign": 351, "malignant": 165, "normal": 103}
    assert description.file_ending == ".png"

    report = summarize_dataset(target, workers=WORKERS)
    assert (report.num_images, report.num_masks) == (619, 619)
    findings = faults(target)
    empty = Counter(table.record(f.case).labels["class"] for f in findings)
    assert {f.message for f in findings} == {"The mask has no foreground."}
    assert empty == {"normal": 103}
    assert report.num_empty_masks == 103


def test_hippocampus_crops_with_the_body_around_the_tail(shared_data, target):
    """Not anatomy: two real labels taken as nested, so that regions are seen on real masks."""
    root = shared_data("hippocampus")
    names = ("hippocampus", "posterior")
    mode = RegionMode.NESTED
    summary, description, _ = imported(root, target, label_names=names, region_mode=mode)
    assert summary.num_training == 208
    assert description.labels == {"background": 0, "hippocampus": [1, 2], "posterior": 2}
    labels = summarize_dataset(target, workers=WORKERS).labels
    assert labels["hippocampus"].num_cases == labels["posterior"].num_cases == 208
    assert labels["hippocampus"].total_voxels > labels["posterior"].total_voxels
