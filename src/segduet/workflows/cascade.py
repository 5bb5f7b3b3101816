"""Two configurations in a row: what the second needs of the first, found or refused (F14)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.dataset.folds import read_splits
from segduet.nnunet.stage_predictions import StagePredictions
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.train_request import TrainRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousStage:
    """The first stage of a cascade, as the second one's training sees it.

    Attributes:
        trainer: first part of the name of its model folder.
        predictions: what it made of the cases.
    """

    trainer: str
    predictions: StagePredictions


def find_previous_stage(
    planned: PlannedDataset, request: TrainRequest, model_folder: Path, cases: Sequence[str]
) -> PreviousStage | None:
    """The stage before the one that is to be trained; None where it has none.

    Args:
        planned: the dataset.
        request: what is to be trained.
        model_folder: of this training, whose trainer is taken unless the request names another.
        cases: to train and to validate on.

    Raises:
        RequestError: a stage is named for a configuration that has none before it, or there are
            cases it has not predicted.
    """
    configuration = planned.plan.configuration(request.configuration)
    earlier = configuration.previous_stage
    if earlier is None:
        _refuse_named(request)
        return None
    planned.plan.configuration(earlier)
    trainer = request.previous_stage or model_folder.name.partition("__")[0]
    folder = planned.folders.run(trainer, planned.plan.plans_name, earlier, request.fold).parent
    predictions = StagePredictions.of(folder, request.configuration, configuration)
    missing = predictions.missing(cases)
    if missing:
        raise RequestError(
            f"predictions of {earlier} in {predictions.folder}",
            found=f"{len(missing)} of {len(cases)} missing, first {missing[0]!r}",
            expected=f"one of every case, by the fold of {earlier} that did not learn from it",
            remedy=_remedy(planned, trainer, earlier, missing),
        )
    return PreviousStage(trainer=trainer, predictions=predictions)


def _refuse_named(request: TrainRequest) -> None:
    if request.previous_stage is not None:
        raise RequestError(
            f"--previous-stage {request.previous_stage}",
            found=f"the configuration {request.configuration}, which has no stage before it",
            expected="the second stage of a cascade, such as -c 3d_cascade_fullres",
            remedy="Leave the option out, or choose such a configuration.",
        )


def _remedy(planned: PlannedDataset, trainer: str, earlier: str, missing: Sequence[str]) -> str:
    folds = read_splits(planned.folders.splits_file)
    validated = {case: number for number, fold in enumerate(folds) for case in fold.val}
    needed = sorted({validated[case] for case in missing if case in validated})
    orphans = [case for case in missing if case not in validated]
    if orphans:
        return (
            f"No fold validates {len(orphans)} of them, first {orphans[0]!r}: plan again with "
            f"--folds 5, and train every fold of {earlier}."
        )
    name = planned.folders.name
    return (
        f"Run `segduet train {name} -c {earlier} -f K --name {trainer}` for K = "
        f"{', '.join(map(str, needed))} (with validation.final), or name another trainer with "
        "--previous-stage."
    )


def next_predictions(
    planned: PlannedDataset, configuration_name: str, model_folder: Path
) -> dict[str, StagePredictions]:
    """Where a training leaves its answers for the configurations that follow its own, by name.

    Raises:
        RequestError: the plan names a configuration that it does not have.
    """
    plan = planned.plan
    return {
        name: StagePredictions.of(model_folder, name, plan.configuration(name))
        for name in plan.configuration(configuration_name).next_stages
    }
