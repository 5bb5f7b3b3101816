"""From a trained model to engines that run it.

A model folder is run by torch, or converted once and run from there; a bundle is converted already.
Only the road through torch imports torch.
"""

import dataclasses
import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from segduet.core.runtime import StoredPrecision
from segduet.inference.bundles.manifest import BundleMember
from segduet.inference.bundles.opening import Bundle
from segduet.inference.engine import Engine, Member
from segduet.inference.engines.choice import (
    EngineChoice,
    EngineRequest,
    ModelForms,
    choose_engine,
)
from segduet.inference.engines.machine import Machine, may_have_gpu, this_machine
from segduet.inference.engines.runtimes import RUNTIMES, EngineName
from segduet.workflows.converted_models import get_or_convert, kept_formats
from segduet.workflows.models import Model, ModelFolder
from segduet.workflows.sources import OpenedFolder, Source

#: More cases at once than this keep each other's numbers out of the processor's cache.
_MOST_AT_ONCE = 8

#: Patches in the median picture; larger ones have work for all threads and take much memory.
_MOST_PATCHES_OF_MANY = 4

#: nnU-Net's reader of pictures, of which each is one slice.
_PICTURES = "NaturalImage2DIO"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyNetworks:
    """A model with its networks in memory.

    Attributes:
        members: one per network, each on its engine.
        total_strides: of each network, one number per spatial axis; empty unless asked for.
        warnings: what went otherwise than expected on the way, one sentence each.
    """

    model: Model
    members: tuple[Member, ...]
    total_strides: tuple[tuple[int, ...], ...] = ()
    warnings: tuple[str, ...] = ()


def choose_runtime(source: Source, wanted: EngineRequest) -> EngineChoice:
    """What runs a model here, and why.

    Precision `auto` of a bundle that holds nothing but 8-bit networks is int8.

    Raises:
        RequestError: what was asked for cannot be had.
    """
    forms = _forms(source, wanted)
    stored = {precision for _, precision in forms.converted}
    if wanted.precision == "auto" and not forms.has_weights and stored == {StoredPrecision.INT8}:
        wanted = dataclasses.replace(wanted, precision="int8")
    return choose_engine(wanted, machine=_machine(wanted), model=forms)


def ready_networks(
    source: Source,
    choice: EngineChoice,
    threads: int | None,
    say: Callable[[str], None],
    *,
    with_strides: bool = False,
    at_once: int = 1,
) -> ReadyNetworks:
    """Loads a model's networks into the chosen engine.

    Args:
        source: the model.
        choice: as from `choose_runtime`.
        threads: of the engine on a CPU; None leaves the number to it.
        say: told what takes long.
        with_strides: also find out the total strides, which takes torch a second for networks that
            no plan describes.
        at_once: callers that OpenVINO answers side by side, each by its share of the threads.

    Raises:
        RequestError: a converter cannot convert this network, or the device is not there.
        DataError: damaged weights.
        StorageError: a conversion could not be kept.
    """
    graph = RUNTIMES[choice.engine].graph
    if graph is None:
        assert isinstance(source, OpenedFolder), "a bundle has no weights to choose torch for"
        return _torch_networks(source.folder, choice, threads, with_strides=with_strides)
    if isinstance(source, OpenedFolder):
        bundle, warnings = get_or_convert(source.folder, graph, source.cache, say)
        path = source.folder.folder
    else:
        bundle, warnings, path = source.bundle, (), source.path
    compiled = source.cache.for_compiled()
    members = tuple(
        Member(
            engine=_engine(bundle, member, choice, threads, at_once=at_once, compiled=compiled),
            tasks=member.network.tasks,
        )
        for member in bundle.members
    )
    strides = tuple(member.network.total_strides for member in bundle.members)
    return ReadyNetworks(
        model=_described(bundle, path),
        members=members,
        total_strides=strides if with_strides else (),
        warnings=warnings,
    )


