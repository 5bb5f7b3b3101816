"""Logits on the prepared grid -> label map on the user's grid."""

from collections.abc import Iterator

import numpy as np

from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan
from segduet.core.prepared import Placement
from segduet.core.threads import for_each
from segduet.preparation.cropping import box_slices
from segduet.preparation.resampling import Grids, ResamplingRule
from segduet.preparation.slabs import SlabResampler


class LabelMapRestorer:
    """Resamples logits to the native grid, decides them, and undoes crop and transpose.

    Logits are resampled before they are decided, as in nnU-Net, but a few slices of one channel at
    a time: the full-size logits never exist.

    Args:
        placement: how the prepared grid lies in the native one.
        configuration: gives the prepared spacing and the resampling of logits.
        labels: how logits are decided.

    Raises:
        DataError: the plan asks for a resampling we do not implement.
    """

    def __init__(
        self, *, placement: Placement, configuration: ConfigurationPlan, labels: LabelScheme
    ) -> None:
        self._placement, self._labels = placement, labels
        self._resampler = _resampler(placement, configuration)
        self._whole = np.zeros(placement.transposed_shape, np.uint8)
        self._inside = self._whole[box_slices(placement.crop_box)]

    def add(self, logits: np.ndarray) -> None:
        """Takes the next slices (K, n, Y, X) float32 of the logits on the prepared grid."""
        for_each(self._decide, self._resampler.add(logits))

    def _decide(self, part: tuple[slice, Iterator[np.ndarray]]) -> None:
        slices, channels = part
        self._inside[slices] = self._labels.decode(channels)

    def finish(self) -> np.ndarray:
        """Label map (Z, Y, X) uint8 on the native grid; background outside the crop."""
        return np.ascontiguousarray(self._whole.transpose(self._placement.transpose_backward))


def restore_label_map(
    logits: np.ndarray,
    *,
    placement: Placement,
    configuration: ConfigurationPlan,
    labels: LabelScheme,
) -> np.ndarray:
    """The label map of logits that are there as a whole; see `LabelMapRestorer`.

    Args:
        logits: (K, Z, Y, X) float32 on the prepared grid.
        placement: how the prepared grid lies in the native one.
        configuration: gives the prepared spacing and the resampling of logits.
        labels: how logits are decided.

    Returns:
        (Z, Y, X) uint8 on the native grid; background outside the crop.

    Raises:
        DataError: the plan asks for a resampling we do not implement.
    """
    assert logits.shape == (labels.num_segmentation_heads, *placement.prepared_shape)
    restorer = LabelMapRestorer(placement=placement, configuration=configuration, labels=labels)
    restorer.add(logits)
    return restorer.finish()


def restore_map(
    values: np.ndarray, *, placement: Placement, configuration: ConfigurationPlan
) -> np.ndarray:
    """Brings a density, such as where a head looks, to the native grid.

    It is resampled as logits are, then scaled so that its sum stays what it was.

    Args:
        values: (Z, Y, X) float32 >= 0 on the prepared grid, not all 0.
        placement: how the prepared grid lies in the native one.
        configuration: gives the prepared spacing and the resampling.

    Returns:
        (Z, Y, X) float32 >= 0 on the native grid; 0 outside the crop.

    Raises:
        DataError: the plan asks for a resampling we do not implement.
    """
    whole = np.zeros(placement.transposed_shape, np.float32)
    inside = whole[box_slices(placement.crop_box)]
    for slices, channels in _resampler(placement, configuration).add(values[None]):
        inside[slices] = next(channels).clip(0)
    whole *= values.sum(dtype=np.float64) / whole.sum(dtype=np.float64)
    return np.ascontiguousarray(whole.transpose(placement.transpose_backward))


def _resampler(placement: Placement, configuration: ConfigurationPlan) -> SlabResampler:
    rule = ResamplingRule.of(configuration, "probabilities", where="plan")
    return SlabResampler(Grids.of_preparation(placement, configuration).reverse, rule)
