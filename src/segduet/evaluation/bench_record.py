"""`bench.json`: everything a benchmark did and found; its schema is published in docs/reference."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from segduet.core.description import validated
from segduet.core.files import read_json
from segduet.core.scores import Estimate
from segduet.evaluation.output_agreement import Agreement
from segduet.evaluation.paired_timing import ArmName, Finding

SCHEMA_VERSION: Literal[1] = 1

#: cold: the whole command; warm: a process that loads once and predicts again and again.
Measure = Literal["cold", "warm"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArmRecord(_Section):
    """One side: what it is and what it was told.

    Attributes:
        options: those given or taken over, as text.
        not_taken_over: options of the candidate that this arm does not have.
        command: of the first measured sample, start to end.
    """

    kind: str
    model: str
    options: dict[str, str]
    not_taken_over: tuple[str, ...]
    command: tuple[str, ...]


class Design(_Section):
    """How it was measured.

    Attributes:
        rounds: measured rounds, one sample of each arm and measure in each.
        warm_up_rounds: rounds before them, recorded and left out of every figure.
        passes: how often a warm process predicts all cases; the first pass is no steady state.
        seed: of the order and of all resampling.
        order: of the measured rounds, which arm goes first.
    """

    rounds: int
    warm_up_rounds: int
    measures: tuple[Measure, ...]
    passes: int
    cases: tuple[str, ...]
    seed: int
    order: tuple[ArmName, ...]


class Sample(_Section):
    """One process.

    Attributes:
        round: 0, 1, ... of the measured rounds; negative for warm-up.
        wall_s: from start to end.
        peak_rss_mb: resident memory of its largest process, MB of 10**6 bytes.
        other_cpu_share: of the cores' time meanwhile, what other processes used; None if untold.
        steal_share: what the hypervisor gave to other machines; None likewise.
        phases: of a warm process, seconds until it began (`start`) and was ready (`load`), of the
            first case (`first_case`), and per case in the steady state (`steady_case`, and by
            phase `steady_<phase>`).
    """

    round: int
    arm: ArmName
    measure: Measure
    wall_s: float
    user_s: float
    system_s: float
    peak_rss_mb: float
    other_cpu_share: float | None
    steal_share: float | None
    phases: dict[str, float]


class Figure(_Section):
    """One amount of both arms, and their ratio baseline / candidate (above 1: candidate better).

    Attributes:
        candidate: median over the rounds, with its interval.
        ratio: geometric mean of the rounds' ratios, with its interval.
        median_ratio: median of the rounds' ratios, with its interval.
    """

    name: str
    unit: str
    candidate: Estimate
    baseline: Estimate
    ratio: Estimate
    median_ratio: Estimate
    finding: Finding


class Contamination(_Section):
    """What else the machine did; no sample is dropped for it.

    Attributes:
        median_share: of the cores' time, used by other processes; None where untold.
        largest_share: of one sample; None likewise.
        busy_samples: samples above `threshold`.
    """

    threshold: float
    median_share: float | None
    largest_share: float | None
    largest_steal_share: float | None
    busy_samples: int
    n: int


class Verdict(_Section):
    """What may be said.

    Attributes:
        figure: name of the figure it rests on.
        sentences: the first is the finding with its interval; warnings follow.
    """

    figure: str
    finding: Finding
    outputs: str
    sentences: tuple[str, ...]


class BenchRecord(_Section):
    """The whole file.

    Attributes:
        agreement: `between arms`, and of each arm measured both ways its warm against its cold
            outputs.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    request: tuple[str, ...]
    started: str
    seconds: float
    verdict: Verdict
    arms: dict[ArmName, ArmRecord]
    design: Design
    figures: tuple[Figure, ...]
    agreement: dict[str, Agreement]
    contamination: Contamination
    environment: Mapping[str, Any]
    samples: tuple[Sample, ...]


def read_bench_record(source: Path) -> BenchRecord:
    """Reads a `bench.json`.

    Raises:
        DataError: missing, damaged, or of another version.
    """
    return validated(BenchRecord, read_json(source), where=str(source))
