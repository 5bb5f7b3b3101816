"""A folder of predictions beside the references: none missing, none skipped, none extra."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segduet.core.cases import CaseRecord, CaseTable
from segduet.core.errors import DataError
from segduet.core.labels import LabelScheme
from segduet.core.scores import CaseScores, ClassAnswer
from segduet.core.tasks import TaskSpec
from segduet.core.volume import Volume
from segduet.evaluation.scoring import class_answer, score_case
from segduet.io.images import read_label_map

#: case -> task -> (num_classes,) probabilities, as parsed from predictions.csv
ParsedAnswers = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What is true: masks in folders, classes in the case table.

    Attributes:
        table: all cases of the dataset.
        mask_folders: searched in order for `<case><file_ending>`, such as labelsTr and labelsTs.
        file_ending: `.nii.gz` and the like, of references and predictions.
        labels: meaning of the values in the masks.
        tasks: the class questions to score; empty scores masks only.
    """

    table: CaseTable
    mask_folders: Sequence[Path]
    file_ending: str
    labels: LabelScheme
    tasks: Sequence[TaskSpec] = field(default=())

    def mask(self, case: str) -> Path | None:
        """The reference mask of a case; None where it was never annotated."""
        candidates = (folder / f"{case}{self.file_ending}" for folder in self.mask_folders)
        return next((path for path in candidates if path.is_file()), None)

    def is_known(self, record: CaseRecord) -> bool:
        """Whether the case has a mask or the class of any scored task."""
        known_classes = any(task.name in record.labels for task in self.tasks)
        return known_classes or self.mask(record.case) is not None


def evaluate_folder(
    references: References,
    predictions: Path,
    *,
    answers: ParsedAnswers,
    cases: Sequence[str] | None = None,
    nsd_tolerance_mm: float | None = None,
    workers: int = 1,
) -> list[CaseScores]:
    """Scores of every case, in the order of the table or of `cases`.

    Args:
        references: masks, classes and their meaning.
        predictions: folder of `<case><file_ending>`.
        answers: class probabilities of each case; ignored where no tasks are scored.
        cases: score exactly these and leave other predictions alone; None scores every case of
            the table with a mask or a class, and refuses predictions of any other.
        nsd_tolerance_mm: see `score_case`; None measures no surfaces.
        workers: threads.

    Raises:
        DataError: a case without a predicted mask or answer, a prediction nobody asked for, a case
            with nothing known, a grid or value mismatch, or an unreadable mask.
    """
    records = _chosen_records(references, cases)
    if cases is None:
        _refuse_extra(references, predictions, records, answers)

    def score(record: CaseRecord) -> CaseScores:
        given = answers.get(record.case, {})
        return score_case(
            record,
            *_masks(references, predictions, record),
            labels=references.labels,
            answers={task.name: _answer(record, task, given) for task in references.tasks},
            nsd_tolerance_mm=nsd_tolerance_mm,
        )

    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(score, records))


def _chosen_records(references: References, cases: Sequence[str] | None) -> list[CaseRecord]:
    wanted = references.table if cases is None else map(references.table.record, cases)
    records = []
    for record in wanted:
        if references.is_known(record):
            records.append(record)
        elif cases is not None:
            raise DataError(
                f"case {record.case!r}",
                found="neither a reference mask nor a known class",
                expected="something to compare the prediction with",
                remedy="Leave the case out, or add its mask or class to the dataset.",
            )
    if not records:
        raise DataError(
            references.table.where,
            found="no case with a reference mask or a known class",
            expected="at least one",
            remedy="Check --reference.",
        )
    return records


def _refuse_extra(
    references: References,
    predictions: Path,
    records: Sequence[CaseRecord],
    answers: ParsedAnswers,
) -> None:
    ending = references.file_ending
    found = {p.name.removesuffix(ending) for p in predictions.glob(f"*{ending}")}
    if references.tasks:
        found |= set(answers)
    extra = sorted(found - {record.case for record in records})
    if extra:
        raise DataError(
            str(predictions),
            found=f"predictions of {len(extra)} cases without a reference, such as {extra[:5]}",
            expected=f"predictions of the {len(records)} reference cases only",
            remedy="Name the cases to score, or point --reference to the right dataset.",
        )


def _masks(
    references: References, predictions: Path, record: CaseRecord
) -> tuple[Volume | None, Volume | None]:
    """Reference and predicted mask of a case; neither where it was never annotated."""
    mask = references.mask(record.case)
    if mask is None:
        return None, None
    predicted = predictions / f"{record.case}{references.file_ending}"
    if not predicted.is_file():
        raise _missing(record.case, f"no predicted mask {predicted}")
    return read_label_map(mask), read_label_map(predicted)


def _answer(record: CaseRecord, task: TaskSpec, answers: Mapping[str, np.ndarray]) -> ClassAnswer:
    if task.name not in answers:
        raise _missing(record.case, f"no predicted answer for {task.name!r}")
    return class_answer(record, task, answers[task.name])


def _missing(case: str, found: str) -> DataError:
    return DataError(
        f"case {case!r}",
        found=found,
        expected="a prediction for every case that is scored; none is skipped",
        remedy="Predict the case, or leave it out by naming the cases to score.",
    )
