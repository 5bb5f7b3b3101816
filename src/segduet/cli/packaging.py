"""`package`: archives for whoever asked for the answers."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from segduet.cli.display import print_result
from segduet.cli.idle_options import refuse_idle
from segduet.cli.options import JsonOption

FAULTS = 3
QUIZ_TASK = "subtype"


class PackageKind(StrEnum):
    """Archives that can be written or checked."""

    QUIZ = "quiz"
    CHECK = "check"


def package(
    kind: Annotated[PackageKind, typer.Argument(help="quiz: write; check: examine an archive.")],
    source: Annotated[Path, typer.Argument(help="Predictions, or the archive to check.")],
    images: Annotated[Path, typer.Option(help="Folder of the test images.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Archive to write [quiz only].")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Task whose answer is submitted [quiz only].", show_default=QUIZ_TASK),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the quiz submission, or name every fault of one."""
    from segduet.workflows.packaging import check_quiz_package, write_quiz_package

    if kind is PackageKind.QUIZ:
        target = out or Path("results.zip")
        outcome = write_quiz_package(source, images, target, task or QUIZ_TASK).outcome
        lines = [f"{outcome['cases']} cases in {outcome['archive']}"]
        print_result(outcome, lines, as_json=as_json)
        return
    refuse_idle("package", {"--out": out, "--task": task}, "with check")
    outcome = check_quiz_package(source, images)
    lines = [f"{f['where']}: {f['kind']}: {f['message']}" for f in outcome["faults"]]
    print_result(outcome, lines or ["no faults"], as_json=as_json)
    if lines:
        raise typer.Exit(FAULTS)
