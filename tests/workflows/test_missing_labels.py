"""B03: cases with only a mask or only a class, from plan and training to evaluation."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

#: Of the cases c0-c5 (train), c6 and c7 (val) of the table.
WITHOUT_MASK, WITHOUT_CLASS = ("c1", "c6"), ("c2",)


@pytest.fixture(scope="module")
def mixed(
    tmp_path_factory: pytest.TempPathFactory, road: Any, segduet: Callable, tiny_training: Any
) -> Path:
    """Data root with a training on such a dataset; `road` has the same cases with all labels."""
    folder = tmp_path_factory.mktemp("mixed")
    table = road.copy(folder / "road").folder / "table"
    for case in WITHOUT_MASK:
        (table / "masks" / f"{case}.nii.gz").unlink()
    rows = (table / "cases.csv").read_text()
    for case in WITHOUT_CLASS:
        rows = re.sub(rf"^{case},\w+,", f"{case},,", rows, flags=re.MULTILINE)
    (table / "cases.csv").write_text(rows)
    data = folder / "data"
    taken = ("import", "table", table, "--name", "tiny")
    refused = segduet(*taken, "--data-root", data, "--workers", 1)
    assert refused.code == 2
    assert "--allow-missing-masks" in refused.err
    for command in (
        (*taken, "--allow-missing-masks", "--workers", 1),
        ("plan", "tiny", "--planner", "small", "--workers", 1),
        ("preprocess", "tiny", "--workers", 1),
        ("train", "tiny", *tiny_training),
    ):
        finished = segduet(*command, "--data-root", data)
        assert finished.code == 0, (command, finished.err)
    return data


def preprocessed(data: Path) -> Path:
    return data / "nnUNet_preprocessed" / "Dataset501_tiny"


def run_folder(data: Path) -> Path:
    (found,) = (data / "nnUNet_results").rglob("fold_0")
    return found


def test_check_tells_how_many_there_are(mixed: Path, segduet: Callable) -> None:
    """Information, not a finding; the missing class is the warning it was before."""
    told = segduet("check", "tiny", "--data-root", mixed, "--workers", 1, "--json").json()
    assert [(f["severity"], f["case"]) for f in told["findings"]] == [("warning", "c2")]
    assert "  8 images, 6 masks" in told["lines"]
    assert "  2 cases without a mask: they teach classes alone" in told["lines"]


def test_the_fingerprint_is_that_of_the_cases_with_a_mask(mixed: Path) -> None:
    """F05: nnU-Net measures inside the foreground; both folds keep all cases."""
    fingerprint = json.loads((preprocessed(mixed) / "dataset_fingerprint.json").read_text())
    assert len(fingerprint["spacings"]) == 6
    (fold,) = json.loads((preprocessed(mixed) / "splits_final.json").read_text())
    assert fold == {"train": [f"c{i}" for i in range(6)], "val": ["c6", "c7"]}


def test_a_case_without_a_mask_is_prepared_without_one(mixed: Path, road: Any) -> None:
    """The image is what it would be anyway (its normalisation needs no mask); nothing is made up.

    Stock nnU-Net stops at such a case by name, instead of learning that all of it is background.
    """
    prepared = preprocessed(mixed) / "segduetSmallPlans_3d_fullres"
    names = {p.name for p in prepared.glob("*.b2nd")}
    assert names == {
        *(f"c{i}.b2nd" for i in range(8)),
        *(f"c{i}_seg.b2nd" for i in range(8) if f"c{i}" not in WITHOUT_MASK),
    }
    same = road.preprocessed / "segduetSmallPlans_3d_fullres"
    # Values, not bytes: the file's header also tells how many threads wrote it.
    ours, theirs = (blosc2.open(str(folder / "c1.b2nd"))[:] for folder in (prepared, same))
    assert np.array_equal(ours, theirs)
    stock = nnUNetDatasetBlosc2(str(prepared), ["c0", "c1"])
    assert stock.load_case("c0")[0].shape == (1, 8, 20, 20)
    with pytest.raises(FileNotFoundError, match="c1_seg"):
        stock.load_case("c1")


def test_a_validation_case_without_a_mask_is_scored_on_its_class_alone(mixed: Path) -> None:
    """B09: Dice over one case, the class figures over two; its mask is predicted nonetheless."""
    validation = run_folder(mixed) / "validation"
    with (validation / "scores.csv").open(newline="") as stream:
        scores = {row["case"]: row for row in csv.DictReader(stream)}
    assert scores["c6"]["label_1/dsc"] == ""
    assert scores["c7"]["label_1/dsc"] != ""
    assert (scores["c6"]["class/reference"], scores["c7"]["class/reference"]) == ("dark", "bright")
    summary = json.loads((validation / "summary.json").read_text())
    assert summary["segmentation"]["label_1"]["dsc"]["n"] == 1
    assert summary["classification"]["class"]["macro_f1"]["n"] == 2
    assert (validation / "c6.nii.gz").is_file()


def test_training_on_such_cases_is_finite_and_counts_known_classes_only(mixed: Path) -> None:
    history = [
        json.loads(s) for s in (run_folder(mixed) / "metrics.jsonl").read_text().splitlines()
    ]
    assert len(history) == 2
    assert all(0 < line["train"]["segmentation"] < 5 for line in history)
    assert all(0 < line["train"]["task:class"] < 5 for line in history)


def test_evaluation_compares_what_is_known(mixed: Path, segduet: Callable, tmp_path: Path) -> None:
    """B15 and B03: the same figures from the files."""
    validation = run_folder(mixed) / "validation"
    finished = segduet(
        *("evaluate", "--reference", "tiny", "--predictions", validation, "--fold", 0),
        *("--out", tmp_path, "--workers", 1, "--data-root", mixed),
    )
    assert finished.code == 0, finished.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    expected = json.loads((validation / "summary.json").read_text())
    assert summary["segmentation"].keys() == expected["segmentation"].keys()
    for region, metrics in expected["segmentation"].items():
        # the validation of a training measures no surfaces and no lesions
        measured = {name: v for name, v in metrics.items() if v["mean"] is not None}
        assert measured["dsc"]["n"] == 1
        assert {name: summary["segmentation"][region][name] for name in measured} == measured


def test_a_mask_that_is_missing_by_accident_stops_the_preprocessing(
    road: Any, tmp_path: Path, segduet: Callable
) -> None:
    """One message that names the case."""
    mine = road.copy(tmp_path / "road")
    (mine.raw / "labelsTr" / "c6.nii.gz").unlink()
    finished = segduet("preprocess", "tiny", "--data-root", mine.data, "--workers", 1)
    assert finished.code == 2
    assert "'c6'" in finished.err
    assert "imagesUnlabelled" in finished.err
