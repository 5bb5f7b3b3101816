"""F63: windows cover the image as nnU-Net's do; small images are padded and cropped back."""

import numpy as np
import pytest
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from hypothesis import example, given, settings
from hypothesis import strategies as st

from segduet.windows.tiles import (
    fitted_window,
    num_voxels_inside,
    padded_to_patch,
    region_at,
    tile_starts,
    window_parts,
)

_STEPS = st.sampled_from([0.2, 0.3, 0.5, 0.6, 0.75, 0.8, 0.9, 1.0])


@st.composite
def _shape_and_patch(draw, *, smallest=2, extra=70):
    patch = tuple(draw(st.integers(smallest, 40)) for _ in range(3))
    shape = tuple(p + draw(st.integers(0, extra)) for p in patch)
    return shape, patch


def _nnunet_starts(shape, patch, step):
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    steps = compute_steps_for_sliding_window(shape, patch, step)
    return [(z, y, x) for z in steps[0] for y in steps[1] for x in steps[2]]


@settings(max_examples=150, deadline=None)
@given(_shape_and_patch(), _STEPS)
def test_starts_are_those_of_nnunet_in_its_order(case, step):
    shape, patch = case
    assert tile_starts(shape, patch, step) == _nnunet_starts(shape, patch, step)


@settings(max_examples=30, deadline=None)
@given(_shape_and_patch(smallest=1, extra=9), _STEPS)
def test_every_voxel_is_covered_and_no_window_leaves_the_image(case, step):
    shape, patch = case
    covered = np.zeros(shape, dtype=bool)
    for start in tile_starts(shape, patch, step):
        assert all(s >= 0 and s + p <= n for s, p, n in zip(start, patch, shape, strict=True))
        covered[region_at(start, patch)] = True
    assert covered.all()


def test_starts_worked_by_hand():
    """nnU-Net's own example: 110 voxels, patch 64, step 0.5 -> 0, 23, 46."""
    assert [x for _, _, x in tile_starts((8, 8, 110), (8, 8, 64))] == [0, 23, 46]


def test_a_2d_patch_visits_every_slice_once_whatever_the_step():
    starts = tile_starts((5, 20, 30), (1, 20, 20), 0.5)
    assert starts == [(z, 0, x) for z in range(5) for x in (0, 10)]


def test_an_image_of_patch_size_is_one_window():
    assert tile_starts((4, 6, 8), (4, 6, 8), 0.5) == [(0, 0, 0)]


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(*[st.integers(1, 9)] * 3),
)
def test_padding_is_that_of_nnunet_and_is_undone_by_the_box(shape, patch):
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    padded_shape, box = padded_to_patch(shape, patch)
    expected, slicer = pad_nd_image(
        image, patch, "constant", {"constant_values": 0}, return_slicer=True
    )
    assert expected.shape[1:] == padded_shape
    assert tuple(slicer[1:]) == box


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 12)] * 3), st.tuples(*[st.integers(1, 8)] * 3))
def test_parts_of_windows_are_those_of_the_padded_image(shape, patch):
    """Cutting by parts into zeros is padding the whole image and cutting."""
    image = np.random.default_rng(0).integers(1, 99, size=shape)
    padded_shape, box = padded_to_patch(shape, patch)
    padded = np.zeros(padded_shape, int)
    padded[box] = image
    for start in tile_starts(padded_shape, patch):
        in_window, in_image = window_parts(start, patch, box)
        window = np.zeros(patch, int)
        window[in_window] = image[in_image]
        np.testing.assert_array_equal(window, padded[region_at(start, patch)])


@pytest.mark.parametrize(
    ("start", "inside"),
    [((0, 0, 0), 1 * 2 * 4), ((2, 4, 1), 3 * 2 * 4), ((8, 8, 8), 0)],
)
def test_voxels_inside_the_box_are_counted(start, inside):
    """Box 3..10, 2..6, 0..20; windows of 4 x 4 x 4."""
    box = (slice(3, 10), slice(2, 6), slice(0, 20))
    assert num_voxels_inside(start, (4, 4, 4), box) == inside


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.integers(1, 8), st.sampled_from([1, 2, 3, 8])),
        min_size=3,
        max_size=3,
    )
)
@example([(8, 2, 8), (48, 5, 8), (48, 5, 8)])  # grows along one axis, is lengthened along two
def test_a_fitted_window_holds_an_image_of_about_its_size_and_stays_near_the_patch(axes):
    """F72: axes are (image, cells of the patch, multiple)."""
    shape, cells, multiple = zip(*axes, strict=True)
    patch = tuple(n * m for n, m in zip(cells, multiple, strict=True))
    window = fitted_window(shape, patch, multiple)
    for n, w, p, m in zip(shape, window, patch, multiple, strict=True):
        assert w % m == 0
        assert min(n, p) <= w <= p * 1.2
        assert w == p or (w >= n and w / m >= 2)
    assert 0.75 * np.prod(patch) <= np.prod(window) <= 1.2 * np.prod(patch)
    holding = [-(-n // m) * m for n, m in zip(shape, multiple, strict=True)]
    tight = [h if h <= p * 1.2 else p for h, p in zip(holding, patch, strict=True)]
    if 0.75 * np.prod(patch) <= np.prod(tight) <= 1.2 * np.prod(patch):
        assert window == tuple(tight)


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((70, 120, 180), (72, 128, 192)),  # one window for nnU-Net's two
        ((85, 128, 192), (64, 128, 192)),  # (88, ...) is more than a fifth longer
        (
            (70, 128, 200),
            (72, 128, 192),
        ),  # with 224 together too many voxels: the longer share gives way
        ((70, 90, 200), (72, 96, 224)),  # what one axis saves another may take
    ],
)
def test_a_window_grows_to_hold_an_image_a_little_longer(shape, window):
    """F72: worked out by hand for a patch of 64 x 128 x 192 and total strides 8, 32, 32."""
    assert fitted_window(shape, (64, 128, 192), (8, 32, 32)) == window


def test_the_most_shortened_axis_grows_first():
    """F72: (8, 8, 32) has half of the voxels of (8, 16, 32), (8, 12, 32) three quarters."""
    assert fitted_window((8, 5, 40), (8, 16, 32), (4, 4, 4)) == (8, 12, 32)
    assert fitted_window((5, 5, 5), (8, 16, 16), (4, 4, 4)) == (8, 16, 12)
