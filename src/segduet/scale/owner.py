"""Who works on a unit: a process that can be told from any other, on this machine or another."""

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A running process.

    Attributes:
        host: name of the machine, for people.
        machine: where `pid` has a meaning: this boot of this kernel and this process namespace, so
            that a restarted machine or another container of it is another one.
        pid: process id there.
        start_ticks: when the process started, since a process id is given again.
    """

    host: str
    machine: str
    pid: int
    start_ticks: int

    @classmethod
    def this_process(cls) -> Self:
        """The process that asks."""
        owner = cls.of_process(os.getpid())
        assert owner is not None
        return owner

    @classmethod
    def of_process(cls, pid: int) -> Self | None:
        """A process of this machine; None where it has ended."""
        start_ticks = _start_ticks(pid)
        if start_ticks is None:
            return None
        return cls(host=socket.gethostname(), machine=_machine(), pid=pid, start_ticks=start_ticks)

    @property
    def is_local(self) -> bool:
        """Whether the process can be looked for from here."""
        return self.machine == _machine()

    @property
    def is_running(self) -> bool:
        """Whether a local process still runs; one that ended but was not waited for does not."""
        return _start_ticks(self.pid) == self.start_ticks

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


def _machine() -> str:
    boot = _BOOT.read_text(encoding="ascii").strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}"


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None where the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold spaces
    return None if fields[0] in "ZX" else int(fields[19])
