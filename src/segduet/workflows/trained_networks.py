"""The networks of a model folder, built and filled with their weights; needs torch."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segduet.core.description import validated
from segduet.core.errors import DataError, RequestError
from segduet.core.tasks import TaskSpec
from segduet.preparation.cascade import num_input_channels
from segduet.workflows.models import Model, ModelFolder, read_header

if TYPE_CHECKING:
    from segduet.networks.joint import JointNetwork
    from segduet.networks.record import NetworkRecord
    from segduet.nnunet.checkpoints import StockCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetwork:
    """One network of a model folder.

    Attributes:
        network: in evaluation mode.
        tasks: what it answers about a case, regressions with the scale of its own training cases.
        mirror_axes: spatial axes it was trained to be mirrored along.
        fits_stock_nnunet: whether nnU-Net can build it, but for the heads, from the plan.
    """

    network: "JointNetwork"
    tasks: tuple[TaskSpec, ...]
    mirror_axes: tuple[int, ...]
    fits_stock_nnunet: bool

    @property
    def segments(self) -> bool:
        """Whether it answers with a label map."""
        return self.network.decoder is not None


def load_networks(folder: ModelFolder) -> list[TrainedNetwork]:
    """Builds every fold's network, and those kept on the way.

    Raises:
        RequestError: PyTorch is not installed.
        DataError: weights are damaged or do not fit the plan, or answer other tasks than the
            first fold's.
    """
    require_torch(folder)
    trained = [_load_network(folder, weights) for weights in folder.weights]
    for network, weights in zip(trained, folder.weights, strict=True):
        _require_same_tasks(network, trained[0], weights)
    return trained


def describe(folder: ModelFolder, networks: Sequence[TrainedNetwork]) -> Model:
    """What prediction needs to know of a folder whose networks are loaded."""
    return Model(
        source=folder.folder,
        plan=folder.plan,
        configuration_name=folder.configuration_name,
        description=folder.description,
        folds=tuple(folder.fold_files),
        tasks=_without_scales(networks[0].tasks),
        mirror_axes=networks[0].mirror_axes,
        segments=all(network.segments for network in networks),
    )


def num_network_channels(folder: ModelFolder) -> int:
    """Input channels of the networks: the image's, and a cascade's masks."""
    return num_input_channels(
        folder.configuration,
        num_image_channels=folder.description.num_channels,
        labels=folder.labels,
    )


def require_torch(folder: ModelFolder) -> None:
    """Checks that a model folder's weights can be read here.

    Raises:
        RequestError: PyTorch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise RequestError(
            str(folder.folder),
            found="an installation without PyTorch",
            expected="PyTorch, to read a model folder that was not converted before",
            remedy="Install segduet[train], or convert the model with `segduet export` elsewhere.",
        )


def _load_network(folder: ModelFolder, weights: Path) -> TrainedNetwork:
    if weights.suffix == ".safetensors":
        return _load_ours(folder, weights)
    return _load_stock(folder, weights)


def _load_ours(folder: ModelFolder, weights: Path) -> TrainedNetwork:
    from segduet.networks.backbone_config import PlannedConfig
    from segduet.networks.record import NetworkRecord
    from segduet.training.checkpoint import load_unique, read_model

    header = read_header(weights)
    tasks = tuple(validated(TaskSpec, task, where=str(weights)) for task in header["tasks"])
    choices = {key: header[key] for key in NetworkRecord.model_fields if key in header}
    record = validated(NetworkRecord, choices, where=str(weights))
    network = _build(folder, tasks, record)
    load_unique(network, read_model(weights)[0], where=str(weights))
    return TrainedNetwork(
        network=network,
        tasks=tasks,
        mirror_axes=tuple(range(folder.configuration.num_spatial_dims)),
        fits_stock_nnunet=record.with_masks and record.network == PlannedConfig(),
    )


def _load_stock(folder: ModelFolder, weights: Path) -> TrainedNetwork:
    from segduet.networks.record import NetworkRecord
    from segduet.nnunet.checkpoints import read_stock_checkpoint

    checkpoint = read_stock_checkpoint(weights)
    # our trainer inside stock nnU-Net leaves heads in the checkpoint; nnU-Net's own has none
    has_heads = any(key.startswith("heads.") for key in checkpoint.weights)
    tasks = folder.plan.segduet.tasks if has_heads else ()
    network = _build(folder, tasks, NetworkRecord())
    _fill(network, checkpoint, where=str(weights))
    return TrainedNetwork(
        network=network,
        tasks=tasks,
        mirror_axes=checkpoint.mirror_axes,
        fits_stock_nnunet=True,
    )


def _build(
    folder: ModelFolder, tasks: tuple[TaskSpec, ...], record: "NetworkRecord"
) -> "JointNetwork":
    from segduet.networks.joint import build_joint_network

    return build_joint_network(
        configuration=folder.configuration,
        num_channels=num_network_channels(folder),
        labels=folder.labels,
        tasks=tasks,
        head=record.head,
        deep_supervision=False,
        backbone=record.network,
        with_masks=record.with_masks,
    ).eval()


def _fill(network: "JointNetwork", checkpoint: "StockCheckpoint", *, where: str) -> None:
    from segduet.networks.warm_start import load_matching

    report = load_matching(network, checkpoint.weights)
    unmatched = [*report.missing, *report.unexpected, *report.wrong_shape]
    if unmatched:
        raise DataError(
            where,
            found=f"{len(unmatched)} weights that do not fit, first {unmatched[0]!r}",
            expected="the weights of the network in plans.json",
            remedy="Use the checkpoint that belongs to this model folder.",
        )


def _require_same_tasks(network: TrainedNetwork, first: TrainedNetwork, weights: Path) -> None:
    wanted = _without_scales(first.tasks)
    if _without_scales(network.tasks) != wanted:
        raise DataError(
            str(weights),
            found=f"a network that answers {[task.name for task in network.tasks]}",
            expected=f"the same questions as the other folds, {[task.name for task in wanted]}",
            remedy="Choose folds of one kind with --folds, or train them with the same recipe.",
        )


def _without_scales(tasks: Sequence[TaskSpec]) -> tuple[TaskSpec, ...]:
    return tuple(task.model_copy(update={"scale": None}) for task in tasks)
