"""F74, B15: resampled slab by slab or at once, an array is the same to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segduet.core.geometry import Geometry
from segduet.core.labels import LabelScheme
from segduet.core.prepared import Placement
from segduet.preparation.resampling import Grids, ResamplingRule
from segduet.preparation.restore import LabelMapRestorer, restore_label_map
from segduet.preparation.slabs import SlabResampler

_RULES = {
    "linear": ResamplingRule(order=1),
    "nearest": ResamplingRule(order=0),
    "cubic": ResamplingRule(order=3),
    "separate": ResamplingRule(order=1, force_separate_z=True),
}


def _resampled(array, grids, rule, lengths):
    """The array handed over in slabs of these lengths, again and again, as one array."""
    resampler = SlabResampler(grids, rule)
    parts, first = [], 0
    while first < array.shape[1]:
        slab = array[:, first : first + lengths[len(parts) % len(lengths)]].copy()
        for slices, channels in resampler.add(slab):
            parts.append((slices, np.stack([channel.copy() for channel in channels])))
        if not parts:
            parts.append((slice(0, 0), np.empty((len(array), 0, *grids.new_shape[1:]))))
        first += slab.shape[1]
        slab[...] = np.nan  # the memory is not the resampler's
    ends = [slices.stop for slices, _ in parts]
    assert [slices.start for slices, _ in parts[1:]] == ends[:-1], "in order, without a gap"
    assert ends[-1] == grids.new_shape[0]
    return np.concatenate([part for _, part in parts], axis=1)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(_RULES)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
def test_slabs_give_what_the_whole_gives(kind, depths, lengths):
    old, new = depths
    spacing = (9.0, 1.0, 1.0)
    grids = Grids(
        old_shape=(old, 4, 5), new_shape=(new, 6, 3), old_spacing=spacing, new_spacing=spacing
    )
    array = np.random.default_rng(0).normal(size=(2, old, 4, 5)).astype(np.float32)
    whole = _resampled(array, grids, _RULES[kind], [old])
    # products of other lengths may round another way, by the last bit of the largest number
    np.testing.assert_allclose(
        _resampled(array, grids, _RULES[kind], lengths), whole, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("length", [1, 3, 7])
def test_a_label_map_restored_from_slabs_is_that_of_the_whole(planned, length):
    """Crop, transpose and three labels; prepared 15 x 16 x 12 from native 22 x 20 x 9."""
    plan = planned((1.3, 1.2, 1.5), transpose=(1, 0, 2))
    placement = Placement(
        native=Geometry(shape_zyx=(22, 20, 9), spacing_zyx_mm=(1.0, 1.0, 2.0)),
        transpose_forward=(1, 0, 2),
        transpose_backward=(1, 0, 2),
        crop_box=((1, 20), (2, 21), (0, 9)),
        prepared_shape=(15, 16, 12),
    )
    labels = LabelScheme.from_dataset_json({"background": 0, "a": 1, "b": 2}, None, where="test")
    given_to = {
        "placement": placement,
        "configuration": plan.configuration("c"),
        "labels": labels,
    }
    logits = np.random.default_rng(2).normal(size=(3, 15, 16, 12)).astype(np.float32)
    expected = restore_label_map(logits, **given_to)
    restorer = LabelMapRestorer(**given_to)
    for first in range(0, 15, length):
        restorer.add(logits[:, first : first + length])
    assert sorted(np.unique(expected)) == [0, 1, 2]
    np.testing.assert_array_equal(restorer.finish(), expected)
