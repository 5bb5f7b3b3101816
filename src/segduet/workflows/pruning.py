"""`segduet prune`: a model folder with fewer channels, to be trained on or used (F69)."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segduet.core.errors import RequestError
from segduet.core.files import sha256
from segduet.core.manifest import RunManifest, utc
from segduet.dataset.staging import staged_folder
from segduet.workflows.models import (
    MODEL_FILE,
    ModelFolder,
    model_header,
    open_model,
    read_header,
    write_model_folder,
)
from segduet.workflows.trained_networks import TrainedNetwork, load_networks, num_network_channels

if TYPE_CHECKING:
    from segduet.networks.joint import JointNetwork
    from segduet.networks.record import NetworkRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRequest:
    """What to prune, and how far.

    Attributes:
        model: model folder, ours or stock nnU-Net's; all its finished folds are pruned.
        keep: share of the channels of every layer that stays, in (0, 1).
        out: folder of the model folder to write, `pruned__<plans>__<configuration>`.
    """

    model: Path
    keep: float
    out: Path

    def __post_init__(self) -> None:
        """Refuses a share that prunes nothing or everything."""
        if not 0 < self.keep < 1:
            raise RequestError(
                f"--keep {self.keep}",
                found="a share that leaves the network as it is, or nothing of it",
                expected="a share of the channels above 0 and below 1, such as 0.5",
                remedy="Choose another share.",
            )


def prune(request: PruneRequest, say: Callable[[str], None] = log.info) -> RunManifest:
    """Writes a model folder whose networks have only the strongest channels of the model's.

    It predicts at once, but a large cut costs accuracy until it is trained on.
    `segduet gate` judges it.

    Args:
        say: told what is pruned.

    Raises:
        RequestError: no such model, PyTorch is missing, a network that is not the plan's, a head
            that cannot be narrowed, or `out` is in use.
        DataError: damaged weights.
        StorageError: it could not be written.
    """
    started = time.time()
    folder = open_model(request.model)
    final = request.out / f"pruned__{folder.plan.plans_name}__{folder.configuration_name}"
    _require_new(final)
    networks = load_networks(folder)
    folds = {}
    with staged_folder(final) as target:
        write_model_folder(target, folder.plan, folder.description)
        for (fold, weights), trained in zip(folder.fold_files.items(), networks, strict=True):
            say(f"prune: fold {fold}")
            record = _record(weights)
            narrower = _narrower(record, request.keep, str(weights))
            network = _pruned(folder, trained, narrower)
            _require_smaller(network, trained.network, request.keep)
            _write(target / f"fold_{fold}", network, trained, narrower, weights)
            folds[fold] = _figures(folder, trained.network, network)
        manifest = RunManifest(
            command="prune",
            arguments={"model": str(folder.folder), "keep": request.keep},
            outcome={
                "written": str(final),
                "width_factor": _width_factor(narrower),
                "folds": folds,
            },
            started=utc(started),
            seconds=time.time() - started,
        )
        manifest.write(target)
    return manifest


def _require_new(target: Path) -> None:
    if target.exists():
        raise RequestError(
            str(target),
            found="a folder that is there already",
            expected="a new one",
            remedy="Remove it, or choose another --out.",
        )


def _record(weights: Path) -> "NetworkRecord":
    from segduet.networks.record import NetworkRecord

    header = read_header(weights)
    choices = {key: header[key] for key in NetworkRecord.model_fields if key in header}
    return NetworkRecord.model_validate(choices)


def _width_factor(record: "NetworkRecord") -> float:
    from segduet.networks.backbone_config import PlannedConfig

    assert isinstance(record.network, PlannedConfig)
    return record.network.width_factor


def _narrower(record: "NetworkRecord", keep: float, where: str) -> "NetworkRecord":
    from segduet.networks.backbone_config import PlannedConfig

    if not isinstance(record.network, PlannedConfig):
        raise RequestError(
            where,
            found=f"a network of the kind {record.network.kind}",
            expected="the network of the plan (kind planned), whose width can be chosen",
            remedy="Distil it into a planned network with `network.width_factor` instead.",
        )
    factor = record.network.width_factor * keep
    network = record.network.model_copy(update={"width_factor": factor})
    return record.model_copy(update={"network": network})


def _pruned(
    folder: ModelFolder, trained: TrainedNetwork, record: "NetworkRecord"
) -> "JointNetwork":
    from segduet.compression.pruning import fill_narrow
    from segduet.networks.joint import build_joint_network

    num_channels = num_network_channels(folder)
    narrow = build_joint_network(
        configuration=folder.configuration,
        num_channels=num_channels,
        labels=folder.labels,
        tasks=trained.tasks,
        head=record.head,
        deep_supervision=False,
        backbone=record.network,
        with_masks=record.with_masks,
    ).eval()
    fill_narrow(
        narrow,
        trained.network,
        num_channels=num_channels,
        patch_size=folder.configuration.patch_size,
    )
    return narrow


def _require_smaller(after: "JointNetwork", before: "JointNetwork", keep: float) -> None:
    sizes = [sum(p.numel() for p in network.parameters()) for network in (after, before)]
    if sizes[0] == sizes[1]:
        raise RequestError(
            f"--keep {keep}",
            found="no layer that loses a channel, as its share is rounded to whole ones",
            expected="a share that leaves some layer with fewer channels",
            remedy="Choose a smaller share.",
        )


def _write(
    fold: Path,
    network: "JointNetwork",
    trained: TrainedNetwork,
    record: "NetworkRecord",
    weights: Path,
) -> None:
    from segduet.training.checkpoint import write_model

    header = {
        **read_header(weights),  # recipe, epoch and so on of the training
        **model_header(trained.tasks, record, pruned_from_sha256=sha256(weights)),
    }
    write_model(fold / MODEL_FILE, network, header)


def _figures(
    folder: ModelFolder, before: "JointNetwork", after: "JointNetwork"
) -> dict[str, dict[str, Any]]:
    from segduet.networks.cost import cost_of_a_window

    def cost(network: "JointNetwork") -> dict[str, Any]:
        return cost_of_a_window(
            network,
            num_channels=num_network_channels(folder),
            patch_size=folder.configuration.patch_size,
        )

    return {"before": cost(before), "after": cost(after)}
