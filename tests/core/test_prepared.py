import json
from dataclasses import replace

import numpy as np
import pytest

from segduet.core.geometry import Geometry
from segduet.core.prepared import Placement, PreparedCase

PLACEMENT = Placement(
    native=Geometry(
        shape_zyx=(10, 20, 30), spacing_zyx_mm=(5.0, 2.0, 1.0), origin_xyz_mm=(-1.5, 0.0, 7.0)
    ),
    transpose_forward=(2, 0, 1),
    transpose_backward=(1, 2, 0),
    crop_box=((1, 29), (0, 10), (5, 15)),
    prepared_shape=(14, 10, 20),
)


def test_transposed_and_cropped_shapes_follow_the_axes() -> None:
    assert PLACEMENT.transposed_shape == (30, 10, 20)
    assert PLACEMENT.transposed_spacing_mm == (1.0, 5.0, 2.0)
    assert PLACEMENT.cropped_shape == (28, 10, 10)


def test_transposing_an_array_gives_the_transposed_shape() -> None:
    array = np.zeros(PLACEMENT.native.shape_zyx)
    there = array.transpose(PLACEMENT.transpose_forward)
    assert there.shape == PLACEMENT.transposed_shape
    assert there.transpose(PLACEMENT.transpose_backward).shape == array.shape


def test_a_placement_survives_a_json_file_equal() -> None:
    assert Placement.from_json(json.loads(json.dumps(PLACEMENT.to_json()))) == PLACEMENT


def test_a_prepared_case_must_have_the_shape_its_placement_says() -> None:
    image = np.zeros((2, 14, 10, 20), np.float32)
    whole = PreparedCase(case="a", image=image, label_map=None, placement=PLACEMENT)
    with pytest.raises(AssertionError):
        replace(whole, image=image[:, :-1])
    with pytest.raises(AssertionError):
        replace(whole, label_map=np.zeros((14, 10, 21), np.int16))
