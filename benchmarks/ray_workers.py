"""Are two Ray workers 1.7 times as fast as one, with one thread each?

Usage: python benchmarks/ray_workers.py --model MODEL --images FOLDER [--units 8] [--seconds 5]
    [--repeats 4]

Two roads, each by one and by two workers, in the order ABBA, on a fresh cluster every time:

- the same units of pure computation through `run_on_ray`, whose workers have been started by a unit
  before the clock runs. Also measures what Ray adds to a unit: a unit's wall time on one worker
  minus its own time.
- the same cases through `segduet predict --ray-workers`. The clock runs from the first quarter of
  the cases to the last one, when every worker has its model; the whole command's time stands
  beside it.

The speed-up is the geometric mean over pairs of neighbouring runs, with its 95 % interval by
Student's t over the logarithms. The machine must be idle. Writes docs/results/ray_workers.json.
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scipy import stats

from results_file import write_result
from segduet.scale.local_runner import UnitStatus
from segduet.scale.ray_cluster import RayCluster, connected
from segduet.scale.ray_runner import run_on_ray
from segduet.scale.state import StudyState
from segduet.scale.unit import Resources, WorkUnit
from segduet.workflows.load_request import LoadRequest
from segduet.workflows.prediction_request import PredictRequest
from segduet.workflows.ray_prediction import RayPredictChoice, predict_on_ray

BAR = 1.7
#: Counts to the first number; writes its own seconds of processor time to the second word.
_COMPUTE = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import sys, time; start = time.process_time(); n = int(sys.argv[1])\n"
    "while n: n -= 1\n"
    "open(sys.argv[2], 'w').write(str(time.process_time() - start))",
)
_CALIBRATION = 2_000_000


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one unit, about")
    parser.add_argument("--repeats", type=int, default=4)
    arguments = parser.parse_args()
    count = int(_CALIBRATION * arguments.seconds / _seconds_to_count(_CALIBRATION))
    units = _interleaved(lambda n: _run(n, arguments.units, count), arguments.repeats)
    cases = _interleaved(
        lambda n: _predicted(n, arguments.model, arguments.images), arguments.repeats
    )
    overhead = [(r["wall_s"] - r["cpu_s"]) / arguments.units for r in units[1]]
    figures: dict[str, Any] = {
        "bar": BAR,
        "units": {
            **_speedup(units, "wall_s"),
            "num_units": arguments.units,
            "overhead_of_a_unit_s": round(statistics.mean(overhead), 3),
        },
        "prediction": _speedup(cases, "later_cases_s"),
    }
    figures["passed"] = all(figures[road]["speedup"] >= BAR for road in ("units", "prediction"))
    target = write_result("ray_workers", seeds=[], figures=figures)
    print(f"written: {target}")


def _interleaved(
    run: Callable[[int], dict[str, float]], repeats: int
) -> dict[int, list[dict[str, float]]]:
    """Runs by one and by two workers, ABBA."""
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for repeat in range(repeats):
        for workers in (1, 2) if repeat % 2 == 0 else (2, 1):
            runs[workers].append(run(workers))
            print(f"{workers} workers: {runs[workers][-1]}")
    return runs


def _speedup(runs: dict[int, list[dict[str, float]]], key: str) -> dict[str, Any]:
    """One worker's seconds by two workers', over pairs of runs."""
    logs = [math.log(one[key] / two[key]) for one, two in zip(runs[1], runs[2], strict=True)]
    mean, error = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    reach = float(stats.t.ppf(0.975, len(logs) - 1)) * error
    return {
        "speedup": round(math.exp(mean), 3),
        "interval": [round(math.exp(mean + side * reach), 3) for side in (-1, 1)],
        "runs": {str(workers): each for workers, each in runs.items()},
    }


def _predicted(workers: int, model: Path, images: Path) -> dict[str, float]:
    """Seconds from the first quarter of the cases to the last one, and of the whole command."""
    done_at: list[float] = []
    loading = LoadRequest(model=model, threads=1)
    with tempfile.TemporaryDirectory() as name:
        request = PredictRequest(loading=loading, inputs=[images], out=Path(name) / "answers")
        started = time.perf_counter()
        predict_on_ray(
            request,
            RayPredictChoice(workers=workers),
            lambda *_: done_at.append(time.perf_counter()),
        )
        wall = time.perf_counter() - started
    later = done_at[-1] - done_at[len(done_at) // 4]
    return {"later_cases_s": round(later, 3), "wall_s": round(wall, 3), "cases": len(done_at)}


def _seconds_to_count(number: int) -> float:
    started = time.process_time()
    while number:
        number -= 1
    return time.process_time() - started


def _run(workers: int, num_units: int, count: int) -> dict[str, float]:
    """Seconds for all units, and their own processor seconds."""
    with tempfile.TemporaryDirectory() as name, connected(RayCluster(num_cpus=workers)):
        folder = Path(name)
        state = StudyState(folder=folder / "state", work_folder=folder)
        first = [_unit(folder, f"first-{i}", 1) for i in range(workers)]
        units = [_unit(folder, f"unit-{i}", count) for i in range(num_units)]
        run_on_ray(first, state, launcher=_COMPUTE)
        started = time.perf_counter()
        reports = run_on_ray(units, state, launcher=_COMPUTE)
        wall = time.perf_counter() - started
        assert all(report.status is UnitStatus.DONE for report in reports), reports
        own = sum(float(unit.outputs[0].read_text()) for unit in units)
    return {"wall_s": round(wall, 3), "cpu_s": round(own, 3)}


def _unit(folder: Path, name: str, count: int) -> WorkUnit:
    out = folder / name
    resources = Resources(cpus=1, memory_gb=0.1)
    return WorkUnit(name=name, command=(str(count), str(out)), outputs=(out,), resources=resources)


if __name__ == "__main__":
    main()
