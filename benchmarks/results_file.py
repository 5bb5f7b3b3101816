"""Writes a measured result with everything needed to judge and repeat it."""

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segduet.core.files import write_json
from segduet.core.manifest import installed_versions

REPOSITORY = Path(__file__).resolve().parents[1]


def write_result(name: str, *, seeds: Sequence[int], figures: Mapping[str, Any]) -> Path:
    """Writes `docs/results/<name>.json`: command, commit, date, machine, seeds, versions, figures.

    Args:
        name: file name without ending.
        seeds: every seed the figures rest on.
        figures: what was measured, plain types.
    """
    target = REPOSITORY / "docs" / "results" / f"{name}.json"
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    content = {
        "command": command,
        "commit": _git("rev-parse", "--short", "HEAD") + ("-dirty" if _is_dirty() else ""),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": _machine(),
        "seeds": list(seeds),
        "versions": installed_versions(),
        "figures": dict(figures),
    }
    write_json(target, content)
    return target


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _is_dirty() -> bool:
    return bool(_git("status", "--porcelain", "--", "src"))


def _machine() -> str:
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {platform.system()}"
