"""Which patients are fitted on or answered, of which class, and where their masks are."""

from collections.abc import Sequence
from pathlib import Path

from segduet.core.cases import CaseRecord, Split
from segduet.core.errors import DataError, RequestError
from segduet.core.tasks import TaskSpec
from segduet.workflows.patient_inputs import MaskOf
from segduet.workflows.reference_dataset import ReferenceDataset

#: Patient -> its cases.
Patients = dict[str, list[str]]


def chosen_task(dataset: ReferenceDataset, name: str | None) -> TaskSpec:
    """The task of this name, or the only one; its classes exclude each other.

    Raises:
        RequestError: no such task, or several and no name.
    """
    usable = [t for t in dataset.description.tasks if t.has_exclusive_classes]
    chosen = [t for t in usable if name in (None, t.name)]
    if len(chosen) != 1:
        raise RequestError(
            f"--task {name}" if name else "segduet patients",
            found=f"{len(chosen)} fitting tasks in {dataset.folder / 'dataset.json'}",
            expected=f"one of {[t.name for t in usable]}, whose classes exclude each other",
            remedy="Name the task with --task.",
        )
    return chosen[0]


def patients_with_a_class(
    dataset: ReferenceDataset, task: TaskSpec, split: Split | None
) -> Patients:
    """Patients of a split whose class is known; without a split, all that are not for testing."""

    def is_chosen(record: CaseRecord) -> bool:
        is_in = record.split != "test" if split is None else record.split == split
        return is_in and task.name in record.labels

    return _by_patient(dataset, [r for r in dataset.table if is_chosen(r)], split, task.name)


def patients_to_answer(dataset: ReferenceDataset, split: Split | None) -> Patients:
    """Patients of a split, or all of them, whether or not their class is known."""
    records = [r for r in dataset.table if split is None or r.split == split]
    return _by_patient(dataset, records, split, "")


def _by_patient(
    dataset: ReferenceDataset, records: Sequence[CaseRecord], split: Split | None, task: str
) -> Patients:
    if not records:
        raise RequestError(
            dataset.table.where if split is None else f"split {split!r}",
            found="no case" + (f" with a known {task!r}" if task else ""),
            expected=f"cases; the splits here are {sorted({r.split for r in dataset.table})}",
            remedy="Choose another split.",
        )
    found: Patients = {patient: [] for patient in sorted({r.patient for r in records})}
    for record in sorted(records, key=lambda r: r.case):
        found[record.patient].append(record.case)
    return found


def known_classes(dataset: ReferenceDataset, task: TaskSpec, patients: Patients) -> dict[str, str]:
    """Class name of every patient whose class is known.

    Raises:
        DataError: two images of a patient have different classes.
    """
    classes: dict[str, str] = {}
    for patient, cases in patients.items():
        found = {dataset.table.record(c).labels.get(task.name, "") for c in cases} - {""}
        if len(found) > 1:
            raise DataError(
                f"patient {patient!r}",
                found=f"images of the classes {sorted(found)}",
                expected="one class for all images of a patient",
                remedy="Correct cases.csv, or give the images patients of their own.",
            )
        if found:
            classes[patient] = found.pop()
    return classes


def predicted_masks(dataset: ReferenceDataset, predictions: Path, patients: Patients) -> MaskOf:
    """Finds predicted masks; every one of these patients is known to be there.

    Raises:
        DataError: an image of a patient has no predicted mask; the message names both.
    """
    ending = dataset.description.file_ending
    for patient, cases in patients.items():
        for case in cases:
            if not (predictions / f"{case}{ending}").is_file():
                raise DataError(
                    f"patient {patient!r}, case {case!r}",
                    found=f"no predicted mask {predictions / f'{case}{ending}'}",
                    expected="a mask of every image of every patient",
                    remedy="Predict the case; a patient is not answered from a part of the images.",
                )
    return lambda case: predictions / f"{case}{ending}"


def reference_masks(dataset: ReferenceDataset) -> MaskOf:
    """Finds reference masks; the finder raises a DataError for a case without one."""
    references = dataset.references()

    def find(case: str) -> Path:
        mask = references.mask(case)
        if mask is None:
            raise DataError(
                f"case {case!r}",
                found="no reference mask",
                expected="one for every training case",
                remedy="Add the mask, or fit on predicted masks.",
            )
        return mask

    return find


def declared_order(
    dataset: ReferenceDataset, task: TaskSpec, region: str | None, patients: Patients
) -> str | None:
    """The region whose volume orders a patient's images; None where all have a single one.

    Raises:
        RequestError: several images and no region declared, or no such region.
    """
    chosen = region or task.evidence_region
    regions = list(dataset.description.label_scheme.foreground)
    several = [patient for patient, cases in patients.items() if len(cases) > 1]
    if chosen is None and not several:
        return None
    if chosen not in regions:
        raise RequestError(
            f"--order-by {region}" if region else f"task {task.name!r}",
            found="no such region"
            if chosen
            else f"no evidence region, and patient {several[0]!r} has several images",
            expected=f"one of {regions}, whose volume orders a patient's images",
            remedy="Name the region with --order-by.",
        )
    return chosen
