"""F06, B04: folds that never split a patient and keep the classes in balance."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from segduet.core.cases import CaseTable
from segduet.core.errors import DataError
from segduet.core.files import read_json, write_json
from segduet.core.tasks import TaskSpec
from segduet.dataset.label_groups import label_groups

_UNKNOWN = ""
_NUM_VALUE_GROUPS = 4  # quartiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Cases to learn from and cases to validate on."""

    train: tuple[str, ...]
    val: tuple[str, ...]


def declared_fold(table: CaseTable) -> Fold | None:
    """The train and val split the data came with; None where it declares none.

    Test cases are in neither part.

    Raises:
        DataError: val cases without train cases, or cases in no split beside cases in one.
    """
    train, val = table.of_split("train"), table.of_split("val")
    if not val:
        return None
    undeclared = table.of_split("")
    if undeclared or not train:
        raise DataError(
            table.where,
            found=f"{len(val)} cases in val, {len(train)} in train, {len(undeclared)} in none"
            + (f" (such as {undeclared[0]!r})" if undeclared else ""),
            expected="train or val (or test) for every case, or no split at all",
            remedy="Fill the split column, or empty it.",
        )
    fold = Fold(train=train, val=val)
    check_leak(table, fold)
    return fold


def stratifying_task(tasks: Sequence[TaskSpec]) -> TaskSpec | None:
    """The task whose answers folds spread evenly: the first whose classes exclude one another.

    Without one the first task of any kind; None without tasks.
    """
    exclusive = (task for task in tasks if task.has_exclusive_classes)
    return next(exclusive, tasks[0] if tasks else None)


def stratified_grouped_folds(
    table: CaseTable,
    task: TaskSpec | None,
    *,
    cases: Sequence[str],
    num_folds: int = 5,
    seed: int = 0,
) -> tuple[Fold, ...]:
    """Splits cases into folds by patient, every class spread as evenly as patients allow.

    Patients are shuffled, then given one by one, those with most cases first, to the fold where
    their classes are scarcest. With one case per patient the cases of a class in two folds differ
    by at most one, and so do the fold sizes. With several cases per patient no patient is ever
    split, and the balance is a best effort: for patients of one class with at most m cases each,
    two folds differ by at most m. Cases whose class is unknown are spread like one more class.
    Findings are spread each for itself, and so are the cases without any; the values of a
    regression are spread by quartile.

    Args:
        table: patients and labels.
        task: the task to stratify by (see `stratifying_task`); None balances the number of cases
            only.
        cases: cases to split, such as all but the test cases.
        num_folds: at least 2.
        seed: the same seed gives the same folds, whatever the order of `cases`.

    Returns:
        One fold per part, which is `val` there and in `train` of all others; cases sorted.

    Raises:
        DataError: no cases, or fewer patients than folds: of all, of a class or of a finding.
    """
    assert num_folds >= 2, num_folds
    patients = _patients(table, sorted(cases))
    classes = _groups_of_cases(table, task, sorted(cases))
    _check_enough(table, task, patients=patients, classes=classes, num_folds=num_folds)
    names = sorted({name for held in classes.values() for name in held})
    counts = {
        patient: np.array([sum(name in classes[c] for c in members) for name in names])
        for patient, members in patients.items()
    }
    fold_of = _deal(counts, num_folds=num_folds, seed=seed)
    parts = [
        sorted(c for p, members in patients.items() if fold_of[p] == index for c in members)
        for index in range(num_folds)
    ]
    folds = tuple(
        Fold(train=tuple(sorted(set(classes) - set(part))), val=tuple(part)) for part in parts
    )
    for fold in folds:
        check_leak(table, fold)
    return folds


def check_leak(table: CaseTable, fold: Fold) -> None:
    """Checks that no case and no patient is on both sides of a fold.

    Raises:
        DataError: one is, or the table does not know a case.
    """
    patient_of = {record.case: record.patient for record in table.records}
    unknown = [c for c in (*fold.train, *fold.val) if c not in patient_of]
    if unknown:
        raise DataError(
            "folds",
            found=f"case {unknown[0]!r}, which {table.where} does not have",
            expected="cases of the dataset",
            remedy="Make the folds again.",
        )
    sides = {patient_of[c]: c for c in fold.train}
    for case in fold.val:
        if patient_of[case] in sides:
            raise DataError(
                "folds",
                found=f"patient {patient_of[case]!r} in train (case {sides[patient_of[case]]!r}) "
                f"and val (case {case!r})",
                expected="all cases of a patient on one side",
                remedy="Make the folds again; they keep patients together.",
            )


