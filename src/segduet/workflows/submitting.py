"""`segduet submit`: a study's units as job files of an engine, or run on one that answers here."""

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segduet.core.errors import RequestError
from segduet.core.files import write_text
from segduet.core.manifest import RunManifest, utc
from segduet.scale.expansion import expand
from segduet.scale.local_runner import UnitReport
from segduet.scale.markers import refuse_outdated
from segduet.scale.rendering.containers import ContainerOptions
from segduet.scale.rendering.kubernetes import render_kubernetes
from segduet.scale.rendering.polyaxon import render_polyaxon
from segduet.scale.rendering.polyaxon05 import render_polyaxon05
from segduet.scale.rendering.slurm import SlurmOptions, render_slurm
from segduet.scale.state import StudyState
from segduet.scale.study import load_study
from segduet.scale.submission import Submission
from segduet.scale.unit import WorkUnit
from segduet.workflows.studies import ended_like_interrupted, list_study, study_outcome

_SCRIPTS = ".sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilesRequest:
    """Which study becomes job files, and where they go.

    Attributes:
        study: the study file.
        out: folder for the files.
        retries: how often an engine tries a unit again.
    """

    study: Path
    out: Path
    retries: int = 2


def submit_slurm(request: JobFilesRequest, options: SlurmOptions) -> RunManifest:
    """Writes `sbatch` files and `submit.sh`; see `render_slurm`.

    Raises:
        RequestError, DataError: a study that cannot be run, or an option that Slurm could misread.
    """
    started = time.time()
    submission = _submission(request, program=_this_segduet())
    files = render_slurm(submission, options)
    said = {"partition": options.partition, "account": options.account}
    return _written("slurm", request, submission, files, said=said, started=started)


def submit_kubernetes(
    request: JobFilesRequest, options: ContainerOptions, study_in_container: Path | None
) -> RunManifest:
    """Writes Jobs and `submit.sh`; see `render_kubernetes`.

    Args:
        study_in_container: the study file as containers see it; None where that is its path here.

    Raises:
        RequestError, DataError: as `submit_slurm`.
    """
    started = time.time()
    submission = _submission(request, study=study_in_container)
    files = render_kubernetes(submission, options)
    said = {**_said_of_containers(options), "namespace": options.namespace}
    return _written("kubernetes", request, submission, files, said=said, started=started)


def submit_polyaxon(
    request: JobFilesRequest, options: ContainerOptions, study_in_container: Path | None
) -> RunManifest:
    """Writes an operation of Polyaxon's current schema; see `render_polyaxon`.

    Args:
        study_in_container: as for Kubernetes.

    Raises:
        RequestError, DataError: as `submit_slurm`.
    """
    started = time.time()
    submission = _submission(request, study=study_in_container)
    files = render_polyaxon(submission, options)
    said = _said_of_containers(options)
    return _written("polyaxon", request, submission, files, said=said, started=started)


def submit_polyaxon_of_2019(
    request: JobFilesRequest,
    options: ContainerOptions,
    study_in_container: Path | None,
    *,
    concurrency: int,
) -> RunManifest:
    """Writes the files of Polyaxon's schema of 2019; see `render_polyaxon05`.

    Args:
        study_in_container: as for Kubernetes.
        concurrency: units of a group at a time.

    Raises:
        RequestError, DataError: as `submit_slurm`.
    """
    started = time.time()
    submission = _submission(request, study=study_in_container)
    files = render_polyaxon05(submission, options, concurrency=concurrency)
    said = {**_said_of_containers(options), "concurrency": concurrency}
    return _written("polyaxon-0.5", request, submission, files, said=said, started=started)


def run_slurm_locally(
    request: JobFilesRequest,
    *,
    jobs: int,
    on_ended: Callable[[str, float], None] = lambda *_: None,
) -> RunManifest:
    """Runs the study through submitit's local executor.

    Args:
        request: `out` gets submitit's own files.
        jobs: units at a time.
        on_ended: told the name of a unit that came to an end, and the share of units that did.

    Raises:
        RequestError: submitit is not installed, or a study that cannot be run.
        DataError: an entry of the study, or a file of the dataset, is not what it should be.
    """
    require_engine("submitit")
    from segduet.scale.submitit_runner import run_with_submitit

    started = time.time()
    submission = _submission(request, program=_this_segduet())
    ended = set[str]()

    def tell(unit: str) -> None:
        ended.add(unit)
        on_ended(unit, len(ended) / len(submission.units))

    run_with_submitit(submission, request.out.absolute(), jobs=jobs, on_ended=tell)
    said = {"jobs": jobs, "local": True}
    manifest = RunManifest(
        command="submit slurm",
        arguments={**_said(request), **said},
        outcome=list_study(request.study),
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out)
    return manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterChoice:
    """Which Ray cluster.

    Attributes:
        address: `host:port`, `ray://host:port` or `auto`; None starts a cluster here.
        num_cpus: of a cluster that is started here; None takes every core.
    """

    address: str | None = None
    num_cpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RayRequest:
    """Which study runs on which Ray cluster.

    Attributes:
        study: the study file; every node must see it, and what it names, under the same path.
        cluster: one to connect to, or to start here.
        retry_failed: run failed units again.
    """

    study: Path
    cluster: ClusterChoice = ClusterChoice()
    retry_failed: bool = False


