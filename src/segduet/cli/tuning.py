"""`tune`: a search among settings of a recipe."""

from typing import TYPE_CHECKING, Annotated

import typer

from segduet.cli.display import duration, print_result, progress
from segduet.cli.idle_options import refuse_idle
from segduet.cli.options import JsonOption
from segduet.cli.studying import StudyArgument
from segduet.cli.submitting import AddressOption, NumCpusOption

if TYPE_CHECKING:
    from segduet.scale.trials import TrialRecord


def register(app: typer.Typer) -> None:
    """Adds this group's commands."""
    app.command()(tune)


def tune(
    study: StudyArgument,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time.")] = 1,
    on_ray: Annotated[bool, typer.Option("--ray", help="Run the trials on a Ray cluster.")] = False,
    address: AddressOption = None,
    num_cpus: NumCpusOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search among settings of a recipe, as the study's `search` says."""
    from segduet.workflows.submitting import ClusterChoice
    from segduet.workflows.tuning import TuneRequest
    from segduet.workflows.tuning import tune as run

    if not on_ray:
        refuse_idle("tune", {"--address": address, "--num-cpus": num_cpus}, "without --ray")
    cluster = ClusterChoice(address=address, num_cpus=num_cpus) if on_ray else None
    with progress(quiet=as_json) as show:
        manifest = run(
            TuneRequest(study=study, jobs=jobs, cluster=cluster),
            lambda record, share: show(_line(record), share),
        )
    outcome = manifest.outcome
    best = ", ".join(map(str, outcome["front"])) or "none"
    lines = [
        f"{outcome['selected_from']} candidates; not beaten by another: trial {best}",
        f"table in {outcome['out']}/tuning.md after {duration(manifest.seconds)}",
    ]
    print_result(outcome, lines, as_json=as_json)


def _line(record: "TrialRecord") -> str:
    values = " ".join(f"{value:.4g}" for value in record.values)
    return f"trial {record.number} {record.state} {values or record.reason}".rstrip()
