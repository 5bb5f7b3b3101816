"""Boxes of voxels: worked by hand (F72)."""

from segduet.preparation.boxes import absolute_box, at_least, box_shape, relative_box, widened

LIMITS = ((0, 10), (2, 20), (0, 8))
BOX = ((4, 6), (3, 10), (0, 8))


def test_a_box_is_widened_as_far_as_the_limits_go() -> None:
    assert widened(BOX, (3, 2, 5), LIMITS) == ((1, 9), (2, 12), (0, 8))


def test_a_box_grows_around_its_centre_and_moves_inwards_at_the_limits() -> None:
    assert at_least(BOX, (4, 5, 3), LIMITS) == ((3, 7), (3, 10), (0, 8))  # grows along z only
    assert at_least(((8, 10), (3, 10), (0, 2)), (6, 30, 4), LIMITS) == ((4, 10), (2, 20), (0, 4))


def test_a_part_relative_to_its_whole_and_back() -> None:
    relative = relative_box(BOX, LIMITS)
    assert relative == ((4, 6), (1, 8), (0, 8))
    assert absolute_box(relative, LIMITS) == BOX
    assert box_shape(BOX) == (2, 7, 8)
