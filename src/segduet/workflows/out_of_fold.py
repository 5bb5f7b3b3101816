"""Label maps of cases that their network has not seen, beside the references."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError, RequestError
from segduet.core.files import read_json
from segduet.core.folders import DataRoot
from segduet.core.labels import LabelScheme
from segduet.core.plan import Plan
from segduet.workflows.evaluation import SUMMARY_FILE
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.reference_dataset import ReferenceDataset

#: Where a training leaves the masks of its validation cases, ours as nnU-Net's.
_VALIDATION = "validation"


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
    folds = [fold for source in sources for fold in _folds(source)]
    planned = _common_dataset(root, folds)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _FoldMasks:
    """Label maps of the validation cases of one fold.

    Attributes:
        source: what was named, for messages.
        model: model folder, which says the dataset and the labels.
        masks: folder of the label maps.
    """

    source: Path
    model: Path
    fold: str
    masks: Path

    @classmethod
    def of_run(cls, run: Path) -> Self:
        """Those that a training left of its validation cases."""
        fold, masks = run.name.removeprefix("fold_"), run / _VALIDATION
        if fold == "all" or not masks.is_dir():
            raise RequestError(
                str(run),
                found="a training on all cases" if fold == "all" else f"no folder {_VALIDATION!r}",
                expected="a finished training of one fold, with masks of its validation cases",
                remedy="Finish the training, or name the runs of single folds.",
            )
        return cls(source=run, model=run.parent, fold=fold, masks=masks)

    @classmethod
    def of_evaluation(cls, folder: Path) -> Self:
        """Those that were scored there."""
        evaluated = _arguments(folder)
        fold, masks = evaluated.get("fold"), Path(evaluated.get("predictions", ""))
        if fold is None:
            raise RequestError(
                str(folder),
                found=f"an evaluation of {evaluated.get('split') or 'all'} cases",
                expected="one of the validation cases of a fold, which the network has not seen",
                remedy="Evaluate with --fold, or name the run folder.",
            )
        if masks.name == _VALIDATION:
            return cls.of_run(masks.parent)
        predicted = _arguments(masks)
        if predicted.get("folds") != [fold] or predicted.get("also"):
            raise RequestError(
                str(folder),
                found=f"an evaluation of fold {fold} of predictions by the folds "
                f"{predicted.get('folds')} of {predicted.get('model')}"
                + (" and other models" if predicted.get("also") else ""),
                expected=f"predictions by fold {fold} alone, which has not seen these cases",
                remedy=f"Predict with --folds {fold}.",
            )
        if predicted.get("cleanup"):
            raise RequestError(
                str(folder),
                found=f"predictions that {predicted['cleanup']} has cleaned already",
                expected="label maps as the network gives them",
                remedy="Predict without --cleanup.",
            )
        return cls(source=folder, model=Path(predicted["model"]), fold=fold, masks=masks)


def _folds(source: Path) -> list[_FoldMasks]:
    if source.name.startswith("fold_"):
        return [_FoldMasks.of_run(source)]
    if (source / SUMMARY_FILE).is_file() and (source / "manifest.json").is_file():
        return [_FoldMasks.of_evaluation(source)]
    runs = sorted(p for p in source.glob("fold_*") if p.is_dir() and p.name != "fold_all")
    if not runs:
        raise RequestError(
            str(source),
            found="neither a run, a model nor an evaluation",
            expected="such folders, as `segduet train` and `segduet evaluate` write them",
            remedy="Check the path.",
        )
    return [_FoldMasks.of_run(run) for run in runs]


def _arguments(folder: Path) -> dict[str, Any]:
    """The arguments of the command that wrote the folder."""
    manifest = read_json(folder / "manifest.json")
    arguments = manifest.get("arguments") if isinstance(manifest, dict) else None
    if not isinstance(arguments, dict):
        raise DataError(
            str(folder / "manifest.json"),
            found="no arguments",
            expected="the manifest of a command",
            remedy="Restore the file or run the command again.",
        )
    return arguments


def _common_dataset(root: DataRoot, folds: Sequence[_FoldMasks]) -> PlannedDataset:
    plans = [Plan.read(fold.model / "plans.json") for fold in folds]
    names = sorted({plan.dataset_name for plan in plans})
    if len(names) > 1:
        raise RequestError(
            "segduet cleanup learn",
            found=f"label maps of several datasets, {names}",
            expected="one dataset",
            remedy="Learn a plan for each.",
        )
    planned = PlannedDataset.open(root, names[0], plans[0].plans_name)
    for fold in folds:
        own = DatasetDescription.read(fold.model / "dataset.json").label_scheme
        if own != planned.labels:
            raise RequestError(
                str(fold.model),
                found=f"a model with the labels {dict(own.labels)}",
                expected=f"{dict(planned.labels.labels)}, those of {names[0]} today",
                remedy="Train again with these labels, or restore the dataset.",
            )
    return planned


def _masks_of(fold: _FoldMasks, planned: PlannedDataset) -> dict[str, Path]:
    """Case -> label map, of exactly the fold's validation cases."""
    ending = planned.description.file_ending
    cases = planned.fold(fold.fold).val
    _refuse_test_cases(fold, planned, cases)
    found = {p.name.removesuffix(ending): p for p in fold.masks.glob(f"*{ending}")}
    outside = sorted(name for name in found.keys() - set(cases) if "_attention_" not in name)
    if outside:
        raise DataError(
            str(fold.masks),
            found=f"a label map of {outside[0]!r}, which is no validation case of fold {fold.fold}",
            expected=f"those of the {len(cases)} cases in {planned.folders.splits_file}",
            remedy="Use the folds the model was trained with.",
        )
    masked = [case for case in cases if _reference(planned, case) is not None]
    missing = [case for case in masked if case not in found]
    if missing:
        raise DataError(
            str(fold.masks),
            found=f"no label map of {missing[0]!r} ({len(missing)} of {len(masked)} missing)",
            expected=f"one of every validation case of fold {fold.fold}",
            remedy="Finish the training's validation, or predict the fold's cases again.",
        )
    return {case: found[case] for case in cases if case in found}


def _refuse_test_cases(fold: _FoldMasks, planned: PlannedDataset, cases: Sequence[str]) -> None:
    test = sorted(set(cases) & set(planned.table.of_split("test")))
    if test:
        raise RequestError(
            str(fold.source),
            found=f"case {test[0]!r} of the test split among the validation cases",
            expected="training cases only: a plan may not see what it is to be tested on",
            remedy="Make the folds again without them.",
        )


def _reference(planned: PlannedDataset, case: str) -> Path | None:
    dataset = ReferenceDataset(
        folder=planned.folders.raw, description=planned.description, table=planned.table
    )
    return dataset.references().mask(case)


def _with_references(
    planned: PlannedDataset, folds: Sequence[_FoldMasks], masks: dict[str, Path]
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
        folders=tuple(fold.masks for fold in folds),
        cases=cases,
        without_reference=tuple(case for case, path in references.items() if path is None),
    )