def write_splits(path: Path, folds: Iterable[Fold]) -> None:
    """Writes nnU-Net's splits_final.json atomically."""
    write_json(path, [{"train": list(f.train), "val": list(f.val)} for f in folds])


class _Split(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    train: tuple[str, ...]
    val: tuple[str, ...]


def read_splits(path: Path) -> tuple[Fold, ...]:
    """Reads nnU-Net's splits_final.json.

    Raises:
        DataError: missing, not a list of train and val lists, or a case on both sides.
    """
    content = read_json(path)
    folds = tuple(Fold(train=s.train, val=s.val) for s in _parsed(path, content))
    for number, fold in enumerate(folds):
        both = sorted(set(fold.train) & set(fold.val))
        if both:
            raise DataError(
                f"{path}, fold {number}",
                found=f"case {both[0]!r} in train and val",
                expected="every case on one side",
                remedy="Make the folds again.",
            )
    return folds


def _parsed(path: Path, content: Any) -> list[_Split]:
    try:
        return TypeAdapter(list[_Split]).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"{path}, {'.'.join(str(part) for part in first['loc']) or 'the file'}",
            found=repr(first["input"])[:120],
            expected='a list of {"train": [cases], "val": [cases]}',
            remedy="Make the folds again.",
        ) from error


def _patients(table: CaseTable, cases: Sequence[str]) -> dict[str, list[str]]:
    """Patient -> cases."""
    patient_of = {record.case: record.patient for record in table.records}
    patients: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        patients[patient_of.get(case) or table.record(case).patient].append(case)
    return dict(patients)


def _groups_of_cases(
    table: CaseTable, task: TaskSpec | None, cases: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Case -> the groups to spread evenly that it belongs to, at least one."""
    if task is None:
        return dict.fromkeys(cases, (_UNKNOWN,))
    label_of = {r.case: r.labels[task.name] for r in table.records if task.name in r.labels}
    known = {case: label_of[case] for case in cases if case in label_of}
    if task.kind == "regression":
        groups = _quartiles(known)
    else:
        groups = {case: label_groups(task, label) for case, label in known.items()}
    return {case: groups.get(case, (_UNKNOWN,)) for case in cases}


def _quartiles(numbers: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Case -> which quarter of the values its own lies in."""
    if not numbers:
        return {}
    values = np.array([float(text) for text in numbers.values()])
    edges = np.quantile(values, np.arange(1, _NUM_VALUE_GROUPS) / _NUM_VALUE_GROUPS)
    quarters = np.searchsorted(edges, values, side="left")
    return {case: (f"quarter {q}",) for case, q in zip(numbers, quarters, strict=True)}


def _check_enough(
    table: CaseTable,
    task: TaskSpec | None,
    *,
    patients: dict[str, list[str]],
    classes: dict[str, tuple[str, ...]],
    num_folds: int,
) -> None:
    groups = {"the dataset": (len(classes), len(patients))}
    for name in task.classes if task else ():
        own = [sum(name in classes[c] for c in members) for members in patients.values()]
        groups[f"class {name!r}"] = (sum(own), sum(n > 0 for n in own))
    for group, (num_cases, num_patients) in groups.items():
        if num_patients < num_folds:
            raise DataError(
                f"{table.where}, {group}",
                found=f"{_counted(num_cases, 'case')} of {_counted(num_patients, 'patient')}",
                expected=f"patients for {num_folds} folds, one in each at least",
                remedy="Ask for fewer folds, add cases, or merge classes.",
            )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _deal(counts: dict[str, np.ndarray], *, num_folds: int, seed: int) -> dict[str, int]:
    """Patient -> fold; `counts` holds the cases of each class per patient."""
    order = sorted(counts)
    np.random.default_rng(seed).shuffle(order)
    # big patients first, while there is room to even them out; then class by class, so that the
    # folds that got a class's odd case are passed over by the next one
    order.sort(key=lambda p: (-counts[p].sum(), int(np.argmax(counts[p]))))
    totals = np.sum(list(counts.values()), axis=0)
    held = np.zeros((num_folds, len(totals)))
    fold_of = {}
    for patient in order:
        own = counts[patient]
        # growth of the squared class shares: least where these classes are scarcest
        cost = (((held + own) ** 2 - held**2) / totals**2).sum(axis=1)
        scarcest = np.flatnonzero(np.isclose(cost, cost.min(), rtol=1e-9, atol=0))
        fold = int(min(scarcest, key=lambda f: held[f].sum()))
        held[fold] += own
        fold_of[patient] = fold
    return fold_of
