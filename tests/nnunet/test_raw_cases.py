"""Which files belong to which case."""

import json
from pathlib import Path
from typing import Any

import pytest

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError
from segduet.core.folders import DataRoot, DatasetFolders
from segduet.nnunet.raw_cases import raw_cases


@pytest.fixture
def folders(tmp_path: Path) -> DatasetFolders:
    root = DataRoot(raw=tmp_path, preprocessed=tmp_path / "p", results=tmp_path / "r")
    return root.new_dataset("Dataset001_x")


def describe(folders: DatasetFolders, files: list[str], **extra: Any) -> DatasetDescription:
    for name in files:
        path = folders.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    folders.raw.mkdir(exist_ok=True)
    content = {
        "channel_names": {"0": "MR", "1": "MR"},
        "labels": {"background": 0, "a": 1},
        "numTraining": 1,
        "file_ending": ".png",
        **extra,
    }
    (folders.raw / "dataset.json").write_text(json.dumps(content))
    return DatasetDescription.read(folders.raw / "dataset.json")


def test_files_are_grouped_by_case_and_sorted_by_channel(folders: DatasetFolders) -> None:
    """B03: a case without a mask is a case; a case id may be the start of another."""
    names = ["b_0001", "b_0000", "b_0002_0000", "a_0000"]
    files = [f"imagesTr/{n}.png" for n in names] + ["labelsTr/b.png", "imagesTr/notes.txt"]
    found = raw_cases(folders, describe(folders, files))
    assert list(found) == ["a", "b", "b_0002"]
    assert [p.name for p in found["b"].images] == ["b_0000.png", "b_0001.png"]
    assert found["b"].mask == folders.masks / "b.png"
    assert found["a"].mask is None
    assert [p.name for p in found["b_0002"].images] == ["b_0002_0000.png"]


def test_images_without_a_mask_on_purpose_lie_in_a_folder_of_their_own(
    folders: DatasetFolders,
) -> None:
    """B03: so that a mask that is missing by accident stays an error."""
    files = ["imagesTr/a_0000.png", "labelsTr/a.png", "imagesUnlabelled/b_0000.png"]
    found = raw_cases(folders, describe(folders, files))
    assert {case: files.is_unlabelled for case, files in found.items()} == {"a": False, "b": True}
    assert found["b"].mask is None
    with pytest.raises(DataError, match=r"'b'.*imagesTr and imagesUnlabelled"):
        raw_cases(folders, describe(folders, ["imagesTr/b_0000.png"]))


def test_the_dataset_entry_wins_over_the_folders(
    folders: DatasetFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B11: nnU-Net lets dataset.json name files anywhere, relative, absolute or by variable."""
    monkeypatch.setenv("ELSEWHERE", str(tmp_path))
    (tmp_path / "far.png").touch()
    listed = {
        "c": {"images": ["pictures/c.png", "$ELSEWHERE/far.png"], "label": "pictures/mask.png"}
    }
    files = ["pictures/c.png", "pictures/mask.png", "imagesTr/other_0000.png"]
    found = raw_cases(folders, describe(folders, files, dataset=listed))
    assert list(found) == ["c"]
    assert found["c"].images == (folders.raw / "pictures/c.png", tmp_path / "far.png")
    assert found["c"].mask == folders.raw / "pictures/mask.png"


def test_missing_files_are_named(folders: DatasetFolders) -> None:
    with pytest.raises(DataError, match="no images"):
        raw_cases(folders, describe(folders, []))
    listed = {"c": {"images": ["gone.png"], "label": "mask.png"}}
    with pytest.raises(DataError, match=r"'c'.*gone\.png"):
        raw_cases(folders, describe(folders, [], dataset=listed))
