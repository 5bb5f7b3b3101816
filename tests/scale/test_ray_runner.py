"""B22: units as Ray tasks. One cluster of two cores serves the whole file; nothing outlives it."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from segduet.core.errors import RequestError
from segduet.scale import ray_cluster
from segduet.scale.local_runner import UnitReport, UnitStatus
from segduet.scale.ray_cluster import RayCluster, connected
from segduet.scale.ray_runner import run_on_ray, run_watched_on_ray
from segduet.scale.state import StudyState
from segduet.scale.unit import Resources, WorkUnit

#: Runs Python lines, which find `out`, the unit's output, and write it themselves.
_LAUNCHER = (
    sys.executable,
    "-c",
    "import os, signal, sys, time; from pathlib import Path; out = Path(sys.argv[1]);"
    "(out.parent / 'calls.txt').open('a').write(out.name + '\\n'); exec(sys.argv[2])",
)
_WRITE = "out.write_text('whole')"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Two cores; afterwards every process of the cluster must have ended.

    Its processes ignore Ctrl-C, as those of a shell's background do.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with connected(RayCluster(num_cpus=2)):
            started = _descendants(os.getpid())
            assert started
            yield
    finally:
        signal.signal(signal.SIGINT, before)
    until = time.monotonic() + 10
    while time.monotonic() < until and any(_is_alive(pid) for pid in started):
        time.sleep(0.05)
    assert not [pid for pid in started if _is_alive(pid)]


def _descendants(parent: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    below = children.get(parent, [])
    return below + [pid for child in below for pid in _descendants(child)]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _unit(folder: Path, name: str, line: str = _WRITE, *needs: str, **more: object) -> WorkUnit:
    resources = more.pop("resources", Resources(cpus=0.5, memory_gb=0.1))
    out = folder / name
    command = (str(out), line)
    return WorkUnit(
        name=name, command=command, needs=needs, outputs=(out,), resources=resources, **more
    )


def _run(folder: Path, *units: WorkUnit, **more: object) -> dict[str, UnitReport]:
    state = StudyState(folder=folder / "study", work_folder=folder)
    reports = run_on_ray(units, state, launcher=_LAUNCHER, **more)
    return {report.name: report for report in reports}


def _calls(folder: Path) -> list[str]:
    noted = folder / "calls.txt"
    return noted.read_text().split() if noted.exists() else []


def test_a_unit_waits_for_what_it_needs_and_is_not_run_again(tmp_path: Path) -> None:
    first = _unit(tmp_path, "first", f"time.sleep(0.3); {_WRITE}")
    second = _unit(
        tmp_path, "second", "out.write_text((out.parent / 'first').read_text())", "first"
    )
    for _ in range(2):  # the second time all is done
        reports = _run(tmp_path, second, first)
        assert {r.status for r in reports.values()} == {UnitStatus.DONE}
        assert _calls(tmp_path) == ["first", "second"]


def test_a_failure_blocks_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    units = (
        _unit(tmp_path, "bad", "sys.exit('error: it is broken')"),
        _unit(tmp_path, "after", _WRITE, "bad"),
        _unit(tmp_path, "long-after", _WRITE, "after"),
        _unit(tmp_path, "other"),
    )
    reports = _run(tmp_path, *units)
    assert reports["bad"].status == UnitStatus.FAILED
    assert "it is broken" in reports["bad"].reason
    assert reports["bad"].exit_code == 1
    assert reports["after"].reason == "needs bad"
    assert reports["long-after"].status == UnitStatus.BLOCKED
    assert reports["other"].status == UnitStatus.DONE
    assert _run(tmp_path, *units)["bad"].status == UnitStatus.FAILED
    assert _calls(tmp_path).count("bad") == 1  # it failed, and nobody asked for it again
    _run(tmp_path, *units, retry_failed=True)
    assert _calls(tmp_path).count("bad") == 2


def test_a_unit_whose_worker_is_killed_is_done_by_another(tmp_path: Path) -> None:
    line = (
        "once = out.with_suffix('.once')\n"
        "if not once.exists():\n"
        "    once.touch(); os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)\n"
        f"{_WRITE}"
    )
    reports = _run(tmp_path, _unit(tmp_path, "struck", line))
    assert reports["struck"].status == UnitStatus.DONE
    assert _calls(tmp_path) == ["struck", "struck"]


def test_an_interruption_ends_the_commands_and_frees_the_units(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    slow = _unit(
        tmp_path, "slow", f"Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(60)"
    )
    wait = (
        f"[time.sleep(0.02) for _ in range(500) if not Path({str(pid_file)!r}).exists()]; {_WRITE}"
    )
    state = StudyState(folder=tmp_path / "study", work_folder=tmp_path)

    def interrupt(report: UnitReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_ray([slow, _unit(tmp_path, "quick", wait)], state, interrupt, launcher=_LAUNCHER)
    assert not _is_alive(int(pid_file.read_text()))
    assert state.holder(slow) is None
    assert state.markers.failure(slow) is None


@pytest.mark.parametrize(("cpus", "overlap"), [(1.0, True), (1.5, False)])
def test_cores_are_set_aside_for_a_unit(tmp_path: Path, cpus: float, overlap: bool) -> None:
    """Two units meet only where both fit on the two cores; each waits 1 s for the other."""
    line = (
        "number = int(out.name[-1])\n"
        "here, there = (out.parent / f'here-{n}' for n in (number, 1 - number))\n"
        "here.touch(); end = time.monotonic() + 1\n"
        "while not there.exists() and time.monotonic() < end: time.sleep(0.01)\n"
        "met = there.exists(); out.write_text(str(met))\n"
        "if not met: here.unlink()"
    )
    room = Resources(cpus=cpus, memory_gb=0.1)
    units = [_unit(tmp_path, f"unit-{i}", line, resources=room) for i in range(2)]
    _run(tmp_path, *units)
    assert [unit.outputs[0].read_text() for unit in units] == [str(overlap)] * 2


def test_a_watched_unit_says_how_it_ended_and_can_be_ended_early(tmp_path: Path) -> None:
    state = StudyState(folder=tmp_path / "study", work_folder=tmp_path)

    def run(unit: WorkUnit, watch: Callable[[], None]) -> str:
        return run_watched_on_ray(unit, state, watch, launcher=_LAUNCHER)

    assert run(_unit(tmp_path, "good"), lambda: None) == ""
    assert run(_unit(tmp_path, "bad", "sys.exit('error: broken')"), lambda: None) == "broken"
    pid_file = tmp_path / "pid"
    line = f"Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(60)"

    def enough() -> None:
        if pid_file.exists() and pid_file.read_text():
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(_unit(tmp_path, "slow", line), enough)
    assert not _is_alive(int(pid_file.read_text()))


def test_a_unit_that_no_node_could_run_is_refused(tmp_path: Path) -> None:
    large = _unit(tmp_path, "large", resources=Resources(cpus=3, memory_gb=0.1))
    with pytest.raises(RequestError, match=r"'large'.*asks for 3 CPUs.*nodes with 2 CPUs"):
        _run(tmp_path, large)
    assert _calls(tmp_path) == []


def test_a_worker_without_the_data_says_which_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has ended is not cancelled: Ray would end this process now and then."""
    cancelled: list[object] = []
    monkeypatch.setattr(ray, "cancel", cancelled.append)
    missing = tmp_path / "images"
    with pytest.raises(RequestError, match=f"'blind'.*no {missing}"):
        _run(tmp_path, _unit(tmp_path, "blind", inputs=(missing,)))
    assert cancelled == []


def test_a_cluster_that_does_not_answer_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "ANSWERS_WITHIN_S", 1.0)
    started = time.monotonic()
    with (
        pytest.raises(RequestError, match=r"127\.0\.0\.1:9.*no answer within 1 s"),
        connected(RayCluster(address="127.0.0.1:9")),
    ):
        pass
    assert time.monotonic() - started < 20


def test_cores_of_a_cluster_that_runs_already_cannot_be_chosen() -> None:
    with pytest.raises(RequestError, match="--num-cpus"):
        RayCluster(address="auto", num_cpus=2)


def test_nothing_is_reported_to_rays_makers() -> None:
    from ray._common.usage import usage_lib

    assert not usage_lib.usage_stats_enabled()
