"""B04: checks whether a class can be read off the case ids."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from segduet.core.cases import CaseRecord
from segduet.core.tasks import TaskSpec
from segduet.dataset.findings import Finding, FindingKind, note_about

_PART = re.compile(r"[^\W\d_]+|\d+")  # runs of letters, runs of digits
_FEWEST_CASES = 20
_READABLE_ACCURACY = 0.95
_MOST_ERRORS = 0.25  # of those of the most frequent class


@dataclass(frozen=True, slots=True, kw_only=True)
class NameLeak:
    """A part of the case id that gives a class away.

    Attributes:
        task: the task whose class it is.
        position: which part of the id, from 0; parts are runs of letters or of digits.
        example: the part in the first case's id.
        accuracy: share of cases whose class the ids of other patients' cases tell.
        chance: share of the most frequent class.
        num_cases: cases with a known class.
    """

    task: str
    position: int
    example: str
    accuracy: float
    chance: float
    num_cases: int


def check_class_in_names(
    records: Sequence[CaseRecord], tasks: Iterable[TaskSpec]
) -> Iterator[Finding]:
    """Notes on tasks whose class can be read off the case ids."""
    for task in tasks:
        leak = class_in_names(records, task)
        if leak is not None:
            yield note_about(
                FindingKind.CLASS_IN_FILE_NAME,
                "",
                f"Part {leak.position + 1} of the case ids (such as {leak.example!r}) tells the "
                f"class of {leak.task!r} in {leak.accuracy:.0%} of {leak.num_cases} cases; the "
                f"most frequent class is {leak.chance:.0%}.",
                "Nothing for segduet, whose networks never see names; hide the ids from readers.",
            )


def class_in_names(records: Sequence[CaseRecord], task: TaskSpec) -> NameLeak | None:
    """The part of the case ids that tells the class best, where one does.

    The class of each case is guessed from the cases of all other patients: the most frequent class
    of those with the same part; of a number nobody else has, the class of the next lower number
    (numbers may be in blocks by class); otherwise the most frequent class of all. So a number that
    only names the patient tells nothing.

    Args:
        records: cases; those without a class are left out.
        task: tasks without exclusive classes are never found.

    Returns:
        None below 20 cases, below an accuracy of 0.95, or where the guesses make more than a
        quarter of the errors of always answering the most frequent class.
    """
    known = sorted((r for r in records if task.name in r.labels), key=lambda r: r.case)
    if not task.has_exclusive_classes or len(known) < _FEWEST_CASES:
        return None
    parts = {r.case: _PART.findall(r.case) for r in known}
    num_errors = len(known) - max(Counter(r.labels[task.name] for r in known).values())
    fewest_right = max(_READABLE_ACCURACY * len(known), len(known) - _MOST_ERRORS * num_errors)
    leaks = []
    for position in range(max(len(found) for found in parts.values())):
        part_of = {c: found[position] for c, found in parts.items() if position < len(found)}
        guesses = _guesses(known, part_of, task.name)
        right = sum(guesses[r.case] == r.labels[task.name] for r in known)
        if num_errors and right >= fewest_right:
            leaks.append(
                NameLeak(
                    task=task.name,
                    position=position,
                    example=next(iter(part_of.values())),
                    accuracy=right / len(known),
                    chance=1 - num_errors / len(known),
                    num_cases=len(known),
                )
            )
    return max(leaks, key=lambda leak: leak.accuracy, default=None)


def _guesses(known: Sequence[CaseRecord], part_of: Mapping[str, str], task: str) -> dict[str, str]:
    """Case -> the class that the ids of other patients' cases suggest."""
    overall = Counter(r.labels[task] for r in known)
    with_part = Counter((part_of.get(r.case, ""), r.labels[task]) for r in known)
    own = Counter((r.patient, part_of.get(r.case, ""), r.labels[task]) for r in known)
    before = _class_before(known, part_of, task)
    guesses = {}
    for record in known:
        part = part_of.get(record.case, "")
        votes = {c: with_part[part, c] - own[record.patient, part, c] for c in overall}
        if not any(votes.values()):
            votes = {before[record.case]: 1} if record.case in before else dict(overall)
        guesses[record.case] = max(sorted(votes), key=votes.__getitem__)
    return guesses


def _class_before(
    known: Sequence[CaseRecord], part_of: Mapping[str, str], task: str
) -> dict[str, str]:
    """Case -> class of the other patient's case with the next lower number."""
    numbered = [r for r in known if part_of.get(r.case, "").isdecimal()]
    numbered.sort(key=lambda r: int(part_of[r.case]))
    before: dict[str, str] = {}
    other: CaseRecord | None = None
    for previous, record in pairwise(numbered):
        if previous.patient != record.patient:
            other = previous
        if other is not None and other.patient != record.patient:
            before[record.case] = other.labels[task]
    return before
