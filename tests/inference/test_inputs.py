"""Images are matched to cases by nnU-Net's names; what does not fit is refused by case name."""

import pytest

from segduet.core.errors import DataError
from segduet.inference.case_input import CaseInput
from segduet.inference.inputs import find_case_inputs


@pytest.fixture
def folder(tmp_path):
    def fill(*names):
        for name in names:
            (tmp_path / name).touch()
        return tmp_path

    return fill


def _find(source, num_channels=1, ending=".nii.gz"):
    found = find_case_inputs(source, num_channels=num_channels, file_ending=ending)
    return {c.case: [p.name for p in c.image_paths] for c in found}


def test_channels_are_grouped_in_order_and_cases_sorted(folder):
    source = folder("b_0001.nii.gz", "b_0000.nii.gz", "a_0000.nii.gz", "a_0001.nii.gz")
    found = find_case_inputs(source, num_channels=2, file_ending=".nii.gz")
    assert found == [
        CaseInput(case="a", image_paths=(source / "a_0000.nii.gz", source / "a_0001.nii.gz")),
        CaseInput(case="b", image_paths=(source / "b_0000.nii.gz", source / "b_0001.nii.gz")),
    ]


def test_plain_names_do_for_one_channel_beside_nnunet_names(folder):
    source = folder("scan_a.nii.gz", "scan_b_0000.nii.gz", "v1.2_x.nii.gz")
    assert _find(source) == {
        "scan_a": ["scan_a.nii.gz"],
        "scan_b": ["scan_b_0000.nii.gz"],
        "v1.2_x": ["v1.2_x.nii.gz"],
    }


def test_a_number_that_is_no_channel_belongs_to_the_case_id(folder):
    """Such as a year, or images counted from 1."""
    source = folder("img_0001.nii.gz", "img_0002.nii.gz", "scan_2023.nii.gz")
    assert list(_find(source)) == ["img_0001", "img_0002", "scan_2023"]


def test_hidden_and_other_files_in_a_folder_are_passed_over(folder):
    source = folder("a_0000.nii.gz", "._a_0000.nii.gz", "dataset.json", "b_0000.nii")
    assert list(_find(source)) == ["a"]


def test_a_colour_picture_holds_all_channels_in_one_file(folder):
    source = folder("a_0000.png", "b.png", "c_0000.png", "c_0001.png", "c_0002.png")
    assert _find(source, 3, ".png") == {
        "a": ["a_0000.png"],
        "b": ["b.png"],
        "c": ["c_0000.png", "c_0001.png", "c_0002.png"],
    }


def test_one_file_or_a_list_of_files_may_be_named(folder):
    source = folder("a_0000.nii.gz", "b.nii.gz", "c.nii.gz")
    assert _find(source / "c.nii.gz") == {"c": ["c.nii.gz"]}
    assert list(_find([source / "b.nii.gz", source / "a_0000.nii.gz"])) == ["a", "b"]


@pytest.mark.parametrize(
    ("names", "num_channels", "message"),
    [
        (
            ["a_0000.nii.gz"],
            2,
            r"case 'a': found channels \[0\]; expected exactly channels \[0, 1\]",
        ),
        (["a_0001.nii.gz"], 2, r"case 'a': found channels \[1\]"),
        (["a_0000.nii.gz", "a_0001.nii.gz"], 1, r"case 'a': found channels \[0, 1\]"),
        (["a.nii.gz"], 2, r"a\.nii\.gz: found a name without a channel number"),
        (["a.nii.gz", "a_0000.nii.gz"], 1, "case 'a': found several images"),
        (["a_0000.nii"], 1, r"1 files, none ending in \.nii\.gz \(such as a_0000\.nii\)"),
        ([], 1, "0 files, none ending in"),
    ],
)
def test_what_does_not_fit_is_refused(folder, names, num_channels, message):
    with pytest.raises(DataError, match=message):
        _find(folder(*names), num_channels)


def test_named_files_must_exist_and_have_the_ending(folder):
    source = folder("a.nii")
    with pytest.raises(DataError, match="no such file"):
        _find(source / "missing.nii.gz")
    with pytest.raises(DataError, match="another file ending"):
        _find([source / "a.nii"])
    with pytest.raises(DataError, match="found no files"):
        _find([])
    with pytest.raises(DataError, match="no such file"):
        _find(source / "no_folder")


@pytest.mark.parametrize(
    ("name", "what"), [("folder", "a folder"), ("l.txt", "a list"), ("t.csv", "a list")]
)
def test_what_names_all_cases_stands_alone(folder, tmp_path, name, what):
    (tmp_path / "folder").mkdir()
    source = folder("a.nii.gz", "l.txt", "t.csv")
    with pytest.raises(DataError, match=rf"{name}: found {what}.* beside other inputs.*alone"):
        _find([source / "a.nii.gz", source / name])
