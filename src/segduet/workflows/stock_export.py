"""A model folder that stock nnU-Net predicts with, from a model of ours (B11); needs torch."""

from pathlib import Path

from segduet.core.errors import RequestError
from segduet.networks.stock_view import segmentation_weights
from segduet.nnunet.checkpoints import write_stock_checkpoint
from segduet.workflows.models import ModelFolder, write_model_folder
from segduet.workflows.trained_networks import load_networks


def write_stock_model(folder: ModelFolder, target: Path) -> None:
    """Writes plans.json, dataset.json and a stock checkpoint per fold; the heads stay behind.

    Args:
        folder: the model.
        target: an empty folder.

    Raises:
        RequestError: a network that nnU-Net cannot build from the plan, or without masks.
        DataError: damaged weights.
        StorageError: it could not be written.
    """
    networks = load_networks(folder)
    for trained, weights in zip(networks, folder.weights, strict=True):
        if not trained.fits_stock_nnunet:
            raise RequestError(
                str(weights),
                found="a network that nnU-Net cannot build from its plans, or one without masks",
                expected="the network of the plan, with a decoder",
                remedy="Train with `network: {kind: planned}` and masks for such an export.",
            )
    write_model_folder(target, folder.plan, folder.description)
    for fold, trained in zip(folder.fold_files, networks, strict=True):
        write_stock_checkpoint(
            target / f"fold_{fold}" / "checkpoint_final.pth",
            weights=segmentation_weights(trained.network),
            plans=folder.plan.to_json(),
            dataset_json=folder.description.model_dump(
                by_alias=True, exclude_none=True, mode="json"
            ),
            configuration=folder.configuration_name,
            fold=fold,
            mirror_axes=trained.mirror_axes,
        )
