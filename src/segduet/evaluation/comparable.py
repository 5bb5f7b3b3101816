"""Runs that may be compared: the same cases with the same truth (F86)."""

from collections.abc import Sequence
from dataclasses import dataclass

from segduet.core.errors import DataError
from segduet.core.scores import CaseScores
from segduet.core.tasks import TaskSpec

#: Volumes of one reference mask that were computed twice agree within this share.
_SAME_VOLUME = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One evaluation to compare.

    Attributes:
        name: what tables call it.
        folder: where it lies.
        cases: its scored cases.
        regions: declared regions; none where no masks were scored.
        tasks: the questions it answers.
        selected_from: candidates its model was chosen from on these cases.
    """

    name: str
    folder: str
    cases: Sequence[CaseScores]
    regions: Sequence[str]
    tasks: Sequence[TaskSpec]
    selected_from: int = 1


def check_comparable(reference: ComparedRun, run: ComparedRun) -> None:
    """Refuses a run that judges something else than the reference run does.

    A run that has only masks or only classes is fine: what it lacks was not measured.

    Raises:
        DataError: a case is missing or extra, a case has another patient, class or reference
            mask, both have masks but of other regions, or both have tasks but share none, or one
            of the same name with other classes.
    """
    _check_cases(reference, run)
    _check_subjects(reference, run)
    of_reference = {case.case: case for case in reference.cases}
    for case in run.cases:
        _check_truth(of_reference[case.case], case, reference, run)


def _check_cases(reference: ComparedRun, run: ComparedRun) -> None:
    wanted, found = ({case.case for case in r.cases} for r in (reference, run))
    missing, extra = sorted(wanted - found), sorted(found - wanted)
    if missing or extra:
        parts = [f"{len(missing)} cases missing, such as {missing[:3]}"] if missing else []
        parts += [f"{len(extra)} cases more, such as {extra[:3]}"] if extra else []
        raise DataError(
            f"run {run.folder}",
            found=f"{' and '.join(parts)}, than in {reference.folder}",
            expected="the same cases in every run, since differences are taken case by case",
            remedy="Evaluate all runs on the same cases (--split, --fold).",
        )


def _check_subjects(reference: ComparedRun, run: ComparedRun) -> None:
    regions = [list(r.regions) for r in (reference, run)]
    if all(regions) and set(regions[0]) != set(regions[1]):
        raise _other_subject("regions", regions[1], regions[0], run)
    tasks = [{task.name: task for task in r.tasks} for r in (reference, run)]
    if all(tasks) and not set(tasks[0]) & set(tasks[1]):
        raise _other_subject("tasks", sorted(tasks[1]), sorted(tasks[0]), run)
    for name in sorted(set(tasks[0]) & set(tasks[1])):
        answers = [_possible_answers(of_run[name]) for of_run in tasks]
        if answers[0] != answers[1]:
            raise _other_subject(f"task {name!r}", answers[1], answers[0], run)


def _possible_answers(task: TaskSpec) -> str:
    """What an answer may be; where a model looks for it does not matter."""
    return f"{task.kind} {list(task.classes) or task.unit or 'number'}"


def _other_subject(what: str, found: object, expected: object, run: ComparedRun) -> DataError:
    return DataError(
        f"run {run.folder}",
        found=f"other {what}: {found}",
        expected=f"{expected}, as in the first run",
        remedy="Compare runs that answer the same questions.",
    )


def _check_truth(
    first: CaseScores, second: CaseScores, reference: ComparedRun, run: ComparedRun
) -> None:
    differing = {}
    if first.patient != second.patient:
        differing["patient"] = (first.patient, second.patient)
    for task in set(first.answers) & set(second.answers):
        truths = (first.answers[task].reference, second.answers[task].reference)
        if truths[0] != truths[1]:
            differing[f"true {task!r}"] = (str(truths[0]), str(truths[1]))
    for region in set(first.volumes_ml) & set(second.volumes_ml):
        volumes = (first.volumes_ml[region][0], second.volumes_ml[region][0])
        if abs(volumes[0] - volumes[1]) > _SAME_VOLUME * max(volumes):
            of_region = tuple(f"{volume:g} ml" for volume in volumes)
            differing[f"reference volume of {region!r}"] = (of_region[0], of_region[1])
    if differing:
        what, (wanted, found) = next(iter(sorted(differing.items())))
        raise DataError(
            f"run {run.folder}, case {second.case!r}",
            found=f"{what} {found}",
            expected=f"{wanted}, as in {reference.folder}",
            remedy="Evaluate both runs against the same references.",
        )
