"""Runs one command and measures it: `python -I -S bench_launcher.py SPEC.json`.

A small process of its own, since a child inherits the peak memory of the process it was started
from. Standard library only, nothing of segduet.

SPEC: `command`, `stdout`, `stderr`, `result` (paths), `environment`, `cores` (numbers, or null).
The result: `started` (monotonic clock, the same in all processes), `wall_s`, `exit_code`, `user_s`,
`system_s`, `peak_rss_bytes`, and `machine`: seconds of all cores before and after, or null.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

#: Fields of the first line of /proc/stat, see proc(5); guest time is part of user time.
_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def machine_seconds() -> dict[str, float] | None:
    """Seconds all cores spent on what, since the start of the machine; None where not told."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return None
    tick = os.sysconf("SC_CLK_TCK")
    ticks = [int(number) for number in line.split()[1 : len(_FIELDS) + 1]]
    return {name: number / tick for name, number in zip(_FIELDS, ticks, strict=True)}


def run_measured(spec: dict[str, Any]) -> dict[str, Any]:
    """Runs the command to its end, descendants that it waits for included."""
    if spec["cores"] is not None:
        os.sched_setaffinity(0, spec["cores"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    redirected = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, spec["stdout"], flags, 0o644),
        (os.POSIX_SPAWN_OPEN, 2, spec["stderr"], flags, 0o644),
    ]
    command = spec["command"]
    before, started = machine_seconds(), time.monotonic()
    child = os.posix_spawn(command[0], command, spec["environment"], file_actions=redirected)
    _, status, usage = os.wait4(child, 0)
    wall, after = time.monotonic() - started, machine_seconds()
    # macOS counts bytes, everybody else kilobytes
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "started": started,
        "wall_s": wall,
        "exit_code": os.waitstatus_to_exitcode(status),
        "user_s": usage.ru_utime,
        "system_s": usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * unit,
        "machine": {"before": before, "after": after} if before and after else None,
    }


def main() -> None:
    """Reads the specification, runs, writes the result."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(spec["result"]).write_text(json.dumps(run_measured(spec)), encoding="utf-8")


if __name__ == "__main__":
    main()
