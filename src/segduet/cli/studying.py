"""`run` and `ablate`: a study's units on this machine, and what its arms are worth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from segduet.cli.display import duration, print_result, print_table, progress
from segduet.cli.idle_options import refuse_idle
from segduet.cli.options import JsonOption
from segduet.core.seeds import LARGEST_SEED

UNITS_FAILED = 1
#: Every unit that failed was a bad request, so an engine need not try again.
BAD_REQUESTS = 2

StudyArgument = Annotated[Path, typer.Argument(help="Study file.", metavar="STUDY.yaml")]
JobsOption = Annotated[int, typer.Option(min=1, help="Units at a time.")]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="Run failed units again.")]


def register(app: typer.Typer) -> None:
    """Adds this group's commands."""
    app.command()(run)
    app.command()(ablate)


def run(
    study: StudyArgument,
    jobs: JobsOption = 1,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run this unit alone, again if it failed; repeatable."),
    ] = None,
    list_units: Annotated[
        bool, typer.Option("--list", help="Show the units and their states; run none.")
    ] = False,
    retry_failed: RetryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the units of a study that are not done yet."""
    from segduet.workflows.studies import StudyRequest, list_study, run_study

    if list_units:
        refuse_idle("run", {"--retry-failed": retry_failed or None}, "with --list")
        outcome = list_study(study, only or ())
        print_result(outcome, unit_lines(outcome), as_json=as_json)
        return
    request = StudyRequest(study=study, only=only or (), jobs=jobs, retry_failed=retry_failed)
    with progress(quiet=as_json) as show:
        manifest = run_study(
            request, lambda report, share: show(f"{report.name} {report.status}", share)
        )
    lines = [*summary_lines(manifest.outcome), f"after {duration(manifest.seconds)}"]
    print_result(manifest.outcome, lines, as_json=as_json)
    if code := exit_code(manifest.outcome):
        raise typer.Exit(code)


def ablate(
    study: StudyArgument,
    jobs: JobsOption = 1,
    retry_failed: RetryOption = False,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of intervals and tests.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Run a study with arms and compare each arm with the baseline."""
    from segduet.evaluation.ablation_file import Ablation
    from segduet.reporting.ablation_text import COLUMNS, figure_rows
    from segduet.scale.study import BASELINE
    from segduet.workflows.ablation import AblateRequest
    from segduet.workflows.ablation import ablate as run_ablation

    request = AblateRequest(study=study, jobs=jobs, retry_failed=retry_failed, seed=seed)
    with progress(quiet=as_json) as show:
        manifest = run_ablation(
            request, lambda report, share: show(f"{report.name} {report.status}", share)
        )
    outcome = manifest.outcome
    ablation = Ablation.model_validate(outcome["ablation"])
    if not as_json:
        for table in ablation.tables:
            if table.comparison:
                title = f"{table.recipe}, {table.configuration}: differences to {BASELINE}"
                print_table(title, COLUMNS, figure_rows(table))
    reasons = [f"{t.recipe}, {t.configuration}: {t.reason}" for t in ablation.tables if t.reason]
    lines = [*reasons, *summary_lines(outcome["run"]), f"written: {outcome['folder']}/ablation.md"]
    print_result(outcome, lines, as_json=as_json)
    if code := exit_code(outcome["run"]):
        raise typer.Exit(code)


def exit_code(outcome: Mapping[str, Any]) -> int:
    """0 where all is done; 2 where trying again is of no use; 1 for any other failure.

    Args:
        outcome: of a run study.
    """
    counts, units = outcome["counts"], outcome["units"].values()
    if not (counts["failed"] or counts["blocked"]):
        return 0
    codes = {unit["exit_code"] for unit in units if unit["status"] == "failed"}
    return BAD_REQUESTS if codes == {BAD_REQUESTS} else UNITS_FAILED


def unit_lines(outcome: Mapping[str, Any]) -> list[str]:
    """Every unit with its state, one line each."""
    units = outcome["units"].items()
    width = max(len(name) for name, _ in units)
    return [f"{name:{width}} {unit['status']:8} {unit['reason']}".rstrip() for name, unit in units]


def summary_lines(outcome: Mapping[str, Any]) -> list[str]:
    """How many units are in which state, and why some failed."""
    counts = ", ".join(f"{n} {status}" for status, n in outcome["counts"].items() if n)
    troubles = [
        f"{unit['status']}: {name}: {unit['reason']}"
        for name, unit in outcome["units"].items()
        if unit["status"] in ("failed", "blocked")
    ]
    return [*troubles, f"{outcome['study']}: {counts}; in {outcome['out']}"]
