"""Whether two ways to predict give the same answers: voxels, Dice per label, classes (F85)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from segduet.core.scores import Estimate
from segduet.evaluation.intervals import mean_estimate
from segduet.metrics.overlap import dsc

#: Masks that share this many voxels count as equal: sums in another order move a few voxels on the
#: border between two labels (nnU-Net adds windows up in half precision).
EQUAL_SHARE = 0.9999


class OutputVerdict(StrEnum):
    """How far two arms agree."""

    IDENTICAL = "identical"
    EQUAL = "equal within tolerance"
    DIFFERENT = "different"
    NOT_COMPARED = "not compared"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseAnswers:
    """What one arm answered about one case.

    Attributes:
        label_map: (Z, Y, X) integers; None where the arm wrote none.
        classes: task -> class or findings.
        numbers: task, or task and class, -> probability, or a regression's value.
    """

    label_map: np.ndarray | None
    classes: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseAgreement:
    """One case, both arms.

    Attributes:
        equal_share: voxels with the same label, in [0, 1]; 0 where shapes differ or one arm alone
            has a mask, None where neither has.
        dsc: label -> Dice coefficient between the two, of labels that either arm predicted.
        classes_differ: tasks that were answered otherwise.
        number_difference: largest difference of a probability or value; None where none is common.
    """

    case: str
    equal_share: float | None
    dsc: Mapping[int, float] = field(default_factory=dict)
    classes_differ: tuple[str, ...] = ()
    number_difference: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAgreement:
    """One label over the cases in which either arm predicted it.

    Attributes:
        mean_dsc: over those cases, with its interval.
        worst_dsc: smallest of them.
        worst_case: where.
    """

    mean_dsc: Estimate
    worst_dsc: float
    worst_case: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """All cases, both arms.

    Attributes:
        verdict: the worst that was found.
        n: cases compared.
        only_in_one: cases that one arm alone answered.
        mean_equal_share: of the cases' voxels; no value where no masks were compared.
        worst_equal_share: smallest share of a case; None likewise.
        num_class_flips: cases with a class that differs; None where no classes were compared.
        largest_number_difference: of all probabilities and values; None likewise.
        labels: label -> agreement.
        flipped: the cases with class flips.
    """

    verdict: OutputVerdict
    n: int
    only_in_one: tuple[str, ...]
    mean_equal_share: Estimate
    worst_equal_share: float | None
    num_class_flips: int | None
    largest_number_difference: float | None
    labels: Mapping[int, LabelAgreement]
    flipped: tuple[str, ...]


def compare_case(case: str, first: CaseAnswers, second: CaseAnswers) -> CaseAgreement:
    """Compares two answers to one case."""
    common_tasks = first.classes.keys() & second.classes.keys()
    common_numbers = first.numbers.keys() & second.numbers.keys()
    gaps = [abs(first.numbers[name] - second.numbers[name]) for name in common_numbers]
    share, per_label = _compare_masks(first.label_map, second.label_map)
    return CaseAgreement(
        case=case,
        equal_share=share,
        dsc=per_label,
        classes_differ=tuple(
            sorted(t for t in common_tasks if first.classes[t] != second.classes[t])
        ),
        number_difference=max(gaps, default=None),
    )


def summarise_agreement(
    cases: Sequence[CaseAgreement],
    *,
    only_in_one: Sequence[str] = (),
    classes_compared: bool,
    seed: int,
) -> Agreement:
    """Puts the cases together.

    Args:
        cases: those that both arms answered.
        only_in_one: the others; any of them makes the outputs different.
        classes_compared: whether both arms classify.
        seed: of the intervals' resampling.
    """
    masked = [c for c in cases if c.equal_share is not None]
    shares = [float(c.equal_share or 0.0) for c in masked]
    names = [c.case for c in masked]
    gaps = [c.number_difference for c in cases if c.number_difference is not None]
    flipped = tuple(c.case for c in cases if c.classes_differ)
    return Agreement(
        verdict=_verdict(shares, gaps, flipped, only_in_one),
        n=len(cases),
        only_in_one=tuple(only_in_one),
        mean_equal_share=mean_estimate(shares, names, seed=seed),
        worst_equal_share=min(shares, default=None),
        num_class_flips=len(flipped) if classes_compared else None,
        largest_number_difference=max(gaps, default=None),
        labels=_per_label(cases, seed),
        flipped=flipped,
    )


def _compare_masks(
    first: np.ndarray | None, second: np.ndarray | None
) -> tuple[float | None, dict[int, float]]:
    if first is None and second is None:
        return None, {}
    if first is None or second is None or first.shape != second.shape:
        return 0.0, {}
    labels = np.union1d(np.unique(first), np.unique(second))
    scores = {int(label): dsc(first == label, second == label).value for label in labels if label}
    share = np.count_nonzero(first == second) / first.size
    return share, {label: value for label, value in scores.items() if value is not None}


def _per_label(cases: Sequence[CaseAgreement], seed: int) -> dict[int, LabelAgreement]:
    found = sorted({label for case in cases for label in case.dsc})
    summary = {}
    for label in found:
        having = [c for c in cases if label in c.dsc]
        worst = min(having, key=lambda c: c.dsc[label])
        summary[label] = LabelAgreement(
            mean_dsc=mean_estimate(
                [c.dsc[label] for c in having], [c.case for c in having], seed=seed
            ),
            worst_dsc=worst.dsc[label],
            worst_case=worst.case,
        )
    return summary


def _verdict(
    shares: Sequence[float],
    gaps: Sequence[float],
    flipped: Sequence[str],
    only_in_one: Sequence[str],
) -> OutputVerdict:
    if only_in_one or flipped or min(shares, default=1.0) < EQUAL_SHARE:
        return OutputVerdict.DIFFERENT
    if not shares and not gaps:
        return OutputVerdict.NOT_COMPARED
    is_same = min(shares, default=1.0) == 1 and max(gaps, default=0.0) == 0
    return OutputVerdict.IDENTICAL if is_same else OutputVerdict.EQUAL
