"""The body in a CT (F72)."""

import numpy as np
import pytest

from segduet.preparation.body import body_box

SPACING = (5.0, 2.0, 2.0)
AIR = -1000


def scan(*ellipses: tuple[float, float, float, float], shape=(20, 100, 120)) -> np.ndarray:
    """Air with columns of tissue: centre y and x, radii y and x."""
    image = np.full((1, *shape), AIR, np.float32)
    y, x = np.mgrid[: shape[1], : shape[2]]
    for cy, cx, ry, rx in ellipses:
        image[0, :, ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1] = 40
    return image


def test_the_box_holds_the_body_and_a_centimetre_but_not_the_air_nor_the_table() -> None:
    """5 voxels of margin at 2 mm, and as many again as are skipped (2)."""
    image = scan((50, 60, 20, 30))
    image[0, :, 90:92, 20:100] = 0  # a table of 4 mm, a tenth of the body
    lungs = image.copy()
    lungs[0, :, 45:55, 50:70] = -850
    for body in (image, lungs):
        z, y, x = body_box(body, SPACING)
        assert z == (0, 20)
        assert 30 - 9 <= y[0] <= 30 - 5
        assert 71 + 5 <= y[1] <= 71 + 9
        assert 30 - 9 <= x[0] <= 30 - 5
        assert 91 + 5 <= x[1] <= 91 + 9


def test_two_legs_are_both_kept() -> None:
    _, _, x = body_box(scan((50, 30, 15, 15), (50, 90, 13, 13)), SPACING)
    assert x[0] <= 15
    assert x[1] >= 104


@pytest.mark.parametrize("image", [scan(), scan((50, 60, 1.5, 1.5))], ids=["air alone", "a needle"])
def test_without_a_body_there_is_no_box(image: np.ndarray) -> None:
    assert body_box(image, SPACING) is None


def test_other_units_give_the_whole_image() -> None:
    """Air at 0, as in images that were shifted: everything counts as body."""
    assert body_box(scan((50, 60, 20, 30)) + 1024, SPACING) == ((0, 20), (0, 100), (0, 120))
