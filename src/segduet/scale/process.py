"""A unit's command as a process group that cannot outlive the process that started it."""

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from segduet.core.manifest import utc
from segduet.scale.local_gpus import VARIABLE
from segduet.scale.markers import Ending
from segduet.scale.unit import WorkUnit

log = logging.getLogger(__name__)

#: What runs the arguments of a unit.
SEGDUET = (sys.executable, "-m", "segduet")
#: Between the request to end and the end without one.
GRACE_S = 10.0

#: Kills a process group when its input ends without a word: when the process that holds the other
#: end is gone. It must not be of that group, nor wait for anything to be imported.
_GUARD = """
import os, signal, sys
if not os.read(0, 1):
    try:
        os.killpg(int(sys.argv[1]), signal.SIGKILL)
    except ProcessLookupError:
        pass
"""

_PR_SET_PDEATHSIG = 1
_TAIL_BYTES = 4096
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitProcess:
    """The running command of a unit.

    Attributes:
        unit: what it does.
        process: leader of a process group of its own.
        guard: ends that group when this process is gone.
        log: where it writes, after what earlier ones wrote there.
        log_start: where its own lines begin, in bytes.
        started: by the monotonic clock.
    """

    unit: WorkUnit
    process: subprocess.Popen[bytes]
    guard: subprocess.Popen[bytes]
    log: Path
    log_start: int
    started: float

    def ending(self) -> Ending | None:
        """How it ended; None while it runs. Children of one that was killed are ended, too."""
        code = self.process.poll()
        if code is None:
            return None
        if code != 0:
            self._signal(signal.SIGKILL)
        self._dismiss_guard()
        seconds = time.monotonic() - self.started
        return Ending(exit_code=code, seconds=seconds, reason=self._reason(code))

    def ask_to_end(self) -> None:
        """Sends SIGTERM to it and its children."""
        self._signal(signal.SIGTERM)

    def end(self) -> None:
        """Ends it with all its children, after a grace; it has ended on return."""
        self.ask_to_end()
        try:
            self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            log.warning("unit %s does not end by itself and is killed", self.unit.name)
        finally:
            self._signal(signal.SIGKILL)  # children of its own that did not listen, too
            self.process.wait()
            self._dismiss_guard()

    def _dismiss_guard(self) -> None:
        assert self.guard.stdin is not None
        if not self.guard.stdin.closed:
            self.guard.communicate(b".")

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _reason(self, code: int) -> str:
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", as the system does where memory runs out" if code == -signal.SIGKILL else ""
            return f"ended from outside by {name}{hint}; see {self.log}"
        if code > 0:
            return self._last_error() or f"exit code {code}; see {self.log}"
        missing = [path for path in self.unit.outputs if not path.exists()]
        return f"it ended well, but left no {missing[0]}" if missing else ""

    def _last_error(self) -> str:
        """The error line a command ends with, or its last line."""
        with self.log.open("rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(self.log_start, end - _TAIL_BYTES))
            text = stream.read().decode("utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines or [""])[-1].removeprefix("error: ")[:_LONGEST_REASON]


def start_process(
    unit: WorkUnit,
    *,
    log: Path,
    folder: Path,
    launcher: Sequence[str] = SEGDUET,
    options: Sequence[str] = (),
    gpus: Sequence[str] = (),
) -> UnitProcess:
    """Starts a unit's command.

    It gets a process group and session of its own, as many threads as its resources have cores,
    and is killed with its children when this process ends, however that ends.

    Args:
        unit: what to do.
        log: its output is added here.
        folder: relative paths among its settings start here.
        launcher: program that takes the arguments.
        options: added to them, as `Markers.begin` says.
        gpus: those it sees; none leaves this process's own choice.
    """
    command = [*launcher, *unit.command, *options]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        log_start = _write_heading(stream, command)
        process = subprocess.Popen(  # noqa: S603 - the arguments are ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **_thread_limits(unit), **_gpu_choice(gpus)},
            start_new_session=True,
            preexec_fn=_DiesWith(os.getpid()),  # noqa: PLW1509 - sets one flag, takes no lock
        )
    return UnitProcess(
        unit=unit,
        process=process,
        guard=_guard_of(process.pid),
        log=log,
        log_start=log_start,
        started=time.monotonic(),
    )


def _guard_of(group: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the arguments are ours
        [sys.executable, "-I", "-S", "-c", _GUARD, str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _write_heading(stream: BinaryIO, command: Sequence[str]) -> int:
    stream.write(f"--- {utc(time.time())} {' '.join(command)}\n".encode())
    stream.flush()
    return stream.tell()


def _thread_limits(unit: WorkUnit) -> Mapping[str, str]:
    threads = str(max(1, int(unit.resources.cpus)))
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)


def _gpu_choice(gpus: Sequence[str]) -> Mapping[str, str]:
    return {VARIABLE: ",".join(gpus)} if gpus else {}


class _DiesWith:
    """Runs in the new process before its command: asks for SIGKILL when the parent ends.

    The system sends it to this process alone, at once; its children are left to the guard.

    Args:
        parent: process id of the parent.
    """

    def __init__(self, parent: int) -> None:
        self._parent, self._libc = parent, ctypes.CDLL(None)

    def __call__(self) -> None:
        """Sets the flag; ends at once where the parent was faster."""
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._parent:
            os._exit(1)
