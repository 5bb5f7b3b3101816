"""What the queue of `segduet run` costs: units that sleep, run by it and one after the other.

    python benchmarks/queue_overhead.py

Bar (issue 6): under 2 % of a unit of 10 seconds. Both arms start the same commands in turns (ABBA),
so that what remains is claims, markers, journal and waiting.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

from results_file import write_result
from segduet.scale.local_runner import LocalRunner
from segduet.scale.state import StudyState
from segduet.scale.unit import WorkUnit

SLEEPER = (
    *(sys.executable, "-I", "-S", "-c"),
    "import sys, time, pathlib; time.sleep(float(sys.argv[1])); pathlib.Path(sys.argv[2]).touch()",
)


def main() -> None:
    """Measures and writes `docs/results/queue_overhead.json`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a unit")
    parser.add_argument("--units", type=int, default=4, help="in each of four rounds")
    options = parser.parse_args()
    arms = {"direct": _direct, "queue": _queue}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for name in ("direct", "queue", "queue", "direct"):
        with tempfile.TemporaryDirectory() as folder:
            units = _sleepers(Path(folder), options)
            started = time.perf_counter()
            arms[name](Path(folder), units)
            seconds[name].append((time.perf_counter() - started) / options.units)
    overhead = mean(seconds["queue"]) - mean(seconds["direct"])
    figures = {
        "unit_seconds": options.seconds,
        "units_per_round": options.units,
        "seconds_per_unit": {
            name: [round(v, 4) for v in values] for name, values in seconds.items()
        },
        "overhead_seconds_per_unit": round(overhead, 4),
        "overhead_percent": round(100 * overhead / options.seconds, 3),
    }
    print(figures)
    print(write_result("queue_overhead", seeds=[], figures=figures))


def _sleepers(folder: Path, options: argparse.Namespace) -> list[WorkUnit]:
    return [
        WorkUnit(
            name=f"sleep-{number}",
            command=(str(options.seconds), str(folder / str(number))),
            outputs=(folder / str(number),),
        )
        for number in range(options.units)
    ]


def _direct(_folder: Path, units: list[WorkUnit]) -> None:
    for unit in units:
        subprocess.run([*SLEEPER, *unit.command], check=True)


def _queue(folder: Path, units: list[WorkUnit]) -> None:
    state = StudyState(folder=folder / "state", work_folder=folder)
    reports = LocalRunner(units=units, state=state, launcher=SLEEPER).run(retry_failed=False)
    assert all(report.status == "done" for report in reports), reports


if __name__ == "__main__":
    main()