def most_at_once(source: Source, choice: EngineChoice, threads: int | None) -> int:
    """How many of many cases are best answered side by side.

    As many as there are threads, where a case is a small picture: too little work for all of them,
    as the threads of one case wait for each other after every layer.

    Args:
        source: the model.
        choice: as from `choose_runtime`.
        threads: of the engine on a CPU; None leaves the number to it.
    """
    opened = source.folder if isinstance(source, OpenedFolder) else source.bundle
    configuration = opened.configuration
    is_picture = opened.plan.image_reader_writer == _PICTURES
    median = math.prod(configuration.median_image_size_in_voxels)
    is_small = median <= _MOST_PATCHES_OF_MANY * math.prod(configuration.patch_size)
    if choice.engine is not EngineName.OPENVINO or not is_picture or not is_small:
        return 1
    return min(threads or len(os.sched_getaffinity(0)), _MOST_AT_ONCE)


def _forms(source: Source, wanted: EngineRequest) -> ModelForms:
    if isinstance(source, OpenedFolder):
        # torch needs no conversion, and looking for one hashes the weights
        is_torch = wanted.engine is EngineName.TORCH or wanted.keep_attention
        kept = () if is_torch else kept_formats(source.folder, source.cache)
        forms = frozenset((graph, StoredPrecision.FP32) for graph in kept)
        return ModelForms(has_weights=True, converted=forms)
    networks = [member.network for member in source.bundle.members]
    held = frozenset((network.format, network.stored_precision) for network in networks)
    return ModelForms(has_weights=False, converted=held)


def _machine(wanted: EngineRequest) -> Machine:
    # asking for a GPU takes an import of torch: only where there may be one that matters
    matters = wanted.device != "cpu" and wanted.engine is not EngineName.OPENVINO
    if not (matters and may_have_gpu()):
        return this_machine(has_cuda=False)
    if importlib.util.find_spec("torch") is None:
        return this_machine(has_cuda=True)
    import torch

    has_cuda = torch.cuda.is_available()
    has_bf16 = has_cuda and torch.cuda.is_bf16_supported()
    return this_machine(has_cuda=has_cuda, cuda_has_bf16=has_bf16)


def _torch_networks(
    folder: ModelFolder, choice: EngineChoice, threads: int | None, *, with_strides: bool
) -> ReadyNetworks:
    import torch

    from segduet.inference.engines.torch_engine import Precision, TorchEngine
    from segduet.networks.export_views import total_strides
    from segduet.training.allocator import keep_freed_memory
    from segduet.workflows.trained_networks import describe, load_networks, num_network_channels

    if choice.device == "cpu":
        keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    trained = load_networks(folder)
    dims, num_channels = folder.configuration.num_spatial_dims, num_network_channels(folder)
    measured = trained if with_strides else []
    strides = tuple(total_strides(one.network, num_channels, dims) for one in measured)
    members = tuple(
        Member(
            engine=TorchEngine(
                one.network,
                num_spatial_dims=dims,
                device=choice.device,
                precision=Precision(choice.precision),
            ),
            tasks=one.tasks,
        )
        for one in trained
    )
    return ReadyNetworks(model=describe(folder, trained), members=members, total_strides=strides)


def _engine(
    bundle: Bundle,
    member: BundleMember,
    choice: EngineChoice,
    threads: int | None,
    *,
    at_once: int,
    compiled: Path | None,
) -> Engine:
    folder = bundle.member_folder(member)
    if choice.engine is EngineName.OPENVINO:
        from segduet.inference.engines.openvino_engine import OpenVinoPrecision, open_openvino

        return open_openvino(
            folder,
            member.network,
            precision=cast(OpenVinoPrecision, choice.precision),
            num_threads=threads,
            num_streams=at_once,
            cache=compiled,
        )
    from segduet.inference.engines.onnx_engine import OnnxPrecision, OnnxProvider, open_onnx

    device, _, index = choice.device.partition(":")
    provider = "tensorrt" if choice.engine is EngineName.TENSORRT else device
    return open_onnx(
        folder,
        member.network,
        provider=cast(OnnxProvider, provider),
        device_index=int(index or 0),
        num_threads=threads,
        precision=cast(OnnxPrecision, choice.precision),
    )


def _described(bundle: Bundle, source: Path) -> Model:
    """What prediction needs to know of a bundle's networks."""
    names = [member.name.removeprefix("fold_") for member in bundle.members]
    return Model(
        source=source,
        plan=bundle.plan,
        configuration_name=bundle.manifest.configuration,
        description=bundle.description,
        folds=tuple(names),
        tasks=bundle.tasks,
        mirror_axes=bundle.mirror_axes,
        segments=all(member.network.with_masks for member in bundle.members),
    )
