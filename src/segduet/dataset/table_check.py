"""Checks the case table of a raw dataset row by row."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from segduet.core.answers import encode_target
from segduet.core.cases import CaseRecord, Split, parse_split
from segduet.core.errors import DataError
from segduet.core.files import read_csv
from segduet.core.tasks import TaskSpec
from segduet.dataset.findings import Finding, FindingKind, error_about, warning_about


def check_table(
    source: Path, tasks: Sequence[TaskSpec]
) -> tuple[tuple[CaseRecord, ...], list[Finding]]:
    """Reads the rows that can be read, and says what is wrong with the table.

    Args:
        source: `cases.csv`.
        tasks: tasks of the dataset, one column each.

    Returns:
        Records (unknown labels and splits left out, repeated ids once) and findings.
    """
    findings: list[Finding] = []
    try:
        columns, rows = read_csv(source)
    except DataError as error:
        return (), [error_about(FindingKind.TABLE, "", f"{error}", error.remedy)]
    missing = [
        c for c in ("case", "patient", "split", *(t.name for t in tasks)) if c not in columns
    ]
    if missing:
        message = f"{source.name} has no column {', '.join(missing)}."
        findings.append(error_about(FindingKind.TABLE, "", message, "Add it (empty = unknown)."))
    records: dict[str, CaseRecord] = {}
    for number, row in enumerate(rows, start=2):
        record = _record(row, tasks, f"line {number}", findings)
        if record.case in records:
            message = f"{source.name}, line {number}: the case occurs a second time."
            findings.append(
                error_about(FindingKind.TABLE, record.case, message, "Remove one of the lines.")
            )
        records.setdefault(record.case, record)
    kept = tuple(records.values())
    findings.extend(_patient_findings(kept))
    for task in tasks:
        findings.extend(_class_findings(kept, task))
    return kept, findings


def _record(
    row: Mapping[str, str], tasks: Sequence[TaskSpec], where: str, findings: list[Finding]
) -> CaseRecord:
    case = row.get("case", "")
    split: Split = ""
    labels: dict[str, str] = {}
    try:
        split = parse_split(row.get("split", ""), where=where)
    except DataError as error:
        findings.append(error_about(FindingKind.TABLE, case, f"{error}", error.remedy))
    for task in tasks:
        label = row.get(task.name, "")
        try:
            encode_target(task, label, where=where)
        except DataError as error:
            message = f"{where}: {error.found}; expected {error.expected}."
            findings.append(error_about(FindingKind.TABLE, case, message, error.remedy))
        else:
            labels |= {task.name: label} if label else {}
    patient = row.get("patient", "") or case
    return CaseRecord(case=case, patient=patient, split=split, labels=labels)


def _patient_findings(records: Sequence[CaseRecord]) -> Iterator[Finding]:
    splits: dict[str, set[str]] = defaultdict(set)
    for record in records:
        splits[record.patient].add(record.split or "none")
    for patient, found in splits.items():
        if len(found) > 1:
            yield error_about(
                FindingKind.PATIENTS,
                "",
                f"Patient {patient!r} has cases in several splits: {', '.join(sorted(found))}.",
                "Move the patient's cases to one split, or correct the patient column.",
            )


def _class_findings(records: Sequence[CaseRecord], task: TaskSpec) -> Iterator[Finding]:
    learnt = [r for r in records if r.split != "test"]
    noun = "value" if task.kind == "regression" else "class"
    for record in learnt:
        if task.name not in record.labels:
            yield warning_about(
                FindingKind.CLASSES,
                record.case,
                f"The case has no {noun} for {task.name!r}.",
                "Fill it in; without one the case teaches segmentation only.",
            )
    known = [r.labels[task.name] for r in learnt if task.name in r.labels]
    if task.kind == "regression" and len({float(label) for label in known}) < 2:
        message = f"{task.name!r} has fewer than two different values for training."
        yield error_about(FindingKind.CLASSES, "", message, "Add values, or take the task out.")
    counts = Counter(name for label in known for name in task.named(label))
    for name in task.classes:
        yield from _count_findings(task, name, count=counts[name], num_known=len(known))


def _count_findings(task: TaskSpec, name: str, *, count: int, num_known: int) -> Iterator[Finding]:
    if count == 0:
        message = f"Class {name!r} of {task.name!r} has no case for training."
        remedy = "Add cases, or remove the class from dataset.json."
        yield error_about(FindingKind.CLASSES, "", message, remedy)
    elif count == 1:
        message = f"Class {name!r} of {task.name!r} has a single case."
        remedy = "Add cases, or merge classes: it cannot be in training and validation."
        yield warning_about(FindingKind.CLASSES, "", message, remedy)
    if task.kind == "multilabel" and 0 < count == num_known:
        message = f"Every case has the finding {name!r} of {task.name!r}."
        remedy = "Add cases without it, or remove it from dataset.json."
        yield error_about(FindingKind.CLASSES, "", message, remedy)
