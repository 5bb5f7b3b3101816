import numpy as np
import pytest
from scipy import stats

from segduet.reporting.history import Series
from segduet.reporting.trend import last_third_trend


def series(values) -> Series:
    return Series(name="x", epochs=tuple(range(len(values))), values=tuple(map(float, values)))


def test_straight_line():
    """F89: slope in units per epoch over the last third, with its test."""
    trend = last_third_trend(series(np.arange(30) * 0.5))
    assert trend.slope == pytest.approx(0.5)
    assert (trend.first_epoch, trend.last_epoch, trend.num_points) == (20, 29, 10)
    assert trend.p_value == pytest.approx(2 / 3628800)  # 2 of the 10! orders are as extreme
    assert trend.direction == "rising"


def test_only_the_last_third_counts():
    assert last_third_trend(series([*range(60, 0, -1), *range(30)])).direction == "rising"


def test_noise_is_called_flat_about_as_often_as_promised():
    """A published report called noise a degradation (seeds.md 1.1); p < .05 in 5 % of noise."""
    rng = np.random.default_rng(0)
    directions = [last_third_trend(series(rng.normal(size=60))).direction for _ in range(300)]
    assert 0.92 <= directions.count("flat") / 300 <= 0.98


@pytest.mark.parametrize(
    ("values", "direction"), [([1, 2, 3, 4], "unknown"), ([7], "unknown"), ([2] * 9, "flat")]
)
def test_too_little_to_say(values, direction):
    assert last_third_trend(series(values)).direction == direction


def test_agrees_with_scipy():
    values = np.random.default_rng(3).normal(size=15)
    trend = last_third_trend(series(values))
    assert trend.p_value == stats.kendalltau(range(10, 15), values[10:]).pvalue
