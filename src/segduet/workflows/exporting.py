"""`segduet export`: a trained model as a bundle, as converted networks, or for stock nnU-Net."""

import contextlib
import dataclasses
import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from segduet.core.errors import RequestError
from segduet.core.manifest import RunManifest, utc
from segduet.core.runtime import RuntimeFormat
from segduet.core.tasks import TaskSpec
from segduet.dataset.staging import staged_folder
from segduet.evaluation.calibration_file import Calibration
from segduet.evaluation.cohort import read_summary
from segduet.inference.bundles.manifest import CarriedCalibration
from segduet.inference.bundles.model_card import TrainingEvidence
from segduet.inference.bundles.opening import Bundle, open_bundle_folder
from segduet.inference.bundles.packing import pack_bundle
from segduet.inference.bundles.writing import BundleExtras
from segduet.workflows.conversion import convert_model, member_names
from segduet.workflows.conversion_cache import ConversionCache
from segduet.workflows.models import ModelFolder, open_model, read_header
from segduet.workflows.run_record import RUN_RECORD, read_run_record
from segduet.workflows.shortcuts import require_coarse_fit, require_masks
from segduet.workflows.sources import OpenedFolder, weights_sha256
from segduet.workflows.trained_networks import require_torch

if TYPE_CHECKING:
    from segduet.evaluation.gate_report import GateReport
    from segduet.workflows.int8_export import Int8Request

#: Sub-folder of a bundle for the networks that find the region.
COARSE_FOLDER = "coarse"

#: What `train` leaves in a run folder, as `FullCaseValidator` writes it.
VALIDATION_SCORES = Path("validation") / "summary.json"

log = logging.getLogger(__name__)


class ExportTarget(StrEnum):
    """What a model can be exported to.

    BUNDLE: one archive that runs without PyTorch.
    OPENVINO, ONNX: the same as a folder, converted for that runtime.
    NNUNET: a model folder that stock nnU-Net predicts with; masks only.
    """

    BUNDLE = "bundle"
    OPENVINO = "openvino"
    ONNX = "onnx"
    NNUNET = "nnunet"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to export, and as what.

    Attributes:
        model: model folder, or one of its fold folders.
        out: archive or folder to write.
        folds: folds to take; None takes all that are finished.
        bundle_format: of a bundle, the runtime it is converted for; None takes ONNX, which the
            core install runs.
        int8: quantise the networks, for OpenVINO; None keeps them in fp32.
        coarse: model folder whose networks find the region in fast mode; goes into the bundle.
        probability_calibration: file of `calibrate learn`; goes into the bundle.
        overwrite: replace an earlier export.
    """

    model: Path
    to: ExportTarget
    out: Path
    folds: Sequence[str] | None = None
    bundle_format: RuntimeFormat | None = None
    int8: "Int8Request | None" = None
    coarse: Path | None = None
    probability_calibration: Path | None = None
    overwrite: bool = False

    @property
    def runtime(self) -> RuntimeFormat:
        """Format of the converted networks."""
        if self.to is ExportTarget.OPENVINO or self.int8 is not None:
            return RuntimeFormat.OPENVINO
        return self.bundle_format or RuntimeFormat.ONNX


def export(request: ExportRequest, say: Callable[[str], None] = log.info) -> RunManifest:
    """Exports a model; what is written appears whole or not at all.

    The record of the command goes beside it, as `<name>_manifest.json`.

    Args:
        say: told what takes long.

    Raises:
        RequestError: no such model or fold, a target that is there already, PyTorch or a converter
            that is not installed, a calibration of another model, or a model that cannot be
            exported so, or that loses too much in 8 bits.
        DataError: damaged weights, or images to calibrate with that do not fit.
        StorageError: it could not be written.
    """
    started = time.time()
    _check(request)
    folder = open_model(request.model, request.folds)
    require_torch(folder)
    say(f"export: {folder.folder.name} to {request.to}")
    gate = _write(request, folder, say)
    is_stock = request.to is ExportTarget.NNUNET
    manifest = RunManifest(
        command="export",
        arguments={
            "model": str(folder.folder),
            "to": str(request.to),
            "folds": list(folder.fold_files),
            "format": None if is_stock else str(request.runtime),
            "precision": "int8" if request.int8 else "fp32",
            "calibration": request.int8.calibration if request.int8 else None,
            "coarse": str(request.coarse) if request.coarse else None,
            "probability_calibration": str(request.probability_calibration or "") or None,
        },
        outcome={
            "written": str(request.out),
            "bytes": _num_bytes(request.out),
            "gate": gate.model_dump(mode="json") if gate else None,
        },
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out.parent, _record_of(request.out).name)
    return manifest


def _check(request: ExportRequest) -> None:
    if request.bundle_format is not None and request.to is not ExportTarget.BUNDLE:
        raise RequestError(
            f"--format {request.bundle_format}",
            found=f"--to {request.to}",
            expected="--to bundle, as the others have one format each",
            remedy="Leave --format out.",
        )
    _check_precision(request)
    if request.to is ExportTarget.NNUNET:
        _refuse_additions(request)
    if not request.out.exists():
        return
    if not request.overwrite:
        raise RequestError(
            f"--out {request.out}",
            found="something of that name",
            expected="a name that is free",
            remedy="Choose another, or replace an earlier export with --overwrite.",
        )
    if not _record_of(request.out).is_file():
        raise RequestError(
            f"--overwrite --out {request.out}",
            found=f"no {_record_of(request.out).name} beside it",
            expected="an earlier export, since all of it would be removed",
            remedy="Choose another name.",
        )


def _refuse_additions(request: ExportRequest) -> None:
    """Stock nnU-Net would not know what to do with them."""
    named = {
        "--coarse": (request.coarse, "which can hold two models"),
        "--probability-calibration": (request.probability_calibration, "which answers by class"),
    }
    for option, (path, why) in named.items():
        if path is not None:
            raise RequestError(
                f"{option} {path}",
                found="--to nnunet",
                expected=f"a bundle, {why}",
                remedy=f"Leave {option} out.",
            )


def _check_precision(request: ExportRequest) -> None:
    is_openvino = request.bundle_format in (None, RuntimeFormat.OPENVINO)
    has_8_bits = request.to is ExportTarget.OPENVINO or (
        request.to is ExportTarget.BUNDLE and is_openvino
    )
    if request.int8 is not None and not has_8_bits:
        raise RequestError(
            "--precision int8",
            found=f"--to {request.to}"
            + (f" --format {request.bundle_format}" if request.bundle_format else ""),
            expected="--to openvino, or --to bundle with the format openvino",
            remedy="Choose one of them, or leave --precision out.",
        )


def _record_of(out: Path) -> Path:
    return out.with_name(f"{out.name}_manifest.json")


def _write(
    request: ExportRequest, folder: ModelFolder, say: Callable[[str], None]
) -> "GateReport | None":
    """Writes the export; returns the gate's report where there was something to judge."""
    if request.to is ExportTarget.NNUNET:
        from segduet.workflows.stock_export import write_stock_model

        with _replaced_folder(request.out) as target:
            write_stock_model(folder, target)
        return None
    _refuse_second_stage(folder)
    if request.to is ExportTarget.BUNDLE:
        request.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=request.out.parent) as temporary:
            gate = _write_bundle(request, folder, Path(temporary), say)
            pack_bundle(Path(temporary), request.out)
        return gate
    with _replaced_folder(request.out) as target:
        return _write_bundle(request, folder, target, say)


