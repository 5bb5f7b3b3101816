"""From samples to figures, and from figures to what may be said (F85)."""

import functools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

from segduet.core.scores import Estimate
from segduet.evaluation.bench_record import (
    ArmRecord,
    Contamination,
    Figure,
    Measure,
    Sample,
    Verdict,
)
from segduet.evaluation.output_agreement import Agreement, OutputVerdict
from segduet.evaluation.paired_timing import (
    ArmName,
    Finding,
    finding,
    mean_ratio,
    median_amount,
    median_ratio,
)

#: A sample during which other processes used more of the machine than this is reported as busy.
BUSY_SHARE = 0.06
COLD = "cold: whole command"
STEADY = "warm: steady case"
BETWEEN_ARMS = "between arms"
_PHASE_NAMES = {
    "load": "warm: process start to model loaded",
    "first_case": "warm: first case",
    "steady_case": STEADY,
}

_Amount = Callable[[Sample], float | None]


def compare_samples(samples: Sequence[Sample], *, seed: int) -> tuple[Figure, ...]:
    """All figures of the measured rounds; a phase that one arm lacks has no ratio.

    Args:
        samples: of all rounds; those of warm-up (negative rounds) are left out.
        seed: of the resampling.
    """
    measured = [s for s in samples if s.round >= 0]
    return tuple(
        _figure(name, unit, _per_round(measured, measure, amount), seed)
        for name, unit, measure, amount in _amounts(measured)
    )


def contamination(samples: Sequence[Sample]) -> Contamination:
    """What else the machine did during the measured rounds."""
    measured = [s for s in samples if s.round >= 0]
    shares = [s.other_cpu_share for s in measured if s.other_cpu_share is not None]
    steals = [s.steal_share for s in measured if s.steal_share is not None]
    return Contamination(
        threshold=BUSY_SHARE,
        median_share=statistics.median(shares) if shares else None,
        largest_share=max(shares, default=None),
        largest_steal_share=max(steals, default=None),
        busy_samples=sum(share > BUSY_SHARE for share in shares),
        n=len(measured),
    )


def draw_verdict(
    figures: Sequence[Figure],
    agreement: Mapping[str, Agreement],
    busy: Contamination,
    arms: Mapping[ArmName, ArmRecord],
) -> Verdict:
    """What may be said, from the whole command where it was timed, else from the steady case."""
    by_name = {figure.name: figure for figure in figures}
    headline = by_name.get(COLD) or by_name[STEADY]
    between = agreement[BETWEEN_ARMS]
    sentences = [
        *(_finding_sentence(by_name[name]) for name in (COLD, STEADY) if name in by_name),
        _output_sentence(between),
        *_warm_sentences(agreement),
        *_busy_sentences(busy),
        *_option_sentences(arms[ArmName.BASELINE]),
    ]
    return Verdict(
        figure=headline.name,
        finding=headline.finding,
        outputs=str(between.verdict),
        sentences=tuple(sentences),
    )


def _amounts(samples: Sequence[Sample]) -> Iterator[tuple[str, str, Measure, _Amount]]:
    measures = {sample.measure for sample in samples}
    if "cold" in measures:
        yield COLD, "s", "cold", lambda s: s.wall_s
        yield "cold: peak memory", "MB", "cold", lambda s: s.peak_rss_mb
    if "warm" in measures:
        phases = {name: None for sample in samples for name in sample.phases}
        for phase in phases:
            yield _phase_name(phase), "s", "warm", functools.partial(_phase_seconds, phase)
        yield "warm: peak memory", "MB", "warm", lambda s: s.peak_rss_mb


def _phase_seconds(phase: str, sample: Sample) -> float | None:
    return sample.phases.get(phase)


def _phase_name(phase: str) -> str:
    return _PHASE_NAMES.get(phase) or f"{STEADY}, {phase.removeprefix('steady_')}"


def _per_round(
    samples: Sequence[Sample], measure: Measure, amount: _Amount
) -> dict[ArmName, list[float]]:
    amounts: dict[ArmName, list[float]] = {}
    for arm in ArmName:
        chosen = sorted(
            (s for s in samples if s.arm == arm and s.measure == measure), key=lambda s: s.round
        )
        values = [amount(s) for s in chosen]
        amounts[arm] = [v for v in values if v is not None]
    return amounts


