"""Opening a trained model: ours, or a stock nnU-Net model folder (B11)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segduet.core.description import DatasetDescription, validated
from segduet.core.errors import DataError, RequestError
from segduet.core.files import write_json
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.tasks import TaskSpec
from segduet.nnunet.model_folder import StockModelFolder
from segduet.preparation.cascade import num_input_channels
from segduet.training.selection import periodic_models

if TYPE_CHECKING:
    from torch import Tensor

    from segduet.networks.joint import JointNetwork
    from segduet.networks.record import NetworkRecord
    from segduet.nnunet.checkpoints import StockCheckpoint

MODEL_FILE = "model.safetensors"
MODEL_FORMAT = "segduet-model-2"


class Checkpoints(StrEnum):
    """Which of a training's models answer.

    FINAL: the finished one.
    ALL: those kept on the way as well (`keep_every`), as an ensemble (F53).
    """

    FINAL = "final"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetwork:
    """One network of a model folder.

    Attributes:
        tasks: what it answers about a case, regressions with the scale of its own training cases.
    """

    network: "JointNetwork"
    tasks: tuple[TaskSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model folder: one plan, one configuration, one network per fold.

    Attributes:
        tasks: case-level tasks all its networks answer, without their scales; empty where
            nnU-Net's own trainer made it.
        mirror_axes: spatial axes the networks were trained to be mirrored along (all, unless a
            stock trainer did without).
        fold_files: fold name -> weights, `model.safetensors` or a stock checkpoint.
        kept_files: models kept on the way through the same folds, that answer too.
    """

    folder: Path
    plan: Plan
    configuration_name: str
    description: DatasetDescription
    tasks: tuple[TaskSpec, ...]
    mirror_axes: tuple[int, ...]
    fold_files: dict[str, Path]
    kept_files: tuple[Path, ...] = ()

    @property
    def configuration(self) -> ConfigurationPlan:
        """The configuration the networks were trained in."""
        return self.plan.configuration(self.configuration_name)

    @property
    def labels(self) -> LabelScheme:
        """What the predicted label maps mean."""
        return self.description.label_scheme

    def segments(self) -> bool:
        """Whether every fold answers with a label map, not with classes alone.

        Raises:
            DataError: weights are damaged.
        """
        return all(_header(file).get("with_masks", True) for file in self.fold_files.values())

    def networks(self) -> list[TrainedNetwork]:
        """Builds every fold's network, and those kept on the way, in evaluation mode.

        Raises:
            DataError: weights are damaged or do not fit the plan, or answer other tasks.
        """
        return [_load_network(self, path) for path in (*self.fold_files.values(), *self.kept_files)]


def open_model(
    path: Path, folds: Sequence[str] | None = None, checkpoints: Checkpoints = Checkpoints.FINAL
) -> Model:
    """Opens a model folder, or one of its fold folders.

    Args:
        path: `<trainer>__<plans>__<configuration>`, or `fold_K` in it.
        folds: folds to use; None takes all that are finished.
        checkpoints: which models of each fold.

    Raises:
        RequestError: no such folder or fold, or no model was kept on the way.
        DataError: plans.json or dataset.json is missing or damaged.
    """
    path = Path(path)
    if path.name.startswith("fold_") and folds is None:
        path, folds = path.parent, [path.name.removeprefix("fold_")]
    stock = StockModelFolder.open(path)
    ours = {p.parent.name.removeprefix("fold_"): p for p in path.glob(f"fold_*/{MODEL_FILE}")}
    available = {**stock.checkpoints, **ours}
    chosen = list(folds) if folds is not None else sorted(available)
    missing = [f for f in chosen if f not in available]
    if missing or not chosen:
        raise RequestError(
            str(path),
            found=f"finished folds {sorted(available)}",
            expected=f"folds {missing or 'of a finished training'}",
            remedy="Train them first, or choose finished ones with --folds.",
        )
    tasks, mirror_axes = _tasks_and_mirroring(
        available[chosen[0]], stock.plan, stock.configuration_name
    )
    return Model(
        folder=path,
        plan=stock.plan,
        configuration_name=stock.configuration_name,
        description=stock.description,
        tasks=tasks,
        mirror_axes=mirror_axes,
        fold_files={fold: available[fold] for fold in chosen},
        kept_files=_kept(path, chosen) if checkpoints is Checkpoints.ALL else (),
    )


def first_stage_folder(model: Model) -> Path | None:
    """Model folder of the stage before a cascade's second one; None where there is none.

    It lies beside the model's own folder, under the name that its folds were trained after.

    Raises:
        RequestError: it is not there, or the folds were trained after different ones.
    """
    earlier = model.configuration.previous_stage
    if earlier is None:
        return None
    beside = model.folder.resolve()
    own = beside.name.partition("__")[0]
    trainers = {_header(f).get("previous_stage", own) for f in model.fold_files.values()}
    if len(trainers) > 1:
        raise RequestError(
            f"{model.folder}, folds {list(model.fold_files)}",
            found=f"folds trained after different first stages, {sorted(trainers)}",
            expected="folds of one cascade",
            remedy="Choose such folds with --folds.",
        )
    folder = beside.parent / f"{trainers.pop()}__{model.plan.plans_name}__{earlier}"
    if not folder.is_dir():
        raise RequestError(
            f"{model.folder}, second stage of a cascade",
            found=f"no first stage in {folder}",
            expected=f"the model of {earlier} that it was trained after",
            remedy="Bring that model folder too, or train it again.",
        )
    return folder


