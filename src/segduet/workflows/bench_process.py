"""One command in a fresh process: seconds, peak memory, and what else the machine did (F85)."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.core.errors import RequestError
from segduet.core.files import read_json, write_json
from segduet.workflows import bench_launcher

_LAUNCHER = Path(bench_launcher.__file__)
_LAST_LINES = 3
#: Libraries that count threads ask one of these.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSample:
    """What one run of a command took.

    Attributes:
        started: when the process was started, by the monotonic clock all processes share.
        wall_s: from start to end.
        user_s: processor time of the command and the descendants it waited for.
        system_s: the same, in the kernel.
        peak_rss_mb: resident memory of its largest process, in MB (10**6 bytes).
        other_cpu_s: processor time that other processes used meanwhile; None where the system does
            not tell. Counted in ticks of 10 ms, so never exactly 0.
        steal_s: processor time the hypervisor gave to other machines; None likewise.
    """

    started: float
    wall_s: float
    user_s: float
    system_s: float
    peak_rss_mb: float
    other_cpu_s: float | None
    steal_s: float | None


def run_fresh(
    command: Sequence[str], folder: Path, *, cores: int | None, who: str
) -> ProcessSample:
    """Runs a command to its end in a process of its own and measures it.

    Interrupted, it ends the command and all its descendants.

    Args:
        command: program (its full path) and arguments.
        folder: existing; gets the standard output and error and the measurement.
        cores: pin to so many, and tell libraries that count threads; None: all.
        who: whose command it is, for messages.

    Raises:
        RequestError: the command failed, or it could not be started or measured; its last words
            are in the message.
    """
    spec = folder / "spec.json"
    result = folder / "sample.json"
    content = {
        "command": list(command),
        "stdout": str(folder / "stdout.txt"),
        "stderr": str(folder / "stderr.txt"),
        "result": str(result),
        "environment": {**os.environ, **_thread_variables(cores)},
        "cores": sorted(os.sched_getaffinity(0))[:cores] if cores else None,
    }
    write_json(spec, content)
    error = _run_to_end([sys.executable, "-I", "-S", str(_LAUNCHER), str(spec)])
    if not result.is_file():
        raise _failed(who, command, f"it could not be run: {_last_line(error)}")
    measured = read_json(result)
    if measured["exit_code"]:
        raise _failed(who, command, f"exit code {measured['exit_code']}: {_last_words(folder)}")
    return _sample(measured)


def _thread_variables(cores: int | None) -> dict[str, str]:
    return dict.fromkeys(_THREAD_VARIABLES, str(cores)) if cores else {}


def _run_to_end(command: Sequence[str]) -> str:
    """Runs in a session of its own; returns the standard error."""
    with subprocess.Popen(  # noqa: S603
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            _, error = process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return str(error)


def _sample(measured: Mapping[str, Any]) -> ProcessSample:
    own = measured["user_s"] + measured["system_s"]
    other, steal = _of_others(measured["machine"], own)
    return ProcessSample(
        started=measured["started"],
        wall_s=measured["wall_s"],
        user_s=measured["user_s"],
        system_s=measured["system_s"],
        peak_rss_mb=measured["peak_rss_bytes"] / 1e6,
        other_cpu_s=other,
        steal_s=steal,
    )


def _of_others(
    machine: Mapping[str, Mapping[str, float]] | None, own_s: float
) -> tuple[float | None, float | None]:
    """Processor seconds of other processes, and of other machines."""
    if machine is None:
        return None, None
    spent = {name: machine["after"][name] - machine["before"][name] for name in machine["after"]}
    steal = spent.pop("steal")
    busy = sum(seconds for name, seconds in spent.items() if name not in ("idle", "iowait"))
    return max(busy - own_s, 0.0), max(steal, 0.0)


def _last_words(folder: Path) -> str:
    """Of both outputs: an error goes to the one, a list of failed cases to the other."""
    words: list[str] = []
    for name in ("stdout.txt", "stderr.txt"):
        path = folder / name
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        words += [line.strip() for line in text.splitlines() if line.strip()][-_LAST_LINES:]
    return " / ".join(words) or "it said nothing"


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason")


def _failed(who: str, command: Sequence[str], found: str) -> RequestError:
    return RequestError(
        f"{who}, `{' '.join(command)}`",
        found=found,
        expected="a command that predicts every case",
        remedy="Run that command by itself, and bench again when it works.",
    )
