"""B22: units run once, in order, whatever fails, and nothing outlives its runner."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from segduet.core.errors import RequestError
from segduet.scale.local_runner import UnitReport, UnitStatus
from segduet.scale.owner import Owner
from segduet.scale.unit import Resources
from tiny_studies import calls, little_runner, little_unit

#: Runs one unit that starts a child of its own, both for a minute; the folder is the argument.
_RUNNER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tiny_studies import little_runner, little_unit
folder = Path(sys.argv[1])
unit = little_unit(folder, "long", "child", folder / "pids", "sleep", 60)
little_runner(folder, unit).run(retry_failed=False)
"""


def statuses(reports: tuple[UnitReport, ...]) -> dict[str, str]:
    return {report.name: str(report.status) for report in reports}


def happenings(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "state" / "journal.jsonl").read_text().splitlines()
    return [(entry["unit"], entry["happening"]) for entry in map(json.loads, lines)]


def wait_for(condition: object, what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} after {seconds} s"
        time.sleep(0.02)


def test_a_unit_runs_after_all_it_needs_whatever_the_order(tmp_path: Path) -> None:
    last = little_unit(tmp_path, "c", needs=("a", "b"), inputs=(tmp_path / "a.out",))
    units = [last, little_unit(tmp_path, "b", "sleep", 0.1), little_unit(tmp_path, "a")]
    reports = little_runner(tmp_path, *units, jobs=3).run(retry_failed=False)
    assert statuses(reports) == {"a": "done", "b": "done", "c": "done"}
    order = happenings(tmp_path)
    assert order.index(("c", "started")) > max(
        order.index(("a", "done")), order.index(("b", "done"))
    )


def test_what_is_done_is_not_run_again(tmp_path: Path) -> None:
    units = [little_unit(tmp_path, "a"), little_unit(tmp_path, "b", needs=("a",))]
    for _ in range(2):
        reports = little_runner(tmp_path, *units).run(retry_failed=True)
        assert statuses(reports) == {"a": "done", "b": "done"}
    assert len(calls(tmp_path)) == 2


def test_a_unit_whose_output_was_deleted_is_run_again(tmp_path: Path) -> None:
    unit = little_unit(tmp_path, "a")
    little_runner(tmp_path, unit).run(retry_failed=False)
    unit.outputs[0].unlink()
    little_runner(tmp_path, unit).run(retry_failed=False)
    assert len(calls(tmp_path)) == 2


def test_a_marker_says_what_was_made(tmp_path: Path) -> None:
    unit = little_unit(tmp_path, "a")
    little_runner(tmp_path, unit).run(retry_failed=False)
    marker = json.loads((tmp_path / "state" / "units" / "a.done.json").read_text())
    sha256_of_done = "a4c3ed04a95a3da14a9d235c83d868bed7c0f45cf7f3faa751ee8f50598d2211"
    assert marker["outputs"] == {"a.out": {"bytes": 4, "sha256": sha256_of_done}}
    assert marker["exit_code"] == 0


def test_a_failure_is_told_with_its_reason_and_stops_only_what_needs_it(tmp_path: Path) -> None:
    units = [
        little_unit(tmp_path, "bad", "fail", "no such fold"),
        little_unit(tmp_path, "after", needs=("bad",)),
        little_unit(tmp_path, "last", needs=("after",)),
        little_unit(tmp_path, "other"),
    ]
    bad, after, last, other = little_runner(tmp_path, *units).run(retry_failed=False)
    assert (bad.status, bad.reason, bad.exit_code) == (UnitStatus.FAILED, "no such fold", 2)
    assert (after.status, after.reason) == (UnitStatus.BLOCKED, "needs bad")
    assert (last.status, last.reason) == (UnitStatus.BLOCKED, "needs after")
    assert other.status is UnitStatus.DONE


def test_a_failed_unit_waits_until_a_retry_is_asked_for(tmp_path: Path) -> None:
    unit = little_unit(tmp_path, "a", "crash-unless", tmp_path / "mended")
    for _ in range(2):
        (report,) = little_runner(tmp_path, unit).run(retry_failed=False)
        assert (report.exit_code, "exit code 7" in report.reason) == (7, True)
    assert len(calls(tmp_path)) == 1
    (tmp_path / "mended").touch()
    (report,) = little_runner(tmp_path, unit).run(retry_failed=True)
    assert report.status is UnitStatus.DONE
    assert not (tmp_path / "state" / "units" / "a.failed.json").exists()


