"""A task of the Medical Segmentation Decathlon."""

import json

import pytest

from segduet.core.errors import DataError
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.registry import IMPORTERS
from segduet.dataset.raw_writer import write_raw


def load(root, **options):
    return IMPORTERS["msd"](root, ImportOptions(**options))


def facts(source):
    """Case -> (patient, split, labels)."""
    records = (case.record for case in source.cases)
    return {r.case: (r.patient, r.split, dict(r.labels)) for r in records}


@pytest.fixture
def decathlon(tmp_path, files):
    root = tmp_path / "Task99"
    for case in ("h_001", "h_002"):
        files.image(root / "imagesTr" / f"{case}.nii.gz")
        files.mask(root / "labelsTr" / f"{case}.nii.gz")
    files.image(root / "imagesTs" / "h_003.nii.gz")
    description = {
        "name": "Hippocampus",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "training": [
            {"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"}
            for c in ("h_001", "h_002")
        ],
        "test": ["./imagesTs/h_003.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(description))
    files.table(
        root / "classes.csv",
        ["case", "class", "patient"],
        ("h_001", "small", "p1"),
        ("h_002", "large", "p2"),
    )
    return root


def test_decathlon_task_takes_labels_channels_and_the_table(decathlon, target):
    source = load(decathlon, labels_table=decathlon / "classes.csv")
    assert facts(source) == {
        "h_001": ("p1", "", {"class": "small"}),
        "h_002": ("p2", "", {"class": "large"}),
        "h_003": ("h_003", "test", {}),
    }
    assert source.labels == {"background": 0, "Anterior": 1, "Posterior": 2}
    assert source.channel_names == ("MRI",)
    assert write_raw(source, target, workers=1).num_test == 1


def rewrite(root, **changes):
    content = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: (r / "imagesTr/h_001.nii.gz").unlink(), "which is not there"),
        (lambda r: rewrite(r, labels={"0": "background", "2": "x"}), "without a gap"),
        (lambda r: rewrite(r, labels={"0": "b", "1": "background"}), "names that differ"),
        (lambda r: rewrite(r, training=[{"image": "a"}]), r"training\.0\.label"),
        (
            lambda r: (r / "classes.csv").write_text("case,class\nh_001,x\nh_009,y\n"),
            "case 'h_002': found a training image without a row",
        ),
        (
            lambda r: (r / "classes.csv").write_text("case,class\nh_001,x\nh_002,y\nh_9,y\n"),
            r"case 'h_9': found 1 row\(s\) without an image",
        ),
    ],
)
def test_decathlon_task_that_does_not_fit_is_refused(decathlon, change, message):
    change(decathlon)
    with pytest.raises(DataError, match=message):
        load(decathlon, labels_table=decathlon / "classes.csv")
