"""F79: `segduet package check` names every fault the quiz would refuse, each by its own message."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from segduet.core.geometry import Geometry
from segduet.io.images import write_label_map

GRID = Geometry(shape_zyx=(3, 4, 5), spacing_zyx_mm=(2.0, 0.7, 0.7))
CASES = tuple(f"quiz_{number:03d}" for number in range(6))


def write_image(path: Path, *, grid: Geometry = GRID, value: int = 1) -> None:
    """A mask (or a stand-in for an image) with one voxel of a value."""
    array = np.zeros(grid.shape_zyx, dtype=np.uint8)
    array[0, 0, 0] = value
    write_label_map(path, array, grid)


def test_the_task_whose_answer_is_submitted_can_be_named(tmp_path: Path, segduet: Callable) -> None:
    """F79: the quiz's own name unless told otherwise."""
    predictions, images = tmp_path / "predictions", tmp_path / "test"
    for case in CASES[:2]:
        write_image(images / f"{case}_0000.nii.gz")
        write_image(predictions / f"{case}.nii.gz")
    rows = [f"{case},ok,0,2" for case in CASES[:2]]
    table = predictions / "predictions.csv"
    table.write_text("\n".join(["case,status,subtype,stage", *rows]) + "\n")
    submitted = []
    for options in ((), ("--task", "stage")):
        out = tmp_path / f"{len(options)}.zip"
        done = segduet("package", "quiz", predictions, "--images", images, "--out", out, *options)
        assert done.code == 0, done.err
        with zipfile.ZipFile(out) as archive:
            lines = archive.read("subtype_results.csv").decode().splitlines()[1:]
        submitted.append([line.rpartition(",")[2] for line in lines])
    assert submitted == [["0", "0"], ["2", "2"]]


def test_each_fault_has_its_own_line(tmp_path: Path, segduet: Callable) -> None:
    """Names, geometry, labels, header order, rows and folders, in one archive."""
    for case in CASES:
        write_image(tmp_path / "test" / f"{case}_0000.nii.gz")
    small = Geometry(shape_zyx=(3, 4, 4), spacing_zyx_mm=GRID.spacing_zyx_mm)
    write_image(tmp_path / "quiz_000.nii.gz")
    write_image(tmp_path / "quiz_001.nii.gz", grid=small)
    write_image(tmp_path / "quiz_002.nii.gz", value=3)
    rows = ["Names,Subtype", "quiz_001.nii.gz,0", "quiz_000.nii.gz,7", "quiz_000.nii.gz,1"]
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        for case in CASES[:3]:
            archive.write(tmp_path / f"{case}.nii.gz", f"{case}.nii.gz")
        archive.writestr("quiz_003_0000.nii.gz", b"x")
        archive.writestr("folder/quiz_004.nii.gz", b"x")
        archive.writestr("notes.txt", b"x")
        archive.writestr("subtype_results.csv", "\n".join(rows) + "\n")
    told = segduet("package", "check", tmp_path / "bad.zip", "--images", tmp_path / "test")
    assert told.code == 3, told.err
    for line in (
        "quiz_001.nii.gz: wrong geometry: shape xyz (4, 4, 3), image zyx (3, 4, 5)",
        "quiz_002.nii.gz: wrong labels: values [3]; expected [0, 1, 2]",
        "quiz_003_0000.nii.gz: extra file: the exact name is quiz_003.nii.gz",
        "quiz_003.nii.gz: missing mask: not in the archive",
        "folder/quiz_004.nii.gz: nested path: a folder in the name; the archive must be flat",
        "notes.txt: extra file: no mask of a test case and not the table",
        "subtype_results.csv, line 3: wrong subtype: '7'; expected one of ['0', '1', '2']",
        "subtype_results.csv: duplicate row: 'quiz_000.nii.gz' 2 times",
        "subtype_results.csv: missing row: no line for 'quiz_005.nii.gz'",
        "subtype_results.csv: wrong order: names are not in ascending order",
    ):
        assert line in told.out.splitlines()