def test_a_command_that_leaves_no_output_has_failed(tmp_path: Path) -> None:
    unit = replace(little_unit(tmp_path, "a"), outputs=(tmp_path / "elsewhere",))
    (report,) = little_runner(tmp_path, unit).run(retry_failed=False)
    assert report.status is UnitStatus.FAILED
    assert f"left no {tmp_path / 'elsewhere'}" in report.reason


def test_a_command_that_was_killed_says_so_and_leaves_no_child(tmp_path: Path) -> None:
    """A data worker that outlived its command would keep what that one had locked."""
    unit = little_unit(tmp_path, "a", "child", tmp_path / "pids", "sleep", 60)

    def kill(report: UnitReport) -> None:
        if report.status is UnitStatus.RUNNING:
            wait_for((tmp_path / "pids").exists, "child")
            wait_for((tmp_path / "pids").read_text, "process ids")
            pid, child = (int(word) for word in (tmp_path / "pids").read_text().split())
            children.append(Owner.of_process(child))
            os.kill(pid, signal.SIGKILL)

    children: list[Owner | None] = []
    (report,) = little_runner(tmp_path, unit, on_change=kill).run(retry_failed=False)
    assert "SIGKILL" in report.reason
    assert (report.status, report.exit_code) == (UnitStatus.FAILED, -9)
    (child,) = children
    assert child is not None
    wait_for(lambda: not child.is_running, "end of the command's child")


