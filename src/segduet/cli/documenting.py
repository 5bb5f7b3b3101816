"""`document`: texts about a training, drafted from its records."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from segduet.cli.display import print_result
from segduet.cli.options import DataRootOption, JsonOption, data_root


class DocumentName(StrEnum):
    """Documents that can be written."""

    TRAINING_SUMMARY = "training_summary"
    TRAINING_ANALYSIS = "training_analysis"
    TECHNICAL_REPORT = "technical_report"
    MODEL_CARD = "model_card"
    CLAIM_2024 = "claim_2024"
    TRIPOD_AI = "tripod_ai"
    MICCAI_CHECKLIST = "miccai_checklist"
    NETWORK = "network"


def register(app: typer.Typer) -> None:
    """Adds this group's commands."""
    app.command()(document)


def document(
    run: Annotated[Path, typer.Argument(help="Run folder of `segduet train`, such as .../fold_0.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the documents.")],
    evaluation: Annotated[
        Path | None,
        typer.Option(help="Folder of `segduet evaluate`.", show_default="the run's own validation"),
    ] = None,
    only: Annotated[
        list[DocumentName] | None,
        typer.Option(help="Write this document only; repeatable.", show_default="all"),
    ] = None,
    root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write summary, analysis, report, model card, checklists and network of a training."""
    from segduet.workflows.documenting import DocumentRequest
    from segduet.workflows.documenting import document as write

    request = DocumentRequest(
        run=run, out=out, evaluation=evaluation, only=[name.value for name in only or ()]
    )
    manifest = write(data_root(root), request)
    lines = [f"written: {path}" for path in manifest.outcome["written"]]
    lines += [f"note: {warning}" for warning in manifest.warnings]
    print_result({**manifest.outcome, "warnings": list(manifest.warnings)}, lines, as_json=as_json)
