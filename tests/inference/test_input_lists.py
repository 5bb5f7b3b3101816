"""Issue 6: a cohort as a list of images or as a table."""

import os
from pathlib import Path

import pytest

from segduet.core.errors import DataError
from segduet.inference.case_input import CaseInput
from segduet.inference.inputs import find_case_inputs


def found(source: Path, *, num_channels: int = 1) -> list[CaseInput]:
    return find_case_inputs(source, num_channels=num_channels, file_ending=".nii.gz")


def test_a_list_names_images_relative_to_itself(tmp_path: Path) -> None:
    elsewhere = tmp_path / "far" / "b_0000.nii.gz"
    (tmp_path / "some.txt").write_text(f"\n scans/a_0000.nii.gz \n\n{elsewhere}\nplain.nii.gz\n")
    assert found(tmp_path / "some.txt") == [
        CaseInput(case="a", image_paths=(tmp_path / "scans" / "a_0000.nii.gz",)),
        CaseInput(case="b", image_paths=(elsewhere,)),
        CaseInput(case="plain", image_paths=(tmp_path / "plain.nii.gz",)),
    ]


def test_a_table_gives_every_case_its_name_and_channels(tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    table.write_text("site,case,image_0001,image_0000\nx,p1,t2/1.nii.gz,t1/1.nii.gz\n")
    images = (tmp_path / "t1" / "1.nii.gz", tmp_path / "t2" / "1.nii.gz")
    assert found(table, num_channels=2) == [CaseInput(case="p1", image_paths=images)]
    table.write_text("case,image\nb,2.nii.gz\na,1.nii.gz\n")
    assert [c.case for c in found(table)] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("case,picture\na,b\n", "no column 'image_0000'"),
        ("image\na\n", "no column 'case'"),
        ("case,image\n", "no line below the header"),
        ("case,image\na,\n", "line 2: found an empty 'image'"),
        ("case,image\n../a,b\n", "line 2: found case '../a'"),
        ("case,image\na,b\na,c\n", "'a': found several images.*b and .*c"),
    ],
)
def test_a_table_that_names_no_cohort_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        found(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("content", "message"), [("\n", "no line"), ("a.nii.gz\nb.png\n", r"b\.png")]
)
def test_a_list_that_names_no_cohort_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        found(tmp_path / "t.txt")


def test_a_list_with_a_byte_order_mark_names_its_first_image(tmp_path: Path) -> None:
    """As Windows' editors write it."""
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfa_0000.nii.gz\n")
    assert [case.case for case in found(tmp_path / "t.txt")] == ["a"]


@pytest.mark.parametrize("name", ["p1_0000.nii.gz", "p1.nii.gz"])
def test_two_images_of_one_name_in_different_folders_are_refused(tmp_path: Path, name: str) -> None:
    """One of two patients would be left out."""
    (tmp_path / "t.txt").write_text(f"siteA/{name}\nsiteB/{name}\n")
    with pytest.raises(DataError, match=r"'p1': found several images.*siteA.*siteB"):
        found(tmp_path / "t.txt")


def test_a_name_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.nii.gz")).touch()
    with pytest.raises(DataError, match=r"not UTF-8.*Rename"):
        found(tmp_path)
