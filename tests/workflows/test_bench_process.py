"""F85: what is measured of a process is what it really did."""

import os
import sys
from pathlib import Path

import pytest

from segduet.core.errors import RequestError
from segduet.workflows.bench_process import ProcessSample, run_fresh


def run_code(code: str, folder: Path, *, cores: int | None = None) -> ProcessSample:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-I", "-S", "-c", code]
    return run_fresh(command, folder, cores=cores, who="the candidate (cold)")


def test_a_sleep_takes_wall_time_and_no_processor_time(tmp_path: Path) -> None:
    """It lasts at least as long as asked for, whatever the machine does besides."""
    taken = run_code("import time; time.sleep(0.5)", tmp_path)
    assert taken.wall_s >= 0.5
    assert taken.user_s + taken.system_s < 0.4


def test_processor_time_of_a_child_that_is_waited_for_counts(tmp_path: Path) -> None:
    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    nested = f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {burn!r}])"
    taken = run_code(nested, tmp_path)
    assert taken.user_s + taken.system_s >= 0.3


def test_peak_memory_is_the_commands_own_and_not_that_of_this_process(tmp_path: Path) -> None:
    """A child inherits the peak of the process it was started from; ours holds PyTorch here."""
    import torch

    ballast = torch.ones(50_000_000)  # 200 MB
    small = run_code("pass", tmp_path / "small").peak_rss_mb
    large = run_code("x = b'1' * 100_000_000", tmp_path / "large").peak_rss_mb
    assert ballast.numel() == 50_000_000
    assert small < 40
    assert 95 < large - small < 115


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux's /proc/stat")
def test_what_other_processes_use_meanwhile_is_told(tmp_path: Path) -> None:
    """A process of another session burns for as long as the command sleeps."""
    import subprocess

    burning = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    try:
        taken = run_code("import time; time.sleep(0.6)", tmp_path)
    finally:
        burning.kill()
        burning.wait()
    assert taken.other_cpu_s > 0.2
    assert taken.other_cpu_s <= taken.wall_s * (os.cpu_count() or 1) + 0.1
    assert taken.steal_s >= 0


def test_an_arm_can_be_pinned_to_one_core(tmp_path: Path) -> None:
    """F75: cores and the variables that libraries count threads by."""
    code = "import os; print(len(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS'])"
    run_code(code, tmp_path, cores=1)
    assert (tmp_path / "stdout.txt").read_text() == "1 1\n"


def test_a_failing_command_is_one_message_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"the candidate \(cold\).*exit code 3: .*it broke"):
        run_code("import sys; print('it broke', file=sys.stderr); sys.exit(3)", tmp_path)


def test_a_killed_command_is_told_by_its_signal(tmp_path: Path) -> None:
    """Such as by the system when the memory is full."""
    with pytest.raises(RequestError, match="exit code -9: it said nothing"):
        run_code("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", tmp_path)


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="could not be run: FileNotFoundError"):
        run_fresh([str(tmp_path / "absent")], tmp_path, cores=None, who="the baseline (cold)")


def test_an_interruption_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a command sleeps for an hour: the command and its launcher are ended."""
    import subprocess
    import time

    started: list[subprocess.Popen[str]] = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def communicate(self, *_args, **_kwargs):
            started.append(self)
            while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
                time.sleep(0.02)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    with pytest.raises(KeyboardInterrupt):
        run_code(code + "time.sleep(3600)", tmp_path)
    child = int((tmp_path / "pid").read_text())
    assert started[0].returncode == -9
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "Z" in _state(child):
            return
        time.sleep(0.02)
    pytest.fail("the command still runs")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
