"""Issue 6: workers that make something once and use it. One cluster of two cores for the file."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from segduet.core.errors import DataError, RequestError, SegduetError
from segduet.scale import ray_pool
from segduet.scale.ray_cluster import RayCluster, connected
from segduet.scale.ray_pool import RayWorkers, end_if_cancelled
from segduet.scale.unit import Resources

#: What a worker holds here: how often its factory was called in its process, and the process.
Held = tuple[int, int]
Job = Callable[[Held], int]
SMALL = Resources(cpus=0.5, memory_gb=0.1)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Two cores."""
    with connected(RayCluster(num_cpus=2)):
        yield


@pytest.fixture
def workers(tmp_path: Path) -> RayWorkers[Held]:
    """Two, whose factory leaves a line in `made`."""

    def factory() -> Held:
        with (tmp_path / "made").open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        return 1, os.getpid()

    return RayWorkers(factory, number=2, resources=SMALL)


def _made(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "made").read_text().split()]


def _is_gone(pid: int) -> bool:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def _numbered(number: int, folder: Path) -> Job:
    """Waits for the other worker to be at work too, notes its process, returns its number."""

    def job(held: Held) -> int:
        with (folder / "used").open("a") as stream:
            stream.write(f"{held[1]}\n")
        until = time.monotonic() + 10
        while len(set((folder / "used").read_text().split())) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        return number

    return job


def test_each_worker_makes_what_it_holds_once(workers: RayWorkers[Held], tmp_path: Path) -> None:
    jobs = [_numbered(number, tmp_path) for number in range(8)]
    with workers:
        assert workers.run(jobs[:0]) == []
        assert workers.run(jobs) == list(range(8)), "in the order of the jobs"
        assert workers.run(jobs[::-1]) == list(range(8))[::-1]
    made = _made(tmp_path)
    assert len(made) == len(set(made)) == 2
    assert {int(pid) for pid in (tmp_path / "used").read_text().split()} == set(made)
    assert all(map(_is_gone, made))


def test_a_job_whose_worker_died_is_done_by_another(
    workers: RayWorkers[Held], tmp_path: Path
) -> None:
    def struck(held: Held) -> int:
        if not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            os.kill(held[1], signal.SIGKILL)
        return 7

    with workers:
        assert workers.run([struck, lambda held: held[0]]) == [7, 1]
    assert (tmp_path / "once").exists()


def test_a_job_that_kills_every_worker_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "CRASH_RETRIES", 1)

    def fatal(pid: int) -> int:
        os.kill(pid, signal.SIGKILL)
        return 0

    def other(_: int) -> int:
        (tmp_path / "other").touch()
        return 0

    with (
        RayWorkers(os.getpid, number=1, resources=SMALL) as workers,
        pytest.raises(SegduetError, match="1 jobs whose workers died 2 times"),
    ):
        workers.run([fatal, other])
    assert (tmp_path / "other").exists()


def test_errors_of_jobs_and_of_factories_arrive_as_they_were(tmp_path: Path) -> None:
    def refuse(*_: object) -> int:
        raise DataError("a", found="b", expected="c", remedy="D.")

    for factory, job in ((os.getpid, refuse), (refuse, str)):
        with (
            RayWorkers(factory, number=1, resources=SMALL) as workers,
            pytest.raises(DataError, match=r"a: found b; expected c\. D\."),
        ):
            workers.run([job])


def test_an_interruption_lets_jobs_end_and_leaves_no_worker(
    workers: RayWorkers[Held], tmp_path: Path
) -> None:
    def slow(_: Held) -> int:
        (tmp_path / "begun").touch()
        try:
            while True:
                end_if_cancelled()
                time.sleep(0.01)
        finally:
            (tmp_path / "ended").touch()

    def interrupt() -> None:
        if (tmp_path / "begun").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), workers:
        workers.run([slow], interrupt)
    assert (tmp_path / "ended").exists()
    assert all(map(_is_gone, _made(tmp_path)))


def test_a_worker_that_no_node_could_hold_is_refused() -> None:
    resources = Resources(cpus=1, gpus=0.5, memory_gb=0.1)
    with (
        pytest.raises(RequestError, match=r"a Ray worker: found that it asks for 1 CPUs, 0\.5 GPU"),
        RayWorkers(os.getpid, number=1, resources=resources),
    ):
        pass


def test_fractions_of_a_core_are_shared(tmp_path: Path) -> None:
    """Four workers of half a core are at work at once on two cores."""

    def meet(pid: int) -> int:
        (tmp_path / f"here-{pid}").touch()
        until = time.monotonic() + 20
        while len(list(tmp_path.glob("here-*"))) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        return len(list(tmp_path.glob("here-*")))

    with RayWorkers(os.getpid, number=4, resources=SMALL) as workers:
        assert workers.run([meet] * 4) == [4] * 4
