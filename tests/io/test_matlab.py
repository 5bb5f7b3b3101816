"""F10: MATLAB v5 frames of the nerve data."""

import numpy as np
import pytest
from scipy.io import savemat

from segduet.core.errors import DataError
from segduet.io.matlab import mat_variables, read_mat_image, read_mat_mask

FRAME = np.arange(8 * 9 * 3, dtype=np.float64).reshape(8, 9, 3)


def test_channels_are_joined_in_declared_order_and_named(tmp_path):
    savemat(tmp_path / "a.mat", {"US": FRAME[..., 0] + 0.25, "opus_nnmf": FRAME})
    image = read_mat_image(tmp_path / "a.mat")
    assert image.channel_names == ("opus_nnmf_1", "opus_nnmf_2", "opus_nnmf_3", "US")
    assert image.volume.array.dtype == np.float32
    assert image.volume.array.shape == (4, 1, 8, 9)
    np.testing.assert_array_equal(image.volume.array[1, 0], FRAME[..., 1])
    np.testing.assert_array_equal(image.volume.array[3, 0], FRAME[..., 0] + 0.25)
    assert image.volume.geometry.num_spatial_dims == 2


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_shortest_axis_holds_the_channels(tmp_path, axis):
    savemat(tmp_path / "a.mat", {"Recons": np.moveaxis(FRAME, 2, axis)})
    array = read_mat_image(tmp_path / "a.mat").volume.array
    np.testing.assert_array_equal(array[:, 0], np.moveaxis(FRAME, 2, 0))


def test_cube_whose_channels_cannot_be_told_is_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"opus": np.zeros((4, 4, 9))})
    with pytest.raises(DataError, match="of which the channels are the shortest"):
        read_mat_image(tmp_path / "a.mat")


def test_mask_is_read_unrounded_and_listed(tmp_path):
    savemat(tmp_path / "a.mat", {"ROI": (FRAME[..., :1] > 30) * 0.9})
    assert mat_variables(tmp_path / "a.mat") == {"ROI"}
    mask = read_mat_mask(tmp_path / "a.mat")
    assert mask.array.shape == (1, 1, 8, 9)
    assert set(np.unique(mask.array)) == {0.0, 0.9}


def test_frame_without_known_variables_is_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"other": FRAME})
    with pytest.raises(DataError, match="opus_nnmf"):
        read_mat_image(tmp_path / "a.mat")
    with pytest.raises(DataError, match="a 2D array 'ROI'"):
        read_mat_mask(tmp_path / "a.mat")


def test_nan_pixels_are_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"US": np.full((8, 9), np.nan)})
    with pytest.raises(DataError, match="NaN or infinite"):
        read_mat_image(tmp_path / "a.mat")


def test_variables_of_different_size_are_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"US": np.zeros((8, 9)), "opus": np.zeros((8, 10))})
    with pytest.raises(DataError, match=r"sizes \[\(8, 9\), \(8, 10\)\]"):
        read_mat_image(tmp_path / "a.mat")


@pytest.mark.parametrize("damage", ["short", "hdf5", "text"])
def test_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "a.mat"
    savemat(path, {"US": np.random.default_rng(0).random((40, 50))}, do_compression=True)
    content = path.read_bytes()
    header_73 = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    path.write_bytes(
        {"short": content[:900], "hdf5": header_73 + b"\x89HDF" * 99, "text": b"hello" * 99}[damage]
    )
    with pytest.raises(DataError, match=r"a\.mat: found a file that cannot be read"):
        read_mat_image(path)
