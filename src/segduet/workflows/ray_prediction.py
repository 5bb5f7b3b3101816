"""`segduet predict --ray-workers N`: a cohort by workers on Ray that load the model once each."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.core.manifest import RunManifest, utc
from segduet.inference.progress import Progress
from segduet.inference.progress_watch import ProgressWatch
from segduet.inference.shards import ALL_CASES, Shard
from segduet.scale.unit import Resources
from segduet.workflows.calibrated_prediction import calibrator_of
from segduet.workflows.cleaning import Cleaner
from segduet.workflows.load_request import COARSE_OFF, LoadRequest
from segduet.workflows.loading import LoadedModel
from segduet.workflows.prediction import load_answering, predict, share_of_cases
from segduet.workflows.prediction_record import identity
from segduet.workflows.prediction_request import PredictRequest
from segduet.workflows.studies import ended_like_interrupted
from segduet.workflows.submitting import ClusterChoice, connected_ray

#: A worker that is slow, or came late, takes fewer of them.
SHARDS_PER_WORKER = 4
#: Of a worker; Ray counts it where it places workers, and limits none.
_MEMORY_GB = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RayPredictChoice:
    """Who predicts.

    Attributes:
        workers: at most so many at a time, > 0, each with the threads of the request, or one.
        gpus: of each worker; 0.5 lets two share one, 0 computes on the CPU.
        address: of a cluster that runs; None starts one here.
    """

    workers: int
    gpus: float = 0
    address: str | None = None

    def of_device(self, device: str) -> str:
        """The device of a worker, where `device` was asked for.

        Raises:
            RequestError: another one than the workers are given.
        """
        own = "cuda" if self.gpus else "cpu"
        if device not in ("auto", own):
            raise RequestError(
                f"--device {device}",
                found=f"{self.gpus:g} GPUs for each Ray worker",
                expected=f"{own}, of which Ray gives a worker its share",
                remedy="Leave --device out, and say with --worker-gpus what a worker gets.",
            )
        return own


def predict_on_ray(
    request: PredictRequest,
    choice: RayPredictChoice,
    on_case: Callable[[int, int, str], None] = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> RunManifest:
    """Predicts as `predict` does, by workers that take shards of the cases from one another.

    A shard whose worker died is gone on with by another; what is written down is not done again.
    Interrupted, workers end after the case they are at, or after ten seconds without it.

    Args:
        request: of all cases; every node sees its files and folders under the same paths.
        choice: who predicts.
        on_case: called with (cases done, cases in all, case id) after each case.
        say: told what takes long before the first case.

    Raises:
        RequestError: what `predict` raises, Ray is not installed or does not answer, or has no node
            with room for a worker.
        SegduetError: workers died again and again; what they finished is kept.
    """
    started = time.time()
    request = _for_workers(request, choice)
    threads = request.loading.threads or 1
    num_cpus = None if choice.address else choice.workers * threads
    cluster = ClusterChoice(address=choice.address, num_cpus=num_cpus)
    # Ray itself meets SIGTERM with a dump of its stack.
    with connected_ray(cluster), ended_like_interrupted():
        from segduet.scale.ray_pool import RayWorkers

        say("a Ray worker loads the model")
        resources = Resources(cpus=threads, gpus=choice.gpus, memory_gb=_MEMORY_GB)
        load = functools.partial(load_answering, request)
        with RayWorkers(load, number=choice.workers, resources=resources) as workers:
            (cases,) = workers.run([functools.partial(_begin, request)])
            watch = ProgressWatch(request.out, cases)

            def tell() -> None:
                for case in watch.new_cases():
                    on_case(watch.num_done, len(cases), case)

            shards = _shards(request, choice.workers, len(cases))
            workers.run([functools.partial(_predict, shard) for shard in shards], tell)
            whole = dataclasses.replace(request, resume=True)
            (joined,) = workers.run([functools.partial(_predict, whole)])
    asked = {**dataclasses.asdict(choice), "shards": len(shards)}
    manifest = dataclasses.replace(
        joined,
        arguments={**joined.arguments, "resume": request.resume, "ray": asked},
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out)
    return manifest


def _for_workers(request: PredictRequest, choice: RayPredictChoice) -> PredictRequest:
    """The request as a worker on any node is to understand it."""
    if not request.shard.is_all:
        raise RequestError(
            f"--shard {request.shard.index}/{request.shard.count}",
            found="--ray-workers, which shards the cases itself",
            expected="one of the two",
            remedy="Leave one of them out.",
        )
    asked = request.loading
    coarse = asked.coarse
    loading: LoadRequest = dataclasses.replace(
        asked,
        model=asked.model.absolute(),
        device=choice.of_device(asked.device),
        threads=asked.threads or 1,
        cache=asked.cache.absolute() if asked.cache else None,
        coarse=coarse if coarse in (None, COARSE_OFF) else Path(coarse).absolute(),
    )
    calibration = request.calibration
    if calibration.file is not None:
        calibration = dataclasses.replace(calibration, file=calibration.file.absolute())
    return dataclasses.replace(
        request,
        loading=loading,
        inputs=[path.absolute() for path in request.inputs],
        out=request.out.absolute(),
        also=[path.absolute() for path in request.also],
        cleanup=request.cleanup.absolute() if request.cleanup else None,
        calibration=calibration,
    )


def _shards(request: PredictRequest, workers: int, num_cases: int) -> Sequence[PredictRequest]:
    count = min(SHARDS_PER_WORKER * workers, num_cases)
    shards = [Shard(index, count) for index in range(1, count + 1)]
    return [dataclasses.replace(request, shard=shard, resume=True) for shard in shards]


# What workers do ----------------------------------------------------------------------------------


def _begin(request: PredictRequest, loaded: tuple[LoadedModel, ...]) -> list[str]:
    """Refuses what no shard could do, and forgets an earlier run, or goes on with it.

    Returns:
        The cases.
    """
    model = loaded[0].model
    if request.cleanup:
        Cleaner(request.cleanup).require_scheme(model.labels, whose=str(model.source))
    calibrator = calibrator_of(request.calibration, request.calibration.read(), loaded)
    cases = share_of_cases(request, model.description)
    answering = identity(request, loaded, calibrator)
    with Progress(request.out, answering, shard=ALL_CASES, resume=request.resume):
        return [case.case for case in cases]


def _predict(request: PredictRequest, loaded: tuple[LoadedModel, ...]) -> RunManifest:
    from segduet.scale.ray_pool import end_if_cancelled

    return predict(request, lambda *_: end_if_cancelled(), loaded=loaded)