def _figure(name: str, unit: str, amounts: Mapping[ArmName, Sequence[float]], seed: int) -> Figure:
    candidate, baseline = amounts[ArmName.CANDIDATE], amounts[ArmName.BASELINE]
    if len(candidate) == len(baseline):
        ratio = mean_ratio(candidate, baseline, seed=seed)
        middle = median_ratio(candidate, baseline, seed=seed)
    else:
        lacking = "candidate" if len(candidate) < len(baseline) else "baseline"
        ratio = middle = _missing(f"the {lacking} has no such phase")
    return Figure(
        name=name,
        unit=unit,
        candidate=_amount(candidate, seed),
        baseline=_amount(baseline, seed),
        ratio=ratio,
        median_ratio=middle,
        finding=finding(ratio),
    )


def _amount(values: Sequence[float], seed: int) -> Estimate:
    return median_amount(values, seed=seed) if values else _missing("this arm has no such phase")


def _missing(reason: str) -> Estimate:
    return Estimate(value=None, ci95=None, n=0, reason=reason)


def _finding_sentence(figure: Figure) -> str:
    ratio = figure.ratio
    if ratio.value is None or ratio.ci95 is None:
        return f"{figure.name}: nothing can be said, {ratio.reason}."
    low, high = ratio.ci95
    sure = f"95 % interval {low:.3g} to {high:.3g}, n = {ratio.n} rounds"
    match figure.finding:
        case Finding.NO_DIFFERENCE_SHOWN:
            return f"{figure.name}: no difference shown, ratio {ratio.value:.3g} ({sure})."
        case _:
            return (
                f"{figure.name}: the candidate is {figure.finding}, {ratio.value:.3g} times as "
                f"fast as the baseline ({sure})."
            )


def _output_sentence(agreement: Agreement) -> str:
    facts = _output_facts(agreement)
    match agreement.verdict:
        case OutputVerdict.DIFFERENT:
            return f"The outputs differ, so like is not compared with like ({facts})."
        case OutputVerdict.NOT_COMPARED:
            return "The outputs were not compared: the arms have no kind of answer in common."
        case _:
            return f"The outputs are {agreement.verdict} ({facts})."


def _output_facts(agreement: Agreement) -> str:
    facts = [f"cases compared: {agreement.n}"]
    if agreement.only_in_one:
        facts.append(f"{len(agreement.only_in_one)} answered by one arm alone")
    if agreement.worst_equal_share is not None:
        facts.append(f"at least {agreement.worst_equal_share:.4%} of a case's voxels equal")
    if agreement.labels:
        worst = min(label.worst_dsc for label in agreement.labels.values())
        facts.append(f"smallest Dice of a label {worst:.4f}")
    if agreement.num_class_flips is not None:
        facts.append(f"{agreement.num_class_flips} cases with another class")
    if agreement.largest_number_difference is not None:
        facts.append(f"probabilities differ by at most {agreement.largest_number_difference:.2g}")
    return ", ".join(facts)


def _warm_sentences(agreement: Mapping[str, Agreement]) -> list[str]:
    return [
        f"Warm and cold outputs differ ({name}): {_output_facts(found)}."
        for name, found in agreement.items()
        if name != BETWEEN_ARMS and found.verdict is OutputVerdict.DIFFERENT
    ]


def _busy_sentences(busy: Contamination) -> list[str]:
    if busy.largest_share is None:
        return ["What other processes did meanwhile is not told by this system."]
    if not busy.busy_samples:
        return []
    return [
        f"In {busy.busy_samples} of {busy.n} samples other processes used more than "
        f"{busy.threshold:.0%} of the machine (at most {busy.largest_share:.0%}); none was dropped."
    ]


def _option_sentences(baseline: ArmRecord) -> list[str]:
    if not baseline.not_taken_over:
        return []
    return [f"The baseline has no such options: {', '.join(baseline.not_taken_over)}."]
