"""Intensity normalisation of one channel, by the scheme a plan names."""

import math
from collections.abc import Mapping

import numpy as np

from segduet.core.errors import DataError

#: Names a plan may hold in `normalization_schemes`.
SCHEMES = (
    "CTNormalization",
    "ZScoreNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
)

#: Of these a voxel's new value depends on no other voxel.
POINTWISE_SCHEMES = ("CTNormalization", "NoNormalization", "RGBTo01Normalization")

#: Keeps a constant image from being divided by zero; nnU-Net 2.8's value.
_SMALLEST_SPREAD = np.float32(1e-8)


def normalize_channel(
    channel: np.ndarray,
    *,
    scheme: str,
    is_inside: np.ndarray | None,
    intensities: Mapping[str, float],
    where: str,
    out: np.ndarray,
) -> None:
    """Writes one channel in the units the network was trained on.

    It is gone through slice by slice, which stay in the processor's cache; no other copy of the
    channel is made. A constant channel becomes 0 under z-scoring and rescaling.

    Args:
        channel: (Z, Y, X) any numeric dtype.
        scheme: one of `SCHEMES`.
        is_inside: (Z, Y, X) bool; if given, z-scoring uses and changes these voxels only.
        intensities: the plan's foreground intensities of this channel; only CT needs them.
        where: case and channel, for messages.
        out: (Z, Y, X) float32, what is written.

    Raises:
        DataError: unknown scheme, CT without the plan's intensities, or colours outside 0-255.
    """
    match scheme:
        case "CTNormalization":
            _ct(channel, out, intensities, where)
        case "ZScoreNormalization":
            _z_score(channel, out, is_inside)
        case "NoNormalization":
            out[...] = channel
        case "RescaleTo01Normalization":
            out[...] = channel
            out -= out.min()
            out /= max(out.max(), _SMALLEST_SPREAD)
        case "RGBTo01Normalization":
            _check_colours(channel, where)
            np.divide(channel, np.float32(255), out=out)
        case _:
            raise DataError(
                where,
                found=f"normalisation scheme {scheme!r} in the plan",
                expected=f"one of {list(SCHEMES)}",
                remedy="Name the channel in dataset.json after one of nnU-Net's schemes and plan "
                "again.",
            )


def _ct(channel: np.ndarray, out: np.ndarray, intensities: Mapping[str, float], where: str) -> None:
    """Clips to the foreground's 0.5 and 99.5 percentiles, then z-scores with its mean and std."""
    needed = ("percentile_00_5", "percentile_99_5", "mean", "std")
    missing = [name for name in needed if name not in intensities]
    if missing:
        raise DataError(
            where,
            found=f"a plan without the foreground intensities {missing}",
            expected="all of them for CT normalisation",
            remedy="Plan again, so that the fingerprint is part of the plan.",
        )
    low, high, mean, std = (np.float32(intensities[name]) for name in needed)
    for values, target in zip(channel, out, strict=True):
        target[...] = values
        np.clip(target, low, high, out=target)
        np.subtract(target, mean, out=target)
        np.divide(target, max(std, _SMALLEST_SPREAD), out=target)


def _z_score(channel: np.ndarray, out: np.ndarray, is_inside: np.ndarray | None) -> None:
    """Mean and spread are summed in double precision, slice by slice."""
    out[...] = channel
    masks = [slice(None)] * len(out) if is_inside is None else list(is_inside)
    count = out.size if is_inside is None else int(np.count_nonzero(is_inside))
    if count == 0:
        return
    slices = list(zip(out, masks, strict=True))
    mean = math.fsum(values[mask].sum(dtype=np.float64) for values, mask in slices) / count
    squares = (np.square(values[mask] - np.float64(mean)).sum() for values, mask in slices)
    spread = max(math.sqrt(math.fsum(squares) / count), float(_SMALLEST_SPREAD))
    for values, mask in slices:
        values[mask] = (values[mask] - np.float64(mean)) / spread


def _check_colours(channel: np.ndarray, where: str) -> None:
    low, high = float(channel.min()), float(channel.max())
    if low < 0 or high > 255:
        raise DataError(
            where,
            found=f"values from {low:g} to {high:g} in a colour channel",
            expected="0 to 255",
            remedy="Convert the image to 8 bit, or name the channel differently and plan again.",
        )
