"""F78: steps on label maps of plain labels and of nested regions, worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from segduet.cleanup.apply import apply_step, clean
from segduet.cleanup.steps import (
    Closing,
    FillHoles,
    KeepInside,
    KeepLargest,
    Opening,
    RemoveSmall,
)
from segduet.core.errors import RequestError
from segduet.core.geometry import SPACING_2D_ZYX_MM, Geometry
from segduet.core.labels import LabelScheme

PLAIN = LabelScheme.from_dataset_json(
    {"background": 0, "organ": 1, "lesion": 2}, None, where="test"
)
NESTED = LabelScheme.from_dataset_json(
    {"background": 0, "organ": [1, 2], "lesion": [2]}, [1, 2], where="test"
)


def picture(*rows):
    """A 2D label map, one digit per pixel."""
    label_map = np.array([[int(digit) for digit in row] for row in rows], np.uint8)[None]
    geometry = Geometry(
        shape_zyx=label_map.shape, spacing_zyx_mm=SPACING_2D_ZYX_MM, num_spatial_dims=2
    )
    return label_map, geometry


def after(step, labels, *rows):
    """What the step makes of a picture, as rows of digits."""
    label_map, geometry = picture(*rows)
    before = label_map.copy()
    result = clean(label_map, geometry, labels, [step]).label_map
    np.testing.assert_array_equal(label_map, before)  # the argument is left alone
    return ["".join(map(str, row)) for row in result[0].tolist()]


def test_a_stray_lesion_in_an_organ_becomes_organ_of_regions_and_background_of_labels():
    rows = ("11111100", "12211200", "12211100")
    step = KeepLargest(regions=("lesion",))
    assert after(step, NESTED, *rows) == ["11111100", "12211100", "12211100"]
    assert after(step, PLAIN, *rows) == ["11111100", "12211000", "12211100"]


def test_a_stray_piece_of_the_organ_region_goes_with_the_lesion_in_it():
    rows = ("1111000", "1221000", "1111012")
    step = KeepLargest(regions=("organ",))
    assert after(step, NESTED, *rows) == ["1111000", "1221000", "1111000"]


def test_small_components_go_by_area():
    rows = ("1000110", "0000000", "1110000")
    assert after(RemoveSmall(regions=("organ",), min_mm2=2), PLAIN, *rows) == [
        "0000110",
        "0000000",
        "1110000",
    ]
    assert after(RemoveSmall(regions=("organ",), min_mm2=3), PLAIN, *rows) == [
        "0000000",
        "0000000",
        "1110000",
    ]


def test_small_components_go_by_volume_in_millilitres():
    label_map = np.zeros((1, 2, 9), np.uint8)
    label_map[0, 0, :4] = label_map[0, 0, 6:9] = 1
    geometry = Geometry(shape_zyx=label_map.shape, spacing_zyx_mm=(5.0, 2.0, 1.0))  # 0.01 ml
    step = RemoveSmall(regions=("organ",), min_ml=0.04)
    assert np.flatnonzero(apply_step(label_map, geometry, PLAIN, step)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("step", "is_flat"),
    [
        (RemoveSmall(regions=("organ",), min_ml=1), True),
        (RemoveSmall(regions=("organ",), min_mm2=1), False),
    ],
)
def test_a_volume_is_no_size_for_a_picture_nor_an_area_for_a_volume(step, is_flat):
    geometry = Geometry(
        shape_zyx=(1, 2, 2), spacing_zyx_mm=(999.0, 1, 1), num_spatial_dims=2 if is_flat else 3
    )
    with pytest.raises(RequestError, match=r"remove_small.*expected min_ml for 3D images"):
        clean(np.zeros((1, 2, 2), np.uint8), geometry, PLAIN, [step])


def test_a_hole_in_a_lesion_becomes_lesion():
    rows = ("111111", "122211", "121211", "122211", "111111")
    filled = ["111111", "122211", "122211", "122211", "111111"]
    assert after(FillHoles(region="lesion"), NESTED, *rows) == filled
    # a plain label never replaces another one
    assert after(FillHoles(region="lesion"), PLAIN, *rows) == list(rows)


def test_filling_an_organ_leaves_the_lesion_in_it():
    rows = ("11111", "12001", "11111")
    expected = ["11111", "12111", "11111"]
    assert after(FillHoles(region="organ"), PLAIN, *rows) == expected
    assert after(FillHoles(region="organ"), NESTED, *rows) == expected


def test_closing_joins_what_a_narrow_gap_parts():
    rows = ("0000000", "0110110", "0110110", "0110110", "0000000")
    assert after(Closing(region="organ", radius_mm=1), PLAIN, *rows) == [
        "0000000",
        "0110110",
        "0111110",
        "0110110",
        "0000000",
    ]


def test_opening_takes_a_thread_away():
    rows = ("000000", "011100", "011111", "011100", "000000")
    # a cross fits at the middle of the square and at its right edge, above the thread
    assert after(Opening(region="organ", radius_mm=1), PLAIN, *rows) == [
        "000000",
        "001100",
        "011110",
        "001100",
        "000000",
    ]


INSIDE = ("1111000000", "1221000220", "1111000220")


@pytest.mark.parametrize("labels", [PLAIN, NESTED])
def test_a_lesion_far_from_its_organ_goes_out_of_both(labels):
    step = KeepInside(region="lesion", organ="organ", margin_mm=3)
    assert after(step, labels, *INSIDE) == ["1111000000", "1221000000", "1111000000"]
    wide = KeepInside(region="lesion", organ="organ", margin_mm=4)
    assert after(wide, labels, *INSIDE) == list(INSIDE)


def test_cutting_voxels_keeps_the_near_part_of_a_lesion():
    step = KeepInside(region="lesion", organ="organ", margin_mm=4, remove="voxels")
    assert after(step, PLAIN, *INSIDE) == ["1111000000", "1221000200", "1111000200"]


def test_the_middle_of_a_thick_lesion_is_inside_the_organ_that_closes_it_in():
    rows = ("1111111", "1222221", "1222221", "1222221", "1222221", "1222221", "1111111")
    step = KeepInside(region="lesion", organ="organ", margin_mm=1, remove="voxels")
    for labels in (PLAIN, NESTED):
        assert after(step, labels, *rows) == list(rows)


def test_a_step_leaves_no_region_empty_unless_it_may():
    label_map, geometry = picture("100", "000", "002")
    gentle = RemoveSmall(regions=("lesion",), min_mm2=2)
    done = clean(label_map, geometry, PLAIN, [gentle])
    assert done.withheld == (True,)
    assert done.num_changed == (0,)
    np.testing.assert_array_equal(done.label_map, label_map)
    strict = RemoveSmall(regions=("lesion",), min_mm2=2, may_empty=True)
    done = clean(label_map, geometry, PLAIN, [strict])
    assert done.withheld == (False,)
    assert done.num_changed == (1,)
    assert not (done.label_map == 2).any()


def test_the_only_lesion_keeps_a_stray_piece_of_its_organ():
    """The step acts on the organ; the lesion would be what it empties."""
    rows = ("1110012", "1110000")
    assert after(KeepLargest(regions=("organ",)), NESTED, *rows) == list(rows)
    strict = KeepLargest(regions=("organ",), may_empty=True)
    assert after(strict, NESTED, *rows) == ["1110000", "1110000"]


def test_a_lesion_without_any_organ_stays_unless_it_may_go():
    rows = ("0022", "0022")
    step = KeepInside(region="lesion", organ="organ", margin_mm=5)
    assert after(step, PLAIN, *rows) == list(rows)
    strict = step.model_copy(update={"may_empty": True})
    assert after(strict, PLAIN, *rows) == ["0000", "0000"]


STEPS = st.one_of(
    *(
        st.builds(
            kind,
            may_empty=st.booleans(),
            **{name: st.sampled_from([("organ",), ("lesion",), ("organ", "lesion")])},
            **more,
        )
        for kind, name, more in (
            (KeepLargest, "regions", {}),
            (RemoveSmall, "regions", {"min_ml": st.sampled_from([0.002, 0.02, 0.2])}),
        )
    ),
    st.builds(FillHoles, region=st.sampled_from(["organ", "lesion"])),
    st.builds(
        Opening,
        region=st.sampled_from(["organ", "lesion"]),
        radius_mm=st.sampled_from([1.0, 1.5, 3.1]),
        may_empty=st.booleans(),
    ),
    st.builds(
        Closing,
        region=st.sampled_from(["organ", "lesion"]),
        radius_mm=st.sampled_from([1.0, 1.5, 3.1]),
    ),
    st.builds(
        KeepInside,
        region=st.just("lesion"),
        organ=st.just("organ"),
        margin_mm=st.sampled_from([0.0, 1.0, 3.1]),
        remove=st.sampled_from(["components", "voxels"]),
        may_empty=st.booleans(),
    ),
)
MAPS = st.one_of(
    arrays.arrays(np.uint8, (3, 5, 6), elements=st.sampled_from([0, 0, 0, 1, 2])),
    arrays.arrays(np.uint8, (3, 5, 6), elements=st.sampled_from([0, 1, 1, 1, 2])),
)
GRID = Geometry(shape_zyx=(3, 5, 6), spacing_zyx_mm=(3.0, 1.0, 0.9))


@pytest.mark.parametrize("labels", [PLAIN, NESTED])
@given(label_map=MAPS, step=STEPS)
def test_every_step_taken_twice_is_taken_once_and_invents_no_region(labels, label_map, step):
    once = clean(label_map, GRID, labels, [step]).label_map
    twice = clean(once, GRID, labels, [step])
    np.testing.assert_array_equal(twice.label_map, once)
    assert twice.num_changed == (0,)
    held, left = set(np.unique(label_map)), set(np.unique(once))
    for members in labels.foreground.values():
        was_there, is_there = bool(held & set(members)), bool(left & set(members))
        assert is_there <= was_there, "an empty mask stays empty"
        assert is_there == was_there or getattr(step, "may_empty", False)


@given(label_map=MAPS, steps=st.lists(STEPS, max_size=4))
def test_several_steps_are_one_after_the_other(label_map, steps):
    one_by_one = label_map
    for step in steps:
        one_by_one = clean(one_by_one, GRID, NESTED, [step]).label_map
    together = clean(label_map, GRID, NESTED, steps)
    np.testing.assert_array_equal(together.label_map, one_by_one)
    assert len(together.num_changed) == len(together.withheld) == len(steps)
