"""Resampling against skimage, which nnU-Net uses, and against properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segduet.preparation.resampling import (
    Grids,
    ResamplingRule,
    resample_image,
    resample_label_map,
    resampled_shape,
)

transform = pytest.importorskip("skimage.transform")

CUBIC, LINEAR = ResamplingRule(order=3), ResamplingRule(order=1)
sizes = st.tuples(*[st.integers(1, 9)] * 3)


def grids(old: tuple[int, ...], new: tuple[int, ...], **spacings: tuple[float, ...]) -> Grids:
    isotropic = (1.0, 1.0, 1.0)
    return Grids(
        old_shape=old,
        new_shape=new,
        **{"old_spacing": isotropic, "new_spacing": isotropic} | spacings,
    )


@given(old=sizes, new=sizes, order=st.sampled_from([0, 1, 3]), seed=st.integers(0, 99))
def test_images_equal_skimage_resize(
    old: tuple[int, int, int], new: tuple[int, int, int], order: int, seed: int
) -> None:
    """F08: the matrices are skimage's `resize(mode="edge")` with its clipping."""
    image = np.random.default_rng(seed).normal(size=(1, *old)).astype(np.float32)
    expected = transform.resize(
        image[0].astype(float), new, order, mode="edge", anti_aliasing=False
    )
    resampled = resample_image(image, grids(old, new), ResamplingRule(order=order))
    np.testing.assert_allclose(resampled[0], expected, rtol=0, atol=5e-6)


@given(old=sizes, new=sizes, seed=st.integers(0, 99))
def test_resampling_keeps_the_range_and_invents_no_label(
    old: tuple[int, int, int], new: tuple[int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(1, *old)).astype(np.float32)
    resampled = resample_image(image, grids(old, new), CUBIC)
    assert resampled.min() >= image.min()
    assert resampled.max() <= image.max()
    labels = rng.choice([-1, 0, 2, 7], size=old).astype(np.int16)
    result = resample_label_map(labels, grids(old, new), LINEAR)
    assert result.dtype == labels.dtype
    assert result.shape == new
    assert set(np.unique(result)) <= set(np.unique(labels))


def test_a_coarse_axis_takes_the_nearest_slice() -> None:
    image = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1) * np.ones((1, 3, 2, 2), np.float32)
    apart = grids((3, 2, 2), (6, 2, 2), old_spacing=(8.0, 1.0, 1.0), new_spacing=(4.0, 1.0, 1.0))
    rule = ResamplingRule(order=3, force_separate_z=None)
    assert resample_image(image, apart, rule)[0, :, 0, 0].tolist() == [0, 0, 1, 1, 2, 2]


def test_clipping_is_per_slice_where_an_axis_is_separate() -> None:
    """A sharp edge in slice 0 must not overshoot into the range of slice 1."""
    image = np.zeros((1, 2, 4, 4), np.float32)
    image[0, 0, :, 2:], image[0, 1] = 1.0, 100.0
    apart = grids((2, 4, 4), (2, 7, 7), old_spacing=(8.0, 1.0, 1.0), new_spacing=(8.0, 0.6, 0.6))
    resampled = resample_image(image, apart, ResamplingRule(order=3, force_separate_z=None))
    assert resampled[0, 0].max() == 1.0
    assert np.all(resampled[0, 1] == 100.0)


@pytest.mark.parametrize(
    ("force", "old", "new", "axis"),
    [
        (None, (3.1, 1.0, 1.0), (1.0, 1.0, 1.0), 0),
        (None, (3.0, 1.0, 1.0), (1.0, 1.0, 1.0), None),
        (None, (1.0, 1.0, 1.0), (1.0, 5.0, 1.0), 1),
        (None, (1.0, 4.0, 4.0), (9.0, 1.0, 1.0), None),
        (True, (1.0, 1.0, 1.5), (1.0, 1.0, 1.0), 2),
        (True, (1.0, 1.0, 1.0), (9.0, 1.0, 1.0), None),
        (False, (9.0, 1.0, 1.0), (9.0, 1.0, 1.0), None),
    ],
)
def test_which_axis_is_resampled_on_its_own(force, old, new, axis) -> None:
    """nnU-Net: one axis more than 3 times coarser, in the old grid or else in the new one."""
    assert ResamplingRule(order=3, force_separate_z=force).separate_axis(old, new) == axis


def test_shapes_are_rounded_half_to_even_and_never_zero() -> None:
    assert resampled_shape((5, 7, 1), (1.0, 1.0, 1.0), (2.0, 2.0, 5.0)) == (2, 4, 1)
