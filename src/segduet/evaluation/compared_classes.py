"""Rows of a comparison that judge classes: figures of the whole cohort, such as macro-F1."""

from collections.abc import Sequence

import numpy as np

from segduet.core.scores import Estimate
from segduet.core.tasks import TaskSpec
from segduet.evaluation.classification import TaskAnswers, collect_answers, interval_kind
from segduet.evaluation.comparable import ComparedRun
from segduet.evaluation.compared_figures import (
    NOT_MEASURED,
    figure_entry,
    judged_row,
    no_difference,
)
from segduet.evaluation.comparison_file import Difference, FigureEntry, FigureRow
from segduet.evaluation.intervals import statistic_estimate
from segduet.evaluation.measures import Measure, task_measures
from segduet.evaluation.paired_tests import exchange_p
from segduet.metrics.declared import TASK_METRICS


def class_rows(
    runs: Sequence[ComparedRun], tasks: Sequence[TaskSpec], *, seed: int
) -> list[FigureRow]:
    """One row per task and metric of its kind.

    Args:
        runs: the reference run first.
        tasks: every question that any run answers.
        seed: of resampling and exchanging.
    """
    rows = []
    for task in tasks:
        answers = [
            collect_answers(run.cases, task) if task.name in _names(run) else None for run in runs
        ]
        any_run = next(of_run for of_run in answers if of_run is not None)
        rows += [_row(runs, answers, name, seed) for name in _measures(any_run)]
    return rows


def _names(run: ComparedRun) -> set[str]:
    return {task.name for task in run.tasks}


def _measures(answers: TaskAnswers) -> dict[str, Measure]:
    measures = task_measures(answers.task, answers.reference, answers.probabilities)
    return dict(measures.overall)


def _row(
    runs: Sequence[ComparedRun], answers: Sequence[TaskAnswers | None], metric: str, seed: int
) -> FigureRow:
    task = next(of_run.task for of_run in answers if of_run is not None)
    unit = next(_measures(of_run)[metric].unit for of_run in answers if of_run is not None)
    return judged_row(
        "classification",
        task.name,
        TASK_METRICS[metric],
        {
            run.name: _value(of_run, metric, run.selected_from, seed)
            for run, of_run in zip(runs, answers, strict=True)
        },
        [
            _difference(run.name, answers[0], of_run, metric, seed)
            for run, of_run in zip(runs[1:], answers[1:], strict=True)
        ],
        unit=unit,
    )


def _value(answers: TaskAnswers | None, metric: str, selected_from: int, seed: int) -> FigureEntry:
    if answers is None:
        return figure_entry(Estimate(value=None, ci95=None, n=0, reason=NOT_MEASURED))
    measure = _measures(answers)[metric]
    estimate = statistic_estimate(
        measure.statistic,
        answers.patients,
        seed=seed,
        undefined=measure.undefined,
        kind=interval_kind(metric),
        denominators=measure.denominators,
    )
    return figure_entry(estimate, selected_from=selected_from)


def _difference(
    run: str, first: TaskAnswers | None, second: TaskAnswers | None, metric: str, seed: int
) -> Difference:
    if first is None or second is None:
        return no_difference(run, NOT_MEASURED)
    measures = [_measures(of_run)[metric] for of_run in (first, second)]
    estimate = statistic_estimate(
        lambda weights: measures[1].statistic(weights) - measures[0].statistic(weights),
        first.patients,
        seed=seed,
        undefined=measures[0].undefined,
        kind="t",
    )
    if estimate.value is None:
        return no_difference(run, estimate.reason)
    values = [float(measure.statistic(np.ones(estimate.n))) for measure in measures]
    return Difference(
        run=run,
        reference_value=values[0],
        run_value=values[1],
        difference=figure_entry(estimate),
        n_patients=len(set(first.patients)),
        p=exchange_p(
            first.task,
            metric,
            first.reference,
            (first.probabilities, second.probabilities),
            first.patients,
            seed=seed,
        ),
    )
