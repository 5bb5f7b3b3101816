"""Intensity normalisation of one channel, by the scheme a plan names."""

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

#: Keeps a constant image from being divided by zero; nnU-Net 2.8's value.
_SMALLEST_SPREAD = np.float32(1e-8)


def normalize_channel(
    channel: np.ndarray,
    *,
    scheme: str,
    is_inside: np.ndarray | None,
    intensities: Mapping[str, float],
    where: str,
) -> np.ndarray:
    """One channel in the units the network was trained on.

    Args:
        channel: (Z, Y, X) any numeric dtype.
        scheme: one of `SCHEMES`.
        is_inside: (Z, Y, X) bool; if given, z-scoring uses and changes these voxels only.
        intensities: the plan's foreground intensities of this channel; only CT needs them.
        where: case and channel, for messages.

    Returns:
        (Z, Y, X) float32; a constant channel becomes 0 under z-scoring and rescaling.

    Raises:
        DataError: unknown scheme, CT without the plan's intensities, or colours outside 0-255.
    """
    values = channel.astype(np.float32)
    match scheme:
        case "CTNormalization":
            return _ct(values, intensities, where)
        case "ZScoreNormalization":
            return _z_score(values, is_inside)
        case "NoNormalization":
            return values
        case "RescaleTo01Normalization":
            return _rescale_to_01(values)
        case "RGBTo01Normalization":
            return _rgb_to_01(values, where)
    raise DataError(
        where,
        found=f"normalisation scheme {scheme!r} in the plan",
        expected=f"one of {list(SCHEMES)}",
        remedy="Name the channel in dataset.json after one of nnU-Net's schemes and plan again.",
    )


def _ct(values: np.ndarray, intensities: Mapping[str, float], where: str) -> np.ndarray:
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
    np.clip(values, low, high, out=values)
    values -= mean
    values /= max(std, _SMALLEST_SPREAD)
    return values


def _z_score(values: np.ndarray, is_inside: np.ndarray | None) -> np.ndarray:
    selected = values if is_inside is None else values[is_inside]
    if selected.size == 0:
        return values
    mean = selected.mean(dtype=np.float64)
    spread = max(selected.std(dtype=np.float64), float(_SMALLEST_SPREAD))
    scores: np.ndarray = ((selected - mean) / spread).astype(np.float32)
    if is_inside is None:
        return scores
    values[is_inside] = scores
    return values


def _rescale_to_01(values: np.ndarray) -> np.ndarray:
    values -= values.min()
    values /= max(values.max(), _SMALLEST_SPREAD)
    return values


def _rgb_to_01(values: np.ndarray, where: str) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        raise DataError(
            where,
            found=f"values from {low:g} to {high:g} in a colour channel",
            expected="0 to 255",
            remedy="Convert the image to 8 bit, or name the channel differently and plan again.",
        )
    values /= np.float32(255)
    return values
