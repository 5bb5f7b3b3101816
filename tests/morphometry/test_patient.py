"""B07: what changes between the images of one patient."""

import itertools

import pytest

from segduet.core.scores import Score
from segduet.morphometry.patient import measure_patient


def image(lv_ml: float, myo_ml: float, wall_mm: float | None, sphericity: float = 0.8):
    wall = Score(value=wall_mm) if wall_mm is not None else Score(value=None, reason="no slice")
    return {
        "LV.volume_ml": Score(value=lv_ml),
        "MYO.volume_ml": Score(value=myo_ml),
        "MYO.thickness_mean_mm": wall,
        "LV.sphericity": Score(value=sphericity),
    }


def test_the_ejection_fraction_and_the_thickening_are_hand_worked() -> None:
    """120 ml to 48 ml: 0.6 ejected; the wall thickens from 8 to 12 mm."""
    found = measure_patient([image(48, 130, 12), image(120, 125, 8)], order_by="LV")
    assert found["LV.ejection_fraction"].value == pytest.approx(0.6)
    assert found["first.LV.volume_ml"].value == 120
    assert found["last.LV.volume_ml"].value == 48
    assert found["change.MYO.thickness_mean_mm"].value == 4
    assert found["relative_change.MYO.thickness_mean_mm"].value == 1.5
    assert found["change.LV.volume_ml"].value == -72
    assert "change.LV.sphericity" not in found


def test_the_order_in_which_images_come_does_not_matter() -> None:
    """B06: also where two have equal volumes of the ordering region."""
    images = [image(60, 130, 12), image(120, 125, 8), image(120, 110, 9, 0.7), image(90, 1, 1)]
    expected = measure_patient(images, order_by="LV")
    for shuffled in itertools.permutations(images):
        assert measure_patient(shuffled, order_by="LV") == expected


def test_the_region_that_orders_decides_which_image_is_first() -> None:
    images = [image(48, 130, 12), image(120, 125, 8)]
    assert measure_patient(images, order_by="MYO")["first.LV.volume_ml"].value == 48
    assert measure_patient(images, order_by="MYO")["LV.ejection_fraction"].value == 0.6


def test_a_single_image_has_equal_names_and_says_why_there_is_no_change() -> None:
    """B06: patients with fewer images are handled and said."""
    both = measure_patient([image(48, 130, 12), image(120, 125, 8)], order_by="LV")
    single = measure_patient([image(120, 125, 8)], order_by="LV")
    assert list(single) == list(both)
    undefined = {n for n, s in single.items() if s.value is None}
    assert undefined == {n for n in single if not n.startswith("first.")}
    assert {single[n].reason for n in undefined} == {"the patient has one image"}


def test_undefined_measures_stay_undefined_with_their_reason() -> None:
    found = measure_patient([image(120, 0, None), image(0, 0, 8)], order_by="LV")
    assert found["change.MYO.thickness_mean_mm"].reason == "no slice"
    assert found["relative_change.MYO.volume_ml"].reason == "it is 0 in the first image"
    assert found["MYO.ejection_fraction"].reason == "the region is empty in every image"
    assert found["LV.ejection_fraction"].value == 1.0
