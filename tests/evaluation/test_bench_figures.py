"""F85: what may be said, from samples whose truth is known."""

from typing import Any

import numpy as np
import pytest

from segduet.evaluation.bench_figures import (
    BETWEEN_ARMS,
    COLD,
    STEADY,
    compare_samples,
    contamination,
    draw_verdict,
)
from segduet.evaluation.bench_record import ArmRecord, Sample
from segduet.evaluation.output_agreement import CaseAnswers, compare_case, summarise_agreement
from segduet.evaluation.paired_timing import ArmName, Finding

CANDIDATE, BASELINE = ArmName


def sample(number: int, arm: ArmName, seconds: float, **changed: Any) -> Sample:
    fixed = {"user_s": 1.0, "system_s": 0.1, "peak_rss_mb": 100.0 + number, "steal_share": 0.0}
    return Sample(
        round=number,
        arm=arm,
        wall_s=seconds,
        **{"measure": "cold", "other_cpu_share": 0.01, "phases": {}, **fixed, **changed},
    )


def benchmark(delay_s: float, rounds: int = 8) -> list[Sample]:
    """A baseline that sleeps longer; its warm-up round is absurd and must not count."""
    rng = np.random.default_rng(0)
    made = [sample(-1, CANDIDATE, 900.0), sample(-1, BASELINE, 1.0)]
    for number in range(rounds):
        made += [
            sample(number, CANDIDATE, 1.0 + rng.uniform(0, 0.1)),
            sample(number, BASELINE, 1.0 + delay_s + rng.uniform(0, 0.1)),
        ]
    return made


def same_outputs(label_map: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    case = compare_case("c0", CaseAnswers(label_map=label_map), CaseAnswers(label_map=other))
    return {BETWEEN_ARMS: summarise_agreement([case], classes_compared=False, seed=0)}


def arms(**lacking: tuple[str, ...]) -> dict[ArmName, ArmRecord]:
    plain = {"kind": "segduet", "model": "m", "options": {}, "command": ("c",)}
    return {a: ArmRecord(**plain, not_taken_over=lacking.get(str(a), ())) for a in ArmName}


ZEROS = np.zeros((1, 4, 4), dtype=np.uint8)
ONES = ZEROS + np.uint8(1)


@pytest.mark.parametrize(
    ("delay_s", "wanted"), [(0.0, Finding.NO_DIFFERENCE_SHOWN), (0.5, Finding.FASTER)]
)
def test_warm_up_rounds_are_in_no_figure(delay_s: float, wanted: Finding) -> None:
    """The absurd warm-up would make the candidate 900 times slower."""
    made = benchmark(delay_s)
    figures = compare_samples(made, seed=0)
    assert [f.name for f in figures] == [COLD, "cold: peak memory"]
    assert figures[0].finding is wanted
    assert figures[0].ratio.value == pytest.approx(1 + delay_s, rel=0.05)
    assert {f.ratio.n for f in figures} == {8}
    verdict = draw_verdict(figures, same_outputs(ZEROS, ZEROS), contamination(made), arms())
    assert (verdict.finding, verdict.outputs) == (wanted, "identical")
    assert "95 % interval" in verdict.sentences[0]


def test_a_faster_arm_with_other_outputs_says_so_in_the_verdict() -> None:
    made = benchmark(0.5)
    figures = compare_samples(made, seed=0)
    verdict = draw_verdict(figures, same_outputs(ZEROS, ONES), contamination(made), arms())
    assert verdict.outputs == "different"
    assert "like is not compared with like" in verdict.sentences[1]


def test_a_phase_of_one_arm_has_an_amount_and_no_ratio() -> None:
    """Steady cases of both; only the candidate finds a region first."""
    made = []
    for number in range(6):
        for arm in ArmName:
            phases = {"steady_case": 1.0 + number}
            if arm is CANDIDATE:
                phases["steady_locate"] = 0.5
            made.append(sample(number, arm, 5.0, measure="warm", phases=phases))
    figures = {f.name: f for f in compare_samples(made, seed=0)}
    locate = figures[f"{STEADY}, locate"]
    assert locate.candidate.value == 0.5
    assert "baseline has no such phase" in locate.ratio.reason
    assert locate.finding is Finding.NO_DIFFERENCE_SHOWN
    assert figures[STEADY].candidate.value == 3.5


def test_busy_samples_are_counted_and_none_is_dropped() -> None:
    made = [*benchmark(0.0), sample(8, CANDIDATE, 1.0, other_cpu_share=0.5)]
    made.append(sample(8, BASELINE, 1.0, other_cpu_share=0.05))
    busy = contamination(made)
    assert (busy.busy_samples, busy.n, busy.largest_share) == (1, 18, 0.5)
    figures = compare_samples(made, seed=0)
    assert figures[0].ratio.n == 9
    said = draw_verdict(figures, same_outputs(ZEROS, ZEROS), busy, arms()).sentences
    assert "1 of 18 samples" in said[-1]
    assert "none was dropped" in said[-1]


def test_what_the_baseline_could_not_be_told_is_said() -> None:
    made = benchmark(0.0)
    said = draw_verdict(
        compare_samples(made, seed=0),
        same_outputs(ZEROS, ZEROS),
        contamination(made),
        arms(baseline=("mode=fast",)),
    ).sentences
    assert said[-1] == "The baseline has no such options: mode=fast."
