"""Rows of a comparison that judge masks: means over cases, differences case by case."""

from collections.abc import Mapping, Sequence

import numpy as np

from segduet.core.scores import Estimate, Score
from segduet.evaluation.comparable import ComparedRun
from segduet.evaluation.compared_figures import (
    NOT_MEASURED,
    Better,
    better_way,
    figure_entry,
    judged_row,
    no_difference,
)
from segduet.evaluation.comparison_file import Difference, FigureRow
from segduet.evaluation.intervals import mean_estimate
from segduet.evaluation.paired_tests import sign_flip_p
from segduet.evaluation.region_values import MEAN_FOREGROUND, mean_dsc
from segduet.metrics.declared import SEGMENTATION_METRICS, DeclaredMetric

#: case -> score
Values = Mapping[str, Score]


def mask_rows(runs: Sequence[ComparedRun], *, seed: int) -> list[FigureRow]:
    """One row per region and metric that any run has, and one of the mean foreground DSC.

    Args:
        runs: the reference run first.
        seed: of resampling and flipping.
    """
    measured = [run for run in runs if run.regions]
    names = {
        (region, metric): None
        for run in measured
        for case in run.cases
        for region, scores in case.segmentation.items()
        for metric in SEGMENTATION_METRICS
        if metric in scores
    }
    if measured:
        names[MEAN_FOREGROUND, "dsc"] = None
    return [_mask_row(runs, region, SEGMENTATION_METRICS[metric], seed) for region, metric in names]


def _mask_row(
    runs: Sequence[ComparedRun], region: str, metric: DeclaredMetric, seed: int
) -> FigureRow:
    values = [_values(run, region, metric) for run in runs]
    patients = {case.case: case.patient for case in runs[0].cases}
    return judged_row(
        "segmentation",
        region,
        metric,
        {
            run.name: figure_entry(_mean(found, patients, seed), selected_from=run.selected_from)
            for run, found in zip(runs, values, strict=True)
        },
        [
            _difference(run.name, (values[0], found), patients, better_way(metric), seed)
            for run, found in zip(runs[1:], values[1:], strict=True)
        ],
        unit=metric.unit,
    )


def _values(run: ComparedRun, region: str, metric: DeclaredMetric) -> dict[str, Score]:
    """The metric by case; its size where both signs are equally bad; empty if not measured."""
    with_mask = [case for case in run.cases if case.segmentation]
    if region == MEAN_FOREGROUND:
        return {case.case: mean_dsc(case, run.regions) for case in with_mask}
    found = {
        case.case: case.segmentation[region][metric.name]
        for case in with_mask
        if metric.name in case.segmentation.get(region, {})
    }
    if metric.better != "zero":
        return found
    return {c: s if s.value is None else Score(value=abs(s.value)) for c, s in found.items()}


def _mean(values: Values, patients: Mapping[str, str], seed: int) -> Estimate:
    if not values:
        return Estimate(value=None, ci95=None, n=0, reason=NOT_MEASURED)
    defined = {case: s.value for case, s in values.items() if s.value is not None}
    return mean_estimate(list(defined.values()), [patients[c] for c in defined], seed=seed)


def _difference(
    run: str, both: tuple[Values, Values], patients: Mapping[str, str], better: Better, seed: int
) -> Difference:
    first, second = both
    pairs = {
        case: (before.value, after.value)
        for case, before in first.items()
        if before.value is not None
        and (after := second.get(case)) is not None
        and after.value is not None
    }
    if not pairs:
        reason = "no case for which both runs have a value" if first and second else NOT_MEASURED
        return no_difference(run, reason)
    of_reference, of_run = (np.array([pair[i] for pair in pairs.values()]) for i in (0, 1))
    owners = [patients[case] for case in pairs]
    change = of_run - of_reference
    gains = change if better == "higher" else -change
    return Difference(
        run=run,
        reference_value=float(of_reference.mean()),
        run_value=float(of_run.mean()),
        difference=figure_entry(mean_estimate(change.tolist(), owners, seed=seed)),
        n_patients=len(set(owners)),
        n_left_out=len(set(first) | set(second)) - len(pairs),
        n_better=int((gains > 0).sum()),
        n_worse=int((gains < 0).sum()),
        p=sign_flip_p(change.tolist(), owners, seed=seed),
    )
