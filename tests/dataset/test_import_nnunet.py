"""An existing nnU-Net dataset with a table of classes."""

import dataclasses
import json

import pytest

from segduet.core.errors import DataError
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.registry import IMPORTERS
from segduet.dataset.raw_writer import write_raw


def load(root, **options):
    return IMPORTERS["nnunet"](root, ImportOptions(**options))


def facts(source):
    """Case -> (patient, split, labels)."""
    records = (case.record for case in source.cases)
    return {r.case: (r.patient, r.split, dict(r.labels)) for r in records}


def rewrite(root, **changes):
    content = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**content, **changes}))


def test_nnunet_dataset_is_copied_with_regions_and_classes(quiz, target, files, tmp_path):
    write_raw(IMPORTERS["quiz"](quiz, ImportOptions()), target, workers=1)
    rows = [
        (c, "ab"[i % 2], f"p{i}")
        for i, c in enumerate(facts(IMPORTERS["quiz"](quiz, ImportOptions())))
    ]
    table = files.table(tmp_path / "t.csv", ["case", "class", "patient"], *rows)
    source = load(target.raw, labels_table=table)
    assert source.labels == {"background": 0, "whole_pancreas": [1, 2], "pancreas_lesion": 2}
    assert source.regions_class_order == (1, 2)
    assert source.channel_names == ("CT",)
    assert facts(source)["quiz_037"] == ("p5", "test", {"class": "b"})
    assert facts(source)["quiz_0_005"] == ("p3", "", {"class": "b"})
    copy = dataclasses.replace(
        target, name="Dataset502_copy", raw=target.raw.with_name("Dataset502_copy")
    )
    assert write_raw(source, copy, workers=1).num_training == 5
    originals = sorted(p.read_bytes() for p in target.images.iterdir())
    assert sorted(p.read_bytes() for p in copy.images.iterdir()) == originals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: (r / "imagesTr/odd.nii.gz").write_bytes(b"x"), "whose name does not fit"),
        (
            lambda r: (r / "imagesTs/quiz_0_041_0000.nii.gz").write_bytes(b"x"),
            "in the training and in the test folder",
        ),
        (
            lambda r: (r / "imagesTr/new_0000.nii.gz").write_bytes(b"x"),
            "case 'new': found a training case without a row",
        ),
        (
            lambda r: (r / "imagesTs/quiz_037_0000.nii.gz").unlink(),
            r"case 'quiz_037': found 1 row\(s\) without an image",
        ),
        (lambda r: rewrite(r, dataset={}), "a list of files that lie elsewhere"),
    ],
)
def test_nnunet_dataset_that_does_not_fit_is_refused(quiz, target, files, change, message):
    write_raw(IMPORTERS["quiz"](quiz, ImportOptions()), target, workers=1)
    rows = [(c, "ab"[i % 2]) for i, c in enumerate(facts(IMPORTERS["quiz"](quiz, ImportOptions())))]
    table = files.table(quiz / "t.csv", ["case", "class"], *rows)
    change(target.raw)
    with pytest.raises(DataError, match=message):
        load(target.raw, labels_table=table)
