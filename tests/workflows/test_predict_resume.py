"""Issue 6: a cohort goes on where it stopped, in one process or in shards, from table or folder."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from half_written import half_written
from segduet.core.files import read_csv, read_json

CASES = ("c5", "c6", "c7")


@pytest.fixture
def images(road: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for case in CASES:
        shutil.copy(road.raw / "imagesTr" / f"{case}_0000.nii.gz", folder)
    return folder


@pytest.fixture
def predict(road: Any, segduet: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """`predict(inputs, name, *options)` into the folder of that name."""

    def run(inputs: Path, name: str, *options: object) -> Any:
        return segduet(
            *("predict", road.model, inputs, "--out", tmp_path / name, "--no-tta"),
            *("--engine", "torch", "--device", "cpu", "--json", *options),
        )

    return run


def answers(folder: Path) -> list[dict[str, str]]:
    """Everything but how long it took."""
    return [{**row, "seconds": ""} for row in read_csv(folder / "predictions.csv")[1]]


def written(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")}


def test_what_is_done_is_not_done_again_and_what_is_missing_is(
    predict: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    assert predict(images, "whole", "--features").code == 0
    whole = tmp_path / "whole"
    expected, before = answers(whole), written(whole)
    lines = (whole / "progress.jsonl").read_text().splitlines(keepends=True)
    (whole / "progress.jsonl").write_text("".join(lines[:3]) + lines[3][:20])  # killed at c7
    (whole / "c5.nii.gz").unlink()
    left_over, foreign = half_written(whole / "c7.nii.gz"), half_written(whole / "report.html")
    for file in ("predictions.csv", "features_class.npz"):
        (whole / file).unlink()
    assert predict(images, "whole", "--features", "--resume").code == 0
    assert answers(whole) == expected
    assert (whole / "features_class.npz").is_file()
    assert (left_over.exists(), foreign.exists()) == (False, True)
    again = {name for name, when in written(whole).items() if when != before[name]}
    assert again == {"c5.nii.gz", "c7.nii.gz"}
    finished = predict(images, "whole", "--features")
    assert finished.code == 0
    assert "c6.nii.gz" in {n for n, when in written(whole).items() if when != before[n]}


def test_a_case_that_failed_is_tried_again(
    predict: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    table = tmp_path / "cohort.csv"
    rows = [f"{case},images/{case}_0000.nii.gz" for case in CASES]
    table.write_text("\n".join(["case,image", *rows]) + "\n")
    hidden = images / "c6_0000.nii.gz"
    hidden.rename(tmp_path / "away")
    finished = predict(table, "out")
    assert finished.code == 2, "one bad case, the others are done"
    assert list(read_json(tmp_path / "out" / "manifest.json")["outcome"]["failed"]) == ["c6"]
    assert [row["status"] for row in answers(tmp_path / "out")] == ["ok", "failed", "ok"]
    (tmp_path / "away").rename(hidden)
    before = written(tmp_path / "out")
    assert predict(table, "out", "--resume").code == 0
    assert [row["status"] for row in answers(tmp_path / "out")] == ["ok"] * 3
    assert before.items() <= written(tmp_path / "out").items()


def test_shards_are_put_together_without_predicting_again(
    predict: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    assert predict(images, "whole").code == 0
    for share in ("1/2", "2/2"):
        assert predict(images, "parts", "--shard", share).code == 0
    parts = tmp_path / "parts"
    assert not (parts / "predictions.csv").exists()
    assert read_json(parts / "manifest-2-of-2.json")["outcome"]["cases"] == 1
    before = written(parts)
    assert predict(images, "parts", "--resume").code == 0
    assert written(parts) == before
    assert answers(parts) == answers(tmp_path / "whole")


def test_other_settings_do_not_go_on_with_a_prediction(
    predict: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    assert predict(images, "out").code == 0
    expected = answers(tmp_path / "out")
    finished = predict(images, "out", "--resume", "--step", "1.0")
    assert finished.code == 2
    assert "step" in finished.err
    assert "Traceback" not in finished.err
    assert answers(tmp_path / "out") == expected


def test_a_share_that_is_none_is_refused(predict: Callable[..., Any], images: Path) -> None:
    finished = predict(images, "out", "--shard", "3/2")
    assert finished.code == 2
    assert "I/N" in finished.err


def test_a_case_whose_image_was_replaced_is_predicted_anew(
    predict: Callable[..., Any], images: Path, road: Any, tmp_path: Path
) -> None:
    assert predict(images, "out").code == 0
    before = written(tmp_path / "out")
    (images / "c6_0000.nii.gz").unlink()
    shutil.copyfile(road.raw / "imagesTr" / "c0_0000.nii.gz", images / "c6_0000.nii.gz")
    assert predict(images, "out", "--resume").code == 0
    again = {name for name, when in written(tmp_path / "out").items() if when != before[name]}
    assert again == {"c6.nii.gz"}
