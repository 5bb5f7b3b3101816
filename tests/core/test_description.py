import json
from pathlib import Path

import pytest

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError
from segduet.core.files import write_json

CONTENT = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "whole": [1, 2], "lesion": 2},
    "regions_class_order": [1, 2],
    "numTraining": 3,
    "file_ending": ".nii.gz",
    "licence": "somebody's",
    "segduet": {"tasks": [{"name": "subtype", "classes": ["a", "b"], "evidence_region": "lesion"}]},
}


def test_labels_tasks_and_channels_are_read(tmp_path: Path) -> None:
    """F02, F03."""
    write_json(tmp_path / "dataset.json", CONTENT)
    description = DatasetDescription.read(tmp_path / "dataset.json")
    assert (description.num_channels, description.num_training) == (2, 3)
    assert description.label_scheme.foreground == {"whole": (1, 2), "lesion": (2,)}
    assert description.tasks[0].evidence_region == "lesion"


def test_writing_keeps_unknown_keys_and_the_order_of_the_labels(tmp_path: Path) -> None:
    """The order of the labels has meaning to nnU-Net; `numTraining` keeps its spelling."""
    source, target = tmp_path / "dataset.json", tmp_path / "copy.json"
    write_json(source, CONTENT | {"labels": {"background": 0, "lesion": 2, "whole": [1, 2]}})
    DatasetDescription.read(source).write(target)
    written = json.loads(target.read_text())
    assert list(written["labels"]) == ["background", "lesion", "whole"]
    assert written["licence"] == "somebody's"
    assert written["numTraining"] == 3
    assert DatasetDescription.read(target) == DatasetDescription.read(source)


def test_a_dataset_without_our_section_has_no_tasks(tmp_path: Path) -> None:
    """B11: a stock nnU-Net dataset is read as it is."""
    stock = {key: value for key, value in CONTENT.items() if key != "segduet"}
    write_json(tmp_path / "dataset.json", stock)
    assert DatasetDescription.read(tmp_path / "dataset.json").tasks == ()


def test_a_dataset_of_plain_labels_is_written_without_an_order_of_regions(tmp_path: Path) -> None:
    """B11: an entry that was not there does not come back as null."""
    plain = {key: value for key, value in CONTENT.items() if key != "regions_class_order"}
    write_json(tmp_path / "dataset.json", plain | {"labels": {"background": 0, "organ": 1}})
    DatasetDescription.read(tmp_path / "dataset.json").write(tmp_path / "copy.json")
    assert "regions_class_order" not in json.loads((tmp_path / "copy.json").read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {"background": 0, "organ": 1.4}}, r"dataset\.json, labels\.organ"),
        ({"labels": {"organ": 1}}, "expected 'background' with value 0"),
        ({"channel_names": ["CT"]}, r"dataset\.json, channel_names"),
        ({"segduet": {"task": []}}, r"dataset\.json, segduet\.task: "),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: dict, message: str) -> None:
    write_json(tmp_path / "dataset.json", CONTENT | change)
    with pytest.raises(DataError, match=message):
        DatasetDescription.read(tmp_path / "dataset.json")


def test_a_missing_entry_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "dataset.json", {k: v for k, v in CONTENT.items() if k != "file_ending"})
    with pytest.raises(DataError, match=r"file_ending: .* expected Field required"):
        DatasetDescription.read(tmp_path / "dataset.json")
