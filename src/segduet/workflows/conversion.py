"""A model folder converted for a runtime and laid out as a bundle; needs torch."""

import importlib.util
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.core.files import sha256
from segduet.core.runtime import ConvertedNetwork, RuntimeFormat
from segduet.inference.bundles.manifest import MEMBERS_FOLDER, BundleMember, BundleSource
from segduet.inference.bundles.writing import BundleExtras, write_bundle_folder
from segduet.inference.engines.runtimes import INSTALL_TORCH
from segduet.workflows.models import ModelFolder
from segduet.workflows.trained_networks import (
    TrainedNetwork,
    describe,
    load_networks,
    num_network_channels,
)


def convert_model(
    folder: ModelFolder,
    runtime: RuntimeFormat,
    target: Path,
    extras: BundleExtras | None = None,
) -> None:
    """Writes a bundle with every network of a model, in fp32.

    Args:
        folder: the model.
        runtime: format of the graphs.
        target: an empty folder.
        extras: what else the bundle holds.

    Raises:
        RequestError: PyTorch or the converter is not installed, or cannot convert a network.
        DataError: damaged weights.
        StorageError: it could not be written.
    """
    _require_converter(runtime)
    networks = load_networks(folder)
    model = describe(folder, networks)
    names = member_names(folder)
    members = [
        BundleMember(name=name, network=_converted(folder, runtime, trained, target, name))
        for name, trained in zip(names, networks, strict=True)
    ]
    write_bundle_folder(
        target,
        plan=model.plan,
        description=model.description,
        configuration_name=model.configuration_name,
        mirror_axes=model.mirror_axes,
        members=members,
        source=BundleSource(
            folder=folder.folder.resolve().name,
            weights_sha256=dict(zip(names, map(sha256, folder.weights), strict=True)),
        ),
        extras=extras,
    )


def member_names(folder: ModelFolder) -> list[str]:
    """A name per network: `fold_0`, and `fold_0_model_epoch_0050` of one kept on the way."""
    kept = [f"{path.parent.name}_{path.stem}" for path in folder.kept_files]
    return [*(f"fold_{fold}" for fold in folder.fold_files), *kept]


def _require_converter(runtime: RuntimeFormat) -> None:
    needed = ("openvino",) if runtime is RuntimeFormat.OPENVINO else ("onnx", "onnxscript")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise RequestError(
            f"conversion for {runtime}",
            found=f"{' and '.join(missing)} not installed",
            expected=f"{' and '.join(needed)}, which write such networks",
            remedy=f"Install them ({INSTALL_TORCH}).",
        )


def _converted(
    folder: ModelFolder, runtime: RuntimeFormat, trained: TrainedNetwork, target: Path, name: str
) -> ConvertedNetwork:
    if runtime is RuntimeFormat.OPENVINO:
        from segduet.compression.openvino_conversion import convert_to_openvino as convert
    else:
        from segduet.compression.onnx_conversion import convert_to_onnx as convert

    into = target / MEMBERS_FOLDER / name
    into.mkdir(parents=True)
    return convert(
        trained.network,
        into,
        tasks=trained.tasks,
        num_channels=num_network_channels(folder),
        patch_size=folder.configuration.patch_size,
    )
