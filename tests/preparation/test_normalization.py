"""Intensities after normalisation, worked by hand."""

import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.preparation.normalization import SCHEMES, normalize_channel

CT = {"mean": 10.0, "std": 5.0, "percentile_00_5": 0.0, "percentile_99_5": 20.0}


def normalize(values: list[float], scheme: str, *, inside: list[bool] | None = None, **ct: float):
    channel = np.array(values, np.float64).reshape(1, 1, -1)
    is_inside = None if inside is None else np.array(inside).reshape(1, 1, -1)
    out = np.empty(channel.shape, np.float32)
    normalize_channel(
        channel, scheme=scheme, is_inside=is_inside, intensities=ct,
        where="case 'toy', channel 0", out=out,
    )  # fmt: skip
    assert channel.ravel().tolist() == values, "the image itself is left alone"
    return out.ravel().tolist()


def test_ct_is_clipped_to_the_foreground_percentiles_then_z_scored() -> None:
    """F08."""
    done = normalize([-1000.0, 0.0, 10.0, 15.0, 3000.0], "CTNormalization", **CT)
    assert done == [-2.0, -2.0, 0.0, 1.0, 2.0]


def test_z_score_uses_the_image_itself() -> None:
    assert normalize([1.0, 3.0, 1.0, 3.0], "ZScoreNormalization") == [-1.0, 1.0, -1.0, 1.0]


def test_masked_z_score_leaves_the_outside_alone() -> None:
    done = normalize([0.0, 5.0, 9.0, 0.0], "ZScoreNormalization", inside=[False, True, True, False])
    assert done == [0.0, -1.0, 1.0, 0.0]


@pytest.mark.parametrize("scheme", ["ZScoreNormalization", "RescaleTo01Normalization"])
def test_a_constant_channel_becomes_zero(scheme: str) -> None:
    assert normalize([7.0, 7.0, 7.0], scheme) == [0.0, 0.0, 0.0]


def test_the_other_schemes() -> None:
    assert normalize([-3.0, 900.0], "NoNormalization") == [-3.0, 900.0]
    assert normalize([-1.0, 1.0, 3.0], "RescaleTo01Normalization") == [0.0, 0.5, 1.0]
    assert normalize([0.0, 51.0, 255.0], "RGBTo01Normalization") == pytest.approx([0.0, 0.2, 1.0])


@pytest.mark.parametrize(
    ("values", "scheme", "message"),
    [
        ([1.0], "SecretNormalization", "SecretNormalization"),
        ([1.0], "CTNormalization", "percentile_00_5"),
        ([0.0, 256.0], "RGBTo01Normalization", "0 to 256"),
        ([-1.0, 255.0], "RGBTo01Normalization", "-1 to 255"),
    ],
)
def test_what_cannot_be_normalised_names_case_and_channel(
    values: list[float], scheme: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        normalize(values, scheme)
    assert caught.value.where == "case 'toy', channel 0"


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_whole_numbers_in_any_type_are_normalised_alike(scheme: str, dtype: type) -> None:
    """An image may keep its stored type until here: half the memory (B15)."""
    stored = np.random.default_rng(0).integers(0, 127, (4, 5, 6))
    is_inside = stored > 20
    results = []
    for channel in (stored.astype(np.float64), stored.astype(dtype)):
        out = np.empty(stored.shape, np.float32)
        normalize_channel(
            channel, scheme=scheme, is_inside=is_inside, intensities=CT, where="toy", out=out
        )
        results.append(out)
    np.testing.assert_array_equal(*results)


def test_z_scores_of_slices_are_those_of_the_whole() -> None:
    """Statistics are summed slice by slice: a channel of 1000 + noise, against numpy's own."""
    channel = np.random.default_rng(1).normal(1000, 3, (7, 8, 9)).astype(np.float32)
    out = np.empty_like(channel)
    normalize_channel(
        channel, scheme="ZScoreNormalization", is_inside=None, intensities={}, where="", out=out
    )
    wide = channel.astype(np.float64)
    np.testing.assert_allclose(out, (wide - wide.mean()) / wide.std(), rtol=1e-5, atol=1e-7)