def _write_bundle(
    request: ExportRequest, folder: ModelFolder, target: Path, say: Callable[[str], None]
) -> "GateReport | None":
    extras = _extras(folder)
    if request.probability_calibration is not None:
        calibration = _fitting_calibration(request.probability_calibration, folder)
        extras = dataclasses.replace(extras, calibration=calibration)
    if request.coarse is not None:
        extras = dataclasses.replace(extras, coarse=COARSE_FOLDER)
        _write_coarse(request.coarse, folder, request.runtime, target / COARSE_FOLDER)
    gate = None
    if request.int8 is None:
        convert_model(folder, request.runtime, target, extras)
    else:
        from segduet.workflows.int8_export import write_int8_bundle

        gate = write_int8_bundle(folder, target, request.int8, extras=extras, say=say)
    made = open_bundle_folder(target, verify=False)
    if made.coarse is not None:
        where = f"--coarse {request.coarse}"
        require_masks(_segments(made.coarse), _segments(made), where=where)
    return gate


def _fitting_calibration(source: Path, folder: ModelFolder) -> CarriedCalibration:
    """A calibration, checked to be of this model."""
    calibration = Calibration.read(source)
    opened = OpenedFolder(folder=folder, cache=ConversionCache.beside(folder.folder, None))
    tasks = [TaskSpec.model_validate(t) for t in read_header(folder.weights[0]).get("tasks", ())]
    calibration.require_model(
        tasks, weights_sha256(opened), where=str(source), whose=str(folder.folder)
    )
    return CarriedCalibration.of(calibration.to_json())


def _write_coarse(coarse: Path, fine: ModelFolder, runtime: RuntimeFormat, target: Path) -> None:
    """Writes the bundle inside a bundle, always in fp32."""
    folder = open_model(coarse)
    require_coarse_fit(folder, fine, where=f"--coarse {coarse}")
    target.mkdir()
    convert_model(folder, runtime, target, _extras(folder))


def _segments(bundle: Bundle) -> bool:
    return all(member.network.with_masks for member in bundle.members)


def _extras(folder: ModelFolder) -> BundleExtras:
    """What the runs say of themselves, for the model card."""
    names = member_names(folder)
    runs = (weights.parent for weights in folder.weights)
    evidence = {name: _evidence(run) for name, run in zip(names, runs, strict=True)}
    return BundleExtras(evidence=evidence)


def _evidence(run: Path) -> TrainingEvidence:
    scores = run / VALIDATION_SCORES
    return TrainingEvidence(
        run=read_run_record(run) if (run / RUN_RECORD).is_file() else None,
        scores=read_summary(scores) if scores.is_file() else None,
    )


@contextlib.contextmanager
def _replaced_folder(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of an earlier one, which stays until the new is whole."""
    earlier = target.with_name(f".replaced-{secrets.token_hex(8)}")
    with staged_folder(target) as temporary:
        yield temporary
        if target.exists():
            target.rename(earlier)
    shutil.rmtree(earlier, ignore_errors=True)


def _refuse_second_stage(folder: ModelFolder) -> None:
    earlier = folder.configuration.previous_stage
    if earlier is not None:
        raise RequestError(
            str(folder.folder),
            found=f"the second stage of a cascade, which needs the masks of {earlier}",
            expected="a model that answers from the image alone",
            remedy="Predict with the model folders of both stages, or export to nnunet.",
        )


def _num_bytes(written: Path) -> int:
    files = [written] if written.is_file() else written.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
