"""Workers on Ray that each make something dear once, such as a model in memory, and then use it.

Jobs are handed out one at a time, so that a worker with quick ones takes more of them.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from segduet.core.errors import SegduetError
from segduet.scale.process import GRACE_S
from segduet.scale.ray_cluster import cancel_unfinished, require_room_for_worker, set_aside
from segduet.scale.unit import Resources

#: A job whose worker died is done by another so often; so is the making of what workers hold.
CRASH_RETRIES = 5
#: Between two looks at the keyboard while jobs run.
_POLL_S = 0.2

H = TypeVar("H")
R = TypeVar("R")

#: Stands for the number of a job where a worker makes what it holds.
_MAKING = -1


class CancelledError(Exception):
    """The job was cancelled, and should end."""


@dataclass(frozen=True, slots=True)
class _Call:
    """What a worker is busy with."""

    worker: Any
    job: int


@dataclass(slots=True, kw_only=True)
class _Task(Generic[H, R]):
    """Jobs that are done together.

    Attributes:
        waiting: numbers of those that no worker has.
        results: of those that are done.
        lost: number -> why the last of its workers died.
        crashes: number -> workers that died of it.
    """

    jobs: Sequence[Callable[[H], R]]
    waiting: deque[int]
    results: dict[int, R] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    crashes: Counter[int] = field(default_factory=Counter)

    @property
    def is_over(self) -> bool:
        return _MAKING in self.lost or len(self.results) + len(self.lost) == len(self.jobs)

    def note_crash(self, job: int, reason: str) -> None:
        self.crashes[job] += 1
        if self.crashes[job] > CRASH_RETRIES:
            self.lost[job] = reason
        elif job != _MAKING:
            self.waiting.append(job)


class RayWorkers(Generic[H]):
    """Workers of the connected cluster, for as long as the block lasts.

    Left by an error or an interruption, jobs are told to end and get `GRACE_S` seconds for it. No
    worker outlives the block.

    Args:
        factory: makes what a worker holds; called once in each, before its first job.
        number: workers at most, > 0; those that the cluster has no room for are waited for only
            where there is none at all.
        resources: of one worker; fractions share a core or a device.
    """

    def __init__(self, factory: Callable[[], H], *, number: int, resources: Resources) -> None:
        self._factory = factory
        self._number = number
        self._resources = resources
        self._calls: dict[Any, _Call] = {}
        self._idle: list[Any] = []

    def __enter__(self) -> Self:
        """The workers; each starts when there is a job for it.

        Raises:
            RequestError: no node could ever hold one.
        """
        require_room_for_worker(self._resources)
        return self

    def __exit__(self, *_error: object) -> None:
        """Ends the workers."""
        jobs = [ref for ref, call in self._calls.items() if call.job != _MAKING]
        cancel_unfinished(jobs, grace_s=GRACE_S)
        for worker in [*self._idle, *(call.worker for call in self._calls.values())]:
            ray.kill(worker)

    def run(
        self, jobs: Sequence[Callable[[H], R]], watch: Callable[[], None] = lambda: None
    ) -> list[R]:
        """Does the jobs, and returns what they returned in their order.

        A job whose worker died begins anew with another, up to `CRASH_RETRIES` times; it must
        itself know what it has done already. Where that does not help, the others are still done.

        Args:
            jobs: each gets what its worker holds.
            watch: called again and again while jobs run, here.

        Raises:
            SegduetError: raised by a job or the factory; or workers died too often.
        """
        task = _Task[H, R](jobs=jobs, waiting=deque(range(len(jobs))))
        for _ in range(min(self._number, len(jobs)) - len(self._idle) - len(self._calls)):
            self._hire()
        while not task.is_over:
            while self._idle and task.waiting:
                self._begin(self._idle.pop(), task.waiting.popleft(), jobs)
            for ref in ray.wait(list(self._calls), timeout=_POLL_S)[0]:
                self._take_in(ref, task)
            watch()
        if task.lost:
            raise _died(task.lost)
        return [task.results[number] for number in range(len(jobs))]

    def _hire(self) -> None:
        worker = _RemoteWorker.options(**set_aside(self._resources)).remote(self._factory)
        self._calls[worker.make.remote()] = _Call(worker, _MAKING)

    def _begin(self, worker: Any, number: int, jobs: Sequence[Callable[[H], Any]]) -> None:
        self._calls[worker.do.remote(jobs[number])] = _Call(worker, number)

    def _take_in(self, ref: Any, task: _Task[H, Any]) -> None:
        """What a call that ended returned; where its worker died, another takes its place."""
        call = self._calls.pop(ref)
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            self._idle.append(call.worker)
            raise error.cause from None  # of our own, as on one machine
        except RayError as error:
            ray.kill(call.worker)  # it may only be out of reach
            self._hire()
            task.note_crash(call.job, str(error).splitlines()[0])
        else:
            self._idle.append(call.worker)
            if call.job != _MAKING:
                task.results[call.job] = result


def end_if_cancelled() -> None:
    """For jobs, now and then: ends them where the command that runs them was interrupted.

    Raises:
        CancelledError: it was.
    """
    if ray.get_runtime_context().is_canceled():
        raise CancelledError


class _Worker:
    """A process of its own; one call at a time."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self._factory = factory

    def make(self) -> None:
        self._held = self._factory()

    def do(self, job: Callable[[Any], Any]) -> Any:
        return job(self._held)


_RemoteWorker: Any = ray.remote(max_restarts=0)(_Worker)


def _died(lost: dict[int, str]) -> SegduetError:
    return SegduetError(
        "Ray workers",
        found=f"{len(lost)} jobs whose workers died {CRASH_RETRIES + 1} times: "
        f"{next(iter(lost.values()))}",
        expected="workers that live until their job is done",
        remedy="Run fewer workers on a machine, so that each has more memory, then go on from "
        "what is done.",
    )
