"""A Ray cluster for as long as it is needed: one started here, or one that runs already.

Ray reports usage to its makers only from nightly builds when it is started like this; nothing is
sent. The dashboard is not started.
"""

import contextlib
import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import ray

from segduet.core.errors import RequestError
from segduet.scale.unit import Resources, WorkUnit

#: A cluster that takes longer to answer is taken for absent. (Ray itself would try for minutes,
#: and then end the whole process, so it is asked from one of its own.)
ANSWERS_WITHIN_S = 20.0

_ASK = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
ray.shutdown()
"""
_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """Which cluster, or what to start one with.

    Attributes:
        address: `host:port`, `ray://host:port` or `auto`; None starts one on this machine.
        num_cpus: of a cluster that is started here; None takes every core.
    """

    address: str | None = None
    num_cpus: int | None = None

    def __post_init__(self) -> None:
        """Refuses a number of cores for a cluster that has its own."""
        if self.address is not None and self.num_cpus is not None:
            raise RequestError(
                "--num-cpus",
                found=f"{self.num_cpus} for the cluster at {self.address}, which runs already",
                expected="it only where a cluster is started on this machine",
                remedy="Leave one of --address and --num-cpus out.",
            )


@contextlib.contextmanager
def connected(cluster: RayCluster) -> Iterator[None]:
    """Ray, connected; what was started here has ended afterwards, tasks and all.

    Raises:
        RequestError: the cluster does not answer within `ANSWERS_WITHIN_S`.
    """
    if cluster.address is not None:
        _require_answer(cluster.address)
    ray.init(
        address=cluster.address or "local",
        num_cpus=cluster.num_cpus,
        include_dashboard=None if cluster.address else False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        # Ray prints there that a worker died, and standard output belongs to `--json`.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        ray.shutdown()


def require_room(units: Sequence[WorkUnit]) -> None:
    """Refuses units that no node of the connected cluster could ever run; Ray would wait for ever.

    Raises:
        RequestError: such a unit, with what it asks for and what the nodes have.
    """
    for unit in units:
        _require_node(
            unit.resources,
            where=f"work unit '{unit.name}'",
            remedy="Ask for less in the study's resources, or start a larger node first.",
        )


def require_room_for_worker(resources: Resources) -> None:
    """Refuses a worker that no node of the connected cluster could ever hold.

    Raises:
        RequestError: what it asks for, and what the nodes have.
    """
    _require_node(
        resources,
        where="a Ray worker",
        remedy="Give workers fewer threads or GPUs, or start a larger node first.",
    )


def set_aside(resources: Resources) -> dict[str, float | int]:
    """What Ray is told to keep for a unit or worker."""
    return {
        "num_cpus": resources.cpus,
        "num_gpus": resources.gpus,
        "memory": int(resources.memory_gb * _GIB),
    }


def cancel_unfinished(calls: Sequence[Any], *, grace_s: float) -> None:
    """Cancels calls that have not ended, and waits for their end.

    Ray 2.60 ends the whole process, without a word on the terminal, where a call is cancelled whose
    result has just arrived ("Tried to complete task that was not pending").

    Args:
        calls: what `remote` returned.
        grace_s: how long they may take to end.
    """
    if not calls:
        return
    _, unfinished = ray.wait(list(calls), num_returns=len(calls), timeout=0)
    for call in unfinished:
        ray.cancel(call)
    ray.wait(list(calls), num_returns=len(calls), timeout=grace_s)


def _require_node(resources: Resources, *, where: str, remedy: str) -> None:
    nodes = [node["Resources"] for node in _nodes() if node["Alive"]]
    asked = {
        "CPU": resources.cpus,
        "GPU": resources.gpus,
        "memory": resources.memory_gb * _GIB,
    }
    if not any(all(node.get(k, 0) >= v for k, v in asked.items()) for node in nodes):
        raise RequestError(
            where,
            found=f"that it asks for {_told(asked)}, and nodes with "
            f"{'; '.join(sorted({_told(node) for node in nodes}))}",
            expected="a node that has as much",
            remedy=remedy,
        )


def _nodes() -> Sequence[Mapping[str, Any]]:
    return cast(Sequence[Mapping[str, Any]], ray.nodes())  # type: ignore[no-untyped-call,unused-ignore]


def _told(resources: Mapping[str, float]) -> str:
    cpus, gpus, memory = (resources.get(key, 0) for key in ("CPU", "GPU", "memory"))
    return f"{cpus:g} CPUs, {gpus:g} GPUs, {memory / _GIB:.1f} GiB"


def _require_answer(address: str) -> None:
    command = [sys.executable, "-c", _ASK, address]
    try:
        ended = subprocess.run(  # noqa: S603 - this Python, and an address as one word
            command, capture_output=True, text=True, timeout=ANSWERS_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _silent(address, f"no answer within {ANSWERS_WITHIN_S:g} s") from error
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["no reason"]
        raise _silent(address, lines[-1])


def _silent(address: str, found: str) -> RequestError:
    return RequestError(
        f"--address {address}",
        found=found,
        expected="a Ray cluster that answers, such as one started with `ray start --head`",
        remedy="Correct the address, start the cluster, or leave --address out to start one here.",
    )
