"""A metric of every case by region, with the mean over regions that stands for the mask (F81)."""

from collections.abc import Sequence

import numpy as np

from segduet.core.scores import CaseScores, Score

MEAN_FOREGROUND = "mean_foreground"


def mean_dsc(case: CaseScores, regions: Sequence[str]) -> Score:
    """Mean DSC of a case over the regions where it is defined; undefined where none is.

    Args:
        case: its scores.
        regions: the declared ones, not those derived from them (`<name>_only`).
    """
    scores = (case.segmentation.get(name, {}).get("dsc") for name in regions)
    values = [s.value for s in scores if s is not None and s.value is not None]
    if not values:
        return Score(value=None, reason="no region is present in reference or prediction")
    return Score(value=float(np.mean(values)))


def region_values(
    cases: Sequence[CaseScores], regions: Sequence[str]
) -> dict[str, dict[str, Score]]:
    """DSC by region and case, and of `mean_foreground`; cases without masks are left out.

    Args:
        cases: scored cases.
        regions: the declared regions.
    """
    with_mask = [case for case in cases if case.segmentation]
    of_regions = {
        region: {case.case: case.segmentation[region]["dsc"] for case in with_mask}
        for region in regions
    }
    means = {case.case: mean_dsc(case, regions) for case in with_mask}
    return {**of_regions, MEAN_FOREGROUND: means}
