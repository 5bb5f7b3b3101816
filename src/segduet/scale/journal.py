"""What happened to the units of a study, one line each, in the order in which it happened."""

import json
import os
import time
from enum import StrEnum
from pathlib import Path

from segduet.core.manifest import utc
from segduet.scale.owner import Owner


class Happening(StrEnum):
    """What can happen to a unit."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


def append_to_journal(file: Path, unit: str, happening: Happening, *, reason: str = "") -> None:
    """Adds a line; lines of several processes do not mix.

    Args:
        file: the study's journal.
        unit: its name.
        happening: what happened.
        reason: why it failed or was stopped.
    """
    owner = Owner.this_process()
    entry = {
        "time": utc(time.time()),
        "unit": unit,
        "happening": str(happening),
        "host": owner.host,
        "pid": owner.pid,
        **({"reason": reason} if reason else {}),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    try:
        os.write(handle, (json.dumps(entry, ensure_ascii=False) + "\n").encode())
    finally:
        os.close(handle)
