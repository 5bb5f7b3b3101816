"""Runs a segduet command and notes when its first window began: first_window.py NOTE predict ...

Used by cold_start.py. Imports nothing that the command would not import.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from segduet.cli.main import main
from segduet.inference.engines.converted_engine import ConvertedEngine

_predict = ConvertedEngine.predict
_note = Path(sys.argv[1])


def _noted(engine: ConvertedEngine, *arrays: Any) -> Any:
    now = time.monotonic()
    if not _note.exists():
        used = resource.getrusage(resource.RUSAGE_SELF)
        note = {"monotonic": now, "cpu": used.ru_utime + used.ru_stime}
        _note.write_text(json.dumps(note), encoding="utf-8")
    return _predict(engine, *arrays)


if __name__ == "__main__":
    ConvertedEngine.predict = _noted  # type: ignore[method-assign]
    main(sys.argv[2:])
