import numpy as np
import pytest

from segduet.reporting.case_images import neighbourhood, region_colour, slice_of_interest


def test_slice_that_differs_most_then_that_with_most_foreground_then_the_middle():
    """F88: a reviewer sees where the prediction went wrong, not where it was easy."""
    empty, reference, prediction = (np.zeros((5, 4, 4), np.uint8) for _ in range(3))
    reference[3] = 1
    prediction[3] = 1
    assert slice_of_interest(reference, prediction) == 3
    prediction[1, 0, 0] = 2
    assert slice_of_interest(reference, prediction) == 1
    assert slice_of_interest(empty, prediction) == 3
    assert slice_of_interest(empty, empty) == 2


def test_neighbourhood_has_a_margin_and_stays_inside():
    """Four voxels and half of them again on each side; the other axis takes the smallest margin."""
    mask = np.zeros((20, 9), bool)
    mask[6:10, 1] = True
    assert neighbourhood(mask, share=0.5, at_least=(1, 3)) == (slice(4, 12), slice(0, 5))
    assert neighbourhood(np.zeros((3, 4)) > 0, share=0.5, at_least=(1, 1)) == (
        slice(0, 3),
        slice(0, 4),
    )


@pytest.mark.parametrize(("number", "other"), [(0, 5), (2, 7)])
def test_colours_repeat(number, other):
    assert region_colour(number) == region_colour(other)
    assert region_colour(number) != region_colour(number + 1)
