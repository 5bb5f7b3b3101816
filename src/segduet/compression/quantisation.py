"""Post-training quantisation: a network's graph of the windows with 8-bit arithmetic (F68).

Source: Jacob et al. (2018), doi:10.1109/CVPR.2018.00286; bias correction: Finkelstein et al.
(2019), arXiv:1906.03193; done by NNCF.
"""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino

from segduet.compression.calibration import CalibrationWindow
from segduet.compression.float_parts import float_operations
from segduet.compression.openvino_files import weights_file, write_graph
from segduet.compression.quiet_nncf import quiet_nncf
from segduet.core.errors import DataError, RequestError
from segduet.core.files import atomic_path
from segduet.core.runtime import (
    IMAGE,
    SHARES,
    ConvertedNetwork,
    RuntimeFormat,
    StoredPrecision,
)

_QUANTISED = "FakeQuantize"


class NothingToQuantiseError(RequestError):
    """All of a network's layers stay in float."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisationSettings:
    """How a network is quantised.

    Attributes:
        ends_in_float: how many convolutions in a row stay in float from the image on, and as many
            before the masks.
        norms_in_float: keep instance normalisations in float, see `float_parts`.
        min_windows: fewer say too little about the range of the activations.
    """

    ends_in_float: int = 1
    norms_in_float: bool = True
    min_windows: int = 8


def quantise(
    folder: Path,
    converted: ConvertedNetwork,
    calibration: Iterable[CalibrationWindow],
    target: Path,
    *,
    settings: QuantisationSettings,
) -> ConvertedNetwork:
    """Writes the network with 8-bit weights and activations, under the same file names.

    Weights are symmetric by channel, activations asymmetric; biases make up for what rounding the
    weights does to the mean of a channel. What only the heads compute, and the
    graph of the heads, stays in float, so that a class rests on 8-bit features but on exact sums.
    The same files and windows give the same files. Nothing is sent anywhere.

    Args:
        folder: holds the files of `converted`.
        converted: a network in OpenVINO's format, fp32.
        calibration: windows as the network sees them, `settings.min_windows` or more.
        target: folder for the files, another than `folder`.
        settings: how.

    Raises:
        NothingToQuantiseError: all layers stay in float by these settings.
        RequestError: another format, a network that is quantised already, too few windows, or one
            that NNCF cannot quantise.
        DataError: windows that do not fit the network.
        StorageError: a file could not be written.
    """
    assert folder.resolve() != target.resolve(), "would replace what it reads"
    _require_quantisable(converted)
    graph = openvino.Core().read_model(folder / converted.windows_file)
    samples = _samples(graph, converted, calibration, settings)
    quantised = _quantised(graph, samples, settings)
    if not any(node.get_type_name() == _QUANTISED for node in quantised.get_ops()):
        raise _refusal(converted, "no layer between the first and the last", NothingToQuantiseError)
    _name_by_place(quantised)
    write_graph(quantised, target / converted.windows_file)
    if converted.heads_file is not None:
        heads = folder / converted.heads_file
        for path in (weights_file(heads), heads):
            with atomic_path(target / path.name) as temporary:
                shutil.copyfile(path, temporary)
    return converted.model_copy(update={"stored_precision": StoredPrecision.INT8})


def _require_quantisable(converted: ConvertedNetwork) -> None:
    if converted.format is not RuntimeFormat.OPENVINO:
        raise _refusal(converted, f"a network in the format {converted.format}")
    if converted.stored_precision is not StoredPrecision.FP32:
        raise _refusal(converted, "a network that is quantised already")


def _refusal(
    converted: ConvertedNetwork, found: str, kind: type[RequestError] = RequestError
) -> RequestError:
    return kind(
        f"quantisation of {converted.windows_file}",
        found=found,
        expected="an fp32 network in OpenVINO's format, with layers to quantise",
        remedy="Convert the trained model to OpenVINO, or export it as fp32.",
    )


def _samples(
    graph: openvino.Model,
    converted: ConvertedNetwork,
    calibration: Iterable[CalibrationWindow],
    settings: QuantisationSettings,
) -> list[dict[str, np.ndarray]]:
    """The windows as inputs of the graph, a batch of one each."""
    samples = []
    for window in calibration:
        _check_channels(graph, window)
        pair = {IMAGE: window.image[None], SHARES: window.shares[None]}
        if converted.num_spatial_dims == 2:
            pair = {name: array[:, :, 0] for name, array in pair.items()}
        samples.append(pair)
    if len(samples) < settings.min_windows:
        raise RequestError(
            "calibration",
            found=f"{len(samples)} windows",
            expected=f"at least {settings.min_windows}, as the range of every layer is read off "
            "them",
            remedy="Bring more images to calibrate with.",
        )
    return samples


def _check_channels(graph: openvino.Model, window: CalibrationWindow) -> None:
    wanted = graph.input(IMAGE).get_partial_shape()[1].get_length()
    if len(window.image) != wanted:
        raise DataError(
            f"calibration case {window.case!r}",
            found=f"{len(window.image)} channels",
            expected=f"{wanted}, as the network was made for",
            remedy="Prepare the images with the plan of this very model.",
        )


def _quantised(
    graph: openvino.Model,
    samples: list[dict[str, np.ndarray]],
    settings: QuantisationSettings,
) -> openvino.Model:
    with quiet_nncf() as nncf:
        kept = float_operations(
            graph, num_ends=settings.ends_in_float, with_norms=settings.norms_in_float
        )
        try:
            return nncf.quantize(
                graph,
                nncf.Dataset(samples),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(samples),
                ignored_scope=nncf.IgnoredScope(names=kept, validate=False),
            )
        except (RuntimeError, nncf.ValidationError, nncf.UnsupportedModelError) as error:
            raise RequestError(
                "quantisation",
                found=f"a network that NNCF cannot quantise ({_first_line(error)})",
                expected="convolutions and the like",
                remedy="Export the model as fp32 or bf16.",
            ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _name_by_place(graph: openvino.Model) -> None:
    """Names what NNCF added by its place: otherwise a counter of the process would name it."""
    for place, node in enumerate(graph.get_ordered_ops()):
        kind = node.get_type_name()
        if re.fullmatch(rf"{kind}_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{kind}_at_{place}")
