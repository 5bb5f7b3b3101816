"""F09: patches are centred on foreground as often as asked, and each sample is reproducible."""

from types import SimpleNamespace
from unittest import mock

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segduet.windows.sampling import (
    choose_patch_start,
    read_patch,
    sample_generator,
    start_bounds,
)

_SIZES = st.tuples(*[st.integers(1, 12)] * 3)


def _choose(generator, share, *, shape=(20, 20, 20), patch=(8, 8, 8), locations=None):
    return choose_patch_start(
        generator,
        shape=shape,
        patch=patch,
        locations={} if locations is None else locations,
        foreground_share=share,
    )


def _holds(start, patch, voxel):
    return all(s <= v < s + p for s, p, v in zip(start, patch, voxel, strict=True))


@pytest.mark.parametrize("share", [0.0, 0.33, 0.5, 1.0])
def test_measured_share_of_foreground_patches_is_the_configured_one(share):
    """F09: a lesion of one voxel in a corner of a big case, which random patches never hold."""
    shape, patch, lesion = (1, 4000, 4000), (1, 16, 16), (0, 3999, 0)
    locations = {"lesion": np.array([lesion])}
    held = [
        _holds(
            _choose(
                sample_generator(7, 0, i), share, shape=shape, patch=patch, locations=locations
            ),
            patch,
            lesion,
        )
        for i in range(4000)
    ]
    assert np.mean(held) == pytest.approx(share, abs=0.03)


def test_a_sample_depends_on_seed_epoch_and_index_only():
    locations = {"lesion": np.argwhere(np.ones((20, 20, 20)))}

    def start(seed, epoch, index):
        return _choose(sample_generator(seed, epoch, index), 0.5, locations=locations)

    forwards = [start(1, 2, i) for i in range(50)]
    backwards = [start(1, 2, i) for i in reversed(range(50))]
    assert forwards == backwards[::-1]
    assert forwards != [start(2, 2, i) for i in range(50)]
    assert forwards != [start(1, 3, i) for i in range(50)]


def test_big_seeds_do_not_collide_with_epochs():
    a, b = sample_generator(2**32, 0, 0), sample_generator(0, 1, 0)
    assert a.integers(2**60) != b.integers(2**60)


@settings(max_examples=100, deadline=None)
@given(_SIZES, _SIZES, st.integers(0, 2**31), st.data())
def test_a_foreground_patch_holds_its_voxel_and_stays_in_bounds(shape, patch, seed, data):
    voxel = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    locations = {"lesion": np.array([voxel])}
    start = _choose(np.random.default_rng(seed), 1.0, shape=shape, patch=patch, locations=locations)
    lower, upper = start_bounds(shape, patch)
    assert _holds(start, patch, voxel)
    assert all(a <= s <= b for a, s, b in zip(lower, start, upper, strict=True))


def test_a_foreground_patch_away_from_the_border_is_centred():
    start = _choose(np.random.default_rng(0), 1.0, locations={"a": np.array([[10, 9, 11]])})
    assert start == (6, 5, 7)


def test_regions_are_chosen_equally_often_whatever_their_size_and_empty_ones_never():
    locations = {
        "big": np.tile([[4, 4, 4]], (999, 1)),
        "small": np.array([[15, 15, 15]]),
        "none": np.zeros((0, 3), dtype=int),
    }
    starts = [_choose(sample_generator(0, 0, i), 1.0, locations=locations) for i in range(2000)]
    assert set(starts) == {(0, 0, 0), (11, 11, 11)}
    assert np.mean([s == (11, 11, 11) for s in starts]) == pytest.approx(0.5, abs=0.04)


def test_a_case_without_foreground_is_sampled_uniformly_over_all_starts():
    starts = [
        _choose(sample_generator(0, 0, i), 1.0, shape=(1, 1, 10), patch=(1, 1, 8))
        for i in range(3000)
    ]
    counts = np.bincount([x for _, _, x in starts], minlength=3)
    np.testing.assert_allclose(counts / 3000, 1 / 3, atol=0.03)


@settings(max_examples=100, deadline=None)
@given(_SIZES, _SIZES)
def test_bounds_are_those_of_nnunet(shape, patch):
    """nnU-Net draws from randint(lower, upper + 1); taking either end shows its bounds."""
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

    loader = SimpleNamespace(need_to_pad=np.zeros(3, dtype=int), patch_size=patch, has_ignore=False)
    module = "nnunetv2.training.dataloading.data_loader.np.random.randint"
    with mock.patch(module, side_effect=lambda low, high: low):
        lower, _ = nnUNetDataLoader.get_bbox(loader, np.array(shape), False, None)
    with mock.patch(module, side_effect=lambda low, high: high - 1):
        upper, _ = nnUNetDataLoader.get_bbox(loader, np.array(shape), False, None)
    assert start_bounds(shape, patch) == (tuple(lower), tuple(upper))


@pytest.mark.parametrize("kind", ["numpy", "blosc2"])
@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(-12, 14)] * 3),
    st.tuples(*[st.integers(1, 12)] * 3),
)
def test_a_patch_is_the_image_where_they_meet_and_padding_elsewhere(kind, start, patch):
    image = np.arange(2 * 5 * 6 * 7, dtype=np.float32).reshape(2, 5, 6, 7)
    big = np.full((2, 50, 50, 50), -1, dtype=np.float32)
    big[:, 20:25, 20:26, 20:27] = image
    z, y, x = (slice(s + 20, s + 20 + p) for s, p in zip(start, patch, strict=True))
    source = blosc2.asarray(image) if kind == "blosc2" else image
    read = read_patch(source, start, patch, pad_value=-1)
    assert read.dtype == image.dtype
    np.testing.assert_array_equal(read, big[:, z, y, x])


def test_reading_a_patch_gives_a_copy():
    image = np.zeros((1, 4, 4, 4), dtype=np.int16)
    read_patch(image, (0, 0, 0), (4, 4, 4), pad_value=0)[:] = 1
    assert not image.any()


@pytest.mark.parametrize("share", [0.33, 1.0])
def test_measured_share_of_lesion_patches_is_the_configured_one(share):
    """F09, F61: on the lesion as often as asked, where any foreground would mostly be organ."""
    shape, patch, lesion = (1, 4000, 4000), (1, 16, 16), (0, 3999, 0)
    organ = np.array([(0, y, 2000) for y in range(100, 3000, 10)])
    locations = {"lesion": np.array([lesion]), "organ": organ}

    def measured(region):
        starts = (
            choose_patch_start(
                sample_generator(7, 0, i),
                shape=shape,
                patch=patch,
                locations=locations,
                foreground_share=share,
                foreground_region=region,
            )
            for i in range(4000)
        )
        return np.mean([_holds(start, patch, lesion) for start in starts])

    assert measured("lesion") == pytest.approx(share, abs=0.03)
    assert measured(None) == pytest.approx(share / 2, abs=0.03)


def test_a_case_without_the_region_is_sampled_on_its_other_foreground():
    """F09: a healthy organ still teaches the organ."""
    locations = {"lesion": np.zeros((0, 3), int), "organ": np.array([[10, 9, 11]])}
    start = choose_patch_start(
        np.random.default_rng(0),
        shape=(20, 20, 20),
        patch=(8, 8, 8),
        locations=locations,
        foreground_share=1.0,
        foreground_region="lesion",
    )
    assert start == (6, 5, 7)
