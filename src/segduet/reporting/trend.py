"""Whether a curve still moves: a slope and a test, instead of a look at the last point."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from segduet.reporting.history import Series

#: Kendall's test cannot reach p < 0.05 with fewer points.
MIN_POINTS = 5
SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Direction of a series over its last third.

    Attributes:
        name: of the series.
        slope: Theil-Sen slope per epoch; 0 with too few points.
        p_value: of the Mann-Kendall test; 1 with too few points. Neighbouring epochs resemble
            each other, so it is too small rather than too large.
        num_points: values it rests on.
        first_epoch: where the last third begins.
        last_epoch: where it ends.
    """

    name: str
    slope: float
    p_value: float
    num_points: int
    first_epoch: int
    last_epoch: int

    @property
    def direction(self) -> Literal["rising", "falling", "flat", "unknown"]:
        """Rising or falling where the test says so, unknown with too few points."""
        if self.num_points < MIN_POINTS:
            return "unknown"
        if self.p_value >= SIGNIFICANCE:
            return "flat"
        return "rising" if self.slope > 0 else "falling"


def last_third_trend(series: Series) -> Trend:
    """Theil-Sen slope and Mann-Kendall test of the last third of the values, at least five.

    Source: Mann (1945), doi:10.2307/1907187; Sen (1968), doi:10.1080/01621459.1968.10480934.
    """
    count = min(len(series.values), max(MIN_POINTS, -(-len(series.values) // 3)))
    epochs, values = series.epochs[-count:], series.values[-count:]
    slope, p_value = 0.0, 1.0
    if count >= MIN_POINTS and np.ptp(values) > 0:
        slope = float(stats.theilslopes(values, epochs).slope)
        p_value = float(stats.kendalltau(epochs, values).pvalue)
    return Trend(
        name=series.name,
        slope=slope,
        p_value=p_value,
        num_points=count,
        first_epoch=epochs[0],
        last_epoch=epochs[-1],
    )
