"""Opening a trained model: ours, or a stock nnU-Net model folder (B11)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segduet.core.description import DatasetDescription, validated
from segduet.core.errors import DataError, RequestError
from segduet.core.files import write_json
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.core.tasks import TaskSpec
from segduet.nnunet.model_folder import StockModelFolder

if TYPE_CHECKING:
    from torch import Tensor

    from segduet.networks.joint import JointNetwork
    from segduet.nnunet.checkpoints import StockCheckpoint

MODEL_FILE = "model.safetensors"
MODEL_FORMAT = "segduet-model-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model folder: one plan, one configuration, one network per fold.

    Attributes:
        tasks: case-level tasks it answers; empty where nnU-Net's own trainer made it.
        mirror_axes: spatial axes the networks were trained to be mirrored along (all, unless a
            stock trainer did without).
        fold_files: fold name -> weights, `model.safetensors` or a stock checkpoint.
    """

    folder: Path
    plan: Plan
    configuration_name: str
    description: DatasetDescription
    tasks: tuple[TaskSpec, ...]
    mirror_axes: tuple[int, ...]
    fold_files: dict[str, Path]

    @property
    def configuration(self) -> ConfigurationPlan:
        """The configuration the networks were trained in."""
        return self.plan.configuration(self.configuration_name)

    @property
    def labels(self) -> LabelScheme:
        """What the predicted label maps mean."""
        return self.description.label_scheme

    def networks(self) -> "list[JointNetwork]":
        """Builds the network of every fold and loads its weights, evaluation mode.

        Raises:
            DataError: weights are damaged or do not fit the plan.
        """
        return [_load_network(self, path) for path in self.fold_files.values()]


def open_model(path: Path, folds: Sequence[str] | None = None) -> Model:
    """Opens a model folder, or one of its fold folders.

    Args:
        path: `<trainer>__<plans>__<configuration>`, or `fold_K` in it.
        folds: folds to use; None takes all that are finished.

    Raises:
        RequestError: no such folder or fold.
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
    )


def _tasks_and_mirroring(
    weights: Path, plan: Plan, configuration: str
) -> tuple[tuple[TaskSpec, ...], tuple[int, ...]]:
    if weights.name == MODEL_FILE:
        _, header = _read_ours(weights)
        tasks = tuple(validated(TaskSpec, t, where=str(weights)) for t in header["tasks"])
        return tasks, tuple(range(plan.configuration(configuration).num_spatial_dims))
    checkpoint = _read_stock(weights)
    # our trainer inside stock nnU-Net leaves heads in the checkpoint; nnU-Net's own has none
    has_heads = any(k.startswith("heads.") for k in checkpoint.weights)
    return plan.segduet.tasks if has_heads else (), checkpoint.mirror_axes


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


def _load_network(model: Model, weights: Path) -> "JointNetwork":
    from segduet.networks.config import HeadConfig
    from segduet.networks.joint import build_joint_network
    from segduet.training.checkpoint import load_unique

    is_ours = weights.name == MODEL_FILE
    tensors, header = _read_ours(weights) if is_ours else ({}, {})
    head = validated(HeadConfig, header.get("head", {}), where=str(weights))
    network = build_joint_network(
        configuration=model.configuration,
        num_channels=model.description.num_channels,
        labels=model.labels,
        tasks=model.tasks,
        head=head,
        deep_supervision=False,
    )
    if is_ours:
        load_unique(network, tensors, where=str(weights))
    else:
        _load_stock(network, weights)
    return network.eval()


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


def model_header(model_tasks: Sequence[TaskSpec], head: Any, **record: Any) -> dict[str, Any]:
    """Header of model.safetensors: what is needed to rebuild the network, and a few facts."""
    return {
        "format": MODEL_FORMAT,
        "tasks": [t.model_dump(mode="json") for t in model_tasks],
        "head": head.model_dump(mode="json"),
        **record,
    }
