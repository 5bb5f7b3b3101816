"""Label maps of cases that their network has not seen, beside the references."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.core.errors import DataError, RequestError
from segduet.core.folders import DataRoot
from segduet.core.labels import LabelScheme
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.reference_dataset import ReferenceDataset
from segduet.workflows.validation_folds import ValidatedFold, common_dataset, validated_folds


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFoldCase:
    """One case with what was predicted and what is true."""

    case: str
    patient: str
    predicted: Path
    reference: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """All such cases of one dataset, every case once.

    Attributes:
        dataset: full name.
        labels: meaning of the values.
        folders: where the label maps lie.
        cases: at least one.
        without_reference: cases that have no mask to compare with.
    """

    dataset: str
    labels: LabelScheme
    folders: tuple[Path, ...]
    cases: tuple[OutOfFoldCase, ...]
    without_reference: tuple[str, ...]


def collect_out_of_fold(root: DataRoot, sources: Sequence[Path]) -> OutOfFold:
    """Finds the label maps of validation cases, each by a network that did not train on it.

    Args:
        root: where the dataset and its folds are.
        sources: run folders, model folders (all their folds), ours or stock nnU-Net's, or folders
            that `segduet evaluate --fold` wrote.

    Raises:
        RequestError: a folder that is none of these, that was not made out of fold, or that is of
            another dataset than the others; a case twice, or one of the test split.
        DataError: a label map is missing or of a case outside the fold, or no case has a reference.
    """
    folds = validated_folds(sources)
    planned = common_dataset(root, folds)
    masks: dict[str, Path] = {}
    for fold in folds:
        found = _masks_of(fold, planned)
        twice = sorted(masks.keys() & found.keys())
        if twice:
            raise RequestError(
                str(fold.source),
                found=f"label maps of case {twice[0]!r}, which {masks[twice[0]].parent} has too",
                expected="every case once",
                remedy="Name the folds of one training.",
            )
        masks |= found
    return _with_references(planned, folds, masks)


def _masks_of(fold: ValidatedFold, planned: PlannedDataset) -> dict[str, Path]:
    """Case -> label map, of exactly the fold's validation cases."""
    _refuse_cleaned(fold)
    ending = planned.description.file_ending
    cases = fold.cases(planned)
    found = {p.name.removesuffix(ending): p for p in fold.answers.glob(f"*{ending}")}
    outside = sorted(name for name in found.keys() - set(cases) if "_attention_" not in name)
    if outside:
        raise DataError(
            str(fold.answers),
            found=f"a label map of {outside[0]!r}, which is no validation case of fold {fold.fold}",
            expected=f"those of the {len(cases)} cases in {planned.folders.splits_file}",
            remedy="Use the folds the model was trained with.",
        )
    masked = [case for case in cases if _reference(planned, case) is not None]
    missing = [case for case in masked if case not in found]
    if missing:
        raise DataError(
            str(fold.answers),
            found=f"no label map of {missing[0]!r} ({len(missing)} of {len(masked)} missing)",
            expected=f"one of every validation case of fold {fold.fold}",
            remedy="Finish the training's validation, or predict the fold's cases again.",
        )
    return {case: found[case] for case in cases if case in found}


def _refuse_cleaned(fold: ValidatedFold) -> None:
    if fold.predicted.get("cleanup"):
        raise RequestError(
            str(fold.source),
            found=f"predictions that {fold.predicted['cleanup']} has cleaned already",
            expected="label maps as the network gives them",
            remedy="Predict without --cleanup.",
        )


def _reference(planned: PlannedDataset, case: str) -> Path | None:
    dataset = ReferenceDataset(
        folder=planned.folders.raw, description=planned.description, table=planned.table
    )
    return dataset.references().mask(case)


def _with_references(
    planned: PlannedDataset, folds: Sequence[ValidatedFold], masks: dict[str, Path]
) -> OutOfFold:
    references = {case: _reference(planned, case) for case in masks}
    cases = tuple(
        OutOfFoldCase(
            case=case,
            patient=planned.table.record(case).patient,
            predicted=masks[case],
            reference=reference,
        )
        for case, reference in references.items()
        if reference is not None
    )
    if not cases:
        raise DataError(
            planned.folders.name,
            found=f"no reference mask for any of the {len(masks)} label maps, in "
            f"{planned.folders.raw}",
            expected="masks to compare with",
            remedy="Bring the dataset's labelsTr, or check --data-root.",
        )
    return OutOfFold(
        dataset=planned.folders.name,
        labels=planned.labels,
        folders=tuple(fold.answers for fold in folds),
        cases=cases,
        without_reference=tuple(case for case, path in references.items() if path is None),
    )
