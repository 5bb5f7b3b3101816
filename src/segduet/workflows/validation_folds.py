"""Answers to cases that their network has not seen: those of validation folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError, RequestError
from segduet.core.folders import DataRoot
from segduet.core.manifest import read_manifest
from segduet.core.plan import Plan
from segduet.workflows.evaluation import SUMMARY_FILE
from segduet.workflows.planned_dataset import PlannedDataset

#: Where a training leaves the answers to its validation cases, ours as nnU-Net's.
_VALIDATION = "validation"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedFold:
    """Answers to the validation cases of one fold, by the network of that fold alone.

    Attributes:
        source: what was named, for messages.
        model: model folder, which says the dataset and the labels.
        answers: folder of the label maps and predictions.csv.
        predicted: arguments of the `predict` that wrote them; empty where the training did.
    """

    source: Path
    model: Path
    fold: str
    answers: Path
    predicted: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_run(cls, run: Path) -> Self:
        """Those that a training left.

        Raises:
            RequestError: it did not finish, or trained on all cases.
        """
        fold, answers = run.name.removeprefix("fold_"), run / _VALIDATION
        if fold == "all" or not answers.is_dir():
            raise RequestError(
                str(run),
                found="a training on all cases" if fold == "all" else f"no folder {_VALIDATION!r}",
                expected="a finished training of one fold, with answers to its validation cases",
                remedy="Finish the training, or name the runs of single folds.",
            )
        return cls(source=run, model=run.parent, fold=fold, answers=answers)

    @classmethod
    def of_evaluation(cls, folder: Path) -> Self:
        """Those that were scored there.

        Raises:
            RequestError: it is no evaluation of one fold's cases by the network of that fold.
        """
        evaluated = _arguments(folder, "evaluate")
        fold, answers = evaluated.get("fold"), Path(evaluated.get("predictions", ""))
        if fold is None:
            raise RequestError(
                str(folder),
                found=f"an evaluation of {evaluated.get('split') or 'all'} cases",
                expected="one of the validation cases of a fold, which the network has not seen",
                remedy="Evaluate with --fold, or name the run folder.",
            )
        if answers.name == _VALIDATION:
            return cls.of_run(answers.parent)
        predicted = _arguments(answers, "predict")
        if predicted.get("folds") != [fold] or predicted.get("also"):
            raise RequestError(
                str(folder),
                found=f"an evaluation of fold {fold} of predictions by the folds "
                f"{predicted.get('folds')} of {predicted.get('model')}"
                + (" and other models" if predicted.get("also") else ""),
                expected=f"predictions by fold {fold} alone, which has not seen these cases",
                remedy=f"Predict with --folds {fold}.",
            )
        return cls(
            source=folder,
            model=Path(predicted["model"]),
            fold=fold,
            answers=answers,
            predicted=predicted,
        )

    def cases(self, planned: PlannedDataset) -> tuple[str, ...]:
        """The validation cases of the fold.

        Raises:
            RequestError: one of them is of the test split.
        """
        cases = planned.fold(self.fold).val
        test = sorted(set(cases) & set(planned.table.of_split("test")))
        if test:
            raise RequestError(
                str(self.source),
                found=f"case {test[0]!r} of the test split among the validation cases",
                expected="training cases only: what is learned may not see what it is tested on",
                remedy="Make the folds again without them.",
            )
        return cases


def validated_folds(sources: Sequence[Path]) -> list[ValidatedFold]:
    """The folds that run folders, model folders (all their folds) or evaluations stand for.

    Args:
        sources: ours or stock nnU-Net's, or folders that `segduet evaluate --fold` wrote.

    Raises:
        RequestError: a folder that is none of these, or that was not made out of fold.
        DataError: an evaluation without its manifest.
    """
    return [fold for source in sources for fold in _folds(source)]


def common_dataset(root: DataRoot, folds: Sequence[ValidatedFold]) -> PlannedDataset:
    """The dataset of all the folds, as it is planned today.

    Raises:
        RequestError: they are of several datasets, or of one whose labels have changed.
    """
    plans = [Plan.read(fold.model / "plans.json") for fold in folds]
    names = sorted({plan.dataset_name for plan in plans})
    if len(names) > 1:
        raise RequestError(
            ", ".join(str(fold.source) for fold in folds),
            found=f"folds of several datasets, {names}",
            expected="one dataset",
            remedy="Learn from each by itself.",
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


def _folds(source: Path) -> list[ValidatedFold]:
    if source.name.startswith("fold_"):
        return [ValidatedFold.of_run(source)]
    if (source / SUMMARY_FILE).is_file() and (source / "manifest.json").is_file():
        return [ValidatedFold.of_evaluation(source)]
    runs = sorted(p for p in source.glob("fold_*") if p.is_dir() and p.name != "fold_all")
    if not runs:
        raise RequestError(
            str(source),
            found="neither a run, a model nor an evaluation",
            expected="such folders, as `segduet train` and `segduet evaluate` write them",
            remedy="Check the path.",
        )
    return [ValidatedFold.of_run(run) for run in runs]


def _arguments(folder: Path, command: str) -> dict[str, Any]:
    """The arguments of the command that wrote the folder."""
    arguments = (read_manifest(folder, command) or {}).get("arguments")
    if not isinstance(arguments, dict):
        raise DataError(
            str(folder),
            found="no record of it",
            expected=f"the manifest of `segduet {command}`",
            remedy="Restore the file or run the command again.",
        )
    return arguments
