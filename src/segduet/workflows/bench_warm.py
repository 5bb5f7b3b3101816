"""A process that loads a model once and predicts again and again, with a clock (F85).

`python -m segduet.workflows.bench_warm SPEC.json`, see `WarmSpec`; written are `WarmTimes`.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from segduet.core.description import validated
from segduet.core.errors import SegduetError
from segduet.core.files import read_json, write_json


class WarmCase(BaseModel):
    """One case: where its channels are, and where its label map goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    files: tuple[Path, ...]
    target: Path


class WarmSpec(BaseModel):
    """What the process is to do.

    Attributes:
        stock: settings of nnU-Net's predictor; None for a segduet arm.
        options: of `segduet predict`, name -> text.
        passes: how often all cases are predicted.
        result: where the times go.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Path
    stock: dict[str, Any] | None
    options: dict[str, str]
    cases: tuple[WarmCase, ...]
    passes: int
    result: Path


class WarmTimes(BaseModel):
    """What it took.

    Attributes:
        begun: when the process reached its first line, by the monotonic clock.
        ready: when the model was loaded.
        cases: seconds by phase of every prediction, in order: pass by pass, case by case; `total`
            beside the phases.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    begun: float
    ready: float
    cases: tuple[dict[str, float], ...]


class _Predictor(Protocol):
    def predict(self, case: WarmCase) -> Mapping[str, float]:
        """Predicts, writes the label map, and returns seconds by phase."""


class _Segduet:
    def __init__(self, spec: WarmSpec) -> None:
        from segduet.workflows.bench_arms import load_arguments
        from segduet.workflows.python_interface import load

        self._loaded = load(spec.model, **load_arguments(spec.options, where="--option"))

    def predict(self, case: WarmCase) -> Mapping[str, float]:
        from segduet.io.images import read_stored_image, write_label_map

        started = time.perf_counter()
        volume = read_stored_image(case.files)
        read = time.perf_counter()
        prediction = self._loaded.predict(volume, case.case)
        predicted = time.perf_counter()
        if prediction.label_map is not None:
            write_label_map(case.target, prediction.label_map, prediction.geometry)
        written = time.perf_counter() - predicted
        # nnU-Net reads and prepares in one step, so both arms count reading as preparation
        prepared = prediction.seconds.get("prepare", 0.0) + read - started
        return {**prediction.seconds, "prepare": prepared, "write": written}


class _Stock:
    def __init__(self, model: Path, settings: Mapping[str, Any]) -> None:
        from segduet.nnunet.stock_prediction import StockPredictor

        self._predictor = StockPredictor.load(model, **settings)

    def predict(self, case: WarmCase) -> Mapping[str, float]:
        return self._predictor.predict(case.files, case.target)


def run_warm(spec: WarmSpec, begun: float) -> WarmTimes:
    """Loads, then predicts all cases `passes` times.

    Args:
        spec: what to do.
        begun: when the process began.
    """
    predictor = _loaded(spec)
    ready = time.monotonic()
    times = []
    for case in spec.cases * spec.passes:
        started = time.perf_counter()
        phases = dict(predictor.predict(case))
        times.append({**phases, "total": time.perf_counter() - started})
    return WarmTimes(begun=begun, ready=ready, cases=tuple(times))


def _loaded(spec: WarmSpec) -> _Predictor:
    if spec.stock is None:
        return _Segduet(spec)
    return _Stock(spec.model, spec.stock)


def main() -> None:
    """Does what the specification says; an error is one line and exit code 2."""
    begun = time.monotonic()
    try:
        spec = validated(WarmSpec, read_json(Path(sys.argv[1])), where=sys.argv[1])
        write_json(spec.result, run_warm(spec, begun).model_dump())
    except SegduetError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
