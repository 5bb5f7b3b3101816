"""Runs on the same cases, figure by figure: value, paired difference, p (F83, F86, F95)."""

from collections.abc import Sequence

from segduet.evaluation.answer_split import dsc_by_answer
from segduet.evaluation.comparable import ComparedRun, check_comparable
from segduet.evaluation.compared_classes import class_rows
from segduet.evaluation.compared_figures import figure_entry
from segduet.evaluation.compared_masks import mask_rows
from segduet.evaluation.comparison_file import AnswerSplitEntry, Comparison, RunEntry
from segduet.evaluation.intervals import INTERVAL_TEXT
from segduet.evaluation.paired_tests import CORRECTION_TEXT, TEST_TEXT

_DIFFERENCES_TEXT = "Student's t with the bootstrap's error for differences of cohort figures"


def compare_runs(runs: Sequence[ComparedRun], *, seed: int) -> Comparison:
    """Every figure of every run, and each run's paired difference to the first.

    What only some runs have, such as the masks of a model that only segments, stands with their
    values; its differences are not measured.

    Args:
        runs: two or more, with names that differ; the first is the reference.
        seed: of resampling and exchanging.

    Raises:
        DataError: a run has other cases, truths, regions or tasks than the first.
    """
    for run in runs[1:]:
        check_comparable(runs[0], run)
    tasks = list({task.name: task for run in runs for task in run.tasks}.values())
    return Comparison(
        reference=runs[0].name,
        runs=tuple(_run_entry(run, seed) for run in runs),
        tasks=tuple(tasks),
        rows=(*mask_rows(runs, seed=seed), *class_rows(runs, tasks, seed=seed)),
        interval=f"{INTERVAL_TEXT}; {_DIFFERENCES_TEXT}",
        test=TEST_TEXT,
        correction=CORRECTION_TEXT,
        seed=seed,
    )


def _run_entry(run: ComparedRun, seed: int) -> RunEntry:
    return RunEntry(
        name=run.name,
        folder=run.folder,
        n_cases=len(run.cases),
        n_patients=len({case.patient for case in run.cases}),
        selected_from=run.selected_from,
        measures_masks=bool(run.regions),
        tasks=tuple(task.name for task in run.tasks),
        dsc_by_answer=tuple(
            AnswerSplitEntry(
                task=task,
                region=region,
                right=figure_entry(split.right),
                wrong=figure_entry(split.wrong),
                difference=figure_entry(split.difference),
            )
            for task, regions in dsc_by_answer(run.cases, run.regions, run.tasks, seed=seed).items()
            for region, split in regions.items()
        ),
    )
