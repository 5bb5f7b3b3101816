"""`segduet gate`: whether a smaller or faster model answers as well as the original (B14)."""

import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segduet.core.files import write_json
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.evaluation.gate_report import GateBounds, GateReport
from segduet.workflows.calibration_cases import find_held_cases
from segduet.workflows.compression_gate import run_gate
from segduet.workflows.ensembles import load_models
from segduet.workflows.load_request import LoadRequest
from segduet.workflows.loading import LoadedModel

log = logging.getLogger(__name__)

REPORT_FILE = "gate.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRequest:
    """Which model is to replace which, and what may be lost.

    Attributes:
        reference: model folder or bundle that is to be replaced; answers in fp32.
        candidate: pruned, distilled, quantised, or the same one for another number format.
        cases: dataset whose validation cases judge, or folder of images that neither was fitted to.
        root: where datasets are.
        out: folder for the report and the manifest.
        bounds: what may be lost.
        engine: of the candidate.
        precision: of the candidate.
    """

    reference: Path
    candidate: Path
    cases: str
    root: DataRoot
    out: Path
    bounds: GateBounds = field(default_factory=GateBounds)
    engine: str = "auto"
    precision: str = "auto"


def gate(request: GateRequest, say: Callable[[str], None] = log.info) -> GateReport:
    """Lets both models answer the held cases, without mirroring, and writes what the gate says.

    Args:
        say: told of every case.

    Returns:
        The report, passed or not; it stands in `gate.json`.

    Raises:
        RequestError: no such model or dataset, no held cases, or models that answer other
            questions.
        DataError: a case that cannot be read or answered.
        StorageError: the report could not be written.
    """
    started = time.time()
    loaded = load_models(list(_wanted(request)), say)
    reference, candidate = loaded
    report = run_gate(
        reference.predict,
        candidate.predict,
        find_held_cases(
            candidate.model,
            request.cases,
            request.root,
            folds=[fold for each in loaded for fold in each.model.folds],
        ),
        model=candidate.model,
        bounds=request.bounds,
        say=say,
    )
    write_json(request.out / REPORT_FILE, report.model_dump(mode="json"))
    RunManifest(
        command="gate",
        arguments=_arguments(request),
        outcome={
            "passed": report.passed,
            "cases": report.n,
            "reasons": list(report.reasons),
            "engines": {"reference": _engines(reference), "candidate": _engines(candidate)},
        },
        warnings=[warning for each in loaded for warning in each.warnings],
        started=utc(started),
        seconds=time.time() - started,
    ).write(request.out)
    return report


def _wanted(request: GateRequest) -> tuple[LoadRequest, LoadRequest]:
    """Both models, without mirroring, which would hide differences."""
    reference = LoadRequest(model=request.reference, mirrored=False)
    return reference, dataclasses.replace(
        reference, model=request.candidate, engine=request.engine, precision=request.precision
    )


def _engines(loaded: LoadedModel) -> list[str]:
    """What ran the networks: runtime, device, number format."""
    return [member.engine.name for member in loaded.members]


def _arguments(request: GateRequest) -> dict[str, Any]:
    return {
        "reference": str(request.reference),
        "candidate": str(request.candidate),
        "cases": request.cases,
        "engine": request.engine,
        "precision": request.precision,
        "bounds": request.bounds.model_dump(),
    }
