"""`segduet check` on images that show the same and names that tell a class (B04)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segduet.core.files import write_csv
from segduet.core.folders import DataRoot
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.table import read_table
from segduet.dataset.phantoms.ultrasound import NerveUltrasoundConfig, generate_nerve_case
from segduet.dataset.raw_writer import write_raw
from segduet.io.pictures import write_picture

CONFIG = NerveUltrasoundConfig(shape_yx=(40, 48))


@pytest.fixture
def telling_names(tmp_path: Path) -> Path:
    """Data root of 20 pictures, named by class; the last is the first one's mirror image."""
    pictures = [generate_nerve_case(CONFIG, nerve_class=i % 2, seed=i) for i in range(20)]
    rows = []
    for number, picture in enumerate(pictures):
        case, image = f"{'xy'[number % 2]}{number:02d}", picture.image
        if number == 19:
            image = np.ascontiguousarray(pictures[0].image[:, ::-1])
        for folder, values in (("images", image), ("masks", picture.mask)):
            (tmp_path / "source" / folder).mkdir(parents=True, exist_ok=True)
            write_picture(tmp_path / "source" / folder / f"{case}.png", values)
        rows.append({"case": case, "class": case[0], "patient": case, "split": ""})
    write_csv(tmp_path / "source" / "cases.csv", list(rows[0]), rows)
    folders = DataRoot.resolve(tmp_path / "data", {}).new_dataset("Dataset501_twins")
    write_raw(read_table(tmp_path / "source", ImportOptions()), folders, workers=1)
    return tmp_path / "data"


def test_check_tells_copies_and_conflicts_and_exits_with_3(
    segduet: Callable, telling_names: Path
) -> None:
    finished = segduet("check", "twins", "--data-root", telling_names, "--json")
    told = [(f["severity"], f["kind"], f["case"]) for f in finished.json()["findings"]]
    assert finished.code == 3
    assert told == [
        ("warning", "near_duplicate", "x00"),
        ("warning", "label_conflict", "x00"),
        ("note", "class_in_file_name", ""),
    ]


def test_a_note_alone_leaves_the_exit_code_at_0(segduet: Callable, telling_names: Path) -> None:
    arguments = ("check", "twins", "--data-root", telling_names, "--no-duplicates")
    finished = segduet(*arguments)
    assert finished.code == 0
    assert "Dataset501_twins: 0 errors, 0 warnings, 1 notes" in finished.out
    assert "class_in_file_name" in finished.out