@contextlib.contextmanager
def connected_ray(choice: ClusterChoice) -> Iterator[None]:
    """Ray, connected; what was started here has ended afterwards.

    Raises:
        RequestError: Ray is not installed, or the cluster does not answer.
    """
    require_engine("ray")
    from segduet.scale.ray_cluster import RayCluster, connected

    with connected(RayCluster(address=choice.address, num_cpus=choice.num_cpus)):
        yield


def run_study_on_ray(
    request: RayRequest, on_change: Callable[[UnitReport, float], None] = lambda *_: None
) -> RunManifest:
    """Runs the units of a study that are not done on a Ray cluster; see `run_on_ray`.

    Args:
        request: what to run where.
        on_change: told what became of a unit, and the share of the units that came to an end.

    Raises:
        RequestError: Ray is not installed, the cluster does not answer, a study that cannot be run,
            or a unit that no node could run.
        DataError: an entry of the study, or a file of the dataset, is not what it should be.
        KeyboardInterrupt: interrupted or asked to end; the commands have ended.
    """
    started = time.time()
    study = load_study(request.study)
    units, ended, state = expand(study), set[str](), StudyState.of(study)
    _left_to_run(units, state)  # refused here, before any node begins

    def tell(report: UnitReport) -> None:
        ended.add(report.name)
        on_change(report, len(ended) / len(units))

    # Ray itself meets SIGTERM with a dump of its stack.
    with connected_ray(request.cluster), ended_like_interrupted():
        from segduet.scale.ray_runner import run_on_ray

        reports = run_on_ray(units, state, tell, retry_failed=request.retry_failed)
    manifest = RunManifest(
        command="submit ray",
        arguments={
            "study": str(study.source),
            **asdict(request.cluster),
            "retry_failed": request.retry_failed,
        },
        outcome=study_outcome(study, reports),
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(study.out_folder)
    return manifest


def require_engine(package: str) -> None:
    """Refuses an engine whose package is not installed.

    Raises:
        RequestError: it is not; the message names the extra.
    """
    if importlib.util.find_spec(package) is None:
        raise RequestError(
            f"package {package}",
            found="that it is not installed",
            expected="the extra `scale`, which brings Ray, Optuna and submitit",
            remedy="Install it with: pip install 'segduet[scale]'",
        )


def _this_segduet() -> tuple[str, ...]:
    """This very installation, by its full path: jobs of a cluster start in another environment."""
    return (sys.executable, "-m", "segduet")


def _left_to_run(units: Sequence[WorkUnit], state: StudyState) -> tuple[WorkUnit, ...]:
    """The units that are not done.

    Raises:
        RequestError: a unit was done with other settings, or needs one that is left to run.
    """
    left = tuple(unit for unit in units if not state.markers.is_done(unit))
    refuse_outdated(units, {unit.name for unit in units} - {unit.name for unit in left})
    return left


def _submission(
    request: JobFilesRequest,
    *,
    program: tuple[str, ...] = ("segduet",),
    study: Path | None = None,
) -> Submission:
    """The units that are not done."""
    found = load_study(request.study)
    state = StudyState.of(found)
    units = _left_to_run(expand(found), state)
    if not units:
        raise RequestError(
            f"study {found.source}",
            found="that every unit is done",
            expected="something left to run",
            remedy="Change the study, or look at its results in " + str(found.out_folder),
        )
    return Submission(
        name=found.name,
        study=study or found.source,
        units=units,
        program=program,
        retries=request.retries,
    )


def _written(
    engine: str,
    request: JobFilesRequest,
    submission: Submission,
    files: Mapping[str, str],
    *,
    said: Mapping[str, Any],
    started: float,
) -> RunManifest:
    for name, text in files.items():
        write_text(request.out / name, text)
        if name.endswith(_SCRIPTS):
            (request.out / name).chmod(0o755)
    manifest = RunManifest(
        command=f"submit {engine}",
        arguments={**_said(request), **said},
        outcome={"out": str(request.out), "files": list(files), "num_units": len(submission.units)},
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out)
    return manifest


def _said(request: JobFilesRequest) -> dict[str, Any]:
    return {"study": str(request.study), "out": str(request.out), "retries": request.retries}


def _said_of_containers(options: ContainerOptions) -> dict[str, Any]:
    volumes = [f"{volume.claim}={volume.mount}" for volume in options.volumes]
    return {"image": options.image, "volumes": volumes}