def _header(weights: Path) -> dict[str, Any]:
    return _read_ours(weights)[1] if weights.name == MODEL_FILE else {}


def _kept(folder: Path, folds: Sequence[str]) -> tuple[Path, ...]:
    found = tuple(file for fold in folds for file in periodic_models(folder / f"fold_{fold}"))
    if not found:
        raise RequestError(
            f"{folder}, --checkpoints all",
            found="no models kept on the way",
            expected="files such as model_epoch_0050.safetensors beside the finished model",
            remedy="Train with keep_every > 0, or use --checkpoints final.",
        )
    return found


def _tasks_and_mirroring(
    weights: Path, plan: Plan, configuration: str
) -> tuple[tuple[TaskSpec, ...], tuple[int, ...]]:
    if weights.name == MODEL_FILE:
        _, header = _read_ours(weights)
        tasks = _without_scales(_header_tasks(header, weights))
        return tasks, tuple(range(plan.configuration(configuration).num_spatial_dims))
    checkpoint = _read_stock(weights)
    # our trainer inside stock nnU-Net leaves heads in the checkpoint; nnU-Net's own has none
    has_heads = any(k.startswith("heads.") for k in checkpoint.weights)
    return plan.segduet.tasks if has_heads else (), checkpoint.mirror_axes


def _header_tasks(header: Mapping[str, Any], weights: Path) -> tuple[TaskSpec, ...]:
    return tuple(validated(TaskSpec, task, where=str(weights)) for task in header["tasks"])


def _without_scales(tasks: Sequence[TaskSpec]) -> tuple[TaskSpec, ...]:
    return tuple(task.model_copy(update={"scale": None}) for task in tasks)


def _read_ours(weights: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    from segduet.training.checkpoint import read_model

    tensors, header = read_model(weights)
    if header.get("format") != MODEL_FORMAT:
        raise DataError(
            str(weights),
            found=f"a file of the format {header.get('format')!r}",
            expected=f"a model ({MODEL_FORMAT})",
            remedy="Restore the model from a backup, or finish the training with --resume.",
        )
    return tensors, header


def _load_network(model: Model, weights: Path) -> TrainedNetwork:
    from segduet.networks.joint import build_joint_network
    from segduet.networks.record import NetworkRecord
    from segduet.training.checkpoint import load_unique

    is_ours = weights.suffix == ".safetensors"
    tensors, header = _read_ours(weights) if is_ours else ({}, {})
    tasks = _header_tasks(header, weights) if is_ours else model.tasks
    _require_same_tasks(model, tasks, weights)
    header = {key: header[key] for key in ("head", "network", "with_masks") if key in header}
    record = validated(NetworkRecord, header, where=str(weights))
    network = build_joint_network(
        configuration=model.configuration,
        num_channels=num_input_channels(
            model.configuration,
            num_image_channels=model.description.num_channels,
            labels=model.labels,
        ),
        labels=model.labels,
        tasks=tasks,
        head=record.head,
        deep_supervision=False,
        backbone=record.network,
        with_masks=record.with_masks,
    )
    if is_ours:
        load_unique(network, tensors, where=str(weights))
    else:
        _load_stock(network, weights)
    return TrainedNetwork(network=network.eval(), tasks=tasks)


def _require_same_tasks(model: Model, tasks: Sequence[TaskSpec], weights: Path) -> None:
    if _without_scales(tasks) != model.tasks:
        raise DataError(
            str(weights),
            found=f"a network that answers {[task.name for task in tasks]}",
            expected=f"the same questions as the other folds, {[t.name for t in model.tasks]}",
            remedy="Choose folds of one kind with --folds, or train them with the same recipe.",
        )


def _load_stock(network: "JointNetwork", checkpoint: Path) -> None:
    from segduet.networks.warm_start import load_matching

    report = load_matching(network, _read_stock(checkpoint).weights)
    unmatched = [*report.missing, *report.unexpected, *report.wrong_shape]
    if unmatched:
        raise DataError(
            str(checkpoint),
            found=f"{len(unmatched)} weights that do not fit, first {unmatched[0]!r}",
            expected="the weights of the network in plans.json",
            remedy="Use the checkpoint that belongs to this model folder.",
        )


def _read_stock(checkpoint: Path) -> "StockCheckpoint":
    from segduet.nnunet.checkpoints import read_stock_checkpoint

    return read_stock_checkpoint(checkpoint)


def write_model_folder(folder: Path, plan: Plan, description: DatasetDescription) -> None:
    """Writes plans.json and dataset.json as nnU-Net expects them beside the folds."""
    write_json(folder / "plans.json", plan.to_json())
    description.write(folder / "dataset.json")


def model_header(
    tasks: Sequence[TaskSpec], network: "NetworkRecord", **facts: Any
) -> dict[str, Any]:
    """Header of model.safetensors: what is needed to rebuild the network, and a few facts."""
    return {
        "format": MODEL_FORMAT,
        "tasks": [t.model_dump(mode="json") for t in tasks],
        **network.model_dump(mode="json"),
        **facts,
    }