def test_a_unit_goes_on_where_it_stopped_if_its_command_can(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    units = [
        little_unit(tmp_path, name, "write", checkpoint, resumes_from=checkpoint)
        for name in ("first", "second")
    ]
    little_runner(tmp_path, *units).run(retry_failed=False)
    assert [line.endswith(" --resume") for line in calls(tmp_path)] == [False, True]


@pytest.mark.parametrize("restart", [(), ("--overwrite",)])
def test_a_stopped_unit_whose_settings_changed_begins_anew(
    tmp_path: Path, restart: tuple[str, ...]
) -> None:
    """Its command would refuse to go on with other settings, so it could never be run."""
    progress = tmp_path / "progress"
    more = {"resumes_from": progress, "restart_options": restart}

    def run(*words: object) -> UnitReport:
        unit = little_unit(tmp_path, "a", "write", progress, *words, **more)
        return little_runner(tmp_path, unit).run(retry_failed=True)[0]

    assert run("fail", "no power").status is UnitStatus.FAILED
    assert run("threads", progress, "fail", "again").status is UnitStatus.FAILED
    assert run("threads", progress).status is UnitStatus.DONE
    begun, changed, mended = calls(tmp_path)
    assert not begun.endswith("--resume")
    assert changed.split()[-len(restart) or None :] == list(restart) or not restart
    assert "--resume" not in changed
    assert "--resume" not in mended


def test_a_stopped_unit_goes_on_with_other_means(tmp_path: Path) -> None:
    """Another number of threads is no reason to throw hours of work away."""
    progress = tmp_path / "progress"
    words = ("write", progress, "fail", "no power", "--threads")
    for threads in (1, 2):
        unit = little_unit(
            tmp_path, "a", *words, threads, resumes_from=progress, free_options=("--threads",)
        )
        little_runner(tmp_path, unit).run(retry_failed=True)
    assert [line.endswith(" --resume") for line in calls(tmp_path)] == [False, True]


def test_what_was_made_from_a_unit_that_runs_again_is_named_before_it_runs(tmp_path: Path) -> None:
    """Scores of an earlier model must not stand under a new one."""
    units = [
        little_unit(tmp_path, "train"),
        little_unit(tmp_path, "predict", needs=("train",)),
    ]
    little_runner(tmp_path, *units).run(retry_failed=False)
    units[0].outputs[0].unlink()
    with pytest.raises(RequestError, match=rf"'predict'.*Delete .*{tmp_path}"):
        little_runner(tmp_path, *units).run(retry_failed=False)
    assert len(calls(tmp_path)) == 2
    little_runner(tmp_path, units[0]).run(retry_failed=False)
    with pytest.raises(RequestError, match=r"'predict'.*train was run again"):
        little_runner(tmp_path, *units).run(retry_failed=False)
    units[1].outputs[0].unlink()
    reports = little_runner(tmp_path, *units).run(retry_failed=False)
    assert statuses(reports) == {"train": "done", "predict": "done"}
    assert len(calls(tmp_path)) == 4


def test_a_unit_has_as_many_threads_as_cores(tmp_path: Path) -> None:
    """Every engine computes with the same number, so with the same rounding."""
    unit = little_unit(
        tmp_path, "a", "threads", tmp_path / "threads", resources=Resources(cpus=3.5)
    )
    little_runner(tmp_path, unit).run(retry_failed=False)
    assert (tmp_path / "threads").read_text() == "3"


def test_a_failure_of_other_settings_is_no_failure_of_these(tmp_path: Path) -> None:
    """An arm that was mended in the study file is run without being asked for again."""
    little_runner(tmp_path, little_unit(tmp_path, "a", "fail", "x")).run(retry_failed=False)
    (report,) = little_runner(tmp_path, little_unit(tmp_path, "a")).run(retry_failed=False)
    assert report.status is UnitStatus.DONE


@pytest.mark.parametrize("change", ["command", "input"])
def test_a_study_that_changed_since_is_refused(tmp_path: Path, change: str) -> None:
    (tmp_path / "splits.json").write_text("[]")
    unit = little_unit(tmp_path, "a", inputs=(tmp_path / "splits.json",))
    little_runner(tmp_path, unit).run(retry_failed=False)
    if change == "input":
        (tmp_path / "splits.json").write_text("[1]")
    else:
        unit = little_unit(tmp_path, "a", "sleep", 0, inputs=unit.inputs)
    words = "splits.json was rewritten" if change == "input" else "`nothing` became `sleep 0`"
    with pytest.raises(RequestError, match=words):
        little_runner(tmp_path, unit).run(retry_failed=False)


def test_a_worker_without_the_data_is_told_before_anything_runs(tmp_path: Path) -> None:
    units = [
        little_unit(tmp_path, "a"),
        little_unit(tmp_path, "b", inputs=(tmp_path / "not-mounted",)),
    ]
    with pytest.raises(RequestError, match=r"unit 'b': found no .*not-mounted"):
        little_runner(tmp_path, *units).run(retry_failed=False)
    assert calls(tmp_path) == []


def test_two_runners_share_a_study_and_run_each_unit_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from tiny_studies import little_runner, little_unit\n"
        "folder = Path(sys.argv[1])\n"
        "units = [little_unit(folder, f'u{n}', 'sleep', 0.05) for n in range(8)]\n"
        "reports = little_runner(folder, *units, jobs=2).run(retry_failed=False)\n"
        "assert all(report.status == 'done' for report in reports), reports\n"
    )
    support = str(Path(__file__).parents[1] / "support")
    runners = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), support]) for _ in range(2)
    ]
    try:
        assert [runner.wait(30) for runner in runners] == [0, 0]
    finally:
        for runner in runners:
            runner.kill()
            runner.wait(10)
    assert len(calls(tmp_path)) == len(set(calls(tmp_path))) == 8
    done = [unit for unit, happening in happenings(tmp_path) if happening == "done"]
    assert sorted(done) == [f"u{n}" for n in range(8)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_its_runner(tmp_path: Path, number: signal.Signals) -> None:
    """Interrupted, it ends its command and that one's child; killed, the system and a guard do."""
    support = str(Path(__file__).parents[1] / "support")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + _RUNNER
    runner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), support], stderr=subprocess.DEVNULL
    )
    child = None
    try:
        wait_for(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text(), "child")
        pid, child = (int(word) for word in (tmp_path / "pids").read_text().split())
        command, grandchild = Owner.of_process(pid), Owner.of_process(child)
        assert command is not None
        assert grandchild is not None
        runner.send_signal(number)
        runner.wait(20)
        wait_for(lambda: not command.is_running, "end of the command")
        wait_for(lambda: not grandchild.is_running, "end of the command's child")
        if number is signal.SIGINT:
            assert ("long", "stopped") in happenings(tmp_path)
        unit = little_unit(tmp_path, "long")
        (report,) = little_runner(tmp_path, unit).run(retry_failed=False)
        assert report.status is UnitStatus.DONE
    finally:
        runner.kill()
        runner.wait(10)
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
