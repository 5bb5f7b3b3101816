"""File names in nnU-Net's convention (F02)."""

from pathlib import Path

import pytest

from segduet.core.errors import DataError
from segduet.io.names import (
    SUPPORTED_ENDINGS,
    case_and_channel,
    file_ending,
    image_name,
    name_without_ending,
)


@pytest.mark.parametrize("ending", SUPPORTED_ENDINGS)
def test_every_supported_ending_is_split_off_whole_and_in_lower_case(ending):
    path = Path(f"/data/scan.v1_0002{ending.upper()}")
    assert file_ending(path) == ending
    assert name_without_ending(path) == "scan.v1_0002"
    assert case_and_channel(path) == ("scan.v1", 2)


def test_image_name_is_the_inverse_of_case_and_channel():
    assert image_name("quiz_0_041", 0, ".nii.gz") == "quiz_0_041_0000.nii.gz"
    assert case_and_channel(Path(image_name("a_0001", 12, ".png"))) == ("a_0001", 12)


@pytest.mark.parametrize("name", ["photo.jpg", "scan.dcm", "noending", ".png"])
def test_unknown_ending_is_refused_with_the_list_of_known_ones(name):
    with pytest.raises(DataError, match=r"expected one of \.nii\.gz, \.nii") as caught:
        file_ending(Path("/data") / name)
    assert name in str(caught.value)


def test_image_without_channel_number_is_refused():
    with pytest.raises(DataError, match="without a channel number"):
        case_and_channel(Path("case_041.nii.gz"))
