"""`export`: a trained model in another form."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segduet.cli.display import duration, print_result, progress
from segduet.cli.options import DataRootOption, JsonOption, data_root, split_names
from segduet.core.errors import RequestError

if TYPE_CHECKING:
    from segduet.workflows.int8_export import Int8Request


class Target(StrEnum):
    """What a model can be exported to."""

    BUNDLE = "bundle"
    OPENVINO = "openvino"
    ONNX = "onnx"
    NNUNET = "nnunet"


class StoredFormat(StrEnum):
    """Number format of exported networks."""

    FP32 = "fp32"
    INT8 = "int8"


class BundleFormat(StrEnum):
    """What a bundle can be converted for."""

    OPENVINO = "openvino"
    ONNX = "onnx"


def register(app: typer.Typer) -> None:
    """Adds this group's commands."""
    app.command()(export)


def export(
    model: Annotated[Path, typer.Argument(help="Model folder, ours or stock nnU-Net's.")],
    to: Annotated[
        Target,
        typer.Option(
            help="bundle: one archive that runs without PyTorch; openvino, onnx: the same as a "
            "folder; nnunet: a model folder for stock nnU-Net, masks only."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Archive or folder to write.")],
    bundle_format: Annotated[
        BundleFormat | None,
        typer.Option(
            "--format", help="What a bundle is converted for [bundle only].", show_default="onnx"
        ),
    ] = None,
    folds: Annotated[
        str | None, typer.Option(help="Folds to take, comma separated; default: all.")
    ] = None,
    precision: Annotated[
        StoredFormat,
        typer.Option(
            help="int8: networks in 8 bits for OpenVINO, refused where they lose too much."
        ),
    ] = StoredFormat.FP32,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Images to calibrate 8 bits with and to judge them by: a folder, or a dataset, "
            "whose drawn masks and classes then count.",
            metavar="FOLDER|DATASET",
        ),
    ] = None,
    gate_report: Annotated[
        Path | None, typer.Option("--gate-report", help="JSON file for what 8 bits lose.")
    ] = None,
    max_dsc_loss: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Fall of a region's mean DSC that 8 bits may cost.",
            show_default="0.005",
        ),
    ] = None,
    max_macro_f1_loss: Annotated[
        float | None,
        typer.Option(
            "--max-f1-loss",
            min=0,
            max=1,
            help="Fall of a task's macro-F1 that 8 bits may cost.",
            show_default="0.02",
        ),
    ] = None,
    min_dice: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Least Dice of the masks in 8 bits with those of the original.",
            show_default="0.99",
        ),
    ] = None,
    coarse: Annotated[
        Path | None,
        typer.Option(
            help="Model folder of low resolution that finds the region in fast mode; goes into the "
            "bundle."
        ),
    ] = None,
    probability_calibration: Annotated[
        Path | None,
        typer.Option(
            "--probability-calibration",
            help="File of `calibrate learn`, which goes into the bundle and is applied by itself.",
        ),
    ] = None,
    root: DataRootOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Export a trained model: as a bundle, converted for a runtime, or for stock nnU-Net."""
    from segduet.core.runtime import RuntimeFormat
    from segduet.workflows.exporting import ExportRequest, ExportTarget
    from segduet.workflows.exporting import export as run

    bounds = {
        "max_dsc_loss": max_dsc_loss,
        "max_macro_f1_loss": max_macro_f1_loss,
        "min_dice": min_dice,
    }
    request = ExportRequest(
        model=model,
        to=ExportTarget(to.value),
        out=out,
        folds=split_names(folds),
        bundle_format=RuntimeFormat(bundle_format.value) if bundle_format else None,
        int8=_int8(precision, calibration, bounds, gate_report, root),
        coarse=coarse,
        probability_calibration=probability_calibration,
        overwrite=overwrite,
    )
    with progress(quiet=as_json) as show:
        manifest = run(request, lambda text: show(text, 0.0))
    written = manifest.outcome["written"]
    megabytes = manifest.outcome["bytes"] / 1e6
    lines = [
        f"{written}: {megabytes:.1f} MB in {duration(manifest.seconds)}",
        *_gate_lines(manifest.outcome["gate"]),
    ]
    print_result(manifest.outcome, lines, as_json=as_json)


def _int8(
    precision: StoredFormat,
    calibration: str | None,
    bounds: Mapping[str, float | None],
    report: Path | None,
    root: Path | None,
) -> "Int8Request | None":
    """What quantisation is to do; None for fp32, which takes none of its options.

    Raises:
        RequestError: options that do not go together.
    """
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    if precision is StoredFormat.FP32:
        if calibration is None and report is None and not given:
            return None
        raise RequestError(
            "--precision fp32",
            found="options for networks in 8 bits",
            expected="--precision int8 with --calibration, --gate-report or a bound",
            remedy="Add --precision int8, or leave them out.",
        )
    if calibration is None:
        raise RequestError(
            "--precision int8",
            found="no --calibration",
            expected="images to calibrate with and to judge the result by",
            remedy="Name a folder of images or a dataset, best the one that it was trained on.",
        )
    from segduet.evaluation.gate_report import GateBounds
    from segduet.workflows.int8_export import Int8Request

    return Int8Request(
        calibration=calibration,
        root=data_root(root),
        bounds=GateBounds(**given),
        report_file=report,
    )


def _gate_lines(report: Mapping[str, Any] | None) -> Iterable[str]:
    if report is None:
        return ()
    from segduet.evaluation.gate_report import GateReport
    from segduet.workflows.compression_gate import gate_lines

    return gate_lines(GateReport.model_validate(report))
