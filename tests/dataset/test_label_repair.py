"""F04: integer label repair."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segduet.core.errors import DataError
from segduet.dataset.label_repair import mask_values, repair_mask, write_repaired
from segduet.io.images import read_label_map

IDENTITY = {0: 0, 1: 1, 2: 2}
LABELS = np.arange(6 * 5 * 4).reshape(6, 5, 4) % 3


def test_seed_defect_becomes_uint8_labels_with_the_same_place_in_space(tmp_path, files):
    """F04: 1.0000153 -> uint8 {0,1,2}, scl_slope 1, same affine, qform and sform."""
    source = files.seed_defect(tmp_path / "a.nii.gz", LABELS)
    read = read_label_map(source)
    assert np.float32(1.0000152587890625) in read.array
    repaired = repair_mask(read.array[0], IDENTITY, case="a")
    assert repaired.repair.num_rounded == np.count_nonzero(LABELS == 1)
    assert repaired.repair.num_remapped == 0
    assert repaired.repair.max_error == pytest.approx(1.52587890625e-05, rel=1e-6)

    write_repaired(source, tmp_path / "b.nii.gz", repaired.label_map, read.geometry)
    before, after = nib.load(source), nib.load(tmp_path / "b.nii.gz")
    assert after.get_data_dtype() == np.uint8
    assert (after.dataobj.slope, after.dataobj.inter) == (1.0, 0.0)
    np.testing.assert_array_equal(np.asarray(after.dataobj), LABELS)
    np.testing.assert_array_equal(after.affine, before.affine)
    for form in ("qform", "sform"):
        was, code = getattr(before.header, f"get_{form}")(coded=True)
        now, now_code = getattr(after.header, f"get_{form}")(coded=True)
        np.testing.assert_array_equal(now, was)
        assert now_code == code > 0
    assert read_label_map(tmp_path / "b.nii.gz").geometry == read.geometry


def test_fraction_is_refused_with_value_and_case():
    """F04: 1.4 raises."""
    values = LABELS.astype(np.float32)
    values[1, 2, 3] = 1.4
    with pytest.raises(DataError, match=r"case 'quiz_7', mask: found the value 1\.4;") as caught:
        repair_mask(values, IDENTITY, case="quiz_7")
    assert "one of [0, 1, 2]" in str(caught.value)


@pytest.mark.parametrize("error", [9e-4, -9e-4])
def test_just_within_the_tolerance_is_rounded(error):
    repaired = repair_mask(np.array([[[0.0, 1.0 + error, 2.0]]]), IDENTITY, case="a")
    assert repaired.label_map.tolist() == [[[0, 1, 2]]]
    assert repaired.label_map.dtype == np.uint8
    assert repaired.repair.num_rounded == 1
    assert repaired.repair.max_error == pytest.approx(9e-4)


@pytest.mark.parametrize("error", [1.1e-3, -1.1e-3])
def test_just_beyond_the_tolerance_is_refused(error):
    with pytest.raises(DataError, match=r"within 0\.001"):
        repair_mask(np.array([[[0.0, 1.0 + error]]]), IDENTITY, case="a")


@pytest.mark.parametrize(
    ("value", "dtype"), [(3, np.uint8), (-1, np.int16), (70000, np.int32), (3.0, np.float32)]
)
def test_undeclared_integer_is_refused_by_value(value, dtype):
    with pytest.raises(DataError, match=f"found the value {value:g}"):
        repair_mask(np.array([[[0, 1, value]]], dtype), IDENTITY, case="a")


def test_grey_values_are_mapped_by_the_rule_given_and_counted():
    values = np.array([[[0, 255, 255, 128]]], np.uint8)
    repaired = repair_mask(values, {0: 0, 128: 1, 255: 2}, case="a")
    assert repaired.label_map.tolist() == [[[0, 2, 2, 1]]]
    assert (repaired.repair.num_remapped, repaired.repair.num_rounded) == (3, 0)


def test_sound_mask_needs_no_repair():
    assert not repair_mask(LABELS.astype(np.float64), IDENTITY, case="a").repair.is_needed
    assert not repair_mask(LABELS == 1, IDENTITY, case="a").repair.is_needed


@given(
    labels=hnp.arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 2)),
    noise=hnp.arrays(np.float64, (2, 3, 4), elements=st.floats(-9e-4, 9e-4)),
)
def test_any_small_noise_on_labels_is_undone(labels, noise):
    repaired = repair_mask(labels + noise, IDENTITY, case="a")
    np.testing.assert_array_equal(repaired.label_map, labels)
    assert repaired.repair.num_rounded == np.count_nonzero(labels + noise != labels)


def test_mask_values_lists_distinct_integers():
    assert mask_values(np.array([[[0.0, 2.00001, 255.0, 2.0]]]), where="a") == [0, 2, 255]
    with pytest.raises(DataError, match=r"found the value 0\.5"):
        mask_values(np.array([[[0.0, 0.5]]]), where="a")
