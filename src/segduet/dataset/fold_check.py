"""Checks the folds of a dataset, splits_final.json, against its case table."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from segduet.core.cases import CaseRecord
from segduet.core.errors import DataError
from segduet.dataset.findings import Finding, FindingKind, error_about
from segduet.dataset.folds import Fold, read_splits


def check_folds(
    source: Path, records: Sequence[CaseRecord]
) -> tuple[tuple[Fold, ...], list[Finding]]:
    """Reads the folds and says what is wrong with them, patients on both sides above all (B04).

    Args:
        source: `splits_final.json`; a dataset that is not planned yet has none, which is no fault.
        records: rows of the case table.

    Returns:
        The folds, none where they cannot be read, and findings.
    """
    if not source.exists():
        return (), []
    try:
        folds = read_splits(source)
    except DataError as error:
        return (), [error_about(FindingKind.FILES, "", f"{error}", error.remedy)]
    patient_of = {record.case: record.patient for record in records}
    findings = [
        finding
        for number, fold in enumerate(folds)
        for finding in _fold_findings(number, fold, patient_of)
    ]
    return folds, findings


def _fold_findings(number: int, fold: Fold, patient_of: Mapping[str, str]) -> Iterator[Finding]:
    unknown = sorted({*fold.train, *fold.val} - patient_of.keys())
    if unknown:
        message = f"Fold {number} has {len(unknown)} case(s) without a row, such as {unknown[0]!r}."
        yield error_about(FindingKind.FILES, unknown[0], message, "Make the folds again.")
    cases_of: dict[str, list[str]] = defaultdict(list)
    for case in sorted(set(fold.train) & patient_of.keys()):
        cases_of[patient_of[case]].append(case)
    leaks = [(c, cases_of[p]) for c in sorted(fold.val) if (p := patient_of.get(c)) in cases_of]
    if leaks:
        validated, learnt = leaks[0]
        patients = {patient_of[case] for case, _ in leaks}
        yield error_about(
            FindingKind.PATIENTS,
            validated,
            f"Fold {number} divides the cases of {len(patients)} patient(s), such as "
            f"{patient_of[validated]!r} with {learnt[0]!r} in train and {validated!r} in val.",
            "Make the folds again; they keep patients together.",
        )
