"""`segduet export --precision int8`: quantised, judged on held cases, and refused if it loses."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from segduet.compression.calibration import CalibrationSettings, calibration_windows
from segduet.core.files import write_json
from segduet.core.folders import DataRoot
from segduet.core.runtime import RuntimeFormat
from segduet.evaluation.gate_report import GateBounds, GateReport
from segduet.inference.bundles.manifest import BundleMember
from segduet.inference.bundles.opening import Bundle, open_bundle_folder
from segduet.inference.bundles.writing import BundleExtras, write_bundle_folder
from segduet.workflows.calibration_cases import CalibrationCases, find_calibration_cases
from segduet.workflows.compression_gate import require_passed, run_gate
from segduet.workflows.conversion import convert_model
from segduet.workflows.loading import LoadedModel, load
from segduet.workflows.models import ModelFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Request:
    """How a model is quantised and judged.

    Attributes:
        calibration: folder of images, raw dataset folder, or a dataset's name.
        root: where datasets are.
        bounds: what may be lost.
        sampling: how many cases and windows calibrate.
        report_file: where the gate's report is written, whatever it says; None for nowhere.
    """

    calibration: str
    root: DataRoot
    bounds: GateBounds = field(default_factory=GateBounds)
    sampling: CalibrationSettings = field(default_factory=CalibrationSettings)
    report_file: Path | None = None


def write_int8_bundle(
    folder: ModelFolder,
    target: Path,
    request: Int8Request,
    *,
    extras: BundleExtras,
    say: Callable[[str], None],
) -> GateReport:
    """Writes a bundle of 8-bit networks with the report of the gate that they passed.

    The original answers in fp32 on the same engine; neither averages over mirrored windows, which
    would hide differences.

    Args:
        folder: the model; no second stage of a cascade.
        target: an empty folder, to be thrown away on an error.
        request: how.
        extras: what else stands in the bundle.
        say: told what takes long.

    Raises:
        RequestError: the networks cannot be quantised, there are too few cases, or the 8-bit
            networks lose more than the bounds allow.
        DataError: damaged weights, or images that cannot be read or do not fit the model.
        StorageError: it could not be written.
    """
    with tempfile.TemporaryDirectory(prefix="segduet-int8-") as temporary:
        exact, cache = Path(temporary) / "fp32", Path(temporary) / "cache"
        exact.mkdir()
        say("int8: converting")
        convert_model(
            folder, RuntimeFormat.OPENVINO, exact, dataclasses.replace(extras, coarse=None)
        )
        with _loaded(exact, "fp32", cache) as reference:
            cases = find_calibration_cases(
                reference.model,
                request.calibration,
                request.root,
                folds=tuple(folder.fold_files),
                settings=request.sampling,
            )
            original = open_bundle_folder(exact, verify=False)
            members = _quantised(original, target, cases, request, say)
            _write(original, target, members, extras)
            with _loaded(target, "int8", cache) as candidate:
                report = run_gate(
                    reference.predict,
                    candidate.predict,
                    cases.held(),
                    model=reference.model,
                    bounds=request.bounds,
                    say=say,
                )
    plain = report.model_dump(mode="json")
    if request.report_file is not None:
        write_json(request.report_file, plain)
    require_passed(report, consequence="Nothing was exported.")
    _write(original, target, members, dataclasses.replace(extras, gate=plain))
    return report


@contextlib.contextmanager
def _loaded(bundle: Path, precision: Literal["fp32", "int8"], cache: Path) -> Iterator[LoadedModel]:
    loaded = load(
        bundle, engine="openvino", device="cpu", precision=precision, cache=cache, mirrored=False
    )
    try:
        yield loaded
    finally:
        for member in loaded.members:
            member.engine.close()


def _quantised(
    original: Bundle,
    target: Path,
    cases: CalibrationCases,
    request: Int8Request,
    say: Callable[[str], None],
) -> list[BundleMember]:
    from segduet.compression.quantisation import QuantisationSettings, quantise

    say(f"int8: {len(cases.choice.calibration)} cases to calibrate with")
    windows = list(
        calibration_windows(
            cases.to_calibrate(),
            patch_zyx=original.configuration.patch_size_zyx,
            settings=request.sampling,
        )
    )
    members = []
    for member in original.members:
        say(f"int8: quantising {member.name}")
        network = quantise(
            original.member_folder(member),
            member.network,
            windows,
            target / member.folder,
            settings=QuantisationSettings(),
        )
        members.append(member.model_copy(update={"network": network}))
    return members


def _write(
    original: Bundle, target: Path, members: Sequence[BundleMember], extras: BundleExtras
) -> None:
    write_bundle_folder(
        target,
        plan=original.plan,
        description=original.description,
        configuration_name=original.manifest.configuration,
        mirror_axes=original.mirror_axes,
        members=members,
        source=original.manifest.source,
        extras=extras,
    )
