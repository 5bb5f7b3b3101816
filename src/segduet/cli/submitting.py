"""`submit`: a study on an engine: Ray, Slurm, Polyaxon or Kubernetes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segduet.cli.display import duration, print_result, progress
from segduet.cli.idle_options import refuse_idle
from segduet.cli.options import JsonOption
from segduet.cli.studying import (
    UNITS_FAILED,
    RetryOption,
    StudyArgument,
    exit_code,
    summary_lines,
)
from segduet.core.manifest import RunManifest

if TYPE_CHECKING:
    from segduet.scale.rendering.containers import ContainerOptions

DEFAULT_RETRIES = 2

AddressOption = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster: host:port, ray://host:port or auto.", show_default="one started here"
    ),
]
NumCpusOption = Annotated[
    int | None, typer.Option(min=1, help="Cores of a cluster started here.", show_default="all")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the job files.")]
RetriesOption = Annotated[
    int, typer.Option(min=0, help="Times the engine starts a unit again after a failure of ours.")
]
ImageOption = Annotated[str, typer.Option(help="Container image with segduet in it.")]
VolumeOption = Annotated[
    list[str] | None,
    typer.Option(help="CLAIM=/path: a volume claim and where containers see it; repeatable."),
]
ContainerStudyOption = Annotated[
    Path | None,
    typer.Option(
        "--study-in-container",
        help="Path of the study file inside containers.",
        show_default="the same as here",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds `submit` with an engine below it."""
    engines = typer.Typer(no_args_is_help=True, help="Run a study on an engine, or write its jobs.")
    for command in (ray, slurm, polyaxon, kubernetes):
        engines.command()(command)
    engines.command(name="polyaxon-0.5")(polyaxon_of_2019)
    app.add_typer(engines, name="submit")


def ray(
    study: StudyArgument,
    address: AddressOption = None,
    num_cpus: NumCpusOption = None,
    retry_failed: RetryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the units of a study that are not done yet on Ray."""
    from segduet.workflows.submitting import ClusterChoice, RayRequest, run_study_on_ray

    cluster = ClusterChoice(address=address, num_cpus=num_cpus)
    request = RayRequest(study=study, cluster=cluster, retry_failed=retry_failed)
    with progress(quiet=as_json) as show:
        manifest = run_study_on_ray(
            request, lambda report, share: show(f"{report.name} {report.status}", share)
        )
    _print_ended(manifest, as_json=as_json)


def slurm(
    study: StudyArgument,
    out: OutOption,
    partition: Annotated[
        str | None, typer.Option(help="Partition of the cluster [not with --local].")
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="Account to charge [not with --local].")
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Times a unit is queued again after a failure of ours [not with --local].",
            show_default=str(DEFAULT_RETRIES),
        ),
    ] = None,
    local: Annotated[
        bool,
        typer.Option("--local", help="Run the study here instead, by submitit's local executor."),
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Units at a time [--local only].", show_default="1")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a study as job arrays of Slurm, with a script that submits them in order."""
    from segduet.scale.rendering.slurm import SlurmOptions
    from segduet.workflows.submitting import JobFilesRequest, run_slurm_locally, submit_slurm

    if not local:
        refuse_idle("submit slurm", {"--jobs": jobs}, "without --local")
        request = JobFilesRequest(study=study, out=out, retries=_retries(retries))
        options = SlurmOptions(partition=partition, account=account)
        _print_files(submit_slurm(request, options), f"bash {out}/submit.sh", as_json=as_json)
        return
    named = {"--partition": partition, "--account": account, "--retries": retries}
    refuse_idle("submit slurm", named, "with --local")
    with progress(quiet=as_json) as show:
        manifest = run_slurm_locally(
            JobFilesRequest(study=study, out=out),
            jobs=jobs or 1,
            on_ended=lambda unit, share: show(f"{unit} ended", share),
        )
    _print_ended(manifest, as_json=as_json)


def kubernetes(
    study: StudyArgument,
    out: OutOption,
    image: ImageOption,
    volume: VolumeOption = None,
    study_in_container: ContainerStudyOption = None,
    namespace: Annotated[str | None, typer.Option(help="Namespace of the Jobs.")] = None,
    retries: RetriesOption = DEFAULT_RETRIES,
    as_json: JsonOption = False,
) -> None:
    """Write a study as Jobs of Kubernetes, with a script that applies them in order."""
    from segduet.workflows.submitting import JobFilesRequest, submit_kubernetes

    request = JobFilesRequest(study=study, out=out, retries=retries)
    options = _containers(image, volume, namespace)
    manifest = submit_kubernetes(request, options, study_in_container)
    _print_files(manifest, f"bash {out}/submit.sh", as_json=as_json)


def polyaxon(
    study: StudyArgument,
    out: OutOption,
    image: ImageOption,
    volume: VolumeOption = None,
    study_in_container: ContainerStudyOption = None,
    retries: RetriesOption = DEFAULT_RETRIES,
    as_json: JsonOption = False,
) -> None:
    """Write a study as an operation of Polyaxon, in its current schema (1.1)."""
    from segduet.workflows.submitting import JobFilesRequest, submit_polyaxon

    request = JobFilesRequest(study=study, out=out, retries=retries)
    manifest = submit_polyaxon(request, _containers(image, volume), study_in_container)
    _print_files(manifest, f"polyaxon run -f {out}/study.yaml", as_json=as_json)


def polyaxon_of_2019(
    study: StudyArgument,
    out: OutOption,
    image: ImageOption,
    study_in_container: ContainerStudyOption = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Units of a group at a time.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Write a study as experiment groups of Polyaxon's schema of 2019 (0.5)."""
    from segduet.workflows.submitting import JobFilesRequest, submit_polyaxon_of_2019

    request = JobFilesRequest(study=study, out=out)
    manifest = submit_polyaxon_of_2019(
        request, _containers(image), study_in_container, concurrency=concurrency
    )
    _print_files(manifest, f"polyaxon run -f {out}/group-0-0.yaml", as_json=as_json)


def _retries(option: int | None) -> int:
    return DEFAULT_RETRIES if option is None else option


def _containers(
    image: str, volume: list[str] | None = None, namespace: str | None = None
) -> "ContainerOptions":
    from segduet.scale.rendering.containers import ContainerOptions, Volume

    volumes = tuple(Volume.parse(text) for text in volume or ())
    return ContainerOptions(image=image, volumes=volumes, namespace=namespace)


def _print_files(manifest: RunManifest, next_command: str, *, as_json: bool) -> None:
    outcome = manifest.outcome
    lines = [
        f"{outcome['num_units']} units in {len(outcome['files'])} files in {outcome['out']}",
        f"next: {next_command}",
    ]
    print_result(outcome, lines, as_json=as_json)


def _print_ended(manifest: RunManifest, *, as_json: bool) -> None:
    outcome = manifest.outcome
    lines = [*summary_lines(outcome), f"after {duration(manifest.seconds)}"]
    print_result(outcome, lines, as_json=as_json)
    if code := exit_code(outcome) or (UNITS_FAILED if outcome["counts"]["waiting"] else 0):
        raise typer.Exit(code)
