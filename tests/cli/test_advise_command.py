"""`segduet advise`: which metrics suit a dataset (feature 59)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.description import DatasetDescription, SegduetSection
from segduet.core.files import read_json
from segduet.core.geometry import Geometry
from segduet.core.tasks import TaskSpec
from segduet.io.images import write_label_map

GRID = Geometry(shape_zyx=(12, 12, 12), spacing_zyx_mm=(1.0, 1.0, 1.0))
TASK = TaskSpec(name="kind", kind="binary", classes=("benign", "malignant"))


def write_dataset(folder: Path, *, lesion_side: int, num_malignant: int) -> Path:
    """Twenty cases with one cube of a lesion each, some of them malignant."""
    records = []
    for i in range(20):
        mask = np.zeros(GRID.shape_zyx, dtype=np.uint8)
        mask[1 : 1 + lesion_side, 1 : 1 + lesion_side, 1 : 1 + lesion_side] = 1
        write_label_map(folder / f"c{i:02d}.nii.gz", mask, GRID)
        label = {"kind": TASK.classes[int(i < num_malignant)]}
        records.append(CaseRecord(case=f"c{i:02d}", patient=f"c{i:02d}", labels=label))
    CaseTable(records=tuple(records)).write(folder / "cases.csv", (TASK,))
    DatasetDescription(
        channel_names={"0": "CT"},
        labels={"background": 0, "lesion": 1},
        numTraining=20,
        file_ending=".nii.gz",
        segduet=SegduetSection(tasks=(TASK,)),
    ).write(folder / "dataset.json")
    return folder


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "large", lesion_side=6, num_malignant=10)


def test_tiny_lesions_and_rare_classes_change_the_advice(
    segduet: Callable, large: Path, tmp_path: Path
) -> None:
    small = write_dataset(tmp_path / "small", lesion_side=2, num_malignant=1)
    told = [segduet("advise", folder, "--json").json() for folder in (large, small)]
    on_large, on_small = ({piece["problem"] for piece in found["advice"]} for found in told)
    assert {"segmentation", "one_component"} <= on_large - on_small
    assert {"tiny_components", "imbalance", "rare_positives"} <= on_small - on_large
    assert told[1]["dataset"] == "small"
    assert told[1]["fingerprint"]["regions"]["lesion"]["num_tiny"] == 20
    assert told[1]["fingerprint"]["tasks"]["kind"]["counts"] == {"benign": 19, "malignant": 1}


def test_a_person_reads_what_to_look_at_and_why(
    segduet: Callable, large: Path, contents: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --out nothing is written."""
    monkeypatch.setenv("COLUMNS", "300")
    before = contents(large)
    finished = segduet("advise", large)
    assert finished.code == 0
    (line,) = [line for line in finished.out.splitlines() if "look at dsc, nsd" in line]
    assert "lesion" in line
    assert "nothing measured on 20 masks speaks against it" in line
    assert contents(large) == before


def test_advice_is_written_beside_its_manifest(
    segduet: Callable, large: Path, tmp_path: Path
) -> None:
    told = segduet("advise", large, "--out", tmp_path / "out", "--json").json()
    assert read_json(tmp_path / "out" / "advice.json") == told
    manifest = read_json(tmp_path / "out" / "manifest.json")
    assert (manifest["command"], manifest["outcome"]) == ("advise", told)


def test_a_value_nobody_declared_is_one_message(
    segduet: Callable, large: Path, refused: Callable, tmp_path: Path
) -> None:
    write_label_map(large / "c03.nii.gz", np.full(GRID.shape_zyx, 9, dtype=np.uint8), GRID)
    finished = segduet("advise", large, "--out", tmp_path / "out")
    refused(finished, "c03.nii.gz", "label values [9]", "segduet check")
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_is_not_there_is_one_message(
    segduet: Callable, refused: Callable, tmp_path: Path
) -> None:
    finished = segduet("advise", "nowhere", "--data-root", tmp_path)
    refused(finished, "nowhere")
